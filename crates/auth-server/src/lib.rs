//! A development OAuth 2.1 authorization server (draft-ietf-oauth-v2-1): steps 7 and on embed it, and
//! it runs by itself. It is for development and teaching, and is written as if it were not.
//!
//! A person's way through it: `authorize` checks what a client asks for, has the person log in
//! ([`users`], `session`) and consent (`pages`), and sends a code back; `token` exchanges it.
//! [`clients`] knows who may ask: registered ones, and those that describe themselves at a URL
//! ([`cimd`]); [`oauth::client_metadata`] says how much of what they say is accepted. [`store`] keeps what must survive a restart.

mod authorize;
mod cimd;
pub mod clients;
pub mod clock;
mod events;
mod failure;
#[cfg(test)]
mod lifetimes;
mod limits;
mod pages;
mod params;
mod peer;
mod queue;
mod refresh_token;
mod resource;
mod session;
pub mod store;
mod throttle;
mod token;
pub mod users;

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use actix_web::{
    middleware::from_fn,
    web::{self, ServiceConfig},
};
use anyhow::{Result, bail};
use aws_lc_rs::hmac;
use clap::Args;
use common::{
    claims::SCOPES,
    config::{KeyArgs, PublicUrl},
    keys::KeyPair,
    server::Listener,
};
use governor::Quota;
use oauth::{
    metadata::AuthorizationServerMetadata,
    redirect_uri::{self, AppSchemes},
};
use url::Url;

use crate::{cimd::Fetcher, clients::Client, limits::Limits, refresh_token::RefreshTokens, store::Store, users::Users};

/// How many clients may register themselves from one address, in a minute and in an hour, and from all in a minute. In the
/// hour that protects a new client ([`clients`]) one address cannot fill the table.
const REGISTRATIONS: [Quota; 2] = [Quota::per_minute(number(30)), Quota::per_hour(number(200))];
const REGISTRATIONS_OF_ALL: NonZeroU32 = number(120);

const fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("it is not 0")
}

/// Where the database is unless somebody says otherwise.
const DATABASE: &str = "data/auth.db";

/// The command line of a program with an authorization server in it.
#[derive(Args, Clone)]
pub struct AuthArgs {
    /// The SQLite file of users, clients and consents, made on first use
    #[arg(long, env = "MCP_AUTH_DATABASE", value_name = "FILE", default_value = DATABASE)]
    pub auth_database: PathBuf,
    /// Clients known from the start: a JSON array of client metadata (RFC 7591), each with a client_id
    #[arg(long, value_name = "FILE")]
    pub clients: Option<PathBuf>,
    /// Also accept client_id URLs at loopback addresses, over http too (development only)
    #[arg(long)]
    pub allow_loopback_client_ids: bool,
    /// Also accept redirect URIs of this scheme, besides https, loopback, names with a dot, and cursor (repeatable)
    #[arg(long, value_name = "NAME", value_parser = redirect_uri::app_scheme)]
    pub app_scheme: Vec<String>,
}

/// Why a development switch is refused.
const ELSEWHERE: &str = "it is refused unless both the address (--host) and the public URL (--public-url) are loopback";

impl AuthArgs {
    /// The command that changes alice's password in this database, for a program that was started as this one was.
    pub fn passwd_command(&self) -> String {
        // Cargo sets this for what it runs.
        let program = if std::env::var_os("CARGO_MANIFEST_DIR").is_some() {
            "cargo run -p auth-server --".to_owned()
        } else {
            let beside = std::env::current_exe().map(|this| this.with_file_name("auth-server")).unwrap_or_default();
            if beside.exists() { beside.display().to_string() } else { "auth-server".to_owned() }
        };
        let database = if self.auth_database == Path::new(DATABASE) {
            String::new()
        } else {
            format!(" --auth-database '{}'", self.auth_database.display())
        };
        format!("{program}{database} user passwd alice")
    }
}

/// What the endpoints share.
pub(crate) struct State {
    issuer: String,
    resources: Vec<String>,
    keys: KeyPair,
    store: Store,
    users: Users,
    listed: HashMap<String, Client>,
    schemes: AppSchemes,
    fetcher: Fetcher,
    form_key: hmac::Key,
    refresh_tokens: RefreshTokens,
    registrations: Limits<IpAddr>,
}

/// An authorization server, ready to be mounted; or none, where another issuer is trusted.
#[derive(Clone)]
pub struct AuthServer {
    state: Option<web::Data<State>>,
    metadata: AuthorizationServerMetadata,
}

impl AuthServer {
    /// Opens the database, and makes what is missing in it, if `issuer` is us and we can sign; else there
    /// is nothing to mount. Tokens are issued for `resources` (RFC 8707). `MCP_DEV_PASSWORD` is the
    /// password of all users that the first start makes; without it each gets one, which is printed.
    ///
    /// # Errors
    /// If the database or the file of clients cannot be used, or a development password is set on a
    /// server that others can reach.
    pub async fn open(
        args: &AuthArgs,
        listener: &Listener,
        keys: &KeyArgs,
        issuer: &str,
        resources: Vec<String>,
    ) -> Result<Self> {
        let Some(keys) = signing_keys(keys, listener, issuer)? else {
            let metadata = metadata(&listener.public_url, false);
            return Ok(AuthServer { state: None, metadata });
        };
        let dev_password = dev_password();
        if dev_password.is_some() && !listener.on_loopback {
            bail!("MCP_DEV_PASSWORD is for development: {ELSEWHERE}");
        }
        if args.allow_loopback_client_ids && !listener.on_loopback {
            bail!("--allow-loopback-client-ids is for development: {ELSEWHERE}");
        }
        let store = Store::open(&args.auth_database).await?;
        store.remove_expired().await?;
        for resource in &resources {
            let absolute = Url::parse(resource)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.fragment().is_none());
            if !absolute {
                bail!("the resource {resource:?} is not the URL of an MCP server (RFC 8707 §2)");
            }
            tracing::info!("connect an MCP client to {resource}: it finds the way to the log-in by itself");
        }
        let schemes = AppSchemes::new(&args.app_scheme);
        let listed = args.clients.as_deref().map(|file| clients::read_file(file, &schemes)).transpose()?;
        let state = State {
            issuer: issuer.to_owned(),
            resources,
            keys,
            users: Users::open(&store, dev_password.as_deref(), &args.passwd_command()).await?,
            listed: listed.unwrap_or_default(),
            fetcher: Fetcher::new(cimd::Options::new(
                args.allow_loopback_client_ids,
                schemes.clone(),
                store.clock().clone(),
            ))?,
            schemes,
            form_key: hmac::Key::new(hmac::HMAC_SHA256, &store.secret("forms").await?),
            refresh_tokens: RefreshTokens::new(&store.secret("refresh tokens").await?),
            registrations: Limits::new(&REGISTRATIONS, REGISTRATIONS_OF_ALL, store.clock()),
            store,
        };
        Ok(AuthServer { state: Some(web::Data::new(state)), metadata: metadata(&listener.public_url, true) })
    }

    /// The same as part of an MCP server, for that server only: tokens are issued for its resource. `audience`: what the
    /// server wants them to be for.
    ///
    /// # Errors
    /// Those of [`AuthServer::open`], and if the server would not accept the tokens.
    pub async fn embed(
        args: &AuthArgs,
        listener: &Listener,
        keys: &KeyArgs,
        issuer: &str,
        audience: &str,
    ) -> Result<Self> {
        let resource = listener.public_url.resource();
        if audience != resource && signing_keys(keys, listener, issuer)?.is_some() {
            bail!(
                "--audience: this server's own authorization server issues tokens for {resource}, which would be \
                 refused: leave the option out, or trust another issuer"
            );
        }
        Self::open(args, listener, keys, issuer, vec![resource]).await
    }

    /// Whether the database can be written, without which nobody can log in.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn check(&self) -> Result<()> {
        match &self.state {
            Some(state) => state.store.check().await,
            None => Ok(()),
        }
    }

    /// Mounts the endpoints that [`AuthServer::metadata`] names.
    pub fn configure(&self, app: &mut ServiceConfig) {
        let Some(state) = &self.state else { return };
        app.app_data(state.clone())
            .service(
                web::resource("/authorize")
                    .wrap(from_fn(events::request))
                    .get(authorize::authorize)
                    .post(authorize::decide),
            )
            .service(
                web::resource("/login")
                    .wrap(from_fn(events::request))
                    .get(authorize::start_again)
                    .post(authorize::log_in),
            )
            .service(web::resource("/token").wrap(from_fn(events::request)).post(token::token))
            .service(web::resource("/register").wrap(from_fn(events::request)).post(clients::register))
            .service(web::resource("/revoke").wrap(from_fn(events::request)).post(token::revoke));
    }

    /// The document of `/.well-known/oauth-authorization-server` (RFC 8414): it names what is mounted.
    pub fn metadata(&self) -> AuthorizationServerMetadata {
        self.metadata.clone()
    }
}

/// What tokens are signed with, if it is us who issue them.
fn signing_keys(keys: &KeyArgs, listener: &Listener, issuer: &str) -> Result<Option<KeyPair>> {
    Ok(keys.key_pair()?.filter(|_| issuer == listener.public_url.as_str()))
}

/// The password that `MCP_DEV_PASSWORD` gives to all users that the first start makes.
pub fn dev_password() -> Option<String> {
    std::env::var("MCP_DEV_PASSWORD").ok().filter(|password| !password.is_empty())
}

fn metadata(issuer: &PublicUrl, mounted: bool) -> AuthorizationServerMetadata {
    // Where nothing is mounted, lists are empty rather than absent, which would promise a default (RFC 8414 §2).
    let texts = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
    let offered = |values: &[&str]| if mounted { texts(values) } else { Some(Vec::new()) };
    let methods = offered(&["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let algorithms = offered(&["RS256", "ES256"]);
    let document = AuthorizationServerMetadata {
        issuer: issuer.as_str().to_owned(),
        jwks_uri: Some(issuer.join("/.well-known/jwks.json")),
        scopes_supported: texts(&SCOPES),
        response_types_supported: offered(&["code"]),
        grant_types_supported: offered(&["authorization_code", "refresh_token", "client_credentials"]),
        token_endpoint_auth_methods_supported: methods.clone(),
        ..AuthorizationServerMetadata::default()
    };
    if !mounted {
        return document;
    }
    AuthorizationServerMetadata {
        authorization_endpoint: Some(issuer.join("/authorize")),
        token_endpoint: Some(issuer.join("/token")),
        registration_endpoint: Some(issuer.join("/register")),
        revocation_endpoint: Some(issuer.join("/revoke")),
        token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        revocation_endpoint_auth_methods_supported: methods,
        revocation_endpoint_auth_signing_alg_values_supported: algorithms,
        code_challenge_methods_supported: texts(&["S256"]),
        authorization_response_iss_parameter_supported: true,
        client_id_metadata_document_supported: true,
        ..document
    }
}
