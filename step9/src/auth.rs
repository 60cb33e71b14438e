//! The bearer-token middleware on `/mcp`: no valid token, no entry (RFC 6750, RFC 9068 §4).
//!
//! [`authenticate`] runs before the request's method, type and body are looked at. It takes the
//! token from the one place where it may be ([`bearer_token`]), has [`Auth::verify`] check it, and leaves a [`User`]
//! behind for the handlers. All else is answered with a challenge that says what is wrong.

use std::{ops::Deref, sync::Arc};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE},
    },
    middleware::Next,
    web,
};
use common::{
    claims::{Claims, JoseHeader, lacks_a_claim},
    guards::LogUser,
    http::{ErrorBody, HttpError},
    keys::PublicKey,
    token_cache::TokenCache,
};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use serde_json::value::RawValue;

use crate::user_tools::Caller;

/// The longest token we look at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// How far, in seconds, the issuer's clock may be from ours.
const LEEWAY: u64 = 30;

/// Whose tokens are accepted.
#[derive(Clone)]
pub struct Auth {
    key: PublicKey,
    validation: Validation,
    verified: TokenCache<User>,
    /// Parameters that every challenge carries.
    challenge: Vec<String>,
}

impl Auth {
    /// Accepts what `issuer` signed with `key` for `audience`.
    pub fn new(key: &PublicKey, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::RS256); // whatever the token's own `alg` says
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        Auth { key: key.clone(), validation, verified: TokenCache::new(LEEWAY), challenge: Vec::new() }
    }

    /// Every challenge carries this parameter too, in the place of any of the same name.
    pub fn challenge(mut self, name: &str, value: &str) -> Self {
        self.challenge.retain(|param| !param.starts_with(&format!("{name}=")));
        self.challenge.push(format!("{name}=\"{value}\""));
        self
    }

    /// The token's claims, if every check passes; else which one did not.
    fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("The token is longer than 16 KiB.");
        }
        // The header is the sender's word until the signature is checked: it may only narrow the choice.
        let header = JoseHeader::of(token).ok_or("The token is not a JWT signed with RS256.")?;
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.as_str(), "jwt" | "at+jwt" | "application/at+jwt") {
            return Err("The token is not an access token: its typ is another.");
        }
        if header.crit.is_some() {
            return Err("The token has critical headers (crit) that are not understood.");
        }
        if header.kid.is_some_and(|kid| kid != self.key.kid) {
            return Err("The token was signed with an unknown key (kid).");
        }
        let claims = decode::<Claims>(token, &self.key.decoding_key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => "The token has expired (exp).",
                ErrorKind::ImmatureSignature => "The token is not valid yet (nbf).",
                ErrorKind::InvalidIssuer => "The token is from another issuer (iss).",
                ErrorKind::InvalidAudience => "The token is for another audience (aud).",
                ErrorKind::InvalidSignature => "The token's signature is wrong.",
                ErrorKind::InvalidAlgorithm => "The token is not signed with RS256.",
                ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) if lacks_a_claim(token) => {
                    "The token lacks one of iss, aud, exp, sub."
                }
                _ => "The token is malformed, or a claim has the wrong type.",
            })?
            .claims;
        if claims.sub.is_empty() {
            return Err("The token's subject (sub) is empty.");
        }
        if claims.cnf.is_some() {
            return Err("The token is bound to a key of its client (cnf), and this server takes bearer tokens only.");
        }
        Ok(claims)
    }

    /// The person whose token the request carries, or the refusal.
    fn user(&self, headers: &HeaderMap) -> Result<User, HttpResponse> {
        let token = bearer_token(headers).map_err(|missing| match missing {
            Missing::Token => self.refuse(StatusCode::UNAUTHORIZED, None, None, "This needs an access token."),
            Missing::Syntax(why) => self.refuse(StatusCode::BAD_REQUEST, None, Some("invalid_request"), why),
        })?;
        let user = self.verified.get_or_verify(token, |token| self.verify(token).map(User::new));
        user.map_err(|why| self.refuse(StatusCode::UNAUTHORIZED, None, Some("invalid_token"), why))
    }

    /// A refusal: the same in the challenge (RFC 6750 §3), for programs, and in the body, for people. `id`: the
    /// request's, if it is known.
    pub fn refuse(
        &self,
        status: StatusCode,
        id: Option<&RawValue>,
        error: Option<&str>,
        description: &str,
    ) -> HttpResponse {
        let mut params = self.challenge.clone();
        if let Some(error) = error {
            params.push(format!("error=\"{error}\""));
            params.push(format!("error_description=\"{description}\""));
        }
        let challenge = format!("Bearer {}", params.join(", "));
        let mut response = ErrorBody::new(error.unwrap_or("unauthorized"), description).on_mcp(status, id);
        if let Ok(challenge) = challenge.trim_end().parse() {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The person behind a request. Only [`authenticate`] makes one, so a handler that takes a `User`
/// cannot be reached without a valid token.
#[derive(Clone)]
pub struct User(Arc<(Claims, Caller)>);

impl User {
    fn new(claims: Claims) -> Self {
        let caller = Caller::new(&claims);
        User(Arc::new((claims, caller)))
    }

    /// How answers name this person.
    pub fn caller(&self) -> &Caller {
        &self.0.1
    }
}

impl Deref for User {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0.0
    }
}

impl FromRequest for User {
    type Error = HttpError;
    type Future = std::future::Ready<Result<Self, HttpError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = req.extensions().get::<User>().cloned();
        let refused = HttpError::new(StatusCode::UNAUTHORIZED, "unauthorized", "This needs an access token.");
        std::future::ready(user.ok_or(refused))
    }
}

/// The middleware: a valid token or an answer from here.
pub async fn authenticate<B: MessageBody + 'static>(
    auth: web::Data<Auth>,
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let user = match auth.user(req.headers()) {
        Ok(user) => user,
        Err(refusal) => return Ok(req.into_response(refusal).map_into_right_body()),
    };
    req.extensions_mut().insert(LogUser(user.username().to_owned()));
    req.extensions_mut().insert(user.clone());
    let mut response = next.call(req).await?.map_into_left_body();
    user.caller().name_in(response.headers_mut());
    Ok(response)
}

/// Why a request has no token.
enum Missing {
    Token,
    Syntax(&'static str),
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1). Query, body and cookies are not looked at.
fn bearer_token(headers: &HeaderMap) -> Result<&str, Missing> {
    let mut values = headers.get_all(AUTHORIZATION);
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Missing::Token),
        (Some(value), None) => value.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return Err(Missing::Syntax("Send one Authorization header, not several.")),
    };
    let (scheme, token) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(Missing::Token);
    }
    match std::str::from_utf8(token.trim_ascii()) {
        Ok("") => Err(Missing::Syntax("There is no token after Bearer.")),
        Ok(token) if is_b64token(token) => Ok(token),
        _ => Err(Missing::Syntax("What comes after Bearer is not one token.")),
    }
}

/// The characters of RFC 6750 §2.1. It looks at all of them, whatever it finds: so the compiler takes many at a time.
fn is_b64token(token: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    token.bytes().fold(true, |good, byte| good & allowed(byte))
}
