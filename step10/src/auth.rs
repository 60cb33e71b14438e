//! The bearer-token middleware on `/mcp`: no valid token, no entry (RFC 6750, RFC 9068 §4).
//!
//! [`authenticate`] runs before the request's method, type and body are looked at. It takes the
//! token from the one place where it may be ([`bearer_token`]), has [`Auth::verify`] check it with its issuer's keys,
//! and leaves a [`Caller`] behind for the handlers. All else is answered with a challenge that says what is wrong.

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
    claims::{Claims, JoseHeader},
    http::HttpError,
    requests::LogUser,
};
use jsonwebtoken::decode;
use serde_json::value::RawValue;

use crate::{
    caller::Naming,
    jwks_client::NoKey,
    providers::{Members, Provider, Providers},
    reasons::{self, Refusal, unverified},
};

/// The longest token we look at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// How far, in seconds, the issuer's clock may be from ours.
pub const LEEWAY: u64 = 30;

/// Whose tokens are accepted.
#[derive(Clone)]
pub struct Auth {
    pub providers: Providers,
    /// Parameters that every challenge carries.
    challenge: Vec<String>,
}

impl Auth {
    /// Accepts what one of these issuers signed for us.
    pub fn new(providers: Providers) -> Self {
        Auth { providers, challenge: Vec::new() }
    }

    /// Every challenge carries this parameter too, in the place of any of the same name.
    pub fn challenge(mut self, name: &str, value: &str) -> Self {
        self.challenge.retain(|param| !param.starts_with(&format!("{name}=")));
        self.challenge.push(format!("{name}=\"{value}\""));
        self
    }

    /// The token's claims, if every check passes; else which one did not.
    fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::token("token_too_long", "The token is longer than 16 KiB."));
        }
        // The header is the sender's word until the signature is checked: it may only narrow the choice.
        let description = "The token is not a JWT with a signature that we check.";
        let malformed = || Refusal::token(reasons::TOKEN_MALFORMED, description);
        let header = JoseHeader::of(token).filter(|_| token.split('.').count() == 3).ok_or_else(malformed)?;
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.as_str(), "jwt" | "at+jwt" | "application/at+jwt") {
            return Err(Refusal::other_type());
        }
        if header.crit.is_some() {
            let description = "The token has critical headers (crit) that are not understood.";
            return Err(Refusal::token("crit_unknown", description));
        }
        // So is its issuer: it says with whose keys the signature must be right.
        let provider = self.issuer(token)?;
        let validation = provider.validation(header.alg, LEEWAY);
        let validation = validation.ok_or_else(|| Refusal::no_key(provider, NoKey::Algorithm))?;
        let key = provider.keys.key(header.kid.as_deref(), header.alg).map_err(|why| Refusal::no_key(provider, why))?;
        let decoded = decode::<Members>(token, &key.decoding, &validation);
        let members = decoded.map_err(|error| Refusal::of(error.kind(), token, provider))?.claims;
        provider.claims(members)
    }

    /// The issuer whose token this claims to be, if it is one that we trust.
    fn issuer(&self, token: &str) -> Result<&Provider, Refusal> {
        let unverified = unverified(token)?;
        let iss = unverified
            .get("iss")
            .ok_or_else(|| Refusal::token("issuer_missing", "The token lacks iss, its issuer."))?;
        let iss = iss.as_str().ok_or_else(|| Refusal::mistyped("iss"))?;
        self.providers.of(iss).ok_or_else(|| {
            let trusted: Vec<_> = self.providers.iter().map(|provider| provider.issuer.as_str()).collect();
            let description = format!(
                "The token is from another issuer (iss). This server trusts {}, to the letter.",
                trusted.join(" and ")
            );
            Refusal::token("issuer_unknown", description).with("iss", iss)
        })
    }

    /// The person whose token the request carries, or the refusal.
    async fn user(&self, headers: &HeaderMap) -> Result<Caller, HttpResponse> {
        let refusal = match bearer_token(headers) {
            Ok(token) => match self.user_of(token).await {
                Ok(user) => return Ok(user),
                Err(refusal) => refusal,
            },
            Err(Missing::Token) => {
                Refusal::new(StatusCode::UNAUTHORIZED, None, "token_missing", "This needs an access token.")
            }
            Err(Missing::Syntax(why)) => {
                Refusal::new(StatusCode::BAD_REQUEST, Some("invalid_request"), "request_malformed", why)
            }
        };
        // While nobody's token can be checked, no other token would help.
        let refusal = if self.providers.any_ready() || refusal.status.is_server_error() {
            refusal
        } else {
            Refusal::no_keys(self.providers.problem())
        };
        Err(self.refuse(&refusal, None))
    }

    /// The person for whom a token speaks that we, or its issuer, find good.
    pub async fn user_of(&self, token: &str) -> Result<Caller, Refusal> {
        match self.verify_once(token) {
            Ok(user) => Ok(user),
            Err(refusal) => self.ask_issuer(token, refusal).await,
        }
    }

    /// What the issuer knows, and we do not: whether it has made a key since, or what an opaque token is worth. Those
    /// whose key is known do not come here.
    async fn ask_issuer(&self, token: &str, refusal: Refusal) -> Result<Caller, Refusal> {
        if matches!(refusal.reason, reasons::KEYS_MISSING | reasons::KEY_AMBIGUOUS) {
            let provider = self.issuer(token)?;
            // Its tokens may look like JWTs, and yet be for itself to read only.
            if let Some(introspection) = provider.introspection.as_ref().filter(|_| !provider.keys.has_keys()) {
                return introspection.user(token, provider).await;
            }
        }
        match refusal.reason {
            reasons::KEY_UNKNOWN | reasons::KEYS_MISSING => match self.issuer(token)?.keys.look_again().await {
                None => self.verify_once(token),
                Some(wait) => {
                    let wait = (wait.as_secs() + 1).max(refusal.retry_after.unwrap_or_default());
                    Err(Refusal { retry_after: Some(wait), ..refusal })
                }
            },
            // There is a key, but it may not be the issuer's latest: those who come after the cool-down will see.
            reasons::SIGNATURE_WRONG | reasons::KEY_AMBIGUOUS | reasons::ALGORITHM_OTHER => {
                self.issuer(token)?.keys.look_again_later();
                Err(refusal)
            }
            reasons::TOKEN_MALFORMED if token.split('.').count() != 3 => match self.providers.of_opaque() {
                Some((provider, introspection)) => introspection.user(token, provider).await,
                None => Err(refusal),
            },
            _ => Err(refusal),
        }
    }

    /// The same as [`Auth::verify`], but not again for a token that was verified before.
    fn verify_once(&self, token: &str) -> Result<Caller, Refusal> {
        self.providers.verified().get_or_verify(token, |token| self.verify(token).map(Caller::new))
    }

    /// A refusal: the same in the challenge (RFC 6750 §3), for programs, and in the body, for people. `id`: the
    /// request's, if it is known.
    pub fn refuse(&self, refusal: &Refusal, id: Option<&RawValue>) -> HttpResponse {
        let mut response = refusal.respond(id);
        if refusal.status.is_server_error() {
            return response; // another token would not help
        }
        let mut params = self.challenge.clone();
        if let Some(error) = refusal.error {
            // Nothing that would end the quotes, or is not ASCII (RFC 6750 §3).
            let allowed = |c| matches!(c, ' '..='~') && c != '"' && c != '\\';
            let description: String = refusal.words().chars().map(|c| if allowed(c) { c } else { '\'' }).collect();
            params.push(format!("error=\"{error}\""));
            params.push(format!("error_description=\"{description}\""));
        }
        let challenge = format!("Bearer {}", params.join(", "));
        if let Ok(challenge) = challenge.trim_end().parse() {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The person behind a request. Only verified claims make one, so a handler that takes a `Caller`
/// cannot be reached without a valid token.
#[derive(Clone)]
pub struct Caller(Arc<(Claims, Naming)>);

impl Caller {
    pub fn new(claims: Claims) -> Self {
        let naming = Naming::new(&claims);
        Caller(Arc::new((claims, naming)))
    }

    /// How answers name this person.
    pub fn naming(&self) -> &Naming {
        &self.0.1
    }
}

impl Deref for Caller {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0.0
    }
}

impl FromRequest for Caller {
    type Error = HttpError;
    type Future = std::future::Ready<Result<Self, HttpError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = req.extensions().get::<Caller>().cloned();
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
    let caller = match auth.user(req.headers()).await {
        Ok(caller) => caller,
        Err(refusal) => return Ok(req.into_response(refusal).map_into_right_body()),
    };
    req.extensions_mut().insert(LogUser(caller.username().to_owned()));
    req.extensions_mut().insert(caller.clone());
    let mut response = next.call(req).await?.map_into_left_body();
    caller.naming().put_into(response.headers_mut());
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
