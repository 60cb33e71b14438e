//! What comes of a log-in, and of all that is tried with it. The log-in keeps it, so that each is tried once.

use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::{
    jose,
    message::{Exchange, Request},
    model::Unmet,
    proof::ProofKey,
};

/// An authorization request.
pub struct Question {
    /// The request, as the browser sends it.
    pub request: Request,
    /// Where the answer goes.
    pub redirect_uri: Url,
    /// What must come back with it.
    pub state: String,
    /// What proves at the token endpoint that the code is ours.
    pub verifier: String,
}

/// What the browser came back with.
pub struct Round {
    /// What was asked.
    pub question: Question,
    /// The request, and the redirect that is the answer.
    pub exchange: Exchange,
}

impl Round {
    /// A parameter of the answer.
    pub fn param(&self, name: &str) -> Option<String> {
        param(&self.exchange.location()?, name)
    }

    /// The code.
    ///
    /// # Errors
    /// If there is none.
    pub fn code(&self) -> Result<String, Unmet> {
        let refused = || self.param("error").unwrap_or_else(|| "nothing".to_owned());
        self.param("code").ok_or_else(|| Unmet(format!("a code: the browser came back with {}", refused())))
    }
}

/// A parameter of a redirect.
pub(super) fn param(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// What the token endpoint gave.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The access token.
    pub access_token: String,
    /// The refresh token, if there is one.
    pub refresh_token: Option<String>,
    /// What the answer says of the scopes.
    pub scope: Option<String>,
    /// Until when the access token is good, as far as that was said: in seconds since 1970.
    ends: Option<i64>,
}

impl Granted {
    /// What an answer that has just come gives; `None` if that is no token.
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let json = exchange.json().filter(|_| exchange.came.is_success())?;
        let text = |member: &str| json[member].as_str().map(str::to_owned);
        let access_token = text("access_token").filter(|token| !token.is_empty())?;
        let ends = json["expires_in"].as_i64().map(|seconds| jose::now().saturating_add(seconds));
        let ends = ends.or_else(|| jose::ends(&access_token));
        Some(Granted { access_token, refresh_token: text("refresh_token"), scope: text("scope"), ends })
    }

    /// Whether the access token is not good any more, or not for long.
    pub fn is_over(&self) -> bool {
        self.ends.is_some_and(jose::is_over)
    }

    /// The refresh token.
    ///
    /// # Errors
    /// If there is none.
    pub fn refresh_token(&self) -> Result<&str, Unmet> {
        self.refresh_token.as_deref().ok_or_else(|| Unmet("a refresh token: the server gives none".to_owned()))
    }
}

/// The first log-in: it gives the good token, and nothing hostile is tried with it.
pub struct First {
    /// The browser's way.
    pub round: Round,
    /// What the token endpoint answers, if there is a code.
    pub exchange: Option<Exchange>,
    /// What that gives.
    pub granted: Option<Granted>,
}

/// What came of an attempt: the answer with a token, if there was one.
pub(super) type Accepted = Result<Option<Exchange>, Unmet>;

/// What came of all attempts, and of a code that was used twice.
pub struct Trials {
    pub(super) accepted: Vec<(&'static str, Accepted)>,
    /// The second use, and what became of the tokens of the first.
    pub replayed: Result<Replayed, Unmet>,
}

/// A code that was used twice.
pub struct Replayed {
    /// The answer to the second use.
    pub again: Exchange,
    /// The answer to a refresh after it, with the refresh token of the first use.
    pub refreshed: Result<Exchange, Unmet>,
}

/// What came of the first log-in's refresh tokens, in this order.
pub struct Refreshes {
    /// A refresh like any other.
    pub plain: Exchange,
    /// Whether it gave another refresh token.
    pub rotates: bool,
    /// One for less scopes, and these.
    pub narrowed: Result<(Exchange, String), Unmet>,
    /// One for more scopes, and what was asked for more.
    pub widened: (Exchange, String),
    /// One by another client.
    pub other: Result<Exchange, Unmet>,
    /// One with the first refresh token, which was used long before; and one with the current one after it.
    pub reused: Result<(Exchange, Exchange), Unmet>,
}

/// What came of a log-in for fewer scopes.
pub struct Narrow {
    pub(super) scopes: String,
    pub(super) granted: Result<Granted, Unmet>,
}

impl Narrow {
    /// The access token.
    ///
    /// # Errors
    /// If there is none.
    pub fn token(&self) -> Result<String, Unmet> {
        self.granted.clone().map(|granted| granted.access_token)
    }
}

/// What came of taking one refresh token back.
pub struct Revocations {
    /// The answer to another client that does, and whether the token has ended.
    pub other: Result<(Exchange, bool), Unmet>,
    /// The answer to its own client, and to a refresh after it.
    pub own: Result<(Exchange, Exchange), Unmet>,
}

/// A token for which a proof was sent.
pub struct Bound {
    /// The key.
    pub key: ProofKey,
    /// A key that the token is not bound to.
    pub foreign: ProofKey,
    /// What the token endpoint answers.
    pub exchange: Exchange,
    /// What the MCP server wants to see in proofs (§9).
    pub(super) nonce: Mutex<Option<String>>,
}

impl Bound {
    /// The access token.
    ///
    /// # Errors
    /// If there is none, or none that is bound.
    pub fn token(&self) -> Result<String, Unmet> {
        let granted = Granted::of(&self.exchange);
        let bound = self.exchange.json().is_some_and(|json| is_dpop(json["token_type"].as_str()));
        let unbound = || Unmet("a log-in that gives a token which is bound to a key".to_owned());
        granted.filter(|_| bound).map(|granted| granted.access_token).ok_or_else(unbound)
    }

    /// The nonce for the next proof.
    pub fn nonce(&self) -> Option<String> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether a token's type says that it is bound.
pub fn is_dpop(token_type: Option<&str>) -> bool {
    token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP"))
}
