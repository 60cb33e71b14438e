//! Providers differ in data, not in code: a profile is a TOML file that says where a provider's tokens have each claim,
//! and what the roles are called. Some are built in; others extend them.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use jsonwebtoken::Algorithm;
use oauth::{files, jwk::ALGORITHMS};
use serde::{Deserialize, Deserializer, de};

use crate::introspection::Settings;

/// How long a place in a profile may be, in bytes, and how many dots it may have.
const MAX_PLACE: usize = 256;
const MAX_DOTS: usize = 12;

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

/// The particulars of a provider: which tokens it signs, and where they have each claim.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub(crate) name: String,
    /// A text in the issuer's URL that identifies a provider of this kind.
    recognise: Vec<String>,
    /// Why such a provider is not trusted.
    pub(crate) refused: Option<String>,
    /// The audiences that are accepted; none: this server's resource.
    pub(crate) audience: Vec<String>,
    #[serde(deserialize_with = "algorithms")]
    pub(crate) algorithms: Vec<Algorithm>,
    /// Claims that no other kind of token has with these values.
    pub(crate) access_token: BTreeMap<String, String>,
    /// Claims that only ID tokens have.
    pub(crate) id_token: Vec<String>,
    pub(crate) claims: Places,
    /// Whether the names of roles count among the scopes as well, where a provider does not allow custom scopes.
    pub(crate) roles_are_scopes: bool,
    pub(crate) roles: BTreeMap<String, Ours>,
    pub(crate) scopes: BTreeMap<String, String>,
    pub(crate) advice: Advice,
    /// Only for an issuer of opaque tokens.
    pub(crate) introspection: Option<Settings>,
}

/// Where things are in a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Places {
    pub scope: Vec<String>,
    pub roles: Vec<String>,
    pub username: Vec<String>,
    pub client_id: Vec<String>,
}

/// A role of ours, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ours {
    Admin,
    User,
    Guest,
    None,
}

/// What to do about a fault of the provider's tokens.
#[derive(Clone, Debug, Deserialize)]
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
    /// What it is called: `keycloak`, say.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile of this name, or in this file.
    ///
    /// # Errors
    /// If it does not exist, or is not as it should be.
    pub fn load(name: &str) -> Result<Self> {
        let names = || BUILT_IN.map(|(name, _)| name).join(", ");
        let text = match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => (*text).to_owned(),
            None if Path::new(name).extension().is_some_and(|extension| extension == "toml") => {
                files::read(Path::new(name)).with_context(|| format!("cannot read the profile {name}"))?.text
            }
            None => bail!("the profile {name:?} is neither one of {} nor a file that ends in .toml", names()),
        };
        let parse = || -> Result<Profile> {
            let mut table: toml::Table = text.parse()?;
            let has_roles = |table: Option<&toml::Value>| table.is_some_and(|table| table.get("roles").is_some());
            // If a profile defines its own roles, the inherited advice would name the wrong ones.
            let others = has_roles(table.get("claims")) || table.contains_key("roles");
            let advise = others && !has_roles(table.get("advice"));
            // A file says only what differs.
            let mut base = table.remove("extends").unwrap_or_else(|| "generic".into());
            while let Some(name) = base.as_str() {
                let known = BUILT_IN.iter().find(|(known, _)| *known == name);
                let (_, text) = known.with_context(|| format!("extends: {name:?} is not one of {}", names()))?;
                let mut below: toml::Table = text.parse()?;
                base = below.remove("extends").unwrap_or(toml::Value::Boolean(false));
                // All roles must be visible in one place, so only the default of the [roles] below is inherited.
                if let (true, Some(roles)) = (table.contains_key("roles"), below.get_mut("roles")) {
                    roles.as_table_mut().context("[roles] is not a table")?.retain(|name, _| name == "default");
                }
                table = over(below, table);
            }
            let mut profile: Profile = table.try_into()?;
            if advise {
                profile.advice.roles = profile.advice_on_roles();
            }
            Ok(profile)
        };
        let mut profile = parse().with_context(|| format!("the profile {name} cannot be used"))?;
        if profile.roles.iter().any(|(name, ours)| *ours == Ours::None && name != "default") {
            bail!(
                "the profile {name}: in [roles], \"none\" is for default only; leave out a role that counts for nothing"
            );
        }
        let Places { scope, roles, username, client_id } = &profile.claims;
        let too_long = |place: &&String| place.len() > MAX_PLACE || place.matches('.').count() > MAX_DOTS;
        if let Some(place) = scope.iter().chain(roles).chain(username).chain(client_id).find(too_long) {
            bail!("the profile {name}: in [claims], {place:?} has over {MAX_DOTS} dots or {MAX_PLACE} bytes");
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
    pub(crate) fn guess(issuer: &str) -> Result<Self> {
        for (name, _) in BUILT_IN {
            let profile = Profile::load(name)?;
            if profile.recognise.iter().any(|part| format!("{issuer}/").contains(part)) {
                return Ok(profile);
            }
        }
        Profile::load("generic")
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
