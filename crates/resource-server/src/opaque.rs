//! Asks about opaque tokens, within limits. The issuer's answer is remembered for a minute at most, since only asking
//! again shows that a token was revoked. Few requests are under way at once; a caller that waits too long is told to
//! try again. Tokens that were good before have a queue of their own, so that a flood of invented tokens delays only
//! new ones.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use chrono::Utc;
use oauth::token_cache::{DigestCache, Weighed, digest_cache};
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    caller::Caller,
    introspection::Introspection,
    json::Members,
    provider::{LEEWAY, Provider},
    refusal::Refusal,
};

/// How many good tokens are remembered.
const CAPACITY: usize = 10_000;
/// How long a good token is accepted without asking again (but not beyond its own end), and how long a bad one is
/// refused.
const GOOD: Duration = Duration::from_mins(1);
const BAD: Duration = Duration::from_mins(1);
/// How long to wait before the next try if the issuer did not answer.
const FAILED: Duration = Duration::from_secs(1);
/// How many new tokens may turn out bad at once, and after how long one more may. So invented tokens cost the issuer
/// ten requests a second, however many come. Good tokens do not count.
const BURST: u32 = 50;
const REFILL: Duration = Duration::from_millis(100);
/// How many tokens are asked about at once, in each of the two queues, and how long others wait for their turn.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a request waits in all, for its turn and for the answer.
const LONGEST: Duration = Duration::from_secs(8);

/// What is known of one issuer's opaque tokens.
pub struct OpaqueTokens {
    introspection: Introspection,
    known: DigestCache<Known>,
    /// Tokens that were good when they were asked about last. No flood of others drives one out.
    regulars: Cache<[u8; 32], ()>,
    newcomers: Mutex<Allowance>,
    newcomers_turn: Semaphore,
    regulars_turn: Semaphore,
}

/// What the issuer said about a token, and until when we rely on it.
#[derive(Clone)]
struct Known {
    until: Instant,
    outcome: Result<Caller, Refusal>,
}

/// How many new tokens may still turn out bad.
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn take(&mut self) -> bool {
        let earned = self.since.elapsed().as_nanos() / REFILL.as_nanos();
        if let Some(earned) = u32::try_from(earned).ok().filter(|earned| *earned < BURST) {
            self.since += REFILL * earned;
            self.left = BURST.min(self.left + earned);
        } else {
            (self.since, self.left) = (Instant::now(), BURST);
        }
        self.left.checked_sub(1).inspect(|left| self.left = *left).is_some()
    }

    fn give_back(&mut self) {
        self.left = BURST.min(self.left + 1);
    }
}

impl OpaqueTokens {
    /// None is known yet.
    pub fn new(introspection: Introspection) -> Self {
        OpaqueTokens {
            introspection,
            known: digest_cache(),
            regulars: Cache::new(CAPACITY),
            newcomers: Mutex::new(Allowance { left: BURST, since: Instant::now() }),
            newcomers_turn: Semaphore::new(AT_ONCE),
            regulars_turn: Semaphore::new(AT_ONCE),
        }
    }

    /// The person for whom an opaque token of this issuer speaks.
    ///
    /// # Errors
    /// If the issuer does not vouch for it, or cannot be asked.
    pub async fn caller(&self, token: &str, provider: &Provider) -> Result<Caller, Refusal> {
        let found = timeout(LONGEST, self.find(token, provider)).await;
        found
            .unwrap_or_else(|_| Err(unavailable("The identity provider took too long to say what the token is worth.")))
    }

    async fn find(&self, token: &str, provider: &Provider) -> Result<Caller, Refusal> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        loop {
            // Of several requests with the same token, one asks and the others wait for what it learns.
            match self.known.get_value_or_guard_async(&key).await {
                Ok(known) if Instant::now() < known.value.until => return known.value.outcome,
                Ok(_) => drop(self.known.remove_if(&key, |known| known.value.until <= Instant::now())),
                Err(guard) => {
                    let regular = self.regulars.get(&key).is_some();
                    let turn = if regular { &self.regulars_turn } else { &self.newcomers_turn };
                    let Ok(Ok(_permit)) = timeout(PATIENCE, turn.acquire()).await else {
                        return Err(unavailable("Too many tokens are being asked about."));
                    };
                    if !regular && !self.newcomers().take() {
                        return Err(unavailable("Too many tokens have turned out bad lately."));
                    }
                    let known = self.ask(token, provider).await;
                    match &known.outcome {
                        Ok(_) => {
                            self.regulars.insert(key, ());
                            if !regular {
                                self.newcomers().give_back();
                            }
                        }
                        Err(refusal) if refusal.is_ours() => {} // nothing is known of it
                        Err(_) => drop(self.regulars.remove(&key)),
                    }
                    let claims = known.outcome.as_deref().ok();
                    let _ = guard.insert(Weighed::new(known.clone(), token, claims));
                    return known.outcome;
                }
            }
        }
    }

    fn newcomers(&self) -> MutexGuard<'_, Allowance> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, token: &str, provider: &Provider) -> Known {
        let outcome = match self.introspection.ask(token, provider.keys.metadata().as_deref()).await {
            Ok(body) => judge(&body, provider),
            Err(problem) => {
                tracing::warn!(issuer = provider.issuer, "introspection failed: {problem}");
                Err(unavailable("The identity provider could not be asked about the token."))
            }
        };
        Known { until: Instant::now() + lifetime(&outcome, chrono::Utc::now().timestamp()), outcome }
    }
}

/// For how long we rely on the issuer's answer, at this time in seconds since 1970.
fn lifetime(outcome: &Result<Caller, Refusal>, now: i64) -> Duration {
    match outcome {
        Ok(caller) => {
            let left = caller.exp.seconds().saturating_sub(now);
            Duration::from_secs(left.try_into().unwrap_or(0)).clamp(Duration::from_secs(1), GOOD)
        }
        Err(refusal) if refusal.is_ours() => FAILED,
        Err(_) => BAD,
    }
}

fn unavailable(description: &str) -> Refusal {
    Refusal::unavailable("introspection_unavailable", format!("{description} Try again in a moment."), 1)
}

/// Judges the answer (RFC 7662 §2.2) by the checks for a JWT, except for the signature: the connection takes its place.
fn judge(body: &[u8], provider: &Provider) -> Result<Caller, Refusal> {
    let malformed = |what: &str| {
        Refusal::token("introspection_malformed", format!("The identity provider's answer is malformed: {what}."))
    };
    let mut members: Members =
        serde_json::from_slice(body).map_err(|_| malformed("it is not a JSON object, or has a member twice"))?;
    // Some issuers write null for a member that they do not have.
    members.0.retain(|_, value| !value.is_null());
    let member = |name: &str| members.0.get(name);
    match member("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            return Err(Refusal::token("token_inactive", "The token is unknown, has expired or was revoked."));
        }
        _ => return Err(malformed("active is neither true nor false")),
    }
    let [exp, nbf] = ["exp", "nbf"].map(|name| match member(name) {
        None => Ok(None),
        Some(date) => date.as_f64().map(Some).ok_or_else(|| malformed(&format!("{name} is not a number"))),
    });
    let (exp, nbf) = (exp?, nbf?);
    match member("token_type").map(Value::as_str) {
        None => {}
        Some(Some(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(Some(kind)) if kind.eq_ignore_ascii_case("DPoP") => return Err(Refusal::token_bound()),
        Some(Some(_)) => return Err(Refusal::other_type()),
        Some(None) => return Err(malformed("token_type is not a string")),
    }
    if members.0.get("iss").is_some_and(|iss| iss.as_str() != Some(&provider.issuer)) {
        return Err(Refusal::token("issuer_unknown", "The token is from another issuer (iss)."));
    }
    members.0.insert("iss".to_owned(), json!(provider.issuer));
    let audience = members.0.get("aud").cloned();
    let ours = |value: &Value| value.as_str().is_some_and(|aud| provider.audience.iter().any(|ours| ours == aud));
    let fits = match &audience {
        Some(Value::Array(values)) => values.iter().any(ours),
        Some(value) => ours(value),
        None => false,
    };
    if !fits {
        return Err(provider.wrong_audience(audience.as_ref()));
    }
    #[allow(clippy::cast_precision_loss)] // seconds
    let (now, leeway) = (Utc::now().timestamp() as f64, LEEWAY as f64);
    if exp.is_some_and(|exp| exp + leeway <= now) {
        return Err(Refusal::token("expired", "The token has expired (exp)."));
    }
    if nbf.is_some_and(|nbf| nbf > now + leeway) {
        return Err(Refusal::token("not_yet_valid", "The token is not valid yet (nbf)."));
    }
    if !members.0.contains_key("sub") {
        let description = "The identity provider does not say whom the token is about (sub).";
        return Err(Refusal::token("claim_malformed", description));
    }
    // An issuer that does not say until when is asked again in a minute.
    members.0.entry("exp").or_insert_with(|| json!(now + GOOD.as_secs_f64()));
    provider.claims(members).map(Caller::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_token_is_good_for_a_minute_at_most() {
        let caller = |exp: f64| {
            let claims = json!({ "iss": "", "aud": "", "sub": "alice", "exp": exp });
            Caller::new(serde_json::from_value(claims).unwrap())
        };
        for (exp, seconds) in [(4e9, 60), (1_000_061.0, 60), (1_000_020.0, 20), (1_000_000.0, 1), (1.0, 1)] {
            assert_eq!(lifetime(&Ok(caller(exp)), 1_000_000), Duration::from_secs(seconds), "{exp}");
        }
        let bad = Refusal::token("token_inactive", "");
        assert_eq!(lifetime(&Err(bad), 0), Duration::from_mins(1), "it is asked about again, but not soon");
        assert_eq!(lifetime(&Err(unavailable("")), 0), Duration::from_secs(1));
    }

    #[test]
    fn newcomers_that_turn_out_bad_are_limited_and_good_ones_are_not() {
        let mut allowance = Allowance { left: BURST, since: Instant::now() };
        for _ in 0..10 * BURST {
            assert!(allowance.take());
            allowance.give_back();
        }
        let bad = (0..10 * BURST).filter(|_| allowance.take()).count();
        assert!((49..=60).contains(&bad), "{bad}");
        let later = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        for (seconds, more) in [(1, 10..=11), (5, 50..=51), (3600, 50..=51)] {
            let mut allowance = Allowance { left: 0, since: later(seconds) };
            let more_taken = (0..10 * BURST).filter(|_| allowance.take()).count();
            assert!(more.contains(&more_taken), "{more_taken} after {seconds} s");
        }
    }
}
