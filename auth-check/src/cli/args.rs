//! The arguments that say what is judged, and how.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use url::Url;

use crate::{login::terminal::SECRET, model::Revision};

#[derive(Args)]
pub struct CheckArgs {
    /// The MCP endpoint, such as http://localhost:9000/mcp
    pub url: Option<String>,
    /// The revision of MCP to hold the server against
    #[arg(long, value_name = "DATE", default_value = "2026-07-28")]
    pub revision: Revision,
    /// A host that is yours: only those that are named here are asked, and loopback if the endpoint is there (repeatable)
    #[arg(long, value_name = "HOST")]
    pub mine: Vec<String>,
    /// A file with tokens (see below)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Be the authorization server, under this URL: write --mock-issuer=URL, without a space
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "http://localhost:9099", conflicts_with = "issuer_key")]
    pub mock_issuer: Option<String>,
    /// The address to bind the mock issuer to, if it is not the URL's port on 127.0.0.1
    #[arg(long, value_name = "ADDRESS", requires = "mock_issuer")]
    pub mock_bind: Option<SocketAddr>,
    /// The private key (PEM) of an issuer that the server trusts
    #[arg(long, value_name = "FILE")]
    pub issuer_key: Option<PathBuf>,
    /// That issuer's name; default: the endpoint's origin
    #[arg(long, value_name = "URL", requires = "issuer_key")]
    pub issuer: Option<String>,
    /// Log in with the browser of this computer
    #[arg(long)]
    pub login: bool,
    /// Do not open the browser: print each address, and read the one that the browser ends at
    #[arg(long, requires = "login")]
    pub paste: bool,
    /// The client that logs in; without it, one that registers (--active)
    #[arg(long, value_name = "ID", allow_hyphen_values = true, requires = "login")]
    pub client_id: Option<String>,
    /// Its secret, if it has one; better given in the environment
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true, requires = "client_id", env = SECRET, hide_env_values = true)]
    pub client_secret: Option<String>,
    /// Its redirect URI, as it is registered; default: a port of this computer
    #[arg(long, value_name = "URL", requires = "login")]
    pub redirect_uri: Option<Url>,
    /// Allow what leaves something behind: it registers clients named auth-check
    #[arg(long)]
    pub active: bool,
    /// The resource that tokens are for; default: what the resource's metadata says, else the URL
    #[arg(long, value_name = "RESOURCE")]
    pub audience: Option<String>,
    /// What must have been run; default: what the given ways to tokens allow
    #[arg(long, value_name = "WAY")]
    pub require: Option<Require>,
    /// A file (TOML) that says what does not fail a run (see below)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The JSON report of an earlier run: what was found then does not fail this one
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Write the report as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Print no progress
    #[arg(long, short)]
    pub quiet: bool,
}

impl CheckArgs {
    /// The MCP endpoint.
    ///
    /// # Errors
    /// If it is none that can be asked. The error does not quote it, as it may have secrets: so clap must not read it.
    pub fn target(&self) -> Result<Url> {
        let text = self.url.as_deref().context("which server? Give the URL of its MCP endpoint; --help says more")?;
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.context("give an http or https URL, such as http://localhost:9000/mcp")?;
        let plain = has_no_user(&url) && url.fragment().is_none();
        ensure!(plain, "leave user name, password and fragment out of the URL; for tokens there is --token-file");
        Ok(url)
    }

    /// Where the mock issuer is, if there is to be one.
    ///
    /// # Errors
    /// If it is no issuer, or nobody can be there.
    pub fn mock_issuer(&self) -> Result<Option<Url>> {
        let Some(text) = &self.mock_issuer else { return Ok(None) };
        // A proxy may have its certificate.
        let served = |url: &Url| url.scheme() == "http" || url.scheme() == "https" && self.mock_bind.is_some();
        let plain = |url: &Url| has_no_user(url) && url.query().is_none() && url.fragment().is_none();
        let url = Url::parse(text).ok().filter(|url| served(url) && plain(url) && url.port() != Some(0));
        url.map(Some).context(
            "--mock-issuer takes an http URL with a port that is not 0, without user name, query and fragment, such as \
             http://localhost:9099; https takes a proxy, and --mock-bind",
        )
    }
}

fn has_no_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// What must have been run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Require {
    /// A good token was let in
    Token,
    /// Somebody has logged in, and got a token
    LogIn,
    /// The same, and hostile tokens could be signed
    Key,
    /// Every check
    All,
}
