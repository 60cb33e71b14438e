//! Errors for people: why a request was refused, as a sentence with what to do, as a code to search for, and with an
//! id that the response and the log share. So whoever is refused can ask whoever runs the server, and neither has to
//! see the token.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue, RETRY_AFTER},
    },
};
use common::http::ErrorBody;
use jsonwebtoken::{dangerous::insecure_decode_claims, errors::ErrorKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{jwks_client::NoKey, providers::Provider};

/// Reasons on which more is tried before they become an answer.
pub const TOKEN_MALFORMED: &str = "token_malformed";
pub const KEY_UNKNOWN: &str = "key_unknown";
pub const KEYS_MISSING: &str = "keys_missing";
pub const KEY_AMBIGUOUS: &str = "key_ambiguous";
pub const ALGORITHM_OTHER: &str = "algorithm_other";
pub const SIGNATURE_WRONG: &str = "signature_wrong";

/// A refusal that is not yet an answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    /// The code of RFC 6750 §3.1, if there is one for it.
    pub error: Option<&'static str>,
    /// Our own code, which is finer.
    pub reason: &'static str,
    /// A sentence for people. Nothing of the token is in it.
    pub description: String,
    /// What to do about it; may be empty.
    pub advice: String,
    /// What only the log is told: what the token said that did not fit, in quotes and not too long.
    pub detail: String,
    /// After how many seconds it is worth trying again.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(
        status: StatusCode,
        error: Option<&'static str>,
        reason: &'static str,
        description: impl Into<String>,
    ) -> Self {
        let (advice, detail) = (String::new(), String::new());
        Refusal { status, error, reason, description: description.into(), advice, detail, retry_after: None }
    }

    /// A token that fails: 401 `invalid_token`.
    pub fn token(reason: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Some("invalid_token"), reason, description)
    }

    /// It is not the token's fault: 503.
    pub fn unavailable(reason: &'static str, description: impl Into<String>, retry_after: u64) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable"), reason, description);
        Refusal { retry_after: Some(retry_after.max(1)), ..refusal }
    }

    /// A refusal that no other token of this person would cure: 403.
    pub fn forbidden(reason: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Some("forbidden"), reason, description)
    }

    /// A claim of the wrong type, or no JWT at all.
    pub fn malformed() -> Self {
        Refusal::token("claim_malformed", "The token is malformed, or a claim has the wrong type.")
    }

    /// A token for something else, such as an ID token.
    pub fn other_type() -> Self {
        Self::token("typ_other", "The token is not an access token: its typ is another.")
    }

    /// A token that is good only with a proof of possession, which is not looked at here (RFC 9449 §7.2, RFC 8705 §3).
    pub fn token_bound() -> Self {
        let description = "The token is bound to a key of its client (cnf: DPoP or mutual TLS), and this server takes \
            bearer tokens only. Have the provider issue it unbound.";
        Self::token("token_bound", description)
    }

    /// Nobody's token can be checked now.
    pub fn no_keys_yet() -> Self {
        let description =
            "The keys of the identity provider are not here yet; /health says why. Try again in a moment.";
        Refusal::unavailable(KEYS_MISSING, description, 5)
    }

    /// There is no key to check a token of this issuer with.
    pub fn no_key(provider: &Provider, why: NoKey) -> Self {
        let refusal = match why {
            NoKey::NoKeys => return Self::no_keys_yet().with("iss", &provider.issuer),
            NoKey::Unknown => Refusal::token(KEY_UNKNOWN, "The token was signed with an unknown key (kid)."),
            NoKey::Ambiguous => Refusal::token(KEY_AMBIGUOUS, "The token names no key (kid), and several would fit."),
            NoKey::Algorithm => {
                Refusal::token(ALGORITHM_OTHER, "The token is not signed with an algorithm (alg) that its key is for.")
            }
        };
        refusal.with("iss", &provider.issuer)
    }

    /// Which check failed, and what to do. The signature is checked first, so from then on the claims are the issuer's.
    pub fn of(kind: &ErrorKind, token: &str, provider: &Provider) -> Self {
        let Ok(claims) = unverified(token) else { return Self::malformed() };
        #[allow(clippy::cast_possible_truncation)] // it saturates
        let off = |date: Option<serde_json::Number>| {
            let date = date.and_then(|date| date.as_f64()).unwrap_or_default() as i64;
            chrono::Utc::now().timestamp().saturating_sub(date).unsigned_abs()
        };
        let refusal = match kind {
            ErrorKind::ExpiredSignature => {
                let description = format!(
                    "The token has expired (exp), {} s ago. Ask for a new one; if it is new, the clocks differ.",
                    off(claims.exp)
                );
                Refusal::token("expired", description)
            }
            ErrorKind::ImmatureSignature => {
                let description = format!(
                    "The token is not valid yet (nbf), but in {} s. The clocks of the provider and of this server differ.",
                    off(claims.nbf)
                );
                Refusal::token("not_yet_valid", description)
            }
            ErrorKind::InvalidAudience => return provider.wrong_audience(claims.aud.as_ref()),
            ErrorKind::MissingRequiredClaim(_) if claims.aud.is_none() => return provider.wrong_audience(None),
            // That is said of claims of the wrong type as well.
            ErrorKind::MissingRequiredClaim(name) if claims.has(name) => Self::malformed(),
            ErrorKind::InvalidSignature => Refusal::token(SIGNATURE_WRONG, "The token's signature is wrong."),
            ErrorKind::InvalidAlgorithm => return Self::no_key(provider, NoKey::Algorithm),
            ErrorKind::MissingRequiredClaim(_) => {
                Refusal::token("claim_missing", "The token lacks one of iss, aud, exp, sub.")
            }
            _ => Self::malformed(),
        };
        refusal.with("iss", &provider.issuer)
    }

    /// Says what to do about it.
    pub fn advise(mut self, advice: &str) -> Self {
        advice.clone_into(&mut self.advice);
        self
    }

    /// What people are told: what is wrong, and what to do about it.
    pub fn words(&self) -> String {
        format!("{} {}", self.description, self.advice).trim_end().to_owned()
    }

    /// Adds what the token said, for the log only.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let short: String = value.chars().take(200).collect();
        let space = if self.detail.is_empty() { "" } else { " " };
        self.detail = format!("{}{space}{name}={short:?}", self.detail);
        self
    }

    /// The answer, which the log knows by its correlation id. `id`: the request's, if it is known.
    pub fn respond(&self, id: Option<&RawValue>) -> HttpResponse {
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let (reason, detail, words) = (self.reason, &self.detail, self.words());
        tracing::info!(correlation_id, reason, "refused: {words} {detail}");
        let body = ErrorBody {
            error: self.error.unwrap_or("unauthorized"),
            error_description: &words,
            reason: Some(reason),
            correlation_id: Some(&correlation_id),
            advice: Some(&*self.advice).filter(|advice| !advice.is_empty()),
        };
        let mut response = body.on_mcp(self.status, id);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&correlation_id) {
            headers.insert(HeaderName::from_static("x-correlation-id"), id);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What the payload says of itself. Nothing of it is believed.
#[derive(Deserialize)]
pub struct Unverified {
    #[serde(default)]
    pub iss: Option<String>,
    #[serde(default)]
    aud: Option<serde_json::Value>,
    #[serde(default)]
    exp: Option<serde_json::Number>,
    #[serde(default)]
    nbf: Option<serde_json::Number>,
    #[serde(default)]
    sub: Option<serde_json::Value>,
}

impl Unverified {
    fn has(&self, name: &str) -> bool {
        match name {
            "aud" => self.aud.is_some(),
            "exp" => self.exp.is_some(),
            "sub" => self.sub.is_some(),
            _ => false,
        }
    }
}

pub fn unverified(token: &str) -> Result<Unverified, Refusal> {
    insecure_decode_claims(token).map_err(|_| Refusal::malformed())
}
