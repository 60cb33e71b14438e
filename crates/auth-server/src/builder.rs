//! How an authorization server is configured and opened.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use aws_lc_rs::hmac;
use jsonwebtoken::EncodingKey;
use oauth::{
    fetch::url,
    identifiers::{Issuer, Resource},
    redirect_uri::AppSchemes,
    secret::SecretString,
};

use crate::{
    cimd::{self, Fetcher},
    client,
    database::Location,
    keys::Keys,
    refresh_token::RefreshTokens,
    server::AuthServer,
    state::State,
    store::Store,
    users::Users,
};

/// An authorization server that is not open yet ([`AuthServer::new`]).
pub struct Builder {
    issuer: Issuer,
    key: EncodingKey,
    resources: Vec<Resource>,
    insecure_http: bool,
    database: Location,
    clients: Option<PathBuf>,
    app_schemes: Vec<String>,
    loopback_client_ids: bool,
    first_password: Option<SecretString>,
    passwd_command: String,
}

impl AuthServer {
    /// One that signs with this RSA key. `issuer`: its own URL, without a slash at the end, under which browsers and clients
    /// reach what [`AuthServer::configure`] mounts. Where it has a path, that is the path of a scope, or a proxy takes it off.
    #[allow(clippy::new_ret_no_self, reason = "it takes a few words more to say what is wanted")]
    pub fn new(issuer: impl Into<String>, key: EncodingKey) -> Builder {
        Builder {
            issuer: Issuer::new(issuer),
            key,
            resources: Vec::new(),
            insecure_http: false,
            database: Location::from("data/auth.db"),
            clients: None,
            app_schemes: Vec::new(),
            loopback_client_ids: false,
            first_password: None,
            passwd_command: "auth-server user passwd alice".to_owned(),
        }
    }
}

impl Builder {
    /// An MCP server that tokens are issued for (RFC 8707): its URL. There may be several, and there must be one.
    #[must_use]
    pub fn resource(mut self, url: impl Into<String>) -> Self {
        self.resources.push(Resource::new(url));
        self
    }

    /// Allows an issuer and resources whose URLs are `http` on hosts that are not loopback: passwords and tokens then travel
    /// in the clear.
    #[must_use]
    pub fn allow_insecure_http(mut self) -> Self {
        self.insecure_http = true;
        self
    }

    /// Where users, clients and consents are: a file of SQLite, made on first use with its folder, or `postgres://…` (feature
    /// `postgres`). Without this, `data/auth.db`.
    #[must_use]
    pub fn database(mut self, location: impl Into<Location>) -> Self {
        self.database = location.into();
        self
    }

    /// Clients known from the start: a file with a JSON array of client metadata (RFC 7591), each with a `client_id`.
    #[must_use]
    pub fn clients(mut self, file: impl AsRef<Path>) -> Self {
        self.clients = Some(file.as_ref().to_owned());
        self
    }

    /// Also accepts redirect URIs of this scheme ([`AppSchemes`]).
    #[must_use]
    pub fn app_scheme(mut self, name: impl Into<String>) -> Self {
        self.app_schemes.push(name.into());
        self
    }

    /// Also accepts `client_id` URLs at loopback addresses, over http too. For development only: anybody who can reach
    /// the server can then make it send requests to programs on its own computer.
    #[must_use]
    pub fn allow_loopback_client_ids(mut self) -> Self {
        self.loopback_client_ids = true;
        self
    }

    /// The password of all users (alice, bob, admin, guest) that the first start creates, for development only. Without
    /// it each gets a random one, which is printed on stderr. It has no effect once the users are there.
    #[must_use]
    pub fn first_password(mut self, password: SecretString) -> Self {
        self.first_password = Some(password);
        self
    }

    /// The command that people are told to type to change alice's password.
    #[must_use]
    pub fn passwd_command(mut self, command: String) -> Self {
        self.passwd_command = command;
        self
    }

    /// Opens the database, and makes what is missing in it.
    ///
    /// # Errors
    /// If the issuer or a resource cannot be the URL of a server, there is no resource, the database or the file of clients
    /// cannot be used, or the key is not an RSA key.
    pub async fn open(self) -> Result<AuthServer> {
        let keys = Keys::new([(0, self.key)])?;
        let issuer = self.issuer.as_str();
        let url = url::of_server(issuer, self.insecure_http).map_err(|why| anyhow!("the issuer {issuer:?} {why}"))?;
        // The endpoints' URLs are the issuer and a path.
        ensure!(!issuer.ends_with('/'), "the issuer {issuer:?} must be written without a slash at the end");
        ensure!(!self.resources.is_empty(), "no resource is given, so there is nothing to issue tokens for");
        for resource in self.resources.iter().map(Resource::as_str) {
            url::of_server(resource, self.insecure_http).map_err(|why| anyhow!("the resource {resource:?} {why}"))?;
        }
        let store = Store::open(&self.database).await?;
        store.remove_expired().await?;
        for resource in &self.resources {
            tracing::info!("connect an MCP client to {resource}: it finds the way to the log-in by itself");
        }
        let schemes = AppSchemes::new(&self.app_schemes);
        let listed = self.clients.as_deref().map(|file| client::read_file(file, &schemes)).transpose()?;
        let document_options = cimd::Options::new(self.loopback_client_ids, schemes.clone(), store.clock().clone());
        let state = State {
            path: url.path().trim_end_matches('/').to_owned(),
            issuer: self.issuer,
            resources: self.resources,
            keys,
            users: Users::open(&store, self.first_password.as_ref(), &self.passwd_command).await?,
            listed: listed.unwrap_or_default(),
            fetcher: Fetcher::new(document_options)?,
            schemes,
            form_key: hmac::Key::new(hmac::HMAC_SHA256, &store.secret("forms").await?),
            refresh_tokens: RefreshTokens::new(&store.secret("refresh tokens").await?),
            store,
        };
        Ok(AuthServer::opened(state))
    }
}
