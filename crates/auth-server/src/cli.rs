//! The command line of a program with an authorization server in it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use jsonwebtoken::EncodingKey;
use oauth::{redirect_uri, secret::SecretString};

use crate::{builder::Builder, clients::Clients, database::Location, server::AuthServer, users::Users};

/// The default path of the database.
const DATABASE: &str = "data/auth.db";
/// Why a development switch is refused.
const ELSEWHERE: &str = "it is refused unless both the address (--host) and the public URL (--public-url) are loopback";

/// The options of the authorization server.
#[derive(Args, Clone)]
pub struct AuthArgs {
    /// The SQLite file of users, clients and consents, made on first use
    #[cfg_attr(feature = "postgres", doc = "(or postgres://…, where many machines share them)")]
    #[arg(long, env = "MCP_AUTH_DATABASE", hide_env_values = true, value_name = "FILE", default_value = DATABASE)]
    pub auth_database: Location,
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

/// The server that an authorization server is part of.
pub struct Host<'a> {
    /// Its public URL, without a slash at the end. Whether it may be http is for the caller to decide.
    pub public_url: &'a str,
    /// Whether only this computer can reach it: by its address, and by its public URL.
    pub on_loopback: bool,
    /// What tokens are signed with, if there is a private key.
    pub key: Option<EncodingKey>,
}

impl AuthArgs {
    /// The authorization server of these options, which issues tokens for these resources (RFC 8707).
    /// `MCP_DEV_PASSWORD` is the password of all users that the first start creates; without it each gets a random one,
    /// which is printed.
    ///
    /// # Errors
    /// If there is no key, the database or the file of clients cannot be used, or a development option is set on a
    /// server that others can reach.
    pub async fn open(&self, host: Host<'_>, resources: Vec<String>) -> Result<AuthServer> {
        let Some(key) = host.key else { bail!("there is no private key to sign tokens with") };
        let dev_password = dev_password();
        if dev_password.is_some() && !host.on_loopback {
            bail!("MCP_DEV_PASSWORD is for development: {ELSEWHERE}");
        }
        if self.allow_loopback_client_ids && !host.on_loopback {
            bail!("--allow-loopback-client-ids is for development: {ELSEWHERE}");
        }
        let mut builder = AuthServer::new(host.public_url, key).database(self.auth_database.clone());
        builder = builder.passwd_command(self.passwd_command()).allow_insecure_http(); // the listener allows it or not
        builder = resources.into_iter().fold(builder, Builder::resource);
        builder = self.app_scheme.iter().fold(builder, Builder::app_scheme);
        if let Some(file) = &self.clients {
            builder = builder.clients(file);
        }
        if self.allow_loopback_client_ids {
            builder = builder.allow_loopback_client_ids();
        }
        if let Some(password) = dev_password {
            builder = builder.first_password(password);
        }
        builder.open().await
    }

    /// The same as part of an MCP server, for that server only: tokens are issued for its `resource`. Nothing is
    /// mounted if it trusts another `issuer`, or has no private key. `audience`: the audience that it accepts.
    ///
    /// # Errors
    /// Those of [`AuthArgs::open`], and if the server would not accept the tokens.
    pub async fn embed(&self, host: Host<'_>, issuer: &str, resource: String, audience: &str) -> Result<AuthServer> {
        if issuer != host.public_url || host.key.is_none() {
            return Ok(AuthServer::elsewhere(host.public_url));
        }
        if audience != resource {
            bail!(
                "--audience: this server's own authorization server issues tokens for {resource}, which would be \
                 refused: leave the option out, or trust another issuer"
            );
        }
        self.open(host, vec![resource]).await
    }

    /// The people who can log in, for the commands that manage them.
    ///
    /// # Errors
    /// If the database is not there, has nobody in it, or cannot be used.
    pub async fn users(&self) -> Result<Users> {
        Users::in_database(&self.auth_database).await
    }

    /// The clients that have registered themselves, for the commands that manage them.
    ///
    /// # Errors
    /// If the database is not there, or cannot be used.
    pub async fn registered_clients(&self) -> Result<Clients> {
        Clients::open(&self.auth_database).await
    }

    /// The command that changes alice's password in this database, for a program that was started as this one was. A URL may
    /// hold a password, and what is shown of it is not enough to use it.
    fn passwd_command(&self) -> String {
        // Cargo sets this for what it runs.
        let program = if std::env::var_os("CARGO_MANIFEST_DIR").is_some_and(|folder| !folder.is_empty()) {
            "cargo run -p auth-server --".to_owned()
        } else {
            let beside = std::env::current_exe().map(|this| this.with_file_name("auth-server")).unwrap_or_default();
            if beside.exists() { beside.display().to_string() } else { "auth-server".to_owned() }
        };
        let (option, environment) = match &self.auth_database {
            shared if shared.is_shared() => (String::new(), ", with the URL of the database in MCP_AUTH_DATABASE"),
            file if *file == Location::from(DATABASE) => (String::new(), ""),
            file => (format!(" --auth-database '{file}'"), ""),
        };
        format!("{program}{option} user passwd alice{environment}")
    }
}

/// The password in `MCP_DEV_PASSWORD`, for all users that the first start creates.
fn dev_password() -> Option<SecretString> {
    std::env::var("MCP_DEV_PASSWORD").ok().filter(|password| !password.is_empty()).map(SecretString::from)
}
