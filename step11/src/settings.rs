//! What a person can choose. Secrets come from files and the environment: a command line is for everybody to see.

use std::{env, fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use url::Url;

use crate::{
    failure::{Failure, Result},
    http::{is_loopback, parse_url},
};

/// Where a client's secret may come from.
pub const CLIENT_SECRET: &str = "MCP_CLIENT_SECRET";

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
    /// Print the log-in's address instead of opening a browser, as over SSH; the last page's address can be pasted
    #[arg(long, global = true, help_heading = "Log-in")]
    no_browser: bool,
    /// Where the browser comes back to, on this computer; port 0 is any that is free
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:0/callback",
        help_heading = "Log-in"
    )]
    redirect_uri: String,
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
    pub redirect_uri: Url,
    pub scope: Option<Vec<String>>,
    pub dpop: bool,
    pub protocol_version: Option<String>,
    pub client: Option<Preregistered>,
    /// `None`: whichever the server names.
    pub issuer: Option<String>,
    pub client_metadata: Option<String>,
    pub grant: Grant,
}

impl Settings {
    /// What holds for a person who names nothing but the server.
    pub fn new(server: Url, redirect_uri: Url) -> Self {
        Settings {
            server,
            timeout: Duration::from_mins(1),
            login_timeout: Duration::from_mins(5),
            user_agent: UserAgent::Browser,
            redirect_uri,
            scope: None,
            dpop: false,
            protocol_version: None,
            client: None,
            issuer: None,
            client_metadata: None,
            grant: Grant::AuthorizationCode,
        }
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

/// The address of an MCP server.
///
/// # Errors
/// If it is none.
pub fn server_url(text: &str) -> Result<Url> {
    parse_url(text).map_err(|why| Failure::usage(format!("--server: {why}")))
}

impl TryFrom<&Options> for Settings {
    type Error = Failure;

    fn try_from(options: &Options) -> Result<Self> {
        let redirect_uri = parse_url(&options.redirect_uri)
            .ok()
            .filter(|url| url.scheme() == "http" && is_loopback(url) && url.query().is_none())
            .ok_or_else(|| {
                Failure::usage("--redirect-uri must be http on localhost, 127.0.0.1 or [::1], without a query")
            })?;
        let mut settings = Settings::new(server_url(&options.server)?, redirect_uri);
        settings.timeout = Duration::from_secs(options.timeout);
        settings.login_timeout = Duration::from_secs(options.login_timeout);
        if options.no_browser || env::var_os("SSH_CONNECTION").is_some() {
            settings.user_agent = UserAgent::Print;
        }
        settings.scope = options.scope.as_deref().map(|scope| scope.split_whitespace().map(str::to_owned).collect());
        settings.dpop = options.dpop;
        settings.protocol_version.clone_from(&options.protocol_version);
        settings.issuer.clone_from(&options.issuer);
        if let Some(issuer) = &options.issuer {
            parse_url(issuer).map_err(|why| Failure::usage(format!("--issuer: {why}")))?;
        }
        if let Some(document) = &options.client_metadata {
            let url = parse_url(document).map_err(|why| Failure::usage(format!("--client-metadata: {why}")))?;
            if url.scheme() != "https" || url.path() == "/" || url.as_str() != document {
                return Err(Failure::usage("--client-metadata must be an https URL with a path"));
            }
            settings.client_metadata = Some(document.clone());
        }
        settings.client = options.client_id.as_deref().map(|id| options.client(id)).transpose()?;
        settings.grant = options.grant()?;
        let machine = !matches!(settings.grant, Grant::AuthorizationCode);
        if machine && settings.issuer.is_none() {
            return Err(Failure::usage(
                "--issuer is missing: what proves who you are is only shown to an authorization server that you name",
            ));
        }
        let proven = settings.client.as_ref().is_some_and(|client| client.secret.is_some() || client.key.is_some());
        if matches!(settings.grant, Grant::ClientCredentials) && !proven {
            return Err(Failure::usage(format!(
                "client-credentials needs --client-id, and a secret (--client-secret-file or {CLIENT_SECRET}) or --private-key"
            )));
        }
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

fn read(file: &PathBuf) -> Result<String> {
    let fail = |why: &str| Failure::local(format!("cannot use {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| fail(&error.to_string()))?;
    let text = text.trim();
    if text.is_empty() { Err(fail("it is empty")) } else { Ok(text.to_owned()) }
}

/// A private key, and the algorithm that goes with it. Signing something tells which it is.
///
/// # Errors
/// If it is none that this client can use.
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
