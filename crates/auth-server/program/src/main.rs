//! The authorization server as a program of its own, for several MCP servers.

mod manage;

use std::process::ExitCode;

use actix_web::{App, middleware::from_fn, web};
use anyhow::{Result, bail};
use auth_server::cli::{AuthArgs, Host};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use common::{
    config::{KeyArgs, ServerArgs},
    guards::Guards,
    http,
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
    User(manage::User),
    /// Manages the clients that have registered themselves
    #[command(subcommand)]
    Client(manage::Client),
    /// Manages what people let clients do
    #[command(subcommand)]
    Consent(manage::Consent),
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
        Some(Command::User(command)) => manage::user(&args.auth_server, command).await,
        Some(Command::Client(command)) => manage::client(&args.auth_server, command).await,
        Some(Command::Consent(command)) => manage::consent(&args.auth_server, command).await,
        None => serve(args).await,
    })
}

async fn serve(args: Args) -> Result<()> {
    let mut listener = args.server.bind()?;
    listener.behind(args.proxy);
    for resource in &args.resource {
        listener.require_https("--resource", resource)?;
    }
    let Some(keys) = args.keys.folder()? else {
        bail!("an authorization server signs tokens: it needs both keys (--keys), not --public-key")
    };
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
