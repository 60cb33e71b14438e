//! Whom this server trusts: each issuer with its own keys, and what is particular about the provider behind it.
//!
//! A provider's habits are data ([`Profile`], a TOML file each): where a token says what a person may do, and what
//! their roles are called. The issuer of a token is found by its `iss`, compared exactly; from then on only that
//! issuer's keys, algorithms and audience count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use common::{
    claims::{Audience, Claims},
    config::PublicUrl,
    files,
    keys::PublicKey,
    token_cache::TokenCache,
};
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};

use crate::{
    auth::User,
    fetch,
    introspection::{self, Introspection},
    jwks_client::{ALGORITHMS, JwksClient, Times},
    reasons::Refusal,
};

/// The longest claim that is believed, in bytes: it is remembered, and some are shown in headers.
const MAX_CLAIM: usize = 1024;
/// The same for lists: of audiences and of scopes.
const MAX_LIST: usize = 4096;
/// How many issuers may be trusted at once.
const MAX_ISSUERS: usize = 16;
/// How long a start waits for the providers' keys before it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// The profiles that are built in. The first is what the others, and files, extend.
const BUILT_IN: [(&str, &str); 5] = [
    ("generic", include_str!("profiles/generic.toml")),
    ("keycloak", include_str!("profiles/keycloak.toml")),
    ("auth0", include_str!("profiles/auth0.toml")),
    ("entra", include_str!("profiles/entra.toml")),
    ("okta", include_str!("profiles/okta.toml")),
];

/// Whose tokens are accepted, and for whom they must be meant.
#[derive(Args, Clone, Debug)]
pub struct ProviderArgs {
    /// Trust this identity provider, known by the URL that its tokens have as `iss` (repeatable; in the variable with
    /// one space between) [default: this server, which then has an authorization server of its own]
    #[arg(long, visible_alias = "authorization-server", env = "MCP_ISSUER", value_name = "URL", value_delimiter = ' ', value_parser = not_empty)]
    pub issuer: Vec<String>,
    /// What the provider is like: keycloak, auth0, entra, okta, generic, or a TOML file that ends in .toml; once for
    /// all issuers, or once for each in their order [default: guessed from the URL]
    #[arg(long, env = "MCP_PROFILE", value_name = "NAME|FILE")]
    pub profile: Vec<String>,
    /// Accept only tokens with this `aud`, of all issuers whose profile names no audience [default: <public URL>/mcp,
    /// which the metadata documents tell clients]
    #[arg(long, env = "MCP_AUDIENCE", value_name = "URI", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub audience: Option<String>,
    #[command(flatten)]
    pub times: Times,
}

impl ProviderArgs {
    /// Whether tokens come from elsewhere: then this server signs none.
    ///
    /// # Errors
    /// If it is not clear: whoever gives a profile has an issuer in mind.
    pub fn elsewhere(&self) -> Result<bool> {
        ensure!(
            !self.issuer.is_empty() || self.profile.is_empty(),
            "--profile says what an issuer is like, and none is given: add --issuer (or MCP_ISSUER)"
        );
        Ok(!self.issuer.is_empty())
    }

    /// The issuers with their profiles.
    ///
    /// # Errors
    /// If they do not go together, or a profile cannot be read.
    pub fn profiles(&self) -> Result<Vec<(&str, Profile)>> {
        let (issuers, profiles) = (self.issuer.len(), self.profile.len());
        ensure!(issuers <= MAX_ISSUERS, "--issuer: at most {MAX_ISSUERS} issuers can be trusted at once");
        if profiles > 1 && profiles != issuers {
            bail!("--profile: give it once, or once for each --issuer; there are {profiles} for {issuers}");
        }
        let mut found: Vec<(&str, Profile)> = Vec::new();
        for (number, issuer) in self.issuer.iter().enumerate() {
            ensure!(found.iter().all(|(other, _)| other != issuer), "--issuer: {issuer} is there twice");
            let profile = match self.profile.get(number).or(self.profile.first()) {
                Some(name) => Profile::load(name)?,
                None => Profile::guess(issuer)?,
            };
            found.push((issuer, profile));
        }
        Ok(found)
    }
}

fn not_empty(issuer: &str) -> Result<String, &'static str> {
    match issuer {
        "" => Err("an issuer's URL is empty; between several in MCP_ISSUER there is one space"),
        issuer => Ok(issuer.to_owned()),
    }
}

/// One provider: how its tokens are, and how they are read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    /// What the issuer's URL has in it if the provider is of this kind.
    recognise: Vec<String>,
    /// The audiences that are accepted; none: this server's resource.
    audience: Vec<String>,
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Claims that no other kind of token has with these values.
    access_token: BTreeMap<String, String>,
    pub claims: Places,
    roles: BTreeMap<String, Ours>,
    scopes: BTreeMap<String, String>,
    pub advice: Advice,
    /// Only for an issuer of opaque tokens.
    pub introspection: Option<introspection::Settings>,
}

/// Where things are in a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    scope: Vec<String>,
    pub roles: Vec<String>,
    username: Vec<String>,
    client_id: Vec<String>,
}

/// A role of ours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ours {
    Admin,
    User,
    Guest,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advice {
    pub audience: String,
    pub roles: String,
}

fn algorithms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Algorithm>, D::Error> {
    let algorithms = Vec::<Algorithm>::deserialize(deserializer)?;
    let ours = !algorithms.is_empty() && algorithms.iter().all(|algorithm| ALGORITHMS.contains(algorithm));
    if ours { Ok(algorithms) } else { Err(de::Error::custom("algorithms are of RS256, PS256, ES256, EdDSA")) }
}

impl Profile {
    /// The profile of this name, or in this file.
    ///
    /// # Errors
    /// If there is none, or it is not as it should be.
    pub fn load(name: &str) -> Result<Self> {
        let names = || BUILT_IN.map(|(name, _)| name).join(", ");
        let text = match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => (*text).to_owned(),
            None if Path::new(name).extension().is_some_and(|extension| extension == "toml") => {
                files::read(Path::new(name)).with_context(|| format!("--profile: cannot read {name}"))?.text
            }
            None => bail!("--profile: {name:?} is none of {} and no file that ends in .toml", names()),
        };
        let parse = || -> Result<Profile> {
            let mut table: toml::Table = text.parse()?;
            // A file says only what differs.
            let mut base = table.remove("extends").unwrap_or_else(|| "generic".into());
            while let Some(name) = base.as_str() {
                let known = BUILT_IN.iter().find(|(known, _)| *known == name);
                let (_, text) = known.with_context(|| format!("extends: {name:?} is none of {}", names()))?;
                let mut below: toml::Table = text.parse()?;
                base = below.remove("extends").unwrap_or(toml::Value::Boolean(false));
                // Who may do what is to be read in one place: of the [roles] below, only the default is inherited.
                if let (true, Some(roles)) = (table.contains_key("roles"), below.get_mut("roles")) {
                    roles.as_table_mut().context("[roles] is no table")?.retain(|name, _| name == "default");
                }
                table = over(below, table);
            }
            Ok(table.try_into()?)
        };
        let mut profile = parse().with_context(|| format!("--profile: {name} cannot be used"))?;
        if profile.roles.iter().any(|(name, ours)| *ours == Ours::None && name != "default") {
            bail!(
                "--profile: {name}: in [roles], \"none\" is for default only; leave out a role that counts for nothing"
            );
        }
        if let (Some(introspection), Some(folder)) = (&mut profile.introspection, Path::new(name).parent()) {
            introspection.look_in(folder);
        }
        Ok(profile)
    }

    /// The built-in profile that the issuer's URL looks like.
    fn guess(issuer: &str) -> Result<Self> {
        for (name, _) in BUILT_IN {
            let profile = Profile::load(name)?;
            if profile.recognise.iter().any(|part| format!("{issuer}/").contains(part)) {
                return Ok(profile);
            }
        }
        Profile::load("generic")
    }

    /// Whether the claims by which the provider tells its kinds of tokens apart say so, as far as they are there
    /// (RFC 8725 §3.12).
    fn is_access_token(&self, members: &Map<String, Value>) -> bool {
        self.access_token.iter().all(|(name, wanted)| members.get(name).is_none_or(|value| value == wanted))
    }

    /// The claims that this server reads, from where this provider puts them. Fails if one is of the wrong type.
    fn claims(&self, members: &Map<String, Value>) -> Result<Claims, String> {
        let mut ours = Map::new();
        for name in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"] {
            if let Some(value) = members.get(name) {
                ours.insert(name.to_owned(), value.clone());
            }
        }
        for (name, places) in [("preferred_username", &self.claims.username), ("client_id", &self.claims.client_id)] {
            if let Some(value) = places.iter().find_map(|place| at(members, place)) {
                ours.insert(name.to_owned(), value.clone());
            }
        }
        let found = self.claims.scope.iter().find_map(|place| at(members, place));
        let scope = match found {
            None => Vec::new(),
            // RFC 6749 §3.3: one string with spaces between; some providers have an array.
            Some(Value::String(text)) => text.split(' ').collect(),
            Some(value) => names(value)?,
        };
        if matches!(found, Some(Value::Array(_))) && scope.iter().any(|name| name.contains(' ')) {
            return Err("a scope has a space in it".to_owned());
        }
        let scope: Vec<_> = scope.iter().map(|name| self.scopes.get(*name).map_or(*name, String::as_str)).collect();
        ours.insert("scope".to_owned(), scope.join(" ").into());
        let mut roles: Vec<Ours> = Vec::new();
        for value in self.claims.roles.iter().filter_map(|place| at(members, place)) {
            let names = names(value)?.into_iter().filter(|name| *name != "default");
            roles.extend(names.filter_map(|name| self.roles.get(name)));
        }
        if roles.is_empty() {
            roles.extend(self.roles.get("default"));
        }
        let roles: BTreeSet<_> = roles.into_iter().filter_map(Ours::name).collect();
        ours.insert("roles".to_owned(), json!(roles));
        serde_json::from_value(ours.into()).map_err(|error| error.to_string())
    }
}

impl Ours {
    fn name(self) -> Option<&'static str> {
        match self {
            Ours::Admin => Some("admin"),
            Ours::User => Some("user"),
            Ours::Guest => Some("guest"),
            Ours::None => None,
        }
    }
}

/// One table laid over another: what both have is the upper one's, but tables are merged.
fn over(mut below: toml::Table, above: toml::Table) -> toml::Table {
    for (name, value) in above {
        let value = match (below.remove(&name), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => toml::Value::Table(over(below, above)),
            (_, value) => value,
        };
        below.insert(name, value);
    }
    below
}

/// What is at a place: the claim of that name, such as `https://mcp.example/roles`, else what the path leads to, such
/// as `realm_access.roles`. A path through what is no object ends at `null`, which no claim of ours may be.
fn at<'a>(members: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    static NULL: Value = Value::Null;
    if let Some(value) = members.get(place) {
        return Some(value);
    }
    let (first, rest) = place.split_once('.')?;
    match members.get(first)? {
        Value::Object(members) => at(members, rest),
        _ => Some(&NULL),
    }
}

/// Names in an array; a string is one name, whatever is in it.
fn names(value: &Value) -> Result<Vec<&str>, String> {
    match value {
        Value::String(name) => Ok(vec![name]),
        Value::Array(values) => {
            let names = values.iter().map(|value| value.as_str().ok_or_else(|| "a name is not a string".to_owned()));
            names.collect()
        }
        _ => Err("names are neither a string nor an array".to_owned()),
    }
}

/// The members of a JWT's payload, of which none may be there twice (RFC 7519 §4).
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A trusted issuer.
pub struct Provider {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    pub audience: Vec<String>,
    pub keys: Arc<JwksClient>,
    /// `None`: we are the issuer, and our claims are as we read them.
    pub profile: Option<Profile>,
    /// For opaque tokens, if the issuer has such.
    pub introspection: Option<Introspection>,
}

impl Provider {
    /// What a token with this `alg` must satisfy, or `None` if the issuer may not use it.
    pub fn validation(&self, algorithm: Algorithm, leeway: u64) -> Option<Validation> {
        let allowed = self.profile.as_ref().map_or(&[Algorithm::RS256][..], |profile| &profile.algorithms);
        if !allowed.contains(&algorithm) {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&self.audience);
        validation.validate_nbf = true;
        validation.leeway = leeway;
        Some(validation)
    }

    /// The claims of a verified token, which must be an access token and say whom it is about.
    pub fn claims(&self, members: Members) -> Result<Claims, Refusal> {
        let claims = match &self.profile {
            // Whoever has stolen such a token must not be able to use it without the key that it is bound to.
            Some(_) if members.0.contains_key("cnf") => return Err(Refusal::token_bound()),
            Some(profile) if !profile.is_access_token(&members.0) => return Err(Refusal::other_type()),
            Some(profile) => profile.claims(&members.0),
            None => serde_json::from_value(members.0.into()).map_err(|error| error.to_string()),
        };
        let claims = claims.map_err(|why| Refusal::malformed().with("iss", &self.issuer).with("why", &why))?;
        let words =
            [Some(&claims.sub), claims.preferred_username.as_ref(), claims.client_id.as_ref(), claims.jti.as_ref()];
        let long = words.into_iter().flatten().any(|word| word.len() > MAX_CLAIM);
        let audience = match &claims.aud {
            Audience::One(name) => name.len(),
            Audience::Several(names) => names.iter().map(|name| name.len() + 1).sum(),
        };
        if self.profile.is_some() && (long || audience.max(claims.scope.to_string().len()) > MAX_LIST) {
            return Err(Refusal::token(
                "claim_too_long",
                "A claim of the token is longer than 1 KiB, or a list than 4 KiB.",
            ));
        }
        if claims.sub.is_empty() {
            return Err(Refusal::token("subject_missing", "The token's subject (sub) is empty."));
        }
        Ok(claims)
    }

    /// The refusal of a token for somebody else, or for nobody.
    pub fn wrong_audience(&self, aud: Option<&Value>) -> Refusal {
        let (reason, description) = match aud {
            Some(_) => ("audience_other", "The token is for another audience (aud)."),
            None => ("audience_missing", "The token has no audience (aud)."),
        };
        let refusal = Refusal::token(reason, format!("{description} It must be {}.", self.audience.join(" or ")));
        let refusal = refusal.advise(self.advice(|advice| &advice.audience)).with("iss", &self.issuer);
        aud.map_or(refusal.clone(), |aud| refusal.with("aud", &aud.to_string()))
    }

    /// What to do about a fault of this provider's tokens.
    pub fn advice(&self, of: impl FnOnce(&Advice) -> &String) -> &str {
        self.profile.as_ref().map_or("", |profile| of(&profile.advice))
    }
}

/// All trusted issuers, and the tokens of theirs that were verified.
#[derive(Clone)]
pub struct Providers(Arc<Trusted>);

struct Trusted {
    list: Vec<Provider>,
    /// Replaced by an empty one when a key has gone: what it had verified must be verified again.
    verified: Arc<RwLock<TokenCache<User>>>,
}

impl Providers {
    /// Trusts the issuers of the command line, and starts to fetch their keys: waits for that a moment, but not for
    /// ever. Without any, trusts this server's own key.
    ///
    /// # Errors
    /// If an argument is not as it should be.
    pub async fn open(
        args: &ProviderArgs,
        public_url: &PublicUrl,
        own: Option<&PublicKey>,
        leeway: u64,
    ) -> Result<Self> {
        let resource = args.audience.clone().unwrap_or_else(|| public_url.resource());
        let mut list = Vec::new();
        if let Some(key) = own {
            list.push(Provider {
                issuer: public_url.as_str().to_owned(),
                audience: vec![resource.clone()],
                keys: Arc::new(JwksClient::own(key)),
                profile: None,
                introspection: None,
            });
        }
        let times = &args.times;
        ensure!(times.jwks_min_age <= times.jwks_max_age, "--jwks-min-age is longer than --jwks-max-age");
        ensure!(times.jwks_cooldown <= times.jwks_max_age, "--jwks-cooldown is longer than --jwks-max-age");
        ensure!(times.jwks_max_age <= times.max_stale, "--max-stale is shorter than --jwks-max-age");
        for (issuer, profile) in args.profiles()? {
            list.push(provider(issuer, profile, args, &resource, public_url)?);
        }
        // An opaque token does not tell its issuer, and must not be shown to another.
        if list.iter().filter(|provider| provider.introspection.is_some()).count() > 1 {
            bail!("--profile: only one issuer can have opaque tokens (introspection)");
        }
        let verified = Arc::new(RwLock::new(TokenCache::new(leeway)));
        for provider in &list {
            let verified = Arc::clone(&verified);
            let task = actix_web::rt::spawn(provider.keys.clone().run(move || {
                *verified.write().unwrap_or_else(PoisonError::into_inner) = TokenCache::new(leeway);
            }));
            // Without it keys would neither be renewed nor go: better no server than one that believes them for ever.
            actix_web::rt::spawn(async move {
                if task.await.is_err_and(|error| error.is_panic()) {
                    tracing::error!("the task that renews an issuer's keys has failed: the server stops");
                    std::process::exit(1);
                }
            });
        }
        let all = futures_util::future::join_all(list.iter().map(|provider| provider.keys.tried()));
        let _ = tokio::time::timeout(PATIENCE, all).await;
        Ok(Providers(Arc::new(Trusted { list, verified })))
    }

    /// The tokens that were verified, to be asked before the keys are looked at: so that what is verified with a key
    /// that goes away meanwhile is remembered in a cache that goes with it.
    pub fn verified(&self) -> TokenCache<User> {
        self.0.verified.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.list.iter()
    }

    /// The issuer of exactly this name.
    pub fn of(&self, issuer: &str) -> Option<&Provider> {
        self.iter().find(|provider| provider.issuer == issuer)
    }

    /// The issuer of opaque tokens, if there is one.
    pub fn of_opaque(&self) -> Option<(&Provider, &Introspection)> {
        self.iter().find_map(|provider| Some((provider, provider.introspection.as_ref()?)))
    }

    /// Whether anybody's token can be checked.
    pub fn any_ready(&self) -> bool {
        self.iter().any(|provider| provider.keys.is_ready())
    }
}

fn provider(
    issuer: &str,
    profile: Profile,
    args: &ProviderArgs,
    resource: &str,
    public_url: &PublicUrl,
) -> Result<Provider> {
    let url = fetch::web_url(issuer).filter(|url| url.query().is_none());
    let url = url.with_context(|| {
        format!("--issuer: {issuer:?} is not the URL of an issuer: https (http for loopback hosts only), no query")
    })?;
    if issuer.trim_end_matches('/') == public_url.as_str() {
        bail!("--issuer: {issuer} is this server itself, which it trusts without --issuer");
    }
    let audience = match profile.audience.as_slice() {
        [] => vec![resource.to_owned()],
        audience => audience.to_vec(),
    };
    tracing::info!(issuer, profile = profile.name, ?audience, "trusting an issuer");
    let introspection =
        profile.introspection.as_ref().map(|settings| Introspection::new(settings, &url)).transpose()?;
    let (http, opaque) = (fetch::client(&url)?, introspection.is_some());
    let keys = Arc::new(JwksClient::remote(issuer.to_owned(), url, http, args.times.clone(), opaque));
    Ok(Provider { issuer: issuer.to_owned(), audience, keys, profile: Some(profile), introspection })
}
