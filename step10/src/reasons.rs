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
use common::{http::ErrorBody, requests::LogRefusal};
use jsonwebtoken::{dangerous::insecure_decode_claims, errors::ErrorKind};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    fetch::Problem,
    jwks_client::NoKey,
    providers::{Provider, Unique, mistyped},
};

/// Reasons on which more is tried before they become an answer.
pub const TOKEN_MALFORMED: &str = "token_malformed";
pub const KEY_UNKNOWN: &str = "key_unknown";
pub const KEYS_MISSING: &str = "keys_missing";
pub const KEY_AMBIGUOUS: &str = "key_ambiguous";
pub const ALGORITHM_OTHER: &str = "algorithm_other";
pub const SIGNATURE_WRONG: &str = "signature_wrong";

/// After how many seconds to try again where somebody has to change something first.
const LATER: u64 = 60;

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

    /// A payload that cannot be read.
    pub fn malformed() -> Self {
        let description = "The token's payload cannot be read: it is not JSON, or has a member twice.";
        Refusal::token("claim_malformed", description)
    }

    /// A claim of the wrong type: which one is said, and not what is in it. `place` is a name of ours or of the
    /// profile's, and empty if it is not known.
    pub fn mistyped(place: &str) -> Self {
        let description = match place {
            "" => "A claim of the token has the wrong type.".to_owned(),
            place => format!("The token's claim {place} has the wrong type."),
        };
        Refusal::token("claim_malformed", description)
    }

    /// A token for something else, such as an ID token.
    pub fn other_type() -> Self {
        Self::token(
            "typ_other",
            "The token is not an access token: by its typ, or by claims that only ID tokens have (at_hash, c_hash), it is another kind. Send the access token.",
        )
    }

    /// A token that is good only with a proof of possession, which is not looked at here (RFC 9449 §7.2, RFC 8705 §3).
    pub fn token_bound() -> Self {
        let description = "The token is bound to a key of its client (cnf: DPoP or mutual TLS), and this server takes \
            bearer tokens only. Have the provider issue it unbound.";
        Self::token("token_bound", description)
    }

    /// Nobody's token can be checked now. `problem`: why there are no keys, as far as that is known.
    pub fn no_keys(problem: Option<Problem>) -> Self {
        let (description, retry_after) = match problem {
            Some(Problem::NoUsableKey) => {
                let description = "No key of the set that the identity provider publishes can be used; /health and \
                    the command doctor say why. It takes a change there.";
                (description, LATER)
            }
            Some(problem) if !problem.may_pass() => {
                let description = "The identity provider's keys cannot be found as it is configured; /health and the \
                    command doctor say why. It takes a change there, or here.";
                (description, LATER)
            }
            _ => ("The keys of the identity provider are not here yet; /health says why. Try again in a moment.", 5),
        };
        Refusal::unavailable(KEYS_MISSING, description, retry_after)
    }

    /// There is no key to check a token of this issuer with.
    pub fn no_key(provider: &Provider, why: NoKey) -> Self {
        let refusal = match why {
            NoKey::NoKeys(problem) => Self::no_keys(problem),
            NoKey::Unknown => Refusal::token(KEY_UNKNOWN, "The token was signed with an unknown key (kid)."),
            NoKey::SameName => {
                let description = "The identity provider publishes several different keys by the name (kid) that the \
                    token has, so none of them is used: it has to give each key a name of its own.";
                if provider.keys.has_keys() {
                    Refusal::token(KEY_AMBIGUOUS, description)
                } else {
                    // Nobody's token of this issuer can be checked.
                    Refusal::unavailable(KEY_AMBIGUOUS, description, LATER)
                }
            }
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
        let off = |name: &str| {
            let date = claims.get(name).and_then(Value::as_f64).unwrap_or_default() as i64;
            chrono::Utc::now().timestamp().saturating_sub(date).unsigned_abs()
        };
        let aud = claims.get("aud");
        let signed = !matches!(kind, ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm);
        if let Some(name) = mistyped(&claims).filter(|_| signed) {
            return Self::mistyped(name).with("iss", &provider.issuer);
        }
        let refusal = match kind {
            ErrorKind::ExpiredSignature => {
                let description = format!(
                    "The token has expired (exp), {} s ago. Ask for a new one; if it is new, the clocks differ.",
                    off("exp")
                );
                Refusal::token("expired", description)
            }
            ErrorKind::ImmatureSignature => {
                let description = format!(
                    "The token is not valid yet (nbf), but in {} s. The clocks of the provider and of this server differ.",
                    off("nbf")
                );
                Refusal::token("not_yet_valid", description)
            }
            ErrorKind::InvalidAudience => return provider.wrong_audience(aud),
            ErrorKind::MissingRequiredClaim(_) if aud.is_none() => return provider.wrong_audience(None),
            // That is said of dates beyond all bounds as well.
            ErrorKind::MissingRequiredClaim(name) if claims.contains_key(name) => Self::mistyped(name),
            ErrorKind::InvalidClaimFormat(name) => Self::mistyped(name),
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
        let (reason, words) = (self.reason, self.words());
        let body = ErrorBody {
            error: self.error.unwrap_or("unauthorized"),
            error_description: &words,
            reason: Some(reason),
            correlation_id: Some(&correlation_id),
            advice: Some(&*self.advice).filter(|advice| !advice.is_empty()),
        };
        let mut response = body.on_mcp(self.status, id);
        let detail = format!("{words} {}", self.detail).trim_end().to_owned();
        response.extensions_mut().insert(LogRefusal { reason, detail });
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
///
/// # Errors
/// If it is not JSON, or has a member twice.
pub fn unverified(token: &str) -> Result<Map<String, Value>, Refusal> {
    match insecure_decode_claims(token).map_err(|_| Refusal::malformed())? {
        Unique(Value::Object(members)) => Ok(members),
        Unique(_) => Ok(Map::new()),
    }
}
