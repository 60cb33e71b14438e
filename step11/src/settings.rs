//! What a person can choose. Secrets come from files and the environment: a command line is for everybody to see.

use std::{
    env, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use url::Url;

use crate::{
    failure::{Failure, Result},
    http::parse_url,
};

/// Where a client's secret may come from.
pub const CLIENT_SECRET: &str = "MCP_CLIENT_SECRET";
/// Where a ready-made access token may come from.
const TOKEN: &str = "MCP_TOKEN";
/// The longest access token, in bytes: no server takes a header that is longer.
const MAX_TOKEN: u64 = 64 * 1024;

#[derive(Args)]
pub struct Options {
    /// The MCP server, as its metadata calls it, letter for letter
    #[arg(long, global = true, env = "MCP_SERVER", value_name = "URL", default_value = "http://localhost:9000/mcp")]
    server: String,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Where tokens and registrations are kept [default: ~/.local/share/step11]
    #[arg(long, global = true, env = "MCP_CREDENTIALS", value_name = "DIR")]
    pub credentials: Option<PathBuf>,
    /// Seconds that one exchange may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// Seconds that a person may take to log in
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 300, help_heading = "Log-in", value_parser = clap::value_parser!(u64).range(1..=3600))]
    login_timeout: u64,
    /// Print the log-in's address instead of opening a browser, as over SSH; at a terminal, the last page's address can be pasted
    #[arg(long, global = true, help_heading = "Log-in")]
    no_browser: bool,
    /// The same, and read the last page's address from standard input though it is no terminal
    #[arg(long, global = true, help_heading = "Log-in")]
    paste: bool,
    /// Where the browser comes back to, on this computer; port 0 is any that is free [default:
    /// http://127.0.0.1:0/callback; where this client registers itself, with a path of its own for each authorization server]
    #[arg(long, global = true, value_name = "URL", help_heading = "Log-in")]
    redirect_uri: Option<String>,
    /// Ask for these scopes instead of those that the server names, separated by spaces
    #[arg(long, global = true, value_name = "SCOPES", help_heading = "Log-in")]
    scope: Option<String>,
    /// Use only tokens that are bound to a key (DPoP, RFC 9449); without this, where both servers offer it
    #[arg(long, global = true, help_heading = "Log-in")]
    dpop: bool,
    /// Speak this version of MCP only: 2026-07-28, 2025-11-25, 2025-06-18 or 2025-03-26
    #[arg(long, global = true, value_name = "VERSION", value_parser = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"])]
    protocol_version: Option<String>,

    /// The client's id, where it was registered beforehand; its secret is in the environment as MCP_CLIENT_SECRET
    #[arg(long, global = true, value_name = "ID", requires = "issuer", help_heading = "Client", value_parser = NonEmptyStringValueParser::new())]
    client_id: Option<String>,
    /// The client's secret, in a file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "client_id",
        conflicts_with = "private_key",
        help_heading = "Client"
    )]
    client_secret_file: Option<PathBuf>,
    /// The client's private key (PEM, PKCS#8), to authenticate with instead of a secret (private_key_jwt)
    #[arg(long, global = true, value_name = "FILE", requires = "client_id", help_heading = "Client")]
    private_key: Option<PathBuf>,
    /// The authorization server that knows the client; no other will hear of it
    #[arg(long, global = true, value_name = "URL", help_heading = "Client")]
    issuer: Option<String>,
    /// The URL of a document that describes this client (Client ID Metadata Document)
    #[arg(long, global = true, env = "MCP_CLIENT_METADATA", value_name = "URL", help_heading = "Client")]
    client_metadata: Option<String>,

    /// An access token that you have already, in a file that only you can read; or in the environment as MCP_TOKEN. It is
    /// used as it is: there is no log-in, and nothing is kept
    #[arg(long, global = true, value_name = "FILE", help_heading = "Machines and companies")]
    token_file: Option<PathBuf>,
    /// How to get a token
    #[arg(long, global = true, value_enum, default_value_t = GrantKind::AuthorizationCode, help_heading = "Machines and companies")]
    grant: GrantKind,
    /// The workload's JWT, in a file (jwt-bearer)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Machines and companies")]
    assertion_file: Option<PathBuf>,
    /// The person's ID token from the company's identity provider, in a file (identity-assertion)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Machines and companies")]
    id_token_file: Option<PathBuf>,
    /// The identity provider's token endpoint (identity-assertion)
    #[arg(long, global = true, value_name = "URL", help_heading = "Machines and companies")]
    idp_token_endpoint: Option<String>,
    /// This client's id at the identity provider (identity-assertion)
    #[arg(long, global = true, value_name = "ID", help_heading = "Machines and companies")]
    idp_client_id: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum GrantKind {
    /// A person logs in and consents
    AuthorizationCode,
    /// A machine, with a secret or a private key of its own
    ClientCredentials,
    /// A person whose company vouches for them (Enterprise-Managed Authorization)
    IdentityAssertion,
    /// A workload with a JWT from its platform (Workload Identity Federation)
    JwtBearer,
}

/// How to get a token.
pub enum Grant {
    AuthorizationCode,
    ClientCredentials,
    IdentityAssertion { id_token: String, idp_token_endpoint: Url, idp_client_id: String },
    JwtBearer { assertion: String },
}

impl Grant {
    fn name(&self) -> &'static str {
        match self {
            Grant::AuthorizationCode => "authorization-code",
            Grant::ClientCredentials => "client-credentials",
            Grant::IdentityAssertion { .. } => "identity-assertion",
            Grant::JwtBearer { .. } => "jwt-bearer",
        }
    }
}

/// What shows the log-in to the person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UserAgent {
    Browser,
    /// The address is printed, and the person does the rest.
    Print,
    /// The same, and standard input has the address that the browser came back to.
    Paste,
    /// Nobody is there, nor needed.
    None,
}

/// A client that was registered beforehand.
pub struct Preregistered {
    pub id: String,
    pub secret: Option<String>,
    pub key: Option<(EncodingKey, Algorithm)>,
}

/// The options, checked.
pub struct Settings {
    pub server: Url,
    pub timeout: Duration,
    pub login_timeout: Duration,
    pub user_agent: UserAgent,
    /// `None`: one for each authorization server where we register ourselves, else [`default_redirect_uri`].
    pub redirect_uri: Option<Url>,
    pub scope: Option<Vec<String>>,
    pub dpop: bool,
    pub protocol_version: Option<String>,
    pub client: Option<Preregistered>,
    /// `None`: whichever the server names.
    pub issuer: Option<String>,
    pub client_metadata: Option<String>,
    /// A token that the person has already: then none is got.
    pub token: Option<String>,
    pub grant: Grant,
    /// Whether what proves who we are may be shown to whatever issuer the MCP server names. Nobody can ask for it on the
    /// command line: it is for the conformance suite, see [`crate::conformance`].
    pub any_issuer: bool,
}

impl Settings {
    /// What holds for a person who names nothing but the server.
    pub fn new(server: Url) -> Self {
        Settings {
            server,
            timeout: Duration::from_mins(1),
            login_timeout: Duration::from_mins(5),
            user_agent: UserAgent::Browser,
            redirect_uri: None,
            scope: None,
            dpop: false,
            protocol_version: None,
            client: None,
            issuer: None,
            client_metadata: None,
            token: None,
            grant: Grant::AuthorizationCode,
            any_issuer: false,
        }
    }

    /// What must hold wherever the settings come from.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<()> {
        let url = |name: &str, text: &str| parse_url(text).map_err(|why| Failure::usage(format!("{name}: {why}")));
        if self.redirect_uri.as_ref().is_some_and(|redirect_uri| {
            redirect_uri.scheme() != "http"
                || !matches!(redirect_uri.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
                || redirect_uri.query().is_some()
        }) {
            return Err(Failure::usage(
                "--redirect-uri must be http on localhost, 127.0.0.1 or [::1], without a query",
            ));
        }
        if let Some(issuer) = &self.issuer {
            url("--issuer", issuer)?;
        }
        if let Some(document) = &self.client_metadata {
            let url = url("--client-metadata", document)?;
            if url.scheme() != "https" || url.path() == "/" || url.as_str() != document {
                return Err(Failure::usage("--client-metadata must be an https URL with a path"));
            }
        }
        if let Grant::IdentityAssertion { id_token, idp_token_endpoint, idp_client_id } = &self.grant {
            url("--idp-token-endpoint", idp_token_endpoint.as_str())?;
            if id_token.is_empty() || idp_client_id.is_empty() {
                return Err(Failure::usage("identity-assertion needs an ID token and --idp-client-id"));
            }
        }
        if self.token.is_some() && self.dpop {
            return Err(Failure::usage(
                "--dpop is about a token that is bound to a key, which a ready-made one is not",
            ));
        }
        let machine = !matches!(self.grant, Grant::AuthorizationCode);
        if (machine || self.client.is_some()) && self.issuer.is_none() && !self.any_issuer {
            return Err(Failure::usage(
                "--issuer is missing: what proves who you are is only shown to an authorization server that you name",
            ));
        }
        let proven = self.client.as_ref().is_some_and(|client| client.secret.is_some() || client.key.is_some());
        if matches!(self.grant, Grant::ClientCredentials) && !proven {
            return Err(Failure::usage(format!(
                "client-credentials needs --client-id, and a secret (--client-secret-file or {CLIENT_SECRET}) or --private-key"
            )));
        }
        Ok(())
    }

    /// Which of a server's credentials are meant.
    pub fn profile(&self) -> String {
        format!("{} {}", self.grant.name(), self.client.as_ref().map_or("", |client| &client.id))
    }

    /// Hosts that the person named, and that may therefore be anywhere.
    pub fn chosen(&self) -> Vec<Url> {
        let issuer = self.issuer.as_deref().and_then(|issuer| Url::parse(issuer).ok());
        let idp = match &self.grant {
            Grant::IdentityAssertion { idp_token_endpoint, .. } => Some(idp_token_endpoint.clone()),
            _ => None,
        };
        issuer.into_iter().chain(idp).collect()
    }
}

/// Any free port of this computer, for the browser to come back to.
pub fn default_redirect_uri() -> Url {
    Url::parse("http://127.0.0.1:0/callback").expect("it is a URL")
}

/// The address of an MCP server.
///
/// # Errors
/// If it is not valid.
pub fn server_url(text: &str) -> Result<Url> {
    parse_url(text).map_err(|why| Failure::usage(format!("--server: {why}")))
}

impl TryFrom<&Options> for Settings {
    type Error = Failure;

    fn try_from(options: &Options) -> Result<Self> {
        let mut settings = Settings::new(server_url(&options.server)?);
        let redirect_uri = options.redirect_uri.as_deref().map(parse_url).transpose();
        settings.redirect_uri = redirect_uri.map_err(|why| Failure::usage(format!("--redirect-uri: {why}")))?;
        settings.token = options.token()?;
        settings.timeout = Duration::from_secs(options.timeout);
        settings.login_timeout = Duration::from_secs(options.login_timeout);
        if options.no_browser || env::var_os("SSH_CONNECTION").is_some() {
            settings.user_agent = UserAgent::Print;
        }
        if options.paste {
            settings.user_agent = UserAgent::Paste;
        }
        settings.scope = options.scope.as_deref().map(|scope| scope.split_whitespace().map(str::to_owned).collect());
        settings.dpop = options.dpop;
        settings.protocol_version.clone_from(&options.protocol_version);
        settings.issuer.clone_from(&options.issuer);
        settings.client_metadata.clone_from(&options.client_metadata);
        settings.client = options.client_id.as_deref().map(|id| options.client(id)).transpose()?;
        settings.grant = options.grant()?;
        settings.check()?;
        Ok(settings)
    }
}

impl Options {
    fn client(&self, id: &str) -> Result<Preregistered> {
        let key =
            self.private_key.as_ref().map(read).transpose()?.map(|pem| private_key(pem.as_bytes())).transpose()?;
        let secret = match &self.client_secret_file {
            Some(file) => Some(read(file)?),
            None => env::var(CLIENT_SECRET).ok().filter(|secret| key.is_none() && !secret.is_empty()),
        };
        Ok(Preregistered { id: id.to_owned(), secret, key })
    }

    fn token(&self) -> Result<Option<String>> {
        let (token, from) = match &self.token_file {
            Some(file) => (read_own(file)?, file.display().to_string()),
            None => match env::var(TOKEN) {
                Ok(token) if !token.is_empty() => (token, TOKEN.to_owned()),
                Ok(_) | Err(env::VarError::NotPresent) => return Ok(None),
                Err(env::VarError::NotUnicode(_)) => (String::new(), TOKEN.to_owned()),
            },
        };
        let token = token.trim();
        // `b64token` would do (RFC 6750 §2.1); some servers use other characters, but none that end a header.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::local(format!("{from} does not hold an access token, and nothing else")));
        }
        Ok(Some(token.to_owned()))
    }

    fn grant(&self) -> Result<Grant> {
        let missing = |name: &str| Failure::usage(format!("this --grant needs {name}"));
        Ok(match self.grant {
            GrantKind::AuthorizationCode => Grant::AuthorizationCode,
            GrantKind::ClientCredentials => Grant::ClientCredentials,
            GrantKind::JwtBearer => Grant::JwtBearer {
                assertion: read(self.assertion_file.as_ref().ok_or_else(|| missing("--assertion-file"))?)?,
            },
            GrantKind::IdentityAssertion => Grant::IdentityAssertion {
                id_token: read(self.id_token_file.as_ref().ok_or_else(|| missing("--id-token-file"))?)?,
                idp_token_endpoint: parse_url(
                    self.idp_token_endpoint.as_deref().ok_or_else(|| missing("--idp-token-endpoint"))?,
                )
                .map_err(|why| Failure::usage(format!("--idp-token-endpoint: {why}")))?,
                idp_client_id: self.idp_client_id.clone().ok_or_else(|| missing("--idp-client-id"))?,
            },
        })
    }
}

/// Reads a secret that only its owner may read: what was opened is looked at, not what the name leads to later.
fn read_own(path: &Path) -> Result<String> {
    let fail = |why: &str| Failure::local(format!("cannot use {}: {why}", path.display()));
    let broken = |error: io::Error| fail(&error.to_string());
    let file = fs::File::open(path).map_err(broken)?;
    let metadata = file.metadata().map_err(broken)?;
    if metadata.is_dir() {
        return Err(fail("it is a folder"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let mut failure = fail(&format!("others may read or change it (mode {mode:o})"));
        // A device or a pipe stays as it is.
        failure.advice = metadata.is_file().then(|| format!("Take that right away: chmod go= {}", path.display()));
        return Err(failure);
    }
    if metadata.uid() != 0 && metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(fail("it belongs to somebody else"));
    }
    let mut text = String::new();
    file.take(MAX_TOKEN + 1).read_to_string(&mut text).map_err(broken)?;
    if text.len() as u64 > MAX_TOKEN {
        return Err(fail(&format!("it is longer than {} KiB", MAX_TOKEN / 1024)));
    }
    Ok(text)
}

fn read(file: &PathBuf) -> Result<String> {
    let fail = |why: &str| Failure::local(format!("cannot use {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| fail(&error.to_string()))?;
    let text = text.trim();
    if text.is_empty() { Err(fail("it is empty")) } else { Ok(text.to_owned()) }
}

/// A private key, and the algorithm that goes with it. Signing something tells which it is.
///
/// # Errors
/// If this client cannot use it.
pub fn private_key(pem: &[u8]) -> Result<(EncodingKey, Algorithm)> {
    let candidates = [
        (EncodingKey::from_ec_pem(pem), Algorithm::ES256),
        (EncodingKey::from_ec_pem(pem), Algorithm::ES384),
        (EncodingKey::from_rsa_pem(pem), Algorithm::RS256),
        (EncodingKey::from_ed_pem(pem), Algorithm::EdDSA),
    ];
    candidates
        .into_iter()
        .filter_map(|(key, algorithm)| Some((key.ok()?, algorithm)))
        .find(|(key, algorithm)| jsonwebtoken::encode(&Header::new(*algorithm), &(), key).is_ok())
        .ok_or_else(|| {
            Failure::local("the private key is no PEM with an EC (P-256, P-384), RSA or Ed25519 key in PKCS#8")
        })
}
