//! The registration endpoint (RFC 7591): a client describes itself, and gets an id, and a secret if it wants one.

use actix_web::{HttpRequest, HttpResponse, web};
use oauth::{
    claims::SCOPES,
    client_metadata::ClientMetadata,
    identifiers::ClientId,
    redirect_uri::AppSchemes,
    secret::{Digest, ExposeSecret, random},
};
use serde::Serialize;

use crate::{
    body::{Body, BodyError, sends},
    events,
    failure::Failure,
    params, peer,
    state::State,
    store::Added,
};

/// `POST /register` (RFC 7591 §3.1).
pub(crate) async fn register(
    state: web::Data<State>,
    http: HttpRequest,
    body: Result<Body, BodyError>,
) -> HttpResponse {
    answer(&state, &http, body).await.unwrap_or_else(|failure| {
        failure.log("registration");
        failure.respond()
    })
}

async fn answer(state: &State, http: &HttpRequest, body: Result<Body, BodyError>) -> Result<HttpResponse, Failure> {
    if !sends(http, "application/json") {
        return Err(Failure::not_json());
    }
    let body = body.map_err(Failure::body)?;
    if body.0.len() > params::MAX {
        return Err(Failure::bad("invalid_client_metadata", "The metadata may have at most 16 KiB."));
    }
    let metadata = ClientMetadata::parse(&body.0).map_err(|refused| Failure::bad(refused.error, refused.why))?;
    let metadata = checked(metadata, &state.schemes)?;
    let too_many =
        |seconds| Failure::too_many("Too many clients register at the moment, or too many from your address.", seconds);
    let address = peer::network(peer::address(http)).to_string();
    if let Some(seconds) = state.store.registration_wait(&address).await? {
        return Err(too_many(seconds));
    }
    state.store.remove_expired().await?;
    let id = ClientId::new(uuid::Uuid::new_v4().to_string());
    let secret = match metadata.token_endpoint_auth_method.as_deref() {
        Some("client_secret_basic" | "client_secret_post") => Some(random()?),
        _ => None,
    };
    let digest = secret.as_ref().map(|secret| Digest::of(secret.expose_secret()));
    let at = match state.store.add_client(&id, digest.as_ref(), &metadata, &address).await? {
        Added::At(at) => at,
        Added::Wait(seconds) => return Err(too_many(seconds)),
        Added::Full => return Err(Failure::too_many("There are too many clients; try again in an hour.", 3600)),
    };
    events::client(id.as_str());
    tracing::info!(event = "client_registered", "a client registered itself");
    let answer = Registered {
        client_id: &id,
        client_id_issued_at: at,
        client_secret_expires_at: secret.is_some().then_some(0),
        client_secret: secret.as_ref().map(ExposeSecret::expose_secret),
        metadata: &metadata,
    };
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(answer))
}

/// The part of its metadata that a client may register.
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

/// RFC 7591 §3.2.1.
#[derive(Serialize)]
struct Registered<'a> {
    client_id: &'a ClientId,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    /// 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<i64>,
    #[serde(flatten)]
    metadata: &'a ClientMetadata,
}
