//! A token names a key that we do not know. Its issuer may have made the key since, or the name is invented. So such
//! requests share one fetch, and after it comes a cool-down without a fetch: no number of requests can cause more than
//! one fetch in each cool-down.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::keys::Keys;

/// How long a request with an unknown key waits for a fetch under way.
const PATIENCE: Duration = Duration::from_secs(5);

impl Keys {
    /// Asks for a fetch because of an unknown key, and waits for it if it is under way or can start now: then the
    /// answer is `None`. During the cool-down nobody waits: the answer is how long it still lasts, at the end of which
    /// there will be a fetch.
    pub async fn look_again(&self) -> Option<Duration> {
        let remote = self.remote.as_ref()?;
        let mut watched = self.status.subscribe();
        let finished = {
            let status = watched.borrow_and_update();
            if !status.fetching {
                self.wanted.notify_one(); // while the status is held, so that no fetch starts meanwhile
                let wait = status.earliest.map(|earliest| earliest.saturating_duration_since(Instant::now()));
                if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                    return Some(wait);
                }
            }
            status.finished
        };
        match timeout(PATIENCE, watched.wait_for(|status| status.finished > finished)).await {
            Ok(_) => None,
            Err(_) => Some(remote.times.cooldown),
        }
    }

    /// Asks for a fetch as well, but waits for nothing: a key is known, and might just not be the issuer's latest.
    pub fn look_again_later(&self) {
        let status = self.status.borrow();
        if !status.fetching {
            self.wanted.notify_one();
        }
    }

    /// Waits until the first fetch has ended, well or not.
    pub async fn tried(&self) {
        if self.remote.is_some() {
            let _ = self.status.subscribe().wait_for(|status| status.finished > 0).await;
        }
    }
}
