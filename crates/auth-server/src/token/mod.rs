//! The token endpoint (OAuth 2.1 §3.2): a client proves who it is ([`client_auth`]), and gets access tokens (RFC 9068) for
//! a [`code`], for a [`refresh`] token or on its own behalf ([`client_credentials`]); and the end of a refresh family
//! (RFC 7009).

mod access_token;
mod client_auth;
mod client_credentials;
mod code;
mod parameters;
mod refresh;

use actix_web::{HttpRequest, HttpResponse, web};

use self::{access_token::Granted, parameters::form};
use crate::{
    body::{Body, BodyError},
    failure::Failure,
    state::State,
};

/// `POST /token`.
pub(crate) async fn token(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    match grant(&state, &http, body).await {
        Ok(granted) => HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(granted),
        Err(failure) => failure.respond(),
    }
}

async fn grant(state: &State, http: &HttpRequest, body: Result<Body, BodyError>) -> Result<Granted, Failure> {
    let form = form(http, &body.map_err(Failure::body)?.0)?;
    let client = client_auth::authenticate(state, http, &form).await?;
    match form.get("grant_type") {
        Some("authorization_code") => code::redeem(state, &client, &form).await,
        Some("refresh_token") => refresh::refresh(state, &client, &form).await,
        Some("client_credentials") => client_credentials::grant(state, &client, &form),
        Some(_) => Err(Failure::bad("unsupported_grant_type", "This grant_type is not known here.")),
        None => Err(Failure::bad("invalid_request", "grant_type is missing.")),
    }
}

/// `POST /revoke` (RFC 7009): ends the refresh family. The answer does not tell whether the token was valid.
pub(crate) async fn revoke(state: web::Data<State>, http: HttpRequest, body: Result<Body, BodyError>) -> HttpResponse {
    match end_family(&state, &http, body).await {
        Ok(()) => HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).finish(),
        Err(failure) => failure.respond(),
    }
}

async fn end_family(state: &State, http: &HttpRequest, body: Result<Body, BodyError>) -> Result<(), Failure> {
    let form = form(http, &body.map_err(Failure::body)?.0)?;
    let client = client_auth::authenticate(state, http, &form).await?;
    let token = form.get("token").ok_or_else(|| Failure::bad("invalid_request", "token is missing."))?;
    let Some(family) = state.refresh_tokens.family(token) else { return Ok(()) };
    if state.store.revoke_family_of(&client.id, family).await? {
        tracing::info!(event = "revoked", "a client ended what it was given");
    }
    Ok(())
}
