//! The keys of an issuer that we know by its URL only (RFC 7517): fetched, kept, renewed in the background.
//!
//! One task per issuer does all the fetching ([`JwksClient::run`]); a request never does. So no number of requests
//! makes more than one fetch per cool-down, a client that goes away breaks none off, and a request whose key is known
//! never waits. What is fetched is believed key by key ([`KeySet::parse`]), and what cannot be believed changes
//! nothing: a key goes away when its issuer lists it no more, when it leaks, or when it has not been confirmed for
//! `--max-stale`.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm, ParsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use common::{keys::PublicKey, network::freshness};
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{
    Client,
    header::{AGE, CACHE_CONTROL, HeaderMap},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, watch},
    time::{sleep_until, timeout},
};
use url::Url;

use crate::{
    discovery::{self, Metadata},
    fetch::{self, Problem},
};

/// The algorithms that a token may be signed with. Each goes with one type of key, and none is symmetric.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
/// How many keys a set may have. Providers have two or three.
const MAX_KEYS: usize = 100;
const MAX_KID: usize = 256;
/// RSA: what RFC 7518 §3.3 asks for, and what a verification may cost.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// How long keys are kept if the provider does not say.
const USUAL: Duration = Duration::from_mins(5);
/// How long the metadata is kept: it hardly ever changes.
const METADATA_AGE: Duration = Duration::from_hours(1);
/// How long a request with an unknown key waits for a fetch under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// How keys are renewed. Sensible for production as they are; tests make them shorter.
#[derive(Args, Clone, Debug)]
pub struct Times {
    /// After a fetch, how long an unknown key (`kid`) is no reason for another
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = seconds::<1, 600>)]
    pub jwks_cooldown: Duration,
    /// The shortest time for which fetched keys are kept, whatever the provider says
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = seconds::<1, 86_400>)]
    pub jwks_min_age: Duration,
    /// The longest: a key that the provider has withdrawn is refused after this time at the latest
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds::<1, 86_400>)]
    pub jwks_max_age: Duration,
    /// How long known keys stay good while the provider cannot be asked
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds::<1, 604_800>)]
    pub max_stale: Duration,
}

impl Times {
    /// How long the metadata is good without looking again.
    fn metadata_age(&self) -> Duration {
        METADATA_AGE.min(self.max_stale / 2)
    }

    /// How long keys are kept that the provider says are fresh for so long.
    fn keep(&self, fresh: Duration) -> Duration {
        let (least, most) = (self.jwks_min_age, self.jwks_max_age);
        let keep = fresh.clamp(least, most);
        somewhere((keep * 9 / 10).max(least), (keep * 11 / 10).min(most))
    }

    /// After how long to try again when so many fetches have failed, one at least.
    fn retry_after(&self, failures: u32) -> Duration {
        let pause = self.jwks_cooldown * 2_u32.pow(failures.clamp(1, 7) - 1);
        let pause = pause.min(self.jwks_min_age).max(self.jwks_cooldown);
        somewhere(pause, pause + pause / 2)
    }
}

/// A time such as `90s`, `10m`, `24h`, within bounds in seconds.
pub fn seconds<const LEAST: u64, const MOST: u64>(text: &str) -> Result<Duration, String> {
    let wanted = || format!("give a number with s, m or h, such as 90s, 10m or 24h, between {LEAST}s and {MOST}s");
    let factor = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(wanted()),
    };
    let seconds = text[..text.len() - 1].parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds.filter(|seconds| (LEAST..=MOST).contains(seconds)).map(Duration::from_secs).ok_or_else(wanted)
}

/// The numbers that a key is made of: `n` and `e`, or `x` and `y`, without zeros in front.
type Material = [Vec<u8>; 2];
/// What a JWK comes to: the algorithms that go with its type, and the key.
type Parts = (&'static [Algorithm], Material, DecodingKey);

/// A key that signatures are checked with.
#[derive(Clone)]
pub struct Key {
    pub kid: Option<String>,
    /// Those of [`ALGORITHMS`] that go with the key's own type, or the one that its `alg` names.
    pub algorithms: Vec<Algorithm>,
    pub decoding: DecodingKey,
    /// The key itself, to tell whether a `kid` still stands for the same one.
    material: Material,
    /// Until when it is good if nobody confirms it. Our own needs no confirmation.
    until: Option<Instant>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

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

/// What is known of an issuer now. Replaced as a whole; whoever waits for news watches it.
#[derive(Default)]
struct Status {
    keys: Vec<Key>,
    /// The names (`kid`) that stand for several different keys in the last set.
    ambiguous: Vec<String>,
    metadata: Option<Arc<Metadata>>,
    metadata_at: Option<Instant>,
    /// Whether a fetch is under way, and how many have ended.
    fetching: bool,
    finished: u64,
    /// When the next fetch may start.
    earliest: Option<Instant>,
    /// When keys were fetched last, and what went wrong since.
    fetched: Option<Instant>,
    problem: Option<Problem>,
}

/// An issuer's keys, for all requests.
pub struct JwksClient {
    status: watch::Sender<Status>,
    /// A request saw a key that we do not know, or that is not the one we know.
    wanted: Notify,
    /// `None` for our own key, which is not fetched.
    remote: Option<Remote>,
}

struct Remote {
    issuer: String,
    url: Url,
    http: Client,
    times: Times,
    /// Whether the issuer's tokens may all be opaque, so that it need not have keys.
    opaque: bool,
}

/// What `/health` says of an issuer.
#[derive(Serialize)]
pub struct Report {
    /// `ready`; `stale` (the keys are good, but the last fetch failed, or should have been long ago); `waiting` (there
    /// are no keys).
    state: &'static str,
    keys: usize,
    /// Seconds since the keys were fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl JwksClient {
    /// Our own key, known for good.
    pub fn own(key: &PublicKey) -> Self {
        let key = Key {
            kid: Some(key.kid.clone()),
            algorithms: vec![Algorithm::RS256],
            decoding: key.decoding_key.clone(),
            material: Default::default(),
            until: None,
        };
        let status = watch::Sender::new(Status { keys: vec![key], ..Status::default() });
        JwksClient { status, wanted: Notify::new(), remote: None }
    }

    /// The keys of `issuer`, of which none is known until [`JwksClient::run`] runs.
    pub fn remote(issuer: String, url: Url, http: Client, times: Times, opaque: bool) -> Self {
        let remote = Some(Remote { issuer, url, http, times, opaque });
        JwksClient { status: watch::Sender::default(), wanted: Notify::new(), remote }
    }

    /// The key for a token whose header has this `kid` and this `alg`.
    pub fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Key, NoKey> {
        let (status, now) = (self.status.borrow(), Instant::now());
        let good = || status.keys.iter().filter(|key| key.until.is_none_or(|until| now < until));
        // What fits is looked for first: only then can it be unclear which of several keys is meant.
        let mut fitting = good()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| key.algorithms.contains(&algorithm));
        match fitting.next() {
            Some(key) if fitting.all(|other| other.material == key.material) => Ok(key.clone()),
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
        self.status.borrow().keys.iter().any(|key| key.until.is_none_or(|until| now < until))
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
            Err(_) => Some(remote.times.jwks_cooldown),
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

    pub fn report(&self) -> Report {
        let (ready, status) = (self.is_ready(), self.status.borrow());
        let age = status.fetched.map(|fetched| fetched.elapsed());
        let late = self.remote.as_ref().is_some_and(|remote| age > Some(remote.times.jwks_max_age * 2));
        let state = match (ready, status.problem) {
            (false, _) => "waiting",
            (true, None) if !late => "ready",
            (true, _) => "stale",
        };
        Report {
            state,
            keys: status.keys.len(),
            age: age.map(|age| age.as_secs()),
            problem: status.problem.map(|problem| problem.to_string()),
        }
    }

    /// Fetches, now and whenever it is time, until the program ends. `on_loss` is called when a key has gone.
    pub async fn run(self: Arc<Self>, on_loss: impl Fn()) {
        let Some(remote) = &self.remote else { return };
        let times = &remote.times;
        let mut failures = 0_u32;
        loop {
            self.status.send_modify(|status| status.fetching = true);
            let _ = self.wanted.notified().now_or_never(); // whoever asked until now is answered by this fetch
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
                    gone = status.accept(fetched.set, now + times.max_stale);
                    status.fetched = Some(now);
                }
                status.problem = problem;
                status.earliest = Some(now + times.jwks_cooldown);
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
            // Those who wait go on only when all of this is so.
            self.status.send_modify(|status| {
                status.fetching = false;
                status.finished += 1;
            });
            self.rest(now + pause.max(times.jwks_cooldown), now + times.jwks_cooldown, &on_loss).await;
        }
    }

    /// Waits until `next`; or, if an unknown key turns up, until `earliest`. Keys that get too old meanwhile go.
    async fn rest(&self, next: Instant, earliest: Instant, on_loss: &impl Fn()) {
        let mut until = next;
        loop {
            let stale = self.status.borrow().keys.iter().filter_map(|key| key.until).min();
            tokio::select! {
                () = sleep_until(until.into()) => return,
                () = self.wanted.notified(), if until != earliest => until = earliest,
                () = sleep_until(stale.unwrap_or(until).into()), if stale.is_some() => {
                    let now = Instant::now();
                    self.status.send_modify(|status| status.keys.retain(|key| key.until.is_none_or(|at| now < at)));
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
        let (headers, body) = fetch::json(remote.http.get(uri)).await?;
        let set = KeySet::parse(&body)?;
        let unfit = (set.keys.is_empty() && !remote.opaque).then_some(Problem::NoUsableKey);
        // A set that names no key at all is more likely a fault than a farewell.
        if let Some(problem) = unfit.filter(|_| !set.names_keys) {
            return Err(problem);
        }
        let problem = unfit.or(problem);
        let lifetime = remote.times.keep(if problem.is_some() { Duration::ZERO } else { lifetime(&headers) });
        Ok(Fetched { set, lifetime, problem })
    }

    /// The metadata, which is read again once an hour and after a failure; and what went wrong with that. Keys are
    /// renewed even while it is not there, from where they were before, but not for longer than `--max-stale`.
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

/// A time between these, by chance: replicas that started together, or lost their provider together, do not ask it
/// together for ever.
fn somewhere(least: Duration, most: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness there is no TLS either, and a fetch fails anyway.
    let _ = rand::fill(&mut random);
    least + most.saturating_sub(least).mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}

/// What a fetch has brought, and for how long.
struct Fetched {
    set: KeySet,
    lifetime: Duration,
    /// What was not as it should be, though the set is believed.
    problem: Option<Problem>,
}

impl Status {
    /// Takes over a set, whose keys are good `until` then. True if a key has gone.
    fn accept(&mut self, mut set: KeySet, until: Instant) -> bool {
        let before = std::mem::take(&mut self.keys);
        self.ambiguous = std::mem::take(&mut set.ambiguous);
        let confirmed = std::mem::take(&mut set.keys).into_iter();
        self.keys = confirmed.map(|key| Key { until: Some(until), ..key }).collect();
        // What is listed but spoilt is no reason to lose a good key; it is not confirmed either.
        let spoilt = |key: &Key| key.kid.as_ref().is_some_and(|kid| set.spoilt.contains(kid)) && !set.has_leaked(key);
        self.keys.extend(before.iter().filter(|key| spoilt(key)).cloned());
        let same = |a: &Key, b: &Key| a.kid == b.kid && a.material == b.material && a.algorithms == b.algorithms;
        !before.iter().all(|old| self.keys.iter().any(|new| same(old, new)))
    }
}

/// What a key set turned out to hold.
#[derive(Debug, Default)]
pub struct KeySet {
    pub keys: Vec<Key>,
    /// The names of keys that are listed, but not in a form that can be used: a known key of such a name stays.
    pub spoilt: Vec<String>,
    /// The names that stand for several different keys of one algorithm, of which none is used for it.
    pub ambiguous: Vec<String>,
    /// The names of keys whose private half is in the set.
    pub leaked: Vec<String>,
    /// What is public of them (`n` or `x`): by whatever name such a key goes, nobody may be believed on its word.
    leaked_material: Vec<Vec<u8>>,
    /// The names of those of which nothing public can be read.
    leaked_unknown: Vec<String>,
    /// Whether an entry is a key by its form, usable or not: then the set says which keys there are.
    names_keys: bool,
    /// Why entries are not used, for people: the entry's name and the reason.
    pub unused: Vec<(String, &'static str)>,
}

/// The members of a JWK that say what it is (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). One that is there twice, or is
/// of the wrong type, makes the entry unusable.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    k: Option<IgnoredAny>,
}

/// What a JWK's `alg` may be for a key that we use (RFC 9864 gives EdDSA with Ed25519 a name of its own).
const NAMES: [&str; 6] = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"];

/// The members that no public key has (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

impl KeySet {
    /// Takes from a set what can be used. What cannot is passed over, and takes nothing away (RFC 7517 §5): one `kid`
    /// may stand for a key to sign and another to encrypt, for keys of several types (§4.5), and for the same key
    /// again. Only of several different keys that one token could mean, none is used. Nor is a key whose private half
    /// is in another entry.
    ///
    /// # Errors
    /// If it is no key set, or too large a one.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        // An array would do for serde, which takes it for the members in their order.
        let document = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
        let document = document.and_then(|body| serde_json::from_slice::<Document>(body).ok());
        let document = document.ok_or(Problem::NotJson)?;
        if document.keys.len() > MAX_KEYS {
            return Err(Problem::NotAKeySet("it has more than 100 keys"));
        }
        let mut set = KeySet::default();
        let [mut names, mut others, mut unclear] = [const { Vec::<String>::new() }; 3];
        for entry in document.keys {
            let members = serde_json::from_str::<HashMap<String, &RawValue>>(entry.get()).unwrap_or_default();
            let text = |name| members.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
            if PRIVATE.iter().any(|name| members.get(*name).is_some_and(|value| value.get() != "null")) {
                let name: String = text("kid").unwrap_or_default().chars().take(MAX_KID).collect();
                match number(text("n").or_else(|| text("x")).as_deref()) {
                    Ok(material) => set.leaked_material.push(material),
                    // Which key it is the half of, only its name can tell.
                    Err(_) => set.leaked_unknown.push(name.clone()),
                }
                set.unused.push((name.clone(), "its private half is published: whoever reads it can sign"));
                set.leaked.push(name);
                set.names_keys = true;
                continue;
            }
            let jwk = Some(entry.get()).filter(|json| json.starts_with('{'));
            let Some(jwk) = jwk.and_then(|json| serde_json::from_str::<Jwk>(json).ok()) else {
                let name: String = text("kid").unwrap_or_default().chars().take(MAX_KID).collect();
                names.push(name.clone());
                let is = |member, wanted: &[&str]| text(member).is_none_or(|value| wanted.contains(&value.as_str()));
                // It might be the key that is meant, unless what can be read of it says that it is not.
                if is("kty", &["RSA", "EC", "OKP"]) && is("use", &["sig"]) && is("alg", &NAMES) {
                    unclear.push(name.clone());
                }
                set.unused.push((name, "it is malformed"));
                continue;
            };
            if jwk.kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID) {
                set.unused.push((String::new(), "its kid is empty or longer than 256 bytes"));
                continue;
            }
            set.names_keys = true;
            let name = jwk.kid.clone().unwrap_or_default();
            match jwk.key() {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.unused.push((name.clone(), reason)),
            }
            if jwk.is_of_another_type() {
                others.push(name.clone());
            }
            if jwk.kid.is_some() {
                names.push(name);
            }
        }
        for key in std::mem::take(&mut set.keys) {
            let name = key.kid.clone().unwrap_or_default();
            if set.has_leaked(&key) {
                set.unused.push((name.clone(), "its private half is published in another entry"));
                set.leaked.push(name);
            } else if key.kid.is_some() && unclear.contains(&name) {
                set.unused.push((name.clone(), "a malformed entry has the same kid"));
                set.ambiguous.push(name);
            } else {
                set.keys.push(key);
            }
        }
        set.drop_ambiguous();
        let used = |name: &String| set.keys.iter().any(|key| key.kid.as_ref() == Some(name));
        let twice = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
        let lost = |name: &String| set.leaked.contains(name) || others.contains(name) && !twice(name);
        set.spoilt = names.iter().filter(|name| !used(name) && !lost(name)).cloned().collect();
        Ok(set)
    }

    /// Of different keys with one `kid` nobody can say which is meant by a token with an algorithm that both are for.
    fn drop_ambiguous(&mut self) {
        let all = self.keys.clone();
        for key in self.keys.iter_mut().filter(|key| key.kid.is_some()) {
            let others = || all.iter().filter(|other| other.kid == key.kid && other.material != key.material);
            let mut clear = key.algorithms.clone();
            clear.retain(|algorithm| !others().any(|other| other.algorithms.contains(algorithm)));
            if clear != key.algorithms {
                self.ambiguous.extend(key.kid.clone());
                key.algorithms = clear;
            }
        }
        for key in self.keys.extract_if(.., |key| key.algorithms.is_empty()) {
            self.unused.push((key.kid.unwrap_or_default(), "another key has the same kid"));
        }
    }

    /// Whether the private half of this key is in the set, by its own name or by another.
    fn has_leaked(&self, key: &Key) -> bool {
        key.kid.as_ref().is_some_and(|kid| self.leaked_unknown.contains(kid))
            || self.leaked_material.contains(&key.material[0])
    }
}

impl Jwk {
    /// A whole key of a type that we do not use: its name stands for it now, and for no key of ours.
    fn is_of_another_type(&self) -> bool {
        let length = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-521")) => 66,
            ("EC", Some("secp256k1")) => 32,
            ("OKP", Some("Ed448")) => 57,
            _ => return false,
        };
        let whole = |text: &Option<String>| octets(text.as_deref()).is_ok_and(|bytes| bytes.len() == length);
        whole(&self.x) && (self.kty == "OKP" || whole(&self.y))
    }

    fn key(&self) -> Result<Key, &'static str> {
        if self.k.is_some() || self.kty == "oct" {
            return Err("it is symmetric: whoever can check with it can sign");
        }
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("its use is not sig");
        }
        if self.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err("its key_ops have no verify");
        }
        let (fitting, material, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => self.rsa()?,
            ("EC", Some("P-256")) => self.ec(32, &ECDSA_P256_SHA256_FIXED, &[Algorithm::ES256])?,
            ("EC", Some("P-384")) => self.ec(48, &ECDSA_P384_SHA384_FIXED, &[Algorithm::ES384])?,
            ("OKP", Some("Ed25519")) => self.ed25519()?,
            ("RSA" | "EC" | "OKP", _) => return Err("its curve is not one that we use"),
            _ => return Err("its kty is not one that we use"),
        };
        let algorithms = match self.alg.as_deref() {
            None => fitting.to_vec(),
            // RFC 9864 gives EdDSA with Ed25519 a name of its own.
            Some("Ed25519") if fitting == [Algorithm::EdDSA] => fitting.to_vec(),
            Some(name) => {
                let named = name.parse::<Algorithm>().ok().filter(|algorithm| fitting.contains(algorithm));
                vec![named.ok_or("its alg is not one that we use with its kty")?]
            }
        };
        Ok(Key { kid: self.kid.clone(), algorithms, decoding, material, until: None })
    }

    fn rsa(&self) -> Result<Parts, &'static str> {
        let (n, e) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) || n.last().is_none_or(|byte| byte % 2 == 0) {
            return Err("its modulus is not one of 2048 to 8192 bits");
        }
        let exponent = e.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if e.len() > 4 || exponent < 65_537 || exponent % 2 == 0 {
            return Err("its exponent is not an odd number from 65537 to 2^32");
        }
        let decoding_key = DecodingKey::from_rsa_raw_components(&n, &e);
        Ok((&[Algorithm::RS256, Algorithm::PS256], [n, e], decoding_key))
    }

    /// A point whose coordinates have so many bytes (RFC 7518 §6.2.1.2).
    fn ec(
        &self,
        length: usize,
        curve: &'static EcdsaVerificationAlgorithm,
        algorithms: &'static [Algorithm],
    ) -> Result<Parts, &'static str> {
        let (x, y) = (octets(self.x.as_deref())?, octets(self.y.as_deref())?);
        let point = [&[4], &x[..], &y].concat();
        if x.len() != length || y.len() != length || ParsedPublicKey::new(curve, &point).is_err() {
            return Err("it is not a point on its curve");
        }
        let material = [number(self.x.as_deref())?, number(self.y.as_deref())?];
        Ok((algorithms, material, DecodingKey::from_ec_der(&point)))
    }

    fn ed25519(&self) -> Result<Parts, &'static str> {
        let x = octets(self.x.as_deref())?;
        if x.len() != 32 || ParsedPublicKey::new(&ED25519, &x).is_err() {
            return Err("it is not a point on its curve");
        }
        Ok((&[Algorithm::EdDSA], [number(self.x.as_deref())?, Vec::new()], DecodingKey::from_ed_der(&x)))
    }
}

/// base64url without padding (RFC 7515 §2).
fn octets(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("a member that its kty needs is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member is not base64url")
}

/// The same, as a number without leading zeros.
fn number(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    Ok(octets(text)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// How long HTTP says that an answer is fresh (RFC 9111 §4.2). The caller has bounds of its own.
fn lifetime(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    freshness(values, age).unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_entries_without_a_name_spoil_no_key_without_one() {
        let set = br#"{"keys":[{"kty":1},{"kty":2},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        assert_eq!(KeySet::parse(set).unwrap().keys.len(), 1);
    }

    #[test]
    fn keys_that_should_have_been_renewed_long_ago_are_stale() {
        let second = Duration::from_secs(1);
        let times =
            Times { jwks_cooldown: second, jwks_min_age: second, jwks_max_age: second * 10, max_stale: second * 100 };
        let url = Url::parse("http://localhost:1").unwrap();
        let http = fetch::client(&url).unwrap();
        let client = JwksClient::remote(String::new(), url, http, times, true);
        for (age, state) in [(19, "ready"), (21, "stale")] {
            client.status.send_modify(|status| {
                let metadata = serde_json::from_str(r#"{"issuer":""}"#).unwrap();
                status.metadata = Some(Arc::new(metadata));
                status.fetched = Instant::now().checked_sub(second * age);
            });
            assert_eq!(client.report().state, state, "{age}");
        }
    }

    #[test]
    fn replicas_do_not_ask_together() {
        let seconds = Duration::from_secs;
        let times = Times {
            jwks_cooldown: seconds(10),
            jwks_min_age: seconds(100),
            jwks_max_age: seconds(1000),
            max_stale: seconds(10_000),
        };
        // Bounds that each wait keeps, which are reached by chance.
        let spread = |name: &str, wait: &dyn Fn() -> Duration, from: Duration, to: Duration| {
            let waits: Vec<_> = (0..200).map(|_| wait()).collect();
            assert!(waits.iter().all(|wait| (from..=to).contains(wait)), "{name}: {waits:?}");
            let third = to.abs_diff(from) / 3;
            assert!(waits.iter().any(|wait| *wait < from + third), "{name}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait + third > to), "{name}: {waits:?}");
        };
        spread("the shortest", &|| times.keep(Duration::ZERO), seconds(100), seconds(110));
        spread("usual", &|| times.keep(seconds(300)), seconds(270), seconds(330));
        spread("the longest", &|| times.keep(Duration::MAX), seconds(900), seconds(1000));
        spread("one failure", &|| times.retry_after(1), seconds(10), seconds(15));
        spread("two", &|| times.retry_after(2), seconds(20), seconds(30));
        spread("many", &|| times.retry_after(u32::MAX), seconds(100), seconds(150));
    }

    #[test]
    fn the_metadata_is_read_again_within_the_hour() {
        let second = Duration::from_secs(1);
        let times = |max_stale| Times { jwks_cooldown: second, jwks_min_age: second, jwks_max_age: second, max_stale };
        assert_eq!(times(Duration::from_hours(24)).metadata_age(), Duration::from_hours(1));
        assert_eq!(times(second * 4).metadata_age(), second * 2);
    }
}
