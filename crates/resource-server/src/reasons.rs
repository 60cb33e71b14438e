//! Which check a token failed, said so that people know what to do.

use chrono::Utc;
use jsonwebtoken::errors::ErrorKind;
use serde_json::Value;

use crate::{
    fetch::Problem,
    json::unverified,
    keys::NoKey,
    provider::Provider,
    reading::mistyped,
    refusal::{ALGORITHM_OTHER, KEY_AMBIGUOUS, KEY_UNKNOWN, KEYS_MISSING, Refusal, SIGNATURE_WRONG},
};

/// After how many seconds to try again where somebody has to change something first.
const LATER: u64 = 60;

impl Refusal {
    /// No token can be checked now. `problem`: why there are no keys, if known.
    pub fn no_keys(problem: Option<Problem>) -> Self {
        let (description, retry_after) = match problem {
            Some(Problem::NoUsableKey) => {
                let description = "No key of the set that the identity provider publishes can be used; the \
                    server's log says why. It takes a change there.";
                (description, LATER)
            }
            Some(problem) if !problem.may_pass() => {
                let description = "The identity provider's keys cannot be found as it is configured; the server's \
                    log says why. It takes a change there, or here.";
                (description, LATER)
            }
            _ => {
                let description = "The keys of the identity provider are not here yet. Try again in a moment; if that \
                    does not help, the server's log says why.";
                (description, 5)
            }
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
                    // No token of this issuer can be checked.
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
        let Some(claims) = unverified(token) else { return Self::malformed() };
        #[allow(clippy::cast_possible_truncation)] // it saturates
        let off = |name: &str| {
            let date = claims.get(name).and_then(Value::as_f64).unwrap_or_default() as i64;
            Utc::now().timestamp().saturating_sub(date).unsigned_abs()
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
            // Dates beyond all bounds get the same message.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_a_refusal_leads_to_what_every_program_has() {
        for problem in [None, Some(Problem::Unreachable), Some(Problem::NotJson), Some(Problem::NoUsableKey)] {
            let description = Refusal::no_keys(problem).description;
            assert!(description.contains("the server's log says why"), "{description}");
        }
    }
}
