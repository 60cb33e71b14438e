//! A log-in as a way to tokens: a browser with a person at it goes to the authorization server, and comes back with a code.
//!
//! `mcp-auth-client` logs in too, for programs that want a token. But it refuses the very answers that are judged here,
//! and redeems each code itself. So the requests are made here, one by one.
//!
//! - [`client`], [`parties`]: who asks, and whom; [`rounds`]: the browser's way, and its answer; [`grant`]: the token
//!   endpoint;
//! - [`codes`], [`scopes`], [`refreshes`], [`revocations`], [`bound`]: what is tried with codes, tokens for fewer scopes,
//!   refresh tokens, tokens that are taken back, and a token that is bound to a key;
//! - [`outcome`]: what came of all that;
//! - [`terminal`]: the browser of whoever sits at a terminal.

use std::{
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use oauth::secret::SecretString;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use self::{
    client::{Client, Endpoints},
    outcome::{Bound, First, Granted, Narrow, Refreshes, Revocations, Trials},
};
use crate::model::Unmet;

pub mod bound;
pub mod client;
pub mod codes;
pub mod grant;
pub mod outcome;
pub mod parties;
pub mod refreshes;
pub mod revocations;
pub mod rounds;
pub mod scopes;
pub mod terminal;

/// The most times that the browser opens.
pub const MAX_ROUNDS: u32 = 20;

/// Where the browser goes, and where it may come back to.
pub struct Visit<'a> {
    /// The authorization request.
    pub url: &'a Url,
    /// The redirect URI that it names.
    pub redirect_uri: &'a Url,
    /// How many times the browser has opened, with this one.
    pub number: u32,
    /// Why, in a few words.
    pub why: &'a str,
    /// Whether a good server shows an error page and does not send the browser back.
    pub may_stay: bool,
}

/// What comes of a visit: the address that the browser was sent to, or nothing if it was sent nowhere.
pub type Visited<'a> = Pin<Box<dyn Future<Output = Result<Option<Url>, Unmet>> + 'a>>;

/// A browser, and who logs in with it: a person; in a test, a program.
pub trait Browser {
    /// Where it can come back to: the redirect URI that is registered.
    fn redirect_uri(&self) -> Url;

    /// Goes there, and comes back.
    fn visit<'a>(&'a self, visit: Visit<'a>) -> Visited<'a>;
}

/// A client that the authorization server knows; its id may be the URL of a document about it.
pub struct KnownClient {
    /// Its id.
    pub id: String,
    /// Its secret, if it has one.
    pub secret: Option<SecretString>,
}

/// A log-in, and what has come of it.
pub struct Login {
    pub(crate) browser: Box<dyn Browser>,
    known: Option<KnownClient>,
    rounds: AtomicU32,
    /// Why the browser is not opened any more.
    ended: OnceLock<Unmet>,
    endpoints: OnceCell<Result<Endpoints, Unmet>>,
    /// The client that logs in, and another one.
    clients: [OnceCell<Result<Client, Unmet>>; 2],
    first: OnceCell<Result<First, Unmet>>,
    trials: OnceCell<Result<Trials, Unmet>>,
    refreshes: OnceCell<Result<Refreshes, Unmet>>,
    revocations: OnceCell<Result<Revocations, Unmet>>,
    bound: OnceCell<Result<Bound, Unmet>>,
    /// What gave the good token last.
    good: Mutex<Option<Granted>>,
    /// Tokens for other scopes than the first log-in's.
    narrow: Mutex<Vec<Narrow>>,
}

impl Login {
    /// With this browser, as this client; without one, as one that registers.
    pub fn new(browser: Box<dyn Browser>, known: Option<KnownClient>) -> Self {
        Login {
            browser,
            known,
            rounds: AtomicU32::new(0),
            ended: OnceLock::new(),
            endpoints: OnceCell::new(),
            clients: [OnceCell::new(), OnceCell::new()],
            first: OnceCell::new(),
            trials: OnceCell::new(),
            refreshes: OnceCell::new(),
            revocations: OnceCell::new(),
            bound: OnceCell::new(),
            good: Mutex::default(),
            narrow: Mutex::default(),
        }
    }

    /// How many times the browser was opened.
    pub fn rounds(&self) -> u32 {
        self.rounds.load(Ordering::Relaxed)
    }
}
