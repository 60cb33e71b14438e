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
    claims::{Audience, Claims, SCOPES, Scopes},
    config::PublicUrl,
    files,
    keys::PublicKey,
    token_cache::TokenCache,
};
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use url::Url;

use crate::{
    auth::Caller,
    discovery::is_template,
    fetch::{self, Problem},
    introspection::{self, Introspection},
    jwks_client::{ALGORITHMS, JwksClient, Times},
    reasons::Refusal,
};

/// The longest claim that is believed, in bytes: it is remembered, and some are shown in headers.
const MAX_CLAIM: usize = 1024;
/// The same for lists: of audiences and of scopes.
const MAX_LIST: usize = 4096;
/// How many roles or scopes a token may have; they are compared with ours one by one.
const MAX_NAMES: usize = 1000;
/// How long a place in a profile may be, in bytes, and how many dots it may have.
const MAX_PLACE: usize = 256;
const MAX_DOTS: usize = 12;
/// How many issuers may be trusted at once.
const MAX_ISSUERS: usize = 16;
/// How long a start waits for the providers' keys before it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// The profiles that are built in. The first is what the others, and files, extend.
const BUILT_IN: [(&str, &str); 10] = [
    ("generic", include_str!("profiles/generic.toml")),
    ("keycloak", include_str!("profiles/keycloak.toml")),
    ("auth0", include_str!("profiles/auth0.toml")),
    ("entra", include_str!("profiles/entra.toml")),
    ("okta", include_str!("profiles/okta.toml")),
    ("zitadel", include_str!("profiles/zitadel.toml")),
    ("authentik", include_str!("profiles/authentik.toml")),
    ("logto", include_str!("profiles/logto.toml")),
    ("cognito", include_str!("profiles/cognito.toml")),
    ("keycloak-tutorial", include_str!("profiles/keycloak-tutorial.toml")),
];

/// Whose tokens are accepted, and for whom they must be meant.
#[derive(Args, Clone, Debug)]
pub struct ProviderArgs {
    /// Trust this identity provider, known by the URL that its tokens have as `iss` (repeatable; in the variable with
    /// one space between) [default: this server, which then has an authorization server of its own]
    #[arg(long, visible_alias = "authorization-server", env = "MCP_ISSUER", value_name = "URL", value_delimiter = ' ', value_parser = not_empty)]
    pub issuer: Vec<String>,
    /// What the provider is like: keycloak, keycloak-tutorial, auth0, entra, okta, zitadel, authentik, logto, generic, or
    /// a TOML file that ends in .toml; once for all issuers, or once for each in their order [default: guessed from the
    /// URL]
    #[arg(long, env = "MCP_PROFILE", value_name = "NAME|FILE")]
    pub profile: Vec<String>,
    /// Accept only tokens with this `aud`, of all issuers whose profile names no audience [default: PUBLIC-URL/mcp,
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
            if let Some(why) = &profile.refused {
                bail!("--issuer: {issuer} cannot be trusted: {why}");
            }
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
    /// Why such a provider is not trusted.
    refused: Option<String>,
    /// The audiences that are accepted; none: this server's resource.
    audience: Vec<String>,
    #[serde(deserialize_with = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Claims that no other kind of token has with these values.
    access_token: BTreeMap<String, String>,
    /// Claims that only ID tokens have.
    id_token: Vec<String>,
    pub claims: Places,
    /// Whether the names of roles count among the scopes as well, where a provider has no scopes of one's own.
    roles_are_scopes: bool,
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
    if ours { Ok(algorithms) } else { Err(de::Error::custom("algorithms are of RS256, PS256, ES256, ES384, EdDSA")) }
}

impl Profile {
    /// The profile of this name, or in this file.
    ///
    /// # Errors
    /// If it does not exist, or is not as it should be.
    pub fn load(name: &str) -> Result<Self> {
        let names = || BUILT_IN.map(|(name, _)| name).join(", ");
        let text = match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => (*text).to_owned(),
            None if Path::new(name).extension().is_some_and(|extension| extension == "toml") => {
                files::read(Path::new(name)).with_context(|| format!("--profile: cannot read {name}"))?.text
            }
            None => bail!("--profile: {name:?} is neither one of {} nor a file that ends in .toml", names()),
        };
        let parse = || -> Result<Profile> {
            let mut table: toml::Table = text.parse()?;
            let has_roles = |table: Option<&toml::Value>| table.is_some_and(|table| table.get("roles").is_some());
            // Where and which the roles are is said here: the advice that is inherited would name others.
            let others = has_roles(table.get("claims")) || table.contains_key("roles");
            let advise = others && !has_roles(table.get("advice"));
            // A file says only what differs.
            let mut base = table.remove("extends").unwrap_or_else(|| "generic".into());
            while let Some(name) = base.as_str() {
                let known = BUILT_IN.iter().find(|(known, _)| *known == name);
                let (_, text) = known.with_context(|| format!("extends: {name:?} is not one of {}", names()))?;
                let mut below: toml::Table = text.parse()?;
                base = below.remove("extends").unwrap_or(toml::Value::Boolean(false));
                // Who may do what is to be read in one place: of the [roles] below, only the default is inherited.
                if let (true, Some(roles)) = (table.contains_key("roles"), below.get_mut("roles")) {
                    roles.as_table_mut().context("[roles] is no table")?.retain(|name, _| name == "default");
                }
                table = over(below, table);
            }
            let mut profile: Profile = table.try_into()?;
            if advise {
                profile.advice.roles = profile.advice_on_roles();
            }
            Ok(profile)
        };
        let mut profile = parse().with_context(|| format!("--profile: {name} cannot be used"))?;
        if profile.roles.iter().any(|(name, ours)| *ours == Ours::None && name != "default") {
            bail!(
                "--profile: {name}: in [roles], \"none\" is for default only; leave out a role that counts for nothing"
            );
        }
        let Places { scope, roles, username, client_id } = &profile.claims;
        let too_long = |place: &&String| place.len() > MAX_PLACE || place.matches('.').count() > MAX_DOTS;
        if let Some(place) = scope.iter().chain(roles).chain(username).chain(client_id).find(too_long) {
            bail!("--profile: {name}: in [claims], {place:?} has over {MAX_DOTS} dots or {MAX_PLACE} bytes");
        }
        if let (Some(introspection), Some(folder)) = (&mut profile.introspection, Path::new(name).parent()) {
            introspection.look_in(folder);
        }
        Ok(profile)
    }

    /// What to do for a person without a role of ours, where the profile itself does not say.
    fn advice_on_roles(&self) -> String {
        let mut names: Vec<_> = self.roles.keys().map(String::as_str).filter(|name| *name != "default").collect();
        names.truncate(10);
        let (places, names) = (self.claims.roles.join(" and "), names.join(", "));
        let give = if names.is_empty() { String::new() } else { format!("give the person one of {names} there, or ") };
        format!(
            "The token's roles are read from {places}: {give}map the provider's names in the [roles] table of the \
             --profile file."
        )
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
            && !self.id_token.iter().any(|name| members.contains_key(name))
    }

    /// The claims that this server reads, from where this provider puts them. Fails with the place of one that is of
    /// the wrong type.
    fn claims(&self, members: &Map<String, Value>) -> Result<Claims, String> {
        if let Some(name) = mistyped(members) {
            return Err(name.to_owned());
        }
        let mut ours = Map::new();
        for (name, _) in REGISTERED {
            if let Some(value) = members.get(name) {
                ours.insert(name.to_owned(), value.clone());
            }
        }
        for (name, places) in [("preferred_username", &self.claims.username), ("client_id", &self.claims.client_id)] {
            if let Some((place, value)) = first(members, places) {
                value.as_str().ok_or(place)?;
                ours.insert(name.to_owned(), value.clone());
            }
        }
        let mut scopes = Vec::new();
        if let Some((place, value)) = first(members, &self.claims.scope) {
            scopes = match value {
                // RFC 6749 §3.3: one string with spaces between; some providers have an array.
                Value::String(text) => text.split(' ').collect(),
                Value::Array(_) => {
                    names(value).filter(|names| !names.iter().any(|name| name.contains(' '))).ok_or(place)?
                }
                _ => return Err(place.to_owned()),
            };
            Scopes::parse(&scopes.join(" ")).map_err(|_| place)?;
        }
        let mut roles: Vec<Ours> = Vec::new();
        for place in &self.claims.roles {
            let Some(value) = at(members, place) else { continue };
            let names = names(value).ok_or(place)?;
            roles.extend(names.iter().filter(|name| **name != "default").filter_map(|name| self.roles.get(*name)));
            if self.roles_are_scopes {
                scopes.extend(names.iter().filter(|name| SCOPES.contains(name)));
            }
        }
        let scopes: Vec<_> = scopes.iter().map(|name| self.scopes.get(*name).map_or(*name, String::as_str)).collect();
        ours.insert("scope".to_owned(), scopes.join(" ").into());
        if roles.is_empty() {
            roles.extend(self.roles.get("default"));
        }
        let roles: BTreeSet<_> = roles.into_iter().filter_map(Ours::name).collect();
        ours.insert("roles".to_owned(), json!(roles));
        serde_json::from_value(ours.into()).map_err(|_| String::new())
    }
}

type IsOfType = fn(&Value) -> bool;

/// The claims that have one place and one type (RFC 7519 §4.1).
const REGISTERED: [(&str, IsOfType); 7] = [
    ("iss", Value::is_string),
    ("sub", Value::is_string),
    ("aud", |aud| aud.is_string() || is_strings(aud)),
    ("exp", Value::is_number),
    ("nbf", Value::is_number),
    ("iat", Value::is_number),
    ("jti", Value::is_string),
];

/// The others that our own tokens have.
const OWN: [(&str, IsOfType); 4] = [
    ("preferred_username", Value::is_string),
    ("client_id", Value::is_string),
    ("scope", |scope| scope.as_str().is_some_and(|scope| Scopes::parse(scope).is_ok())),
    ("roles", is_strings),
];

fn is_strings(value: &Value) -> bool {
    value.as_array().is_some_and(|values| values.iter().all(Value::is_string))
}

/// The first of the registered claims that is there and of the wrong type.
pub fn mistyped(members: &Map<String, Value>) -> Option<&'static str> {
    mistyped_of(REGISTERED, members)
}

fn mistyped_of(
    claims: impl IntoIterator<Item = (&'static str, IsOfType)>,
    members: &Map<String, Value>,
) -> Option<&'static str> {
    let wrong = |(name, fits): (&'static str, IsOfType)| members.get(name).filter(|value| !fits(value)).map(|_| name);
    claims.into_iter().find_map(wrong)
}

/// What is at the first of these places that is there, and which that is.
fn first<'a>(members: &'a Map<String, Value>, places: &'a [String]) -> Option<(&'a str, &'a Value)> {
    places.iter().find_map(|place| Some((place.as_str(), at(members, place)?)))
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
/// as `realm_access.roles`. Names may have dots of their own, as in `resource_access.mcp.example.com.roles`: the longest
/// name that is there counts first. A path through what is no object ends at `null`, which no claim of ours may be.
fn at<'a>(members: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    static NULL: Value = Value::Null;
    if let Some(value) = members.get(place) {
        return Some(value);
    }
    place.rmatch_indices('.').find_map(|(dot, _)| match members.get(&place[..dot])? {
        Value::Object(members) => at(members, &place[dot + 1..]),
        _ => Some(&NULL),
    })
}

/// Names: one in a string, whatever is in it; or those of an array; or those that the members of an object have, whose
/// values are objects that say more of it, as Zitadel's are. (`{"admin": false}` is nobody's list of names.)
fn names(value: &Value) -> Option<Vec<&str>> {
    let names = match value {
        Value::String(name) => vec![name.as_str()],
        Value::Array(values) => values.iter().map(Value::as_str).collect::<Option<_>>()?,
        Value::Object(members) => {
            members.iter().map(|(name, value)| value.is_object().then_some(name.as_str())).collect::<Option<_>>()?
        }
        _ => return None,
    };
    (names.len() <= MAX_NAMES).then_some(names)
}

/// The members of a JWT's payload, of which none may be there twice (RFC 7519 §4), nor any within them: two readers
/// would take different ones.
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Unique::deserialize(deserializer)?.0 {
            Value::Object(members) => Ok(Members(members)),
            _ => Err(de::Error::custom("not an object")),
        }
    }
}

/// JSON in which no object has a member twice. How deep it may be nested is up to the parser.
pub struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut values = Vec::new();
                while let Some(Unique(value)) = access.next_element()? {
                    values.push(value);
                }
                Ok(Unique(values.into()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut members = Map::new();
                while let Some((name, Unique(value))) = access.next_entry::<String, Unique>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member is there twice"));
                    }
                }
                Ok(Unique(members.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
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
            _ if members.0.contains_key("cnf") => return Err(Refusal::token_bound()),
            Some(profile) if !profile.is_access_token(&members.0) => return Err(Refusal::other_type()),
            Some(profile) => profile.claims(&members.0),
            None => {
                let wrong = mistyped_of(REGISTERED.into_iter().chain(OWN), &members.0).unwrap_or_default();
                serde_json::from_value(members.0.into()).map_err(|_| wrong.to_owned())
            }
        };
        let claims = claims.map_err(|place| Refusal::mistyped(&place).with("iss", &self.issuer))?;
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
    verified: Arc<RwLock<TokenCache<Caller>>>,
}

impl Providers {
    /// Trusts the issuers of the command line, and starts to fetch their keys: waits for that a moment, but not for
    /// ever. Without any, trusts this server's own key. Also returns what watches over the tasks that fetch.
    ///
    /// # Errors
    /// If an argument is not as it should be.
    pub async fn open(
        args: &ProviderArgs,
        public_url: &PublicUrl,
        own: Option<&PublicKey>,
        leeway: u64,
    ) -> Result<(Self, Tasks)> {
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
        let mut tasks = Tasks::default();
        for provider in list.iter().filter(|provider| provider.profile.is_some()) {
            let verified = Arc::clone(&verified);
            tasks.0.push(actix_web::rt::spawn(provider.keys.clone().run(move || {
                *verified.write().unwrap_or_else(PoisonError::into_inner) = TokenCache::new(leeway);
            })));
        }
        let all = futures_util::future::join_all(list.iter().map(|provider| provider.keys.tried()));
        let _ = tokio::time::timeout(PATIENCE, all).await;
        Ok((Providers(Arc::new(Trusted { list, verified })), tasks))
    }

    /// The tokens that were verified, to be asked before the keys are looked at: so that what is verified with a key
    /// that goes away meanwhile is remembered in a cache that goes with it.
    pub fn verified(&self) -> TokenCache<Caller> {
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

    /// Why nobody's token can be checked: of several reasons, one that may pass.
    pub fn problem(&self) -> Option<Problem> {
        let problems: Vec<_> = self.iter().map(|provider| provider.keys.problem()).collect();
        problems.iter().copied().find(|problem| problem.is_none_or(Problem::may_pass)).or(problems.first().copied())?
    }

    /// Whether anybody's token can be checked.
    pub fn any_ready(&self) -> bool {
        self.iter().any(|provider| provider.keys.is_ready())
    }
}

/// The tasks that renew the issuers' keys.
#[derive(Default)]
pub struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    /// Waits until one of them has ended, which none should. Without it keys would neither be renewed nor go: better no
    /// server than one that believes them for ever.
    pub async fn failure(self) -> anyhow::Error {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let (outcome, ..) = futures_util::future::select_all(self.0).await;
        tracing::error!("the task that renews an issuer's keys has ended: the server stops");
        match outcome {
            Ok(()) => anyhow::anyhow!("the task that renews an issuer's keys has ended"),
            Err(error) => anyhow::Error::new(error).context("the task that renews an issuer's keys has failed"),
        }
    }
}

/// The URL of an issuer.
///
/// # Errors
/// If it can be none (RFC 8414 §2).
pub fn issuer_url(issuer: &str) -> Result<Url> {
    ensure!(!is_template(issuer), "{issuer} is a template for many tenants: put one tenant's name into it");
    fetch::web_url(issuer).filter(|url| url.query().is_none()).with_context(|| {
        format!(
            "{issuer:?} is not the URL of an issuer: https (http for loopback hosts only), without user, query and \
             fragment"
        )
    })
}

fn provider(
    issuer: &str,
    profile: Profile,
    args: &ProviderArgs,
    resource: &str,
    public_url: &PublicUrl,
) -> Result<Provider> {
    let url = issuer_url(issuer).context("--issuer")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(profile: &str, token: Value) -> Result<(Vec<String>, Option<String>), String> {
        let Value::Object(members) = token else { panic!("not an object") };
        let claims = Profile::load(profile).unwrap().claims(&members)?;
        Ok((claims.roles.unwrap(), claims.preferred_username))
    }

    #[actix_web::test]
    async fn the_server_stops_when_a_task_that_renews_keys_has_ended() {
        let forever = || actix_web::rt::spawn(std::future::pending());
        let failure = Tasks(vec![forever(), actix_web::rt::spawn(async { panic!("a bug") })]).failure();
        assert!(format!("{:#}", failure.await).contains("renews an issuer's keys has failed"));
        let ended = Tasks(vec![forever(), actix_web::rt::spawn(async {})]).failure();
        assert!(format!("{:#}", ended.await).contains("has ended"));
        for tasks in [Tasks::default(), Tasks(vec![forever()])] {
            let waited = tokio::time::timeout(Duration::from_millis(50), tasks.failure()).await;
            assert!(waited.is_err(), "nothing has failed");
        }
    }

    #[test]
    fn the_longest_member_of_a_path_counts_first() {
        let token = json!({
            "a": { "b.c": { "d": 1 }, "b": { "c": { "d": 2, "e": 3 } }, "x": "text" },
            "a.b": { "z": 4 },
            "dotted.name": "5",
        });
        let Value::Object(members) = token else { panic!("not an object") };
        for (place, wanted) in [
            ("a.b.c.d", Some(json!(1))),
            ("a.b.c.e", Some(json!(3))),
            ("a.b.z", Some(json!(4))),
            ("dotted.name", Some(json!("5"))),
            ("dotted.name.x", Some(Value::Null)),
            ("a.x.y", Some(Value::Null)),
            ("a.y", None),
            ("y", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(at(&members, place).cloned(), wanted, "{place}");
        }
    }

    #[test]
    fn names_are_a_string_an_array_or_the_members_of_an_object() {
        let many = |count: usize| Value::Object((0..count).map(|number| (number.to_string(), json!({}))).collect());
        for (value, wanted) in [
            (json!("a b"), Some(vec!["a b"])),
            (json!(["a", "b"]), Some(vec!["a", "b"])),
            (json!({ "a": { "1": "org.example" }, "b": {} }), Some(vec!["a", "b"])),
            (json!({}), Some(vec![])),
            (json!({ "a": { "1": "x" }, "b": false }), None),
            (json!({ "a": null }), None),
            (json!({ "a": "b" }), None),
            (json!(["a", { "b": {} }]), None),
            (json!(["a", 1]), None),
            (json!(5), None),
            (json!(true), None),
            (Value::Null, None),
        ] {
            assert_eq!(names(&value), wanted, "{value}");
        }
        assert_eq!(names(&many(MAX_NAMES)).map(|names| names.len()), Some(MAX_NAMES));
        assert_eq!(names(&many(MAX_NAMES + 1)), None);
    }

    #[test]
    fn no_member_may_be_there_twice_at_any_depth() {
        let read = |json: &str| serde_json::from_str::<Members>(json).is_ok();
        assert!(read(r#"{"a":[{"b":1},{"b":2}],"c":{"b":null,"a":{"b":1.5,"c":-1,"d":true}}}"#));
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[[{"b":{"c":[],"c":[]}}]]}"#,
            r#"{"a":{"b":1,"\u0062":1}}"#,
        ] {
            assert!(!read(twice), "{twice}");
        }
        assert!(!read("[]") && !read("null") && !read(&"[".repeat(100_000)) && !read(&"{\"a\":".repeat(100_000)));
    }

    #[test]
    fn a_claim_of_our_own_tokens_that_is_of_the_wrong_type_is_named() {
        let provider = Provider {
            issuer: "i".to_owned(),
            audience: Vec::new(),
            keys: Arc::new(JwksClient::remote(
                String::new(),
                "http://localhost".parse().unwrap(),
                fetch::client(&"http://localhost".parse().unwrap()).unwrap(),
                Times { jwks_cooldown: PATIENCE, jwks_min_age: PATIENCE, jwks_max_age: PATIENCE, max_stale: PATIENCE },
                false,
            )),
            profile: None,
            introspection: None,
        };
        let claims = |name: &str, value: Value| {
            let mut token = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 1, "roles": ["user"] });
            token[name] = value;
            let Value::Object(members) = token else { panic!("not an object") };
            provider.claims(Members(members)).map_err(|refusal| refusal.description)
        };
        assert!(claims("preferred_username", json!("alice")).is_ok());
        for (name, value) in [
            ("preferred_username", Value::Null),
            ("client_id", json!(1)),
            ("scope", json!(["mcp:read"])),
            ("scope", json!("\u{7f}")),
            ("roles", json!({ "admin": {} })),
            ("roles", json!("admin")),
            ("roles", json!([1])),
            ("exp", json!("1")),
        ] {
            let refused = claims(name, value).unwrap_err();
            assert_eq!(refused, format!("The token's claim {name} has the wrong type."));
        }
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_named() {
        let good = || json!({ "iss": "i", "aud": ["a"], "sub": "s", "exp": 1 });
        for (profile, name, value, wanted) in [
            ("generic", "preferred_username", Value::Null, "preferred_username"),
            ("generic", "exp", json!("1795694005"), "exp"),
            ("generic", "iat", json!("now"), "iat"),
            ("generic", "jti", json!(1), "jti"),
            ("generic", "aud", json!(["a", 1]), "aud"),
            ("generic", "sub", json!({}), "sub"),
            ("generic", "roles", json!(5), "roles"),
            ("generic", "scope", json!(5), "scope"),
            ("generic", "scope", json!({ "mcp:tools": {} }), "scope"),
            ("generic", "scope", json!("a\u{e4}"), "scope"),
            ("generic", "scp", json!(["a b"]), "scp"),
            ("generic", "azp", json!([]), "azp"),
            ("keycloak", "realm_access", json!("admin"), "realm_access.roles"),
            ("entra", "upn", json!(1), "upn"),
            ("okta", "groups", json!([1]), "groups"),
        ] {
            let mut token = good();
            token[name] = value;
            assert_eq!(claims(profile, token).err().as_deref(), Some(wanted), "{profile} {name}");
        }
        assert!(claims("generic", good()).is_ok());
    }
}
