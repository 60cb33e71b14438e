//! The authorization server as a program of its own, for several MCP servers.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use actix_web::{App, middleware::from_fn, web};
use anyhow::{Context, Result, bail};
use auth_server::cli::{AuthArgs, Host};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use common::{
    config::{KeyArgs, ServerArgs},
    guards::Guards,
    http,
    keys::folder::KeyFolder,
    proxy::ProxyArgs,
    server,
};

/// A development OAuth 2.1 authorization server for MCP servers.
#[derive(Parser)]
#[command(
    version,
    after_help = "An MCP server that trusts it:
  cargo run -p step9 -- --authorization-server http://localhost:9090 --public-key keys/mcp_public_key.pem
The first start makes users (alice, bob, admin, guest) and prints their passwords, or gives them all the one in
MCP_DEV_PASSWORD (refused unless both --host and --public-url are loopback)."
)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    auth_server: AuthArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    /// An MCP server that tokens are issued for (repeatable)
    #[arg(long, value_name = "URL", default_value = "http://localhost:9000/mcp")]
    resource: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Manages the people who can log in
    #[command(subcommand)]
    User(User),
}

#[derive(Subcommand)]
enum User {
    /// Adds a person; the password is read from standard input
    Add {
        name: String,
        /// admin, user or guest; several with spaces between
        #[arg(long, default_value = "user")]
        roles: String,
    },
    /// Sets a new password, read from standard input, and ends the person's sessions and tokens
    Passwd { name: String },
    /// Lists the people and their roles
    List,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let command = Args::command().mut_arg("port", |port| port.default_value("9090"));
    let args = match Args::from_arg_matches(&command.get_matches()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    server::init_log();
    server::exit(match args.command {
        Some(Command::User(user)) => manage(&args.auth_server, user).await,
        None => serve(args).await,
    })
}

async fn serve(args: Args) -> Result<()> {
    if args.keys.public_key.is_some() {
        bail!("an authorization server signs tokens: it needs both keys (--keys), not --public-key");
    }
    let mut listener = args.server.bind()?;
    listener.behind(args.proxy);
    let keys = KeyFolder::open(&args.keys.keys)?;
    let host = Host {
        public_url: listener.public_url.as_str(),
        on_loopback: listener.on_loopback,
        key: Some(keys.keys()[0].pair.encoding_key.clone()),
    };
    let auth_server = args.auth_server.open(host, args.resource).await?;
    auth_server.replace_keys(keys.signing_keys())?;
    let signing = auth_server.clone();
    let guards = web::Data::new(Guards::new(&listener)?);
    let app = move || {
        App::new()
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .configure(|app| auth_server.configure_all(app))
            .default_service(web::to(http::not_found))
    };
    listener.serve_unless(app, keys.follow(move |keys| signing.replace_keys(keys.signing_keys()))).await
}

async fn manage(args: &AuthArgs, user: User) -> Result<()> {
    let users = args.users().await?;
    match user {
        User::Add { name, roles } => users.add(&name, &roles, &read_password()?).await,
        User::Passwd { name } => users.set_password(&name, &read_password()?).await,
        User::List => {
            for account in users.list().await? {
                println!("{} {}", account.name, account.roles.join(" "));
            }
            Ok(())
        }
    }
}

fn read_password() -> Result<String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ").context("the password could not be read");
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("the password could not be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
