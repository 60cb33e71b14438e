//! The token of a run, and what the [`Store`] keeps with it between runs: for one server, under its lock.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use oauth::secret::{ExposeSecret, SecretString};

use crate::{
    credentials::{Credentials, Grant},
    dpop::Dpop,
    failure::{Failure, Result},
    http::Http,
    settings::Settings,
    store::{Held, Store},
    token::Tokens,
};

/// After this time, the person is told what we are waiting for.
const SILENCE: Duration = Duration::from_secs(2);
/// Longer lifetimes are cut to this, in seconds: ten years.
const LONGEST_LIFE: i64 = 10 * 365 * 86_400;

/// What is done with the stored token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It is sent, and renewed before it expires.
    Stored,
    /// This run got it. It is sent even if its lifetime is very short.
    Fresh,
    /// It has expired, and the server that could renew it cannot be reached: it is not sent, but stays.
    Withheld,
}

/// Registrations and tokens, and the key that the tokens are bound to.
pub struct Kept {
    store: Arc<dyn Store>,
    pub credentials: Credentials,
    pub dpop: Option<Dpop>,
    life: Life,
}

impl Kept {
    /// Reads what is kept.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn open(store: Arc<dyn Store>, http: &Http) -> Result<Self> {
        let mut kept = Kept { store, credentials: Credentials::default(), dpop: None, life: Life::Stored };
        kept.reload(http)?;
        Ok(kept)
    }

    /// The tokens that may be used.
    pub fn grant(&self) -> Option<&Grant> {
        self.credentials.grant.as_ref()
    }

    /// The token that is sent.
    pub fn token(&self) -> Option<&SecretString> {
        self.grant().filter(|_| self.life != Life::Withheld).map(|grant| &grant.access_token)
    }

    /// Whether the token was got in this run.
    pub fn is_fresh(&self) -> bool {
        self.life == Life::Fresh
    }

    /// Makes the server say again where tokens come from. The stored tokens stay until new ones replace them.
    pub fn withhold(&mut self) {
        self.life = Life::Withheld;
    }

    /// Begins without the stored tokens. They stay until new ones replace them.
    pub fn start_over(&mut self) {
        self.credentials.grant = None;
        self.dpop = None;
    }

    /// Reads what is stored now.
    ///
    /// # Errors
    /// If it cannot be read, or is for another server.
    pub fn load(&self, http: &Http) -> Result<Credentials> {
        let mut credentials = self.store.load()?;
        if credentials.server.is_empty() {
            credentials.server = http.settings.server.to_string();
        }
        if credentials.server != http.settings.server.as_str() {
            return Err(Failure::local("the stored credentials cannot be used: they are for another server"));
        }
        Ok(credentials)
    }

    /// Reads what is stored, and uses it. A grant that the settings exclude is ignored: one from another issuer than
    /// the person names, or one without a key if they require one.
    ///
    /// # Errors
    /// As [`Kept::load`].
    pub fn reload(&mut self, http: &Http) -> Result<()> {
        self.credentials = self.load(http)?;
        self.adopt(http)
    }

    fn adopt(&mut self, http: &Http) -> Result<()> {
        let Settings { issuer, dpop, .. } = &http.settings;
        self.credentials.hide(&http.secrets);
        let usable = |grant: &Grant| {
            issuer.as_ref().is_none_or(|issuer| *issuer == grant.issuer) && (!dpop || grant.dpop_key.is_some())
        };
        self.credentials.grant.take_if(|grant| !usable(grant));
        let key = self.credentials.grant.as_ref().and_then(|grant| grant.dpop_key.clone());
        // A key that is in use stays as it is, with the nonces that it has learnt.
        let secret = |key: &SecretString| key.expose_secret().to_owned();
        if self.dpop.as_ref().map(|dpop| secret(dpop.pkcs8())) != key.as_ref().map(secret) {
            self.dpop = key.map(Dpop::from_pkcs8).transpose()?;
        }
        Ok(())
    }

    /// Where it is kept.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Writes down tokens that have just arrived. A refresh token that is not replaced stays good (RFC 6749 §6).
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn keep(&mut self, http: &Http, held: &dyn Held, before: Grant, tokens: Tokens) -> Result<()> {
        let lifetime = tokens.expires_in.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).min(LONGEST_LIFE));
        let grant = Grant {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token.or(before.refresh_token.clone()),
            expires_at: lifetime.map(|seconds| Utc::now() + TimeDelta::seconds(seconds)),
            scope: tokens.scope.unwrap_or_else(|| before.scope.clone()),
            ..before
        };
        self.credentials.grant = Some(grant);
        self.life = Life::Fresh;
        held.save(&self.credentials)?;
        self.adopt(http)
    }

    /// Changes the registrations that are kept, while nobody else does.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub async fn update(&mut self, http: &Http, change: impl FnOnce(&mut Credentials)) -> Result<()> {
        let store = self.store();
        let held = lock(&*store, &http.settings).await?;
        let mut stored = self.load(http)?;
        change(&mut stored);
        held.save(&stored)?;
        self.credentials.registrations = stored.registrations;
        Ok(())
    }
}

/// Waits until no other process changes what is kept; the person is told what we are waiting for.
///
/// # Errors
/// If that takes too long.
pub async fn lock<'a>(store: &'a dyn Store, settings: &Settings) -> Result<Box<dyn Held + 'a>> {
    let mut lock = store.lock();
    if let Ok(held) = tokio::time::timeout(SILENCE, &mut lock).await {
        return held;
    }
    if let Some(person) = &settings.person {
        person.tell("Another process renews or writes the tokens. Waiting for it.");
    }
    lock.await
}
