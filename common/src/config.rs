//! The command line that every server shares, and the names that follow from it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, builder::NonEmptyStringValueParser};
use url::Url;

use crate::{
    claims::{BASIC_SCOPES, SCOPES},
    keys::{KeyPair, PublicKey},
};

/// The end of every server's `--help`.
pub const HELP: &str = "Try, in another terminal:
  curl http://localhost:9000/health
From step 6 on /mcp needs a token, which this prints:
  cargo run -q -p gen-token -- --username alice
Each step's README.md says what it adds. RUST_LOG=debug logs every request; NO_COLOR=1 leaves out the colours.";

/// Where to listen, and what the world calls us.
#[derive(Args, Clone)]
pub struct ServerArgs {
    /// TCP port to listen on; 0 picks a free one
    #[arg(long, env = "MCP_PORT", default_value_t = 9000)]
    pub port: u16,
    /// Address to listen on; `localhost` is 127.0.0.1 and ::1. Requests by other names need --public-url or --allow-host
    #[arg(long, env = "MCP_HOST", default_value = "localhost")]
    pub host: String,
    /// The URL clients reach this server by, e.g. behind a proxy [default: `http://localhost:PORT`]
    #[arg(long, env = "MCP_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Allow http on a host that is not loopback: whoever is on the way reads passwords and tokens
    #[arg(long)]
    pub allow_insecure_http: bool,
    /// Also accept browsers from this origin (repeatable), e.g. `https://app.example`
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Also accept this name, without a port, in the Host header (repeatable)
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Connections at a time; requests on further ones are answered with 503 [default: 12000, or what `ulimit -Hn` allows]
    #[arg(long, env = "MCP_MAX_CONNECTIONS", value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub max_connections: Option<usize>,
}

/// An http(s) URL without path, query, fragment or user: an MCP server has a host name of its own. Every URL that this
/// server shows is this one with a path behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// # Errors
    /// If `text` is not such a URL.
    pub fn parse(text: &str) -> Result<Self> {
        let Ok(url) = Url::parse(text) else { bail!("{text:?} is not a URL: it must look like https://mcp.example") };
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path().trim_end_matches('/').is_empty();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) || !plain {
            bail!("{text:?} must look like https://mcp.example: http or https, without user, path, query or fragment");
        }
        Ok(PublicUrl(url.as_str().trim_end_matches('/').to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This URL with `path` behind it, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The same as a parsed URL.
    ///
    /// # Panics
    /// Never: it was parsed before.
    pub fn to_url(&self) -> Url {
        Url::parse(&self.0).expect("it was parsed in PublicUrl::parse")
    }

    /// The resource identifier of the MCP endpoint (RFC 8707 §2): what an access token's `aud` names.
    pub fn resource(&self) -> String {
        self.join("/mcp")
    }
}

/// Where the keys are.
#[derive(Args, Clone)]
pub struct KeyArgs {
    /// Folder of the development key pair, made on first use
    #[arg(long, env = "MCP_KEYS", value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// Trust this public key (PEM) instead; no private key is made or read
    #[arg(long, env = "MCP_PUBLIC_KEY", value_name = "FILE")]
    pub public_key: Option<PathBuf>,
}

impl KeyArgs {
    /// Both halves of the key, to sign with; `None` where only a public key is given.
    ///
    /// # Errors
    /// If the pair cannot be read or made.
    pub fn key_pair(&self) -> Result<Option<KeyPair>> {
        match &self.public_key {
            Some(_) => Ok(None),
            None => KeyPair::load_or_create(&self.keys).map(Some),
        }
    }

    /// The key that tokens are checked with.
    ///
    /// # Errors
    /// If a key file is missing, unreadable, not RSA or shorter than 2048 bits.
    pub fn public_key(&self) -> Result<PublicKey> {
        match &self.public_key {
            Some(file) => PublicKey::load(file),
            None => Ok(KeyPair::load_or_create(&self.keys)?.public),
        }
    }
}

/// Whose tokens are accepted, and for whom they must be meant.
#[derive(Args, Clone)]
pub struct TrustArgs {
    /// Accept only tokens of this authorization server (`iss`) [default: the public URL]
    #[arg(long, visible_alias = "authorization-server", env = "MCP_ISSUER", value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub issuer: Option<String>,
    /// Accept only tokens with this `aud` [default: PUBLIC-URL/mcp, which is what the metadata documents tell clients]
    #[arg(long, env = "MCP_AUDIENCE", value_name = "URI", value_parser = NonEmptyStringValueParser::new())]
    pub audience: Option<String>,
}

impl TrustArgs {
    /// The one `iss` that is accepted, compared byte for byte.
    pub fn issuer(&self, public_url: &PublicUrl) -> String {
        self.issuer.clone().unwrap_or_else(|| public_url.as_str().to_owned())
    }

    /// The one `aud` that is accepted, compared byte for byte.
    pub fn audience(&self, public_url: &PublicUrl) -> String {
        self.audience.clone().unwrap_or_else(|| public_url.resource())
    }
}

/// What clients are told to ask for at first (MCP 2026-07-28 "Scope Selection Strategy", "Scope Minimization").
#[derive(Args, Clone)]
pub struct ScopeArgs {
    /// The scopes that basic use needs, with spaces or commas between them: clients ask for these at first, and for more
    /// when an operation needs it
    #[arg(long, env = "MCP_BASIC_SCOPES", value_name = "SCOPES", default_value_t = BASIC_SCOPES.join(" "))]
    basic_scopes: String,
}

impl ScopeArgs {
    /// The basic scopes, each once, in the order in which we name them.
    ///
    /// # Errors
    /// If no scope is given, or one that this server does not know.
    pub fn basic(&self) -> Result<Vec<&'static str>> {
        let asked: Vec<_> = self.basic_scopes.split([' ', ',']).filter(|scope| !scope.is_empty()).collect();
        let unknown = asked.iter().find(|scope| !SCOPES.contains(scope));
        if let Some(scope) = unknown {
            bail!("--basic-scopes: {scope:?} is not one of {}", SCOPES.join(", "));
        }
        if asked.is_empty() {
            bail!("--basic-scopes: name one scope at least, of {}", SCOPES.join(", "));
        }
        Ok(SCOPES.into_iter().filter(|scope| asked.contains(scope)).collect())
    }
}
