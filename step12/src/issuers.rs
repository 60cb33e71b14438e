//! The command line's issuers: whose tokens are accepted, and for whom they must be meant.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use common::config::PublicUrl;
use resource_server::{Builder, Issuer, Profile, Times, TrustsNobody, TrustsSomebody};

#[derive(Args, Clone, Debug)]
pub struct IssuerArgs {
    /// Trust this identity provider, known by the URL that its tokens have as `iss` (repeatable; in the variable with
    /// one space between) [default: this server, which then has an authorization server of its own]
    #[arg(long, visible_alias = "authorization-server", env = "MCP_ISSUER", value_name = "URL", value_delimiter = ' ', value_parser = not_empty)]
    issuer: Vec<String>,
    /// What the provider is like: keycloak, keycloak-tutorial, auth0, entra, okta, zitadel, authentik, logto, generic, or
    /// a TOML file that ends in .toml; once for all issuers, or once for each in their order [default: guessed from the
    /// URL]
    #[arg(long, env = "MCP_PROFILE", value_name = "NAME|FILE")]
    profile: Vec<String>,
    /// Accept only tokens with this `aud`, of all issuers whose profile names no audience [default: PUBLIC-URL/mcp,
    /// which the metadata documents tell clients]
    #[arg(long, env = "MCP_AUDIENCE", value_name = "URI", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub audience: Option<String>,
    #[command(flatten)]
    times: TimeArgs,
}

/// How keys are renewed. Sensible for production as they are; tests make them shorter.
#[derive(Args, Clone, Debug)]
struct TimeArgs {
    /// How long after a fetch an unknown key (`kid`) causes no other
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = seconds::<1, 600>)]
    jwks_cooldown: Duration,
    /// The shortest time for which fetched keys are kept, even if the provider says less
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = seconds::<1, 86_400>)]
    jwks_min_age: Duration,
    /// The longest such time: a key that the provider has withdrawn is refused after it at the latest
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds::<1, 86_400>)]
    jwks_max_age: Duration,
    /// How long known keys stay good while the provider cannot be asked
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds::<1, 604_800>)]
    max_stale: Duration,
}

impl IssuerArgs {
    /// Whether tokens come from elsewhere: then this server signs none.
    ///
    /// # Errors
    /// If a profile is given without an issuer.
    pub fn elsewhere(&self) -> Result<bool> {
        ensure!(
            !self.issuer.is_empty() || self.profile.is_empty(),
            "--profile says what an issuer is like, and none is given: add --issuer (or MCP_ISSUER)"
        );
        Ok(!self.issuer.is_empty())
    }

    /// Whether one of the issuers is this server itself.
    pub fn names(&self, public_url: &PublicUrl) -> bool {
        self.issuer.iter().any(|issuer| issuer.trim_end_matches('/') == public_url.as_str())
    }

    /// The issuers with their profiles.
    ///
    /// # Errors
    /// If they do not go together, or a profile cannot be read.
    pub fn issuers(&self) -> Result<Vec<Issuer>> {
        let (issuers, profiles) = (self.issuer.len(), self.profile.len());
        if profiles > 1 && profiles != issuers {
            bail!("--profile: give it once, or once for each --issuer; there are {profiles} for {issuers}");
        }
        let with_profile = |(number, url): (usize, &String)| {
            let issuer = Issuer::new(url);
            Ok(match self.profile.get(number).or(self.profile.first()) {
                Some(profile) => issuer.profile(Profile::load(profile)?),
                None => issuer,
            })
        };
        self.issuer.iter().enumerate().map(with_profile).collect()
    }

    /// Makes a server trust these issuers. There must be at least one.
    ///
    /// # Errors
    /// If they do not go together, or a profile cannot be read.
    pub fn trust(&self, server: Builder<TrustsNobody>) -> Result<Builder<TrustsSomebody>> {
        let mut issuers = self.issuers()?.into_iter();
        let first = server.issuer(issuers.next().context("--issuer: no URL is given")?).times(self.times()?);
        let server = issuers.fold(first, Builder::issuer);
        Ok(match &self.audience {
            Some(audience) => server.audience(audience),
            None => server,
        })
    }

    /// How the issuers' keys are renewed.
    ///
    /// # Errors
    /// If the times do not go together.
    fn times(&self) -> Result<Times> {
        let TimeArgs { jwks_cooldown, jwks_min_age, jwks_max_age, max_stale } = self.times;
        ensure!(jwks_min_age <= jwks_max_age, "--jwks-min-age is longer than --jwks-max-age");
        ensure!(jwks_cooldown <= jwks_max_age, "--jwks-cooldown is longer than --jwks-max-age");
        ensure!(jwks_max_age <= max_stale, "--max-stale is shorter than --jwks-max-age");
        Ok(Times { cooldown: jwks_cooldown, min_age: jwks_min_age, max_age: jwks_max_age, max_stale })
    }
}

fn not_empty(issuer: &str) -> Result<String, &'static str> {
    match issuer {
        "" => Err("an issuer's URL is empty; between several in MCP_ISSUER there is one space"),
        issuer => Ok(issuer.to_owned()),
    }
}

/// A time such as `90s`, `10m`, `24h`, within bounds in seconds.
fn seconds<const LEAST: u64, const MOST: u64>(text: &str) -> Result<Duration, String> {
    let wanted = format!("give a time such as 90s, 10m or 24h, between {LEAST}s and {MOST}s");
    let time = humantime::parse_duration(text).map_err(|why| format!("{why}: {wanted}"))?;
    let bounds = Duration::from_secs(LEAST)..=Duration::from_secs(MOST);
    if bounds.contains(&time) { Ok(time) } else { Err(wanted) }
}
