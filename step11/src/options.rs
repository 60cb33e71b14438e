//! Turns the command line into the library's settings. No secret is on the command line, which everybody on the
//! computer can see.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use client::{
    ClientId, Failure, Issuer, Result, Scope, SecretString,
    private_key::PrivateKey,
    settings::{Application, GrantType, Preregistered, Settings, server_url},
    urls::parse_url,
};

use crate::{
    at_terminal::AtTerminal,
    secrets::{self, CLIENT_SECRET},
};

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
    #[arg(long, global = true, value_name = "ID", allow_hyphen_values = true, requires = "issuer", help_heading = "Client", value_parser = NonEmptyStringValueParser::new())]
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
    #[arg(long, global = true, value_enum, default_value_t = Grant::AuthorizationCode, help_heading = "Machines and companies")]
    grant: Grant,
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
    #[arg(long, global = true, value_name = "ID", allow_hyphen_values = true, help_heading = "Machines and companies")]
    idp_client_id: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Grant {
    /// A person logs in and consents
    AuthorizationCode,
    /// A machine, with a secret or a private key of its own
    ClientCredentials,
    /// A person whose company vouches for them (Enterprise-Managed Authorization)
    IdentityAssertion,
    /// A workload with a JWT from its platform (Workload Identity Federation)
    JwtBearer,
}

/// The program, as it introduces itself to servers.
pub fn application() -> Application {
    Application {
        name: "step11".to_owned(),
        title: "An MCP client for the terminal".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        client_name: "step11, an MCP client for the terminal".to_owned(),
    }
}

/// Items that the library's messages name, and the options that set them.
const IN_WORDS: [(&str, &str); 17] = [
    ("`Settings::server`", "--server"),
    ("`Settings::timeout`", "--timeout"),
    ("`Settings::redirect_uri`", "--redirect-uri"),
    ("`Settings::scope`", "--scope"),
    ("`Settings::dpop`", "--dpop"),
    ("`Settings::protocol_version`", "--protocol-version"),
    ("`Settings::client`", "--client-id"),
    ("`Settings::issuer`", "--issuer"),
    ("`Settings::client_metadata`", "--client-metadata"),
    ("`Settings::token`", "--token-file or MCP_TOKEN"),
    ("`GrantType::idp_token_endpoint`", "--idp-token-endpoint"),
    ("`GrantType::idp_client_id`", "--idp-client-id"),
    ("`Preregistered::secret`", "--client-secret-file or MCP_CLIENT_SECRET"),
    ("`Preregistered::key`", "--private-key"),
    ("`Client::log_in`", "`step11 login`"),
    ("`Client::log_out`", "`step11 logout`"),
    ("`Folder::open`", "--credentials"),
];

/// A message of the library, in the words of the command line.
pub fn in_words(message: &str) -> String {
    IN_WORDS.iter().fold(message.to_owned(), |text, (item, option)| text.replace(item, option))
}

impl TryFrom<&Options> for Settings {
    type Error = Failure;

    fn try_from(options: &Options) -> Result<Self> {
        let mut settings = Settings::new(server_url(&options.server)?, application());
        let redirect_uri = options.redirect_uri.as_deref().map(parse_url).transpose();
        settings.redirect_uri = redirect_uri.map_err(|why| Failure::usage(format!("--redirect-uri: {why}")))?;
        settings.token = secrets::token(options.token_file.as_deref())?;
        settings.timeout = Duration::from_secs(options.timeout);
        settings.login_timeout = Duration::from_secs(options.login_timeout);
        let browser = !(options.paste || options.no_browser || env::var_os("SSH_CONNECTION").is_some());
        settings.person = Some(Arc::new(AtTerminal { browser, paste: options.paste }));
        settings.scope = options.scope.as_deref().map(|scope| scope.split_whitespace().map(Scope::new).collect());
        settings.dpop = options.dpop;
        settings.protocol_version.clone_from(&options.protocol_version);
        settings.issuer = options.issuer.as_deref().map(Issuer::new);
        settings.client_metadata = options.client_metadata.as_deref().map(ClientId::new);
        settings.client = options.client_id.as_deref().map(|id| options.client(id)).transpose()?;
        settings.grant_type = options.grant_type()?;
        settings.check()?;
        Ok(settings)
    }
}

impl Options {
    fn client(&self, id: &str) -> Result<Preregistered> {
        let key = self
            .private_key
            .as_ref()
            .map(secrets::read)
            .transpose()?
            .map(|pem| PrivateKey::from_pem(pem.as_bytes()))
            .transpose()?;
        let secret = match &self.client_secret_file {
            Some(file) => Some(secrets::read(file)?),
            None => env::var(CLIENT_SECRET).ok().filter(|secret| key.is_none() && !secret.is_empty()),
        };
        Ok(Preregistered { id: ClientId::new(id), secret: secret.map(SecretString::from), key })
    }

    fn grant_type(&self) -> Result<GrantType> {
        let missing = |name: &str| Failure::usage(format!("this --grant needs {name}"));
        Ok(match self.grant {
            Grant::AuthorizationCode => GrantType::AuthorizationCode,
            Grant::ClientCredentials => GrantType::ClientCredentials,
            Grant::JwtBearer => GrantType::JwtBearer {
                assertion: SecretString::from(secrets::read(
                    self.assertion_file.as_ref().ok_or_else(|| missing("--assertion-file"))?,
                )?),
            },
            Grant::IdentityAssertion => GrantType::IdentityAssertion {
                id_token: SecretString::from(secrets::read(
                    self.id_token_file.as_ref().ok_or_else(|| missing("--id-token-file"))?,
                )?),
                idp_token_endpoint: parse_url(
                    self.idp_token_endpoint.as_deref().ok_or_else(|| missing("--idp-token-endpoint"))?,
                )
                .map_err(|why| Failure::usage(format!("--idp-token-endpoint: {why}")))?,
                idp_client_id: self
                    .idp_client_id
                    .as_deref()
                    .map(ClientId::new)
                    .ok_or_else(|| missing("--idp-client-id"))?,
            },
        })
    }
}

/// Where credentials are kept.
///
/// # Errors
/// If no folder is given, and there is no home folder.
pub fn folder(chosen: Option<&PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = chosen {
        return Ok(folder.clone());
    }
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| env::home_dir().map(|home| home.join(".local/share")));
    data.map(|data| data.join("step11")).ok_or_else(|| {
        Failure::local("there is no home folder to keep credentials in").advice("Name a folder with --credentials.")
    })
}
