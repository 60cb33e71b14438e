//! The command line that every server shares, and the names that follow from it.

#[cfg(feature = "keys")]
mod keys;

use std::io::IsTerminal;

use anyhow::{Result, bail, ensure};
use clap::Args;
#[cfg(feature = "keys")]
pub use keys::{KeyArgs, ScopeArgs, TrustArgs};
use url::{Host, Url};

/// The end of every server's `--help`.
pub const HELP: &str = "Try, in another terminal:
  curl http://localhost:9000/health
From step 6 on /mcp needs a token, which this prints:
  cargo run -q -p gen-token -- --username alice
Each step's README.md says what it adds. RUST_LOG=debug logs every request; NO_COLOR=1 leaves out the colours.";

/// Whether colours can be seen in an output, and are wanted.
pub fn in_colour(output: &impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

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
    /// Allow http on a host that is not loopback, although passwords and tokens can then be read on the way
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
    /// Print each request and its answer, numbered and explained, without their secrets (development only: refused unless
    /// --host and --public-url are loopback)
    #[arg(long)]
    pub show_exchange: bool,
}

/// An http(s) URL without query, fragment or user, and without a slash at the end. Every URL that this server shows is this
/// one with a path behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL of a server that has a host name of its own: it has no path.
    ///
    /// # Errors
    /// If `text` is not such a URL.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Self::with_path(text)?;
        ensure!(
            url.path().is_empty(),
            "{text:?} has a path, which only step 12 can have: it must look like https://mcp.example"
        );
        Ok(url)
    }

    /// The same, but it may have a path: the server shares its host name with others.
    ///
    /// # Errors
    /// If `text` is not such a URL.
    pub fn with_path(text: &str) -> Result<Self> {
        let Ok(url) = Url::parse(text) else { bail!("{text:?} is not a URL: it must look like https://mcp.example") };
        let plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) || !plain {
            bail!("{text:?} must look like https://mcp.example: http or https, without user, query or fragment");
        }
        // As it is written: clients compare it letter for letter, and the parser has resolved `..` and `%2e` in its copy.
        let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        let path = path.strip_suffix('/').unwrap_or(path);
        ensure!(
            (path.is_empty() || path.split('/').all(is_segment)) && url.path().trim_matches('/') == path,
            "{text:?}: its path must look like /tools or /a/b: letters, digits and -._~ between single slashes, and no part begins with a dot"
        );
        Ok(PublicUrl(url.as_str().trim_end_matches('/').to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its path, such as `/tools`; empty if it has none.
    pub fn path(&self) -> &str {
        self.0.match_indices('/').nth(2).map_or("", |(slash, _)| &self.0[slash..])
    }

    /// This URL with `path` behind it, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The URL of a path on the same host, which begins with a slash.
    pub fn at_origin(&self, path: &str) -> String {
        format!("{}{path}", self.0.strip_suffix(self.path()).unwrap_or(&self.0))
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

/// Whether this may stand between two slashes of a public URL: it means the same to every client and proxy. No segment begins
/// with a dot, so none is `..` or `.well-known`.
fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain)
}

/// Whether a URL's host is this computer, by its name alone.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
