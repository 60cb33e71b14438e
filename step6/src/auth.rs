//! The middleware before `/mcp`: no valid token, no entry (RFC 6750, RFC 9068 §4).
//!
//! [`authenticate`] runs before the request's method, type and body are looked at. It takes the token from the one
//! place where it may be ([`bearer_token`]), has it checked ([`Verifier::verify`]), and leaves a [`Caller`] behind for
//! the handlers. It answers any other request with a challenge that says what is wrong.

use std::{
    future::{Ready, ready},
    ops::Deref,
    sync::Arc,
};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{StatusCode, header::HeaderMap},
    middleware::Next,
    web,
};
use common::{claims::Claims, http::HttpError, requests::LogUser};

use crate::bearer::{Challenge, Missing, bearer_token};
use crate::verify::Verifier;

/// Whose tokens are accepted, and what a caller without a token is told.
pub struct Auth {
    verifier: Verifier,
    challenge: Challenge,
}

impl Auth {
    pub fn new(verifier: Verifier, challenge: Challenge) -> Self {
        Auth { verifier, challenge }
    }

    /// The person whose token the request carries, or the refusal.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, HttpResponse> {
        let refuse = |status, error, description| self.challenge.refuse(status, None, error, description);
        let token = bearer_token(headers).map_err(|missing| match missing {
            Missing::Token => refuse(StatusCode::UNAUTHORIZED, None, "This needs an access token."),
            Missing::Syntax(why) => refuse(StatusCode::BAD_REQUEST, Some("invalid_request"), why),
        })?;
        let caller = self.verifier.verify(token).map(Caller::new);
        caller.map_err(|why| refuse(StatusCode::UNAUTHORIZED, Some("invalid_token"), why))
    }
}

/// The person behind a request. Only [`authenticate`] makes one, so a handler that takes a `Caller` cannot be reached
/// without a valid token.
#[derive(Clone)]
pub struct Caller(Arc<Claims>);

impl Caller {
    fn new(claims: Claims) -> Self {
        Caller(Arc::new(claims))
    }
}

impl Deref for Caller {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0
    }
}

impl FromRequest for Caller {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = req.extensions().get::<Caller>().cloned();
        let refused = HttpError::new(StatusCode::UNAUTHORIZED, "unauthorized", "This needs an access token.");
        ready(caller.ok_or(refused))
    }
}

/// The middleware: passes a request with a valid token on, and answers any other itself.
pub async fn authenticate<B: MessageBody + 'static>(
    auth: web::Data<Auth>,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    match auth.caller(req.headers()) {
        Ok(caller) => Ok(admit(caller, req, next).await?.map_into_left_body()),
        Err(refusal) => Ok(req.into_response(refusal).map_into_right_body()),
    }
}

/// Hands the request on to its handler, with the caller in it.
async fn admit<B>(caller: Caller, req: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error>
where
    B: MessageBody + 'static,
{
    req.extensions_mut().insert(LogUser(caller.username().to_owned()));
    req.extensions_mut().insert(caller);
    next.call(req).await
}
