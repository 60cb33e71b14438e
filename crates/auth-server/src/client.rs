//! A client: what it says about itself, and how it proves who it is. Those in the operator's file are read here.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use oauth::{
    client_metadata::{ClientMetadata, Jwks},
    files,
    identifiers::ClientId,
    redirect_uri::AppSchemes,
    scope::Scopes,
    secret::{Digest, ExposeSecret, SecretString},
};
use serde::Deserialize;

/// A client, and how it proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub id: ClientId,
    pub metadata: ClientMetadata,
    /// The digest of its `client_secret`, if it has one.
    pub secret_digest: Option<Digest>,
    /// Its roles, where it acts on its own behalf; only a client from the operator's file has any.
    pub roles: Vec<String>,
    /// Whether `id` is the URL of the document that `metadata` comes from.
    pub self_hosted: bool,
    /// Whether it is in the operator's file.
    pub listed: bool,
}

impl Client {
    /// Its name on a page, as the client gives it.
    pub fn name(&self) -> &str {
        self.metadata.client_name.as_deref().unwrap_or(self.id.as_str())
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
struct ListedClient {
    client_id: ClientId,
    client_secret: Option<SecretString>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(flatten)]
    metadata: ClientMetadata,
}

/// Reads the operator's file: a JSON array of clients.
///
/// # Errors
/// If it cannot be read or understood, others may write it, or it has secrets that others can read.
pub(crate) fn read_file(file: &Path, schemes: &AppSchemes) -> Result<HashMap<ClientId, Client>> {
    let trusted = files::read(file).with_context(|| format!("cannot read the clients in {}", file.display()))?;
    let listed: Vec<ListedClient> = serde_json::from_str(&trusted.text)
        .map_err(|error| anyhow!("{} is not a list of clients: line {}", file.display(), error.line()))?;
    if listed.iter().any(|client| client.client_secret.is_some()) {
        trusted.check_secret().with_context(|| format!("{} has secrets", file.display()))?;
    }
    let mut clients = HashMap::new();
    for ListedClient { client_id: id, client_secret, roles, metadata } in listed {
        let what = format!("{}: the client {:?}", file.display(), id.as_str());
        if id.as_str().starts_with("user_") {
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
        if client_secret.as_ref().is_some_and(|secret| secret.expose_secret().is_empty()) {
            bail!("{what} has an empty client_secret: anybody knows it");
        }
        if clients.contains_key(&id) {
            bail!("{what} appears twice");
        }
        if let Some(uri) = metadata.redirect_uris.iter().find(|uri| !schemes.accept(uri)) {
            bail!("{}: {uri:?} of {:?} cannot be a redirect URI", file.display(), id.as_str());
        }
        let secret_digest = client_secret.map(|secret| Digest::of(secret.expose_secret()));
        clients.insert(id.clone(), Client { id, metadata, secret_digest, roles, self_hosted: false, listed: true });
    }
    Ok(clients)
}
