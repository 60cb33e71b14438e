//! Who may ask for tokens: registered clients (RFC 7591) and those that describe themselves at the URL
//! that is their `client_id` (Client ID Metadata Documents).

use std::{collections::HashMap, path::Path};

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use anyhow::{Context, Result, anyhow, bail};
use common::{
    claims::{SCOPES, Scopes},
    files,
    http::{HttpError, JsonBody},
};
use oauth::{
    client_metadata::{ClientMetadata, Jwks},
    redirect_uri::AppSchemes,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    State,
    authorize::FAMILY_LIFETIME,
    cimd, events,
    failure::Failure,
    params, peer,
    store::{digest, random},
};

/// A client, and how it proves who it is.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    pub metadata: ClientMetadata,
    /// What `client_secret` must digest to, if it has one.
    pub secret_digest: Option<SecretString>,
    /// What it may do on its own behalf; only a client from the operator's file has any.
    pub roles: Vec<String>,
    /// Whether `id` is the URL of the document that `metadata` comes from.
    pub self_hosted: bool,
    /// Whether it is in the operator's file.
    pub listed: bool,
}

impl Client {
    /// What to call it on a page. It is the client's own word.
    pub fn name(&self) -> &str {
        self.metadata.client_name.as_deref().unwrap_or(&self.id)
    }

    /// RFC 7591 §2: without the member, `client_secret_basic`; a client at a URL has no secret to share.
    pub fn auth_method(&self) -> &str {
        let default = if self.self_hosted { "none" } else { "client_secret_basic" };
        self.metadata.token_endpoint_auth_method.as_deref().unwrap_or(default)
    }

    /// RFC 7591 §2: without the member, `authorization_code` only.
    pub fn may_use(&self, grant_type: &str) -> bool {
        match &self.metadata.grant_types {
            None => grant_type == "authorization_code",
            Some(types) => types.iter().any(|known| known == grant_type),
        }
    }
}

/// A client in the operator's file (`--clients`).
#[derive(Deserialize)]
pub struct ListedClient {
    client_id: String,
    client_secret: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(flatten)]
    metadata: ClientMetadata,
}

/// Reads the operator's file: a JSON array of clients.
///
/// # Errors
/// If it cannot be read or understood, others may write it, or it has secrets that others can read.
pub fn read_file(file: &Path, schemes: &AppSchemes) -> Result<HashMap<String, Client>> {
    let trusted = files::read(file).with_context(|| format!("cannot read the clients in {}", file.display()))?;
    let listed: Vec<ListedClient> = serde_json::from_str(&trusted.text)
        .map_err(|error| anyhow!("{} is no list of clients: line {}", file.display(), error.line()))?;
    if listed.iter().any(|client| client.client_secret.is_some()) {
        trusted.check_secret().with_context(|| format!("{} has secrets", file.display()))?;
    }
    let mut clients = HashMap::new();
    for ListedClient { client_id: id, client_secret, roles, metadata } in listed {
        let what = format!("{}: the client {id:?}", file.display());
        if id.starts_with("user_") {
            bail!("{what} could be taken for a person: an id does not begin with user_");
        }
        if let Some(role) = roles.iter().find(|role| !matches!(role.as_str(), "admin" | "user" | "guest")) {
            bail!("{what} has the role {role:?}: there are admin, user and guest");
        }
        if metadata.scope.as_deref().is_some_and(|scope| Scopes::parse(scope).is_err()) {
            bail!("{what} has a scope that is not valid");
        }
        if let Err(why) = metadata.jwks.as_ref().map_or(Ok(()), Jwks::check) {
            bail!("{what} is refused. {why}");
        }
        if client_secret.as_deref() == Some("") {
            bail!("{what} has an empty client_secret: anybody knows it");
        }
        if clients.contains_key(&id) {
            bail!("{what} is there twice");
        }
        if let Some(uri) = metadata.redirect_uris.iter().find(|uri| !schemes.accept(uri)) {
            bail!("{}: {uri:?} of {id:?} cannot be a redirect URI", file.display());
        }
        let secret_digest = client_secret.as_deref().map(|secret| digest(secret).into());
        clients.insert(id.clone(), Client { id, metadata, secret_digest, roles, self_hosted: false, listed: true });
    }
    Ok(clients)
}

/// The most clients that may register themselves; beyond, those that were never used make room.
const MAX_CLIENTS: i64 = 1000;

impl State {
    /// The client of this id, wherever it is known from.
    ///
    /// # Errors
    /// If its document cannot be had, or the database not be read.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Client>, ClientProblem> {
        if let Some(client) = self.listed.get(id) {
            return Ok(Some(client.clone()));
        }
        if cimd::is_client_id_url(id).is_some() {
            let metadata = self.fetcher.fetch(id).await.map_err(ClientProblem::Document)?;
            let id = id.to_owned();
            return Ok(Some(Client {
                id,
                metadata,
                secret_digest: None,
                roles: Vec::new(),
                self_hosted: true,
                listed: false,
            }));
        }
        let row: Option<(Option<String>, String)> =
            sqlx::query_as("SELECT secret_digest, metadata FROM clients WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.store.0)
                .await
                .map_err(|error| ClientProblem::Internal(error.into()))?;
        let Some((secret_digest, metadata)) = row else { return Ok(None) };
        let metadata = serde_json::from_str(&metadata).map_err(|error| ClientProblem::Internal(error.into()))?;
        Ok(Some(Client {
            id: id.to_owned(),
            metadata,
            secret_digest: secret_digest.map(SecretString::from),
            roles: Vec::new(),
            self_hosted: false,
            listed: false,
        }))
    }

    async fn register(&self, http: &HttpRequest, body: &[u8]) -> Result<HttpResponse, Failure> {
        if body.len() > params::MAX {
            return Err(Failure::bad("invalid_client_metadata", "The metadata has at most 16 KiB."));
        }
        let metadata = ClientMetadata::parse(body).map_err(|refused| Failure::bad(refused.error, refused.why))?;
        let metadata = checked(metadata, &self.schemes)?;
        self.registrations.check(&peer::network(peer::address(http))).map_err(|seconds| {
            Failure::too_many("Too many clients register at the moment, or too many from your address.", seconds)
        })?;
        self.store.remove_expired().await?;
        let full: (i64,) = sqlx::query_as("SELECT count(*) FROM clients").fetch_one(&self.store.0).await?;
        if full.0 >= MAX_CLIENTS {
            // Nobody let it in within an hour, or for as long as a consent lasts: it will not come back.
            let unused = "DELETE FROM clients WHERE created_at < ? AND used_at < ?";
            let removed = sqlx::query(unused)
                .bind(self.store.now() - 3600)
                .bind(self.store.now() - FAMILY_LIFETIME)
                .execute(&self.store.0)
                .await?
                .rows_affected();
            if removed == 0 {
                return Err(Failure::too_many("There are too many clients; try again in an hour.", 3600));
            }
        }
        let id = uuid::Uuid::new_v4().to_string();
        let secret = match metadata.token_endpoint_auth_method.as_deref() {
            Some("client_secret_basic" | "client_secret_post") => Some(random()?),
            _ => None,
        };
        let at = self.store.now();
        let text = serde_json::to_string(&metadata)?;
        sqlx::query("INSERT INTO clients (id, secret_digest, metadata, created_at, used_at) VALUES (?, ?, ?, ?, ?)")
            .bind(&id)
            .bind(secret.as_deref().map(digest))
            .bind(&text)
            .bind(at)
            .bind(0) // not used yet
            .execute(&self.store.0)
            .await?;
        events::client(&id);
        tracing::info!(event = "client_registered", "a client registered itself");
        let answer = Registered {
            client_id: &id,
            client_id_issued_at: at,
            client_secret_expires_at: secret.is_some().then_some(0),
            client_secret: secret.as_deref(),
            metadata: &metadata,
        };
        Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(answer))
    }
}

/// RFC 7591 §3.2.1.
#[derive(Serialize)]
struct Registered<'a> {
    client_id: &'a str,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    /// 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<i64>,
    #[serde(flatten)]
    metadata: &'a ClientMetadata,
}

/// Why a client is not known.
#[derive(Debug)]
pub(crate) enum ClientProblem {
    Document(cimd::Problem),
    Internal(anyhow::Error),
}

/// What of its metadata a client may register.
fn checked(metadata: ClientMetadata, schemes: &AppSchemes) -> Result<ClientMetadata, Failure> {
    let mut metadata =
        metadata.accepted(schemes, &SCOPES).map_err(|refused| Failure::bad(refused.error, refused.why))?;
    let method = metadata.token_endpoint_auth_method.get_or_insert_with(|| "client_secret_basic".to_owned());
    match (method.as_str(), &metadata.jwks) {
        ("none" | "client_secret_basic" | "client_secret_post", _) => {}
        ("private_key_jwt", Some(jwks)) if (1..=5).contains(&jwks.keys.len()) => {}
        _ => {
            return Err(Failure::bad(
                "invalid_client_metadata",
                "token_endpoint_auth_method must be none, client_secret_basic, client_secret_post, or private_key_jwt with 1 to 5 jwks.",
            ));
        }
    }
    metadata.client_id = None;
    Ok(metadata)
}

/// `POST /register` (RFC 7591 §3.1).
pub(crate) async fn register(
    state: web::Data<State>,
    http: HttpRequest,
    body: Result<JsonBody, HttpError>,
) -> HttpResponse {
    let body = match body {
        Ok(body) => body.0,
        Err(error) => return error.error_response(),
    };
    state.register(&http, &body).await.unwrap_or_else(|failure| {
        failure.log("registration");
        failure.respond()
    })
}
