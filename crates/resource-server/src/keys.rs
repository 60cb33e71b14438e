//! The keys of one issuer, as requests see them: they look, and never fetch. One task fetches (`renewal.rs`).

use std::{ops::Deref, sync::Arc, time::Instant};

use jsonwebtoken::Algorithm;
use oauth::{fetch::Fetcher, jwk::Key, jwks::KeySet};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use url::Url;

use crate::{discovery::Metadata, fetch::Problem, times::Times};

/// Why there is no key to check a token with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The issuer has none at all: none was fetched yet, or the last were too old.
    NoKeys(Option<Problem>),
    /// It has none of this `kid`.
    Unknown,
    /// Its key set has several different keys for this `kid` and algorithm.
    SameName,
    /// The token names none, and several different keys would fit.
    Ambiguous,
    /// It has, but not for this algorithm.
    Algorithm,
}

/// A key, and until when it is good if nobody confirms it. Our own needs no confirmation.
#[derive(Clone)]
pub struct Known {
    key: Key,
    pub until: Option<Instant>,
}

impl Known {
    pub fn is_good(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Deref for Known {
    type Target = Key;

    fn deref(&self) -> &Key {
        &self.key
    }
}

/// What is known of an issuer now. Replaced as a whole; requests that wait for a change watch it.
#[derive(Default)]
pub struct Status {
    pub keys: Vec<Known>,
    /// The names (`kid`) that stand for several different keys in the last set.
    ambiguous: Vec<String>,
    pub metadata: Option<Arc<Metadata>>,
    pub metadata_at: Option<Instant>,
    /// Whether a fetch is under way, and how many have ended.
    pub fetching: bool,
    pub finished: u64,
    /// When the next fetch may start.
    pub earliest: Option<Instant>,
    /// When keys were fetched last, and what went wrong since.
    pub fetched: Option<Instant>,
    pub problem: Option<Problem>,
}

/// An issuer's keys, for all requests.
pub struct Keys {
    pub status: watch::Sender<Status>,
    /// A request saw a key that we do not know, or that is not the one we know.
    pub wanted: Notify,
    /// `None` for our own key, which is not fetched.
    pub remote: Option<Remote>,
}

/// An issuer that is asked for its keys.
pub struct Remote {
    pub issuer: String,
    pub url: Url,
    pub http: Fetcher,
    pub times: Times,
    /// Whether the issuer's tokens may all be opaque, so that it need not have keys.
    pub opaque: bool,
}

/// The state of an issuer's keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// Whether tokens can be checked.
    pub state: KeyState,
    /// How many keys are known.
    pub keys: usize,
    /// Seconds since the keys were fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// What went wrong at the last fetch, as a fixed sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether an issuer's tokens can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// The keys are here.
    Ready,
    /// The keys are good, but the last fetch failed, or should have been long ago.
    Stale,
    /// There are no keys.
    Waiting,
}

impl Keys {
    /// Our own keys, known for good.
    pub fn own(set: KeySet) -> Self {
        let keys = set.keys.into_iter().map(|key| Known { key, until: None }).collect();
        let status = watch::Sender::new(Status { keys, ..Status::default() });
        Keys { status, wanted: Notify::new(), remote: None }
    }

    /// Replaces our own keys. True if one has gone.
    pub fn replace(&self, set: KeySet) -> bool {
        let mut gone = false;
        self.status.send_modify(|status| gone = status.accept(set, None));
        gone
    }

    /// The keys of an issuer elsewhere. None is known until [`Keys::run`] runs.
    pub fn remote(remote: Remote) -> Self {
        Keys { status: watch::Sender::default(), wanted: Notify::new(), remote: Some(remote) }
    }

    /// The key for a token whose header has this `kid` and this `alg`.
    pub fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Key, NoKey> {
        let (status, now) = (self.status.borrow(), Instant::now());
        let good = || status.keys.iter().filter(|key| key.is_good(now));
        // First finds the keys that fit: only if there are several of them is it unclear which one is meant.
        let mut fitting = good()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| key.algorithms.contains(&algorithm));
        match fitting.next() {
            Some(key) if fitting.all(|other| other.is_same(key)) => Ok(Key::clone(key)),
            Some(_) => Err(NoKey::Ambiguous),
            None if kid.is_some_and(|kid| status.ambiguous.iter().any(|name| name == kid)) => Err(NoKey::SameName),
            None if good().next().is_none() => Err(NoKey::NoKeys(status.problem)),
            None if kid.is_some_and(|kid| good().all(|key| key.kid.as_deref() != Some(kid))) => Err(NoKey::Unknown),
            None => Err(NoKey::Algorithm),
        }
    }

    /// Why there is no key.
    pub fn problem(&self) -> Option<Problem> {
        self.status.borrow().problem
    }

    /// Whether a token of this issuer could be checked with a key.
    pub fn has_keys(&self) -> bool {
        let now = Instant::now();
        self.status.borrow().keys.iter().any(|key| key.is_good(now))
    }

    /// Whether a token of this issuer could be checked at all.
    pub fn is_ready(&self) -> bool {
        let opaque = self.remote.as_ref().is_some_and(|remote| remote.opaque) && self.metadata().is_some();
        opaque || self.has_keys()
    }

    /// The issuer's metadata, once it was found.
    pub fn metadata(&self) -> Option<Arc<Metadata>> {
        self.status.borrow().metadata.clone()
    }

    /// The state of the keys, for people and monitors.
    pub fn report(&self) -> KeyReport {
        let (ready, status) = (self.is_ready(), self.status.borrow());
        let age = status.fetched.map(|fetched| fetched.elapsed());
        let late = self.remote.as_ref().is_some_and(|remote| age > Some(remote.times.max_age * 2));
        let state = match (ready, status.problem) {
            (false, _) => KeyState::Waiting,
            (true, None) if !late => KeyState::Ready,
            (true, _) => KeyState::Stale,
        };
        KeyReport {
            state,
            keys: status.keys.len(),
            age: age.map(|age| age.as_secs()),
            problem: status.problem.map(|problem| problem.to_string()),
        }
    }
}

impl Status {
    /// Takes over a set, whose keys are good `until` then; our own are good until they are replaced. True if a key has gone.
    pub fn accept(&mut self, mut set: KeySet, until: Option<Instant>) -> bool {
        let before = std::mem::take(&mut self.keys);
        self.ambiguous = std::mem::take(&mut set.ambiguous);
        let confirmed = std::mem::take(&mut set.keys).into_iter();
        self.keys = confirmed.map(|key| Known { key, until }).collect();
        // An unusable entry does not remove a good key of the same name, but does not confirm it either.
        let spoilt = |key: &Key| key.kid.as_ref().is_some_and(|kid| set.spoilt.contains(kid)) && !set.has_leaked(key);
        self.keys.extend(before.iter().filter(|known| spoilt(known)).cloned());
        !before.iter().all(|old| self.keys.iter().any(|new| new.key == old.key))
    }
}
