//! The arguments that say what is judged, and how.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use url::Url;

use crate::{login::terminal::SECRET, model::Revision};

#[derive(Args)]
pub struct CheckArgs {
    /// The MCP endpoint, such as http://localhost:9000/mcp
    pub url: Option<Url>,
    /// The revision of MCP to hold the server against
    #[arg(long, value_name = "DATE", default_value = "2026-07-28")]
    pub revision: Revision,
    /// A host that is yours: only those that are named here are asked, and loopback if the endpoint is there (repeatable)
    #[arg(long, value_name = "HOST")]
    pub mine: Vec<String>,
    /// A file with tokens (see below)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Be the authorization server, under this URL
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "http://localhost:9099", conflicts_with = "issuer_key")]
    pub mock_issuer: Option<Url>,
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
    #[arg(long, value_name = "ID", requires = "login")]
    pub client_id: Option<String>,
    /// Its secret, if it has one; better given in the environment
    #[arg(long, value_name = "SECRET", requires = "client_id", env = SECRET, hide_env_values = true)]
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
