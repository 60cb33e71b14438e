//! The settings: which server, which client, and how to get a token.

use std::{sync::Arc, time::Duration};

use oauth::{
    identifiers::{ClientId, Issuer, Scope},
    secret::{ExposeSecret, SecretString},
};
use url::Url;

use crate::{
    failure::{Failure, Result},
    person::Person,
    private_key::PrivateKey,
    secrets::Secrets,
    urls::parse_url,
};

/// How to get a token.
pub enum GrantType {
    /// A person logs in and consents.
    AuthorizationCode,
    /// A machine, with a secret or a private key of its own (RFC 6749 §4.4).
    ClientCredentials,
    /// A person whose company vouches for them (Enterprise-Managed Authorization).
    IdentityAssertion {
        /// The person's ID token from the company's identity provider.
        id_token: SecretString,
        /// The identity provider's token endpoint.
        idp_token_endpoint: Url,
        /// This client's id at the identity provider.
        idp_client_id: ClientId,
    },
    /// A workload with a JWT from its platform (Workload Identity Federation, RFC 7523).
    JwtBearer {
        /// The JWT.
        assertion: SecretString,
    },
}

impl GrantType {
    fn name(&self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization-code",
            GrantType::ClientCredentials => "client-credentials",
            GrantType::IdentityAssertion { .. } => "identity-assertion",
            GrantType::JwtBearer { .. } => "jwt-bearer",
        }
    }
}

/// A client that was registered beforehand.
pub struct Preregistered {
    /// Its `client_id`.
    pub id: ClientId,
    /// The secret that it shares with the authorization server.
    pub secret: Option<SecretString>,
    /// Its private key, which is used instead of a secret (`private_key_jwt`).
    pub key: Option<PrivateKey>,
}

/// The program that uses this library, as it introduces itself to servers.
#[derive(Clone, Debug)]
pub struct Application {
    /// For MCP servers (`clientInfo`), and in `User-Agent`.
    pub name: String,
    /// For MCP servers, to show.
    pub title: String,
    /// For MCP servers, and in `User-Agent`.
    pub version: String,
    /// For the person who is asked to consent (RFC 7591 §2, `client_name`).
    pub client_name: String,
}

impl Application {
    /// One name for all.
    pub fn new(name: &str, version: &str) -> Self {
        let (title, client_name) = (name.to_owned(), name.to_owned());
        Application { name: name.to_owned(), title, version: version.to_owned(), client_name }
    }
}

/// The settings. [`Settings::check`] says whether they fit together.
pub struct Settings {
    /// The MCP server, as its metadata calls it, letter for letter; see [`server_url`].
    pub server: Url,
    /// The program.
    pub application: Application,
    /// How long one exchange may take.
    pub timeout: Duration,
    /// How long a person may take to log in.
    pub login_timeout: Duration,
    /// `None`: no person is there or needed. The authorization server redirects at once.
    pub person: Option<Arc<dyn Person>>,
    /// `None`: one for each authorization server where we register ourselves, otherwise `/callback` at any free port.
    pub redirect_uri: Option<Url>,
    /// The scopes that are asked for, instead of those that the server names.
    pub scope: Option<Vec<Scope>>,
    /// Whether to use only tokens that are bound to a key (DPoP, RFC 9449). Without this, tokens are bound if both
    /// servers offer it.
    pub dpop: bool,
    /// The one version of MCP to speak, such as `2025-11-25`. `None`: the newest that both know.
    pub protocol_version: Option<String>,
    /// `None`: a client that is described at a URL, or registers itself.
    pub client: Option<Preregistered>,
    /// The authorization server that knows the client; no other server learns of it. `None`: the one that the MCP
    /// server names.
    pub issuer: Option<Issuer>,
    /// A `client_id` that is the URL of a document which describes this client (Client ID Metadata Document).
    pub client_metadata: Option<ClientId>,
    /// A token that the person has already. Then no other is requested.
    pub token: Option<SecretString>,
    /// How to get a token.
    pub grant_type: GrantType,
    /// Whether the client's credentials may go to any issuer that the MCP server names. Only for a conformance suite:
    /// elsewhere, any server could ask for the secret.
    pub any_issuer: bool,
}

impl Settings {
    /// The settings of a person who names only the server.
    pub fn new(server: Url, application: Application) -> Self {
        Settings {
            server,
            application,
            timeout: Duration::from_mins(1),
            login_timeout: Duration::from_mins(5),
            person: None,
            redirect_uri: None,
            scope: None,
            dpop: false,
            protocol_version: None,
            client: None,
            issuer: None,
            client_metadata: None,
            token: None,
            grant_type: GrantType::AuthorizationCode,
            any_issuer: false,
        }
    }

    /// Checks what must hold, wherever the settings come from.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check(&self) -> Result<()> {
        let url = |name: &str, text: &str| parse_url(text).map_err(|why| Failure::usage(format!("{name}: {why}")));
        if self.redirect_uri.as_ref().is_some_and(|redirect_uri| {
            redirect_uri.scheme() != "http"
                || !matches!(redirect_uri.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
                || redirect_uri.query().is_some()
        }) {
            return Err(Failure::usage(
                "`Settings::redirect_uri` must be http on localhost, 127.0.0.1 or [::1], without a query",
            ));
        }
        if let Some(issuer) = &self.issuer {
            url("`Settings::issuer`", issuer.as_str())?;
        }
        if let Some(document) = &self.client_metadata {
            let url = url("`Settings::client_metadata`", document.as_str())?;
            if url.scheme() != "https" || url.path() == "/" || url.as_str() != document.as_str() {
                return Err(Failure::usage("`Settings::client_metadata` must be an https URL with a path"));
            }
        }
        if let GrantType::IdentityAssertion { id_token, idp_token_endpoint, idp_client_id } = &self.grant_type {
            url("`GrantType::idp_token_endpoint`", idp_token_endpoint.as_str())?;
            if id_token.expose_secret().is_empty() || idp_client_id.as_str().is_empty() {
                return Err(Failure::usage("identity-assertion needs an ID token and `GrantType::idp_client_id`"));
            }
        }
        if self.token.is_some() && self.dpop {
            return Err(Failure::usage(
                "`Settings::dpop` is about a token that is bound to a key, which a ready-made one is not",
            ));
        }
        let machine = !matches!(self.grant_type, GrantType::AuthorizationCode);
        if (machine || self.client.is_some()) && self.issuer.is_none() && !self.any_issuer {
            return Err(Failure::usage(
                "`Settings::issuer` is missing: what proves who you are is only shown to an authorization server that you name",
            ));
        }
        let proven = self.client.as_ref().is_some_and(|client| client.secret.is_some() || client.key.is_some());
        if matches!(self.grant_type, GrantType::ClientCredentials) && !proven {
            return Err(Failure::usage(
                "client-credentials needs `Settings::client`, and a secret (`Preregistered::secret`) or `Preregistered::key`",
            ));
        }
        Ok(())
    }

    /// Adds their secrets to those that are never shown.
    pub(crate) fn hide(&self, secrets: &Secrets) {
        let hide = |secret: Option<&SecretString>, name| {
            secrets.add(secret.map_or("", |secret| secret.expose_secret()), name);
        };
        hide(self.token.as_ref(), "access token");
        hide(self.client.as_ref().and_then(|client| client.secret.as_ref()), "client secret");
        match &self.grant_type {
            GrantType::JwtBearer { assertion } => hide(Some(assertion), "assertion"),
            GrantType::IdentityAssertion { id_token, .. } => hide(Some(id_token), "ID token"),
            GrantType::AuthorizationCode | GrantType::ClientCredentials => {}
        }
    }

    /// Which of a server's credentials are meant.
    pub fn profile(&self) -> String {
        format!("{} {}", self.grant_type.name(), self.client.as_ref().map_or("", |client| client.id.as_str()))
    }

    /// Hosts that the person named, and that may therefore be anywhere.
    pub fn chosen(&self) -> Vec<Url> {
        let issuer = self.issuer.as_ref().and_then(|issuer| Url::parse(issuer.as_str()).ok());
        let idp = match &self.grant_type {
            GrantType::IdentityAssertion { idp_token_endpoint, .. } => Some(idp_token_endpoint.clone()),
            _ => None,
        };
        issuer.into_iter().chain(idp).collect()
    }
}

/// The address of an MCP server.
///
/// # Errors
/// If it is not valid.
pub fn server_url(text: &str) -> Result<Url> {
    parse_url(text).map_err(|why| Failure::usage(format!("`Settings::server`: {why}")))
}
