//! The library's interface: a program says whom it trusts, and asks about each request.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use oauth::{challenge::Challenge, jwks::KeySet, metadata::ProtectedResourceMetadata};
use serde_json::{Map, value::RawValue};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    answer::Answer,
    caller::Caller,
    documents::Document,
    error::ConfigError,
    issuer::Issuer,
    issuers::Issuers,
    keys::{KeyReport, Keys},
    provider::Provider,
    refusal::Refusal,
    tasks::Tasks,
    times::Times,
};

/// How many issuers may be trusted at once.
const MAX_ISSUERS: usize = 16;
/// How long a start waits for the issuers' keys before it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);

/// A protected resource (RFC 9728): it accepts tokens of the issuers that it trusts, and tells clients where to get one. A
/// clone is the same one.
#[derive(Clone)]
pub struct ResourceServer(Arc<Inner>);

struct Inner {
    issuers: Issuers,
    document: Document,
    /// What every challenge says.
    challenge: Challenge,
}

/// A [`ResourceServer`] that trusts nobody yet: it cannot be started.
#[derive(Debug)]
pub enum TrustsNobody {}

/// A [`ResourceServer`] that trusts somebody.
#[derive(Debug)]
pub enum TrustsSomebody {}

/// A [`ResourceServer`] before its start. It must trust somebody:
///
/// ```compile_fail
/// # async fn start() -> Result<(), resource_server::ConfigError> {
/// resource_server::ResourceServer::new("https://mcp.example/mcp").start().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "it does nothing before its start"]
pub struct Builder<Trust> {
    config: Config,
    trust: PhantomData<Trust>,
}

#[derive(Debug, Default)]
struct Config {
    resource: String,
    /// The issuers in this program, with their keys.
    own: Vec<(String, Vec<u8>)>,
    issuers: Vec<Issuer>,
    audience: Option<String>,
    scopes: Vec<String>,
    basic_scopes: Option<Vec<String>>,
    name: Option<String>,
    documentation: Option<String>,
    metadata_url: Option<String>,
    times: Times,
    insecure_http: bool,
}

impl ResourceServer {
    /// The resource of this URL, which is its identifier too (RFC 8707 §2): what clients ask tokens for.
    #[allow(clippy::new_ret_no_self)] // it starts only when it trusts somebody
    pub fn new(resource: impl Into<String>) -> Builder<TrustsNobody> {
        Builder { config: Config { resource: resource.into(), ..Config::default() }, trust: PhantomData }
    }

    /// Finds the caller from the values of all `Authorization` headers of the request. A token that was verified before
    /// costs a look-up; a token whose key is not known may wait some seconds for its issuer.
    ///
    /// # Errors
    /// If there is no good token. [`ResourceServer::answer`] makes a response of it.
    pub async fn authenticate<'a>(&self, authorization: impl Iterator<Item = &'a [u8]>) -> Result<Caller, Refusal> {
        self.0.issuers.authenticate(authorization).await
    }

    /// The same for a token that came in another way.
    ///
    /// # Errors
    /// If the token is not good.
    pub async fn caller_of(&self, token: &str) -> Result<Caller, Refusal> {
        self.0.issuers.caller(token).await
    }

    /// The refusal of a caller whose roles do not allow it: with advice on where the issuer has them.
    pub fn role_missing(&self, caller: &Caller) -> Refusal {
        let provider = self.0.issuers.of(&caller.iss);
        let advice = provider.map_or("", |provider| provider.advice(|advice| &advice.roles));
        let names = caller.roles.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let refusal = Refusal::forbidden("roles_missing", "Your role does not allow this.").advise(advice);
        refusal.with("sub", &caller.sub).with("roles", &names)
    }

    /// The response to a request that is refused, with a challenge where another token would help (RFC 6750 §3). `id`:
    /// that of the JSON-RPC request, if it is known.
    pub fn answer(&self, refusal: &Refusal, id: Option<&RawValue>) -> Answer {
        Answer::new(refusal, self.0.challenge.clone(), id)
    }

    /// Replaces the keys of an authorization server in this very program ([`Builder::own_keys`]). Tokens of a key that is gone
    /// are refused from now on, also if they were verified before. A new key must be here before anything is signed with it.
    ///
    /// # Errors
    /// If there is no such issuer in this program, or the keys cannot be used: then nothing has changed.
    pub fn replace_own_keys(&self, issuer: &str, jwks: &[u8]) -> Result<(), ConfigError> {
        let issuers = &self.0.issuers;
        let own = issuers.of(issuer).filter(|provider| provider.keys.remote.is_none());
        let own = own.with_context(|| format!("{issuer} is not an issuer in this program"))?;
        if own.keys.replace(own_set(issuer, jwks)?) {
            issuers.verified().forget();
        }
        Ok(())
    }

    /// The protected-resource document (RFC 9728 §2).
    pub fn metadata(&self) -> &ProtectedResourceMetadata {
        &self.0.document.metadata
    }

    /// Where it is, as challenges name it.
    pub fn metadata_url(&self) -> &str {
        &self.0.document.url
    }

    /// The paths at which it is to be served, on the resource's host.
    pub fn metadata_paths(&self) -> &[String] {
        &self.0.document.paths
    }

    /// The trusted issuers, and the state of their keys: for a health check.
    pub fn issuers(&self) -> impl Iterator<Item = (&str, KeyReport)> {
        self.0.issuers.iter().map(|provider| (provider.issuer.as_str(), provider.keys.report()))
    }
}

impl<Trust> Builder<Trust> {
    /// Trusts an identity provider (repeatable): `"https://idp.example"`, or an [`Issuer`] with more to say.
    pub fn issuer(mut self, issuer: impl Into<Issuer>) -> Builder<TrustsSomebody> {
        self.config.issuers.push(issuer.into());
        self.trusting()
    }

    /// Trusts an authorization server in this very program, by its keys: a JWK set (RFC 7517 §5). Its tokens are those of
    /// RFC 9068, and nothing is fetched.
    pub fn own_keys(mut self, issuer: impl Into<String>, jwks: impl Into<Vec<u8>>) -> Builder<TrustsSomebody> {
        self.config.own.push((issuer.into(), jwks.into()));
        self.trusting()
    }

    /// What tokens must have as `aud` if neither their issuer nor its profile says. Default: the resource.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.config.audience = Some(audience.into());
        self
    }

    /// The scopes that this server knows.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.config.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Those of them that basic use needs: the document and the challenges name these. Default: all.
    pub fn basic_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.config.basic_scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// The resource's name for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// The URL of its documentation.
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.config.documentation = Some(url.into());
        self
    }

    /// The URL of the protected-resource document, on the resource's origin: challenges name it. For a server behind a proxy that
    /// does not forward the resource's well-known place (RFC 9728 §3.1), which is the default.
    pub fn metadata_url(mut self, url: impl Into<String>) -> Self {
        self.config.metadata_url = Some(url.into());
        self
    }

    /// How the issuers' keys are renewed.
    pub fn times(mut self, times: Times) -> Self {
        self.config.times = times;
        self
    }

    /// Allows a resource whose URL is `http` on a host that is not loopback: tokens then travel in the clear.
    pub fn allow_insecure_http(mut self) -> Self {
        self.config.insecure_http = true;
        self
    }

    fn trusting(self) -> Builder<TrustsSomebody> {
        Builder { config: self.config, trust: PhantomData }
    }
}

impl Builder<TrustsSomebody> {
    /// Starts to fetch the issuers' keys, and waits two seconds for them at most: a server may start before its identity
    /// provider, and then refuses everybody until the keys are here. Also returns the tasks that renew the keys, to be
    /// awaited beside the server. To be called within a tokio runtime.
    ///
    /// # Errors
    /// If something of the configuration cannot be used.
    pub async fn start(self) -> Result<(ResourceServer, Tasks), ConfigError> {
        let (issuers, document) = self.config.open()?;
        let mut tasks = JoinSet::new();
        for provider in issuers.iter() {
            let verified = Arc::clone(issuers.verified());
            if provider.keys.remote.is_some() {
                tasks.spawn(Arc::clone(&provider.keys).run(move || verified.forget()));
            }
        }
        let all = join_all(issuers.iter().map(|provider| provider.keys.tried()));
        let _ = timeout(PATIENCE, all).await;
        let challenge = Challenge::new("Bearer").with("resource_metadata", &document.url);
        let challenge = match &document.metadata.scopes_supported {
            Some(scopes) => challenge.with("scope", &scopes.join(" ")),
            None => challenge,
        };
        Ok((ResourceServer(Arc::new(Inner { issuers, document, challenge })), Tasks::new(tasks)))
    }
}

impl Config {
    fn open(self) -> Result<(Issuers, Document)> {
        self.times.check()?;
        let count = self.issuers.len() + self.own.len();
        ensure!(count <= MAX_ISSUERS, "at most {MAX_ISSUERS} issuers can be trusted at once");
        let audience = self.audience.unwrap_or_else(|| self.resource.clone());
        let scopes: Arc<[String]> = self.scopes.iter().cloned().collect();
        let (mut list, mut opaque) = (Vec::<Provider>::new(), None);
        for (issuer, jwks) in self.own {
            let set = own_set(&issuer, &jwks)?;
            let (audience, scopes) = (vec![audience.clone()], Arc::clone(&scopes));
            let keys = Arc::new(Keys::own(set));
            list.push(Provider { issuer, audience, keys, profile: None, introspects: false, scopes });
        }
        for issuer in &self.issuers {
            let (provider, tokens) = issuer.open(&audience, Arc::clone(&scopes), self.times.clone())?;
            // An opaque token does not tell its issuer, and must not be shown to another.
            ensure!(tokens.is_none() || opaque.is_none(), "only one issuer can have opaque tokens (introspection)");
            opaque = opaque.or(tokens);
            list.push(provider);
        }
        for (number, provider) in list.iter().enumerate() {
            let twice = list[..number].iter().any(|other| other.issuer == provider.issuer);
            ensure!(!twice, "the issuer {} is given twice", provider.issuer);
        }
        let basic_scopes = self.basic_scopes.unwrap_or(self.scopes);
        let metadata = ProtectedResourceMetadata {
            resource: self.resource,
            authorization_servers: Some(list.iter().map(|provider| provider.issuer.clone()).collect()),
            scopes_supported: Some(basic_scopes).filter(|scopes| !scopes.is_empty()),
            bearer_methods_supported: Some(vec!["header".to_owned()]),
            resource_name: self.name,
            resource_documentation: self.documentation,
            dpop_bound_access_tokens_required: false,
            other: Map::new(),
        };
        Ok((Issuers::new(list, opaque), Document::new(metadata, self.metadata_url.as_deref(), self.insecure_http)?))
    }
}

/// The keys of an issuer in this program.
fn own_set(issuer: &str, jwks: &[u8]) -> Result<KeySet> {
    let set = KeySet::parse(jwks).with_context(|| format!("the keys of {issuer} cannot be used"))?;
    ensure!(!set.keys.is_empty(), "the keys of {issuer} cannot be used: the list is empty");
    Ok(set)
}
