//! Errors for people: why a request was refused, as a sentence with what to do, as a code to search for. What it becomes
//! on the wire: see `answer.rs`.

/// Refusals that lead to another try before they become an answer.
pub const TOKEN_MALFORMED: &str = "token_malformed";
pub const KEY_UNKNOWN: &str = "key_unknown";
pub const KEYS_MISSING: &str = "keys_missing";
pub const KEY_AMBIGUOUS: &str = "key_ambiguous";
pub const ALGORITHM_OTHER: &str = "algorithm_other";
pub const SIGNATURE_WRONG: &str = "signature_wrong";

/// A refusal that is not yet an answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The code of RFC 6750 §3.1, if there is one for it.
    pub error: Option<&'static str>,
    /// Our own code, which is finer.
    pub reason: &'static str,
    /// A sentence for people. Nothing of the token is in it.
    pub description: String,
    /// What to do about it; may be empty.
    pub advice: String,
    /// For the log only: the part of the token that did not fit, quoted and shortened.
    pub detail: String,
    /// After how many seconds it is worth trying again.
    pub retry_after: Option<u64>,
    /// The scope that the challenge names instead of the basic ones.
    pub scope: Option<String>,
}

impl Refusal {
    /// A refusal without advice.
    pub fn new(status: u16, error: Option<&'static str>, reason: &'static str, description: impl Into<String>) -> Self {
        let (advice, detail) = (String::new(), String::new());
        Refusal {
            status,
            error,
            reason,
            description: description.into(),
            advice,
            detail,
            retry_after: None,
            scope: None,
        }
    }

    /// There is no token: 401.
    pub(crate) fn token_missing() -> Self {
        Self::new(401, None, "token_missing", "This needs an access token.")
    }

    /// A token that fails: 401 `invalid_token`.
    pub fn token(reason: &'static str, description: impl Into<String>) -> Self {
        Self::new(401, Some("invalid_token"), reason, description)
    }

    /// It is not the token's fault: 503.
    pub fn unavailable(reason: &'static str, description: impl Into<String>, retry_after: u64) -> Self {
        let refusal = Self::new(503, Some("temporarily_unavailable"), reason, description);
        Refusal { retry_after: Some(retry_after.max(1)), ..refusal }
    }

    /// A refusal that no other token of this person would cure: 403.
    pub fn forbidden(reason: &'static str, description: impl Into<String>) -> Self {
        Self::new(403, Some("forbidden"), reason, description)
    }

    /// A client that the person has not given the scopes to (RFC 6750 §3.1; MCP 2026-07-28 "Scope Challenge Handling"):
    /// 403, and all that the operation needs, granted or not, since a client may ask for exactly this. Of each list,
    /// none of which is empty, one scope is enough.
    pub fn insufficient_scope(needed: &[&[&str]]) -> Self {
        let mut needed = needed.to_vec();
        needed.dedup();
        let sentence: Vec<_> = needed.iter().map(|scopes| scopes.join(" or ")).collect();
        let description = format!("This needs the scope {}.", sentence.join(" and "));
        let refusal = Self::new(403, Some("insufficient_scope"), "scope_missing", description);
        let scope: Vec<_> = needed.iter().filter_map(|scopes| scopes.first().copied()).collect();
        Refusal { scope: Some(scope.join(" ")), ..refusal }
    }

    /// A payload that cannot be read.
    pub fn malformed() -> Self {
        let description = "The token's payload cannot be read: it is not JSON, or has a member twice.";
        Refusal::token("claim_malformed", description)
    }

    /// A claim of the wrong type. The message names the claim, but not its value. `place` is a name of ours or of the
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

    /// A token that is good only with a proof of possession, which this server does not check (RFC 9449 §7.2, RFC 8705
    /// §3).
    pub fn token_bound() -> Self {
        let description = "The token is bound to a key of its client (cnf: DPoP or mutual TLS), and this server takes \
            bearer tokens only. Have the provider issue it unbound.";
        Self::token("token_bound", description)
    }

    /// Whether another token could help. It cannot while the fault is on our side.
    pub fn is_ours(&self) -> bool {
        self.status >= 500
    }

    /// Says what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: &str) -> Self {
        advice.clone_into(&mut self.advice);
        self
    }

    /// What people are told: what is wrong, and what to do about it.
    pub fn words(&self) -> String {
        format!("{} {}", self.description, self.advice).trim_end().to_owned()
    }

    /// Adds what the token said, for the log only.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let short: String = value.chars().take(200).collect();
        let space = if self.detail.is_empty() { "" } else { " " };
        self.detail = format!("{}{space}{name}={short:?}", self.detail);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_learns_of_all_the_scopes_that_a_call_needs() {
        let rows: [(&[&[&str]], &str, &str); 3] = [
            (&[&["a", "b"]], "a", "This needs the scope a or b."),
            (&[&["a"], &["a"]], "a", "This needs the scope a."),
            (&[&["a"], &["b", "c"]], "a b", "This needs the scope a and b or c."),
        ];
        for (needed, scope, sentence) in rows {
            let refusal = Refusal::insufficient_scope(needed);
            assert_eq!((refusal.scope.as_deref(), &*refusal.description), (Some(scope), sentence));
        }
    }
}
