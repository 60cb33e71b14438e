//! An identity provider that a program trusts, known by its URL.

use std::sync::Arc;

use ::url::Url;
use anyhow::{Result, anyhow, bail, ensure};
use oauth::{fetch::url, secret::SecretString};

use crate::{
    discovery::is_template,
    fetch,
    introspection::{Introspection, Settings},
    keys::{Keys, Remote},
    opaque::OpaqueTokens,
    profile::Profile,
    provider::Provider,
    times::Times,
};

/// An identity provider that is trusted, known by the URL that its tokens have as `iss`.
#[derive(Clone, Debug)]
pub struct Issuer {
    url: String,
    profile: Option<Profile>,
    audience: Vec<String>,
    introspection: Option<Settings>,
}

impl Issuer {
    /// The issuer of exactly this URL: `https`, or `http` for loopback hosts; without user, query and fragment. Its
    /// profile is guessed from the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Issuer { url: url.into(), profile: None, audience: Vec::new(), introspection: None }
    }

    /// The provider's profile, instead of a guessed one.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Accepts this `aud` of this issuer instead of the resource (repeatable).
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience.push(audience.into());
        self
    }

    /// Asks the issuer whether opaque tokens are good (RFC 7662), with these credentials. Only one issuer can have
    /// opaque tokens, since such a token does not name its issuer.
    #[must_use]
    pub fn introspection(mut self, client_id: impl Into<String>, client_secret: impl Into<SecretString>) -> Self {
        self.introspection = Some(Settings::new(client_id.into(), client_secret.into()));
        self
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The given profile, or the one that the URL looks like, with the given credentials.
    ///
    /// # Errors
    /// If such a provider must not be trusted.
    pub(crate) fn resolved_profile(&self) -> Result<Profile> {
        let mut profile = match &self.profile {
            Some(profile) => profile.clone(),
            None => Profile::guess(&self.url)?,
        };
        if let Some(why) = &profile.refused {
            bail!("the issuer {} cannot be trusted: {why}", self.url);
        }
        if let Some(settings) = &self.introspection {
            profile.introspection = Some(settings.clone());
        }
        Ok(profile)
    }

    /// The issuer in the form in which it is used. `audience`: the default if neither the program nor the profile names
    /// one.
    ///
    /// # Errors
    /// If something of it cannot be used.
    pub(crate) fn open(
        &self,
        audience: &str,
        scopes: Arc<[String]>,
        times: Times,
    ) -> Result<(Provider, Option<OpaqueTokens>)> {
        let url = issuer_url(&self.url)?;
        let profile = self.resolved_profile()?;
        let named = [&self.audience, &profile.audience].into_iter().find(|list| !list.is_empty());
        let audience = named.map_or_else(|| vec![audience.to_owned()], Clone::clone);
        tracing::info!(issuer = self.url, profile = profile.name, ?audience, "trusting an issuer");
        let settings = profile.introspection.as_ref();
        let introspection = settings.map(|settings| Introspection::new(settings, &url)).transpose()?;
        let introspects = introspection.is_some();
        let http = fetch::client(&url)?;
        let keys = Remote { issuer: self.url.clone(), url, http, times, opaque: introspects };
        let keys = Arc::new(Keys::remote(keys));
        let provider =
            Provider { issuer: self.url.clone(), audience, keys, profile: Some(profile), introspects, scopes };
        Ok((provider, introspection.map(OpaqueTokens::new)))
    }
}

impl<T: Into<String>> From<T> for Issuer {
    fn from(url: T) -> Self {
        Issuer::new(url)
    }
}

/// The URL of an issuer (RFC 8414 §2).
///
/// # Errors
/// If it can be none.
pub fn issuer_url(issuer: &str) -> Result<Url> {
    ensure!(!is_template(issuer), "{issuer} is a template for many tenants: put one tenant's name into it");
    url::of_server(issuer, false)
        .map_err(|why| anyhow!("{issuer:?} is not the URL of an issuer, such as https://login.example: it {why}"))
}
