//! One task for each issuer fetches its keys, and a request never does (RFC 7517 §5). So a request whose key is known
//! never waits, and a client that goes away interrupts no fetch. A fetched set is judged key by key
//! ([`KeySet::parse`]), and an unusable entry changes nothing: a key goes when its issuer does not list it any more,
//! when its private half is published, or when nobody has confirmed it for `max_stale`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use oauth::{fetch::lifetime, jwks::KeySet};
use tokio::time::sleep_until;

use crate::{
    discovery::{self, Metadata},
    fetch::{self, Problem},
    keys::{Keys, Remote},
};

/// How long keys are kept if the issuer does not say.
const USUAL: Duration = Duration::from_mins(5);

impl Keys {
    /// Fetches, now and whenever it is time, until the program ends. `on_loss` is called when a key has gone.
    pub async fn run(self: Arc<Self>, on_loss: impl Fn() + Send + Sync) {
        let Some(remote) = &self.remote else { return };
        let times = &remote.times;
        let mut failures = 0_u32;
        loop {
            self.status.send_modify(|status| status.fetching = true);
            let _ = self.wanted.notified().now_or_never(); // requests until now are answered by this fetch
            let outcome = self.fetch(remote).await;
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            let (pause, problem) = match &outcome {
                Ok(fetched) => (fetched.lifetime, fetched.problem),
                Err(problem) => (times.retry_after(failures), Some(*problem)),
            };
            let (now, mut news, mut gone) = (Instant::now(), false, false);
            self.status.send_modify(|status| {
                news = status.problem.is_some() || status.fetched.is_none();
                if let Ok(fetched) = outcome {
                    gone = status.accept(fetched.set, Some(now + times.max_stale));
                    status.fetched = Some(now);
                }
                status.problem = problem;
                status.earliest = Some(now + times.cooldown);
            });
            if gone {
                on_loss();
                tracing::info!(issuer = remote.issuer, "a key of the issuer is not accepted any more");
            }
            match problem {
                Some(problem) => {
                    tracing::warn!(issuer = remote.issuer, "the keys could not be renewed as usual: {problem}");
                }
                None if news => tracing::info!(issuer = remote.issuer, "the issuer's keys are here"),
                None => {}
            }
            // Waiting requests go on only when all of this is done.
            self.status.send_modify(|status| {
                status.fetching = false;
                status.finished += 1;
            });
            self.rest(now + pause.max(times.cooldown), now + times.cooldown, &on_loss).await;
        }
    }

    /// Waits until `next`; or, if an unknown key turns up, until `earliest`. Keys that get too old meanwhile go.
    async fn rest(&self, next: Instant, earliest: Instant, on_loss: &(impl Fn() + Send + Sync)) {
        let mut until = next;
        loop {
            let stale = self.status.borrow().keys.iter().filter_map(|key| key.until).min();
            tokio::select! {
                () = sleep_until(until.into()) => return,
                () = self.wanted.notified(), if until != earliest => until = earliest,
                () = sleep_until(stale.unwrap_or(until).into()), if stale.is_some() => {
                    let now = Instant::now();
                    self.status.send_modify(|status| status.keys.retain(|key| key.is_good(now)));
                    on_loss();
                    tracing::warn!("keys that were not confirmed for too long are not accepted any more");
                }
            }
        }
    }

    async fn fetch(&self, remote: &Remote) -> Result<Fetched, Problem> {
        let (metadata, problem) = self.find_metadata(remote).await?;
        let Some(uri) = &metadata.jwks_uri else {
            let nothing = Fetched { set: KeySet::default(), lifetime: USUAL, problem };
            return if remote.opaque { Ok(nothing) } else { Err(Problem::NoJwksUri) };
        };
        let uri = fetch::named_url(uri, &remote.url).ok_or(Problem::ForbiddenUrl("jwks_uri"))?;
        let (headers, body) = fetch::get(&remote.http, uri).await?;
        let set = KeySet::parse(&body)?;
        let unfit = (set.keys.is_empty() && !remote.opaque).then_some(Problem::NoUsableKey);
        // A set without any key is more likely an error than intended.
        if let Some(problem) = unfit.filter(|_| !set.names_keys) {
            return Err(problem);
        }
        let problem = unfit.or(problem);
        let lifetime =
            remote.times.keep(if problem.is_some() { Duration::ZERO } else { lifetime(&headers).unwrap_or(USUAL) });
        Ok(Fetched { set, lifetime, problem })
    }

    /// The metadata, which is read again once an hour and after a failure; and what went wrong with that. While it is
    /// unavailable, keys are still fetched from their last known URL, but not for longer than `max_stale`.
    async fn find_metadata(&self, remote: &Remote) -> Result<(Arc<Metadata>, Option<Problem>), Problem> {
        let known = {
            let status = self.status.borrow();
            let age = status.metadata_at.map_or(Duration::MAX, |at| at.elapsed());
            match &status.metadata {
                Some(metadata) if age < remote.times.metadata_age() && status.problem.is_none() => {
                    return Ok((metadata.clone(), None));
                }
                known => known.clone().filter(|_| age < remote.times.max_stale),
            }
        };
        match discovery::discover(&remote.http, &remote.issuer, &remote.url).await {
            Ok((metadata, _)) => {
                let metadata = Arc::new(metadata);
                self.status.send_modify(|status| {
                    (status.metadata, status.metadata_at) = (Some(metadata.clone()), Some(Instant::now()));
                });
                Ok((metadata, None))
            }
            Err(problem) => {
                if known.is_none() {
                    self.status.send_modify(|status| status.metadata = None);
                }
                Ok((known.ok_or(problem)?, Some(problem)))
            }
        }
    }
}

/// The result of a fetch, and how long it is valid.
struct Fetched {
    set: KeySet,
    lifetime: Duration,
    /// What was wrong although the set is used.
    problem: Option<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::KeyState, times::Times};

    #[test]
    fn keys_that_should_have_been_renewed_long_ago_are_stale() {
        let second = Duration::from_secs(1);
        let times = Times { cooldown: second, min_age: second, max_age: second * 10, max_stale: second * 100 };
        let url: url::Url = "http://localhost:1".parse().unwrap();
        let http = fetch::client(&url).unwrap();
        let client = Keys::remote(Remote { issuer: String::new(), url, http, times, opaque: true });
        for (age, state) in [(19, KeyState::Ready), (21, KeyState::Stale)] {
            client.status.send_modify(|status| {
                let metadata = serde_json::from_str(r#"{"issuer":""}"#).unwrap();
                status.metadata = Some(Arc::new(metadata));
                status.fetched = Instant::now().checked_sub(second * age);
            });
            assert_eq!(client.report().state, state, "{age}");
        }
    }

    #[test]
    fn the_metadata_is_read_again_within_the_hour() {
        let second = Duration::from_secs(1);
        let times = |max_stale| Times { cooldown: second, min_age: second, max_age: second, max_stale };
        assert_eq!(times(Duration::from_hours(24)).metadata_age(), Duration::from_hours(1));
        assert_eq!(times(second * 4).metadata_age(), second * 2);
    }
}
