//! Step 6: a server that lets nobody call `/mcp` without a valid token.
//!
//! The map: [`guards`] checks who asks, before all else; [`health`] answers `GET /health`; [`jsonrpc`] answers `POST
//! /mcp` by the table in [`methods`], whose first rows are in [`lifecycle`] and [`era`], and further ones in [`tools`] and
//! [`prompts`]; [`auth`] stands before `/mcp`: [`bearer`] finds a token, [`verify`] checks it; [`jwks`] answers
//! `GET /.well-known/jwks.json`.

mod auth;
mod bearer;
mod era;
mod guards;
mod health;
mod jsonrpc;
mod jwks;
mod lifecycle;
mod methods;
mod prompts;
mod tools;
mod verify;

use std::{process::ExitCode, sync::Arc};

use actix_web::{App, middleware::from_fn, web};
use auth::Auth;
use bearer::Challenge;
use clap::Parser;
use common::{
    config::{HELP, KeyArgs, ServerArgs, TrustArgs},
    http, server,
};
use guards::Guards;
use health::Health;
use jwks::Jwk;
use methods::{Call, Methods};
use verify::Verifier;

/// An MCP server, step by step.
#[derive(Parser)]
#[command(version, after_help = HELP)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    server::init_log();
    server::exit(serve(args).await)
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let listener = args.server.bind()?;
    let guards = web::Data::new(Guards::new(&listener)?);
    let key = web::Data::new(args.keys.public_key()?.rsa);
    let (issuer, audience) = (args.trust.issuer(&listener.public_url), args.trust.audience(&listener.public_url));
    listener.require_https("--issuer", &issuer)?;
    let auth = Auth::new(Verifier::new(&Jwk::new(&key), &issuer, &audience)?, Challenge::default());

    let tools = Arc::new(tools::tools());
    let (listed, called) = (tools.clone(), tools);
    let methods = Methods::new(era::check)
        .on("initialize", lifecycle::initialize)
        .on("ping", lifecycle::ping)
        .on("server/discover", era::discover)
        .on("tools/list", async move |call: &Call<'_>| listed.list(call))
        .on("tools/call", async move |call: &Call<'_>| called.call(call).await)
        .on("prompts/list", prompts::list)
        .on("prompts/get", prompts::get);
    let methods = web::Data::new(methods);
    let health = web::Data::new(Health::new(&["health", "mcp", "tools", "prompts", "jwks", "auth"]));

    let auth = web::Data::new(auth);
    let app = move || {
        App::new()
            // The last `wrap` is the outermost, so the guards check each request first.
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .app_data(health.clone())
            .app_data(methods.clone())
            .app_data(key.clone())
            .app_data(auth.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(jsonrpc::handle).wrap(from_fn(auth::authenticate)))
            .service(web::resource("/.well-known/jwks.json").get(jwks::jwks))
            .default_service(web::to(http::not_found))
    };
    listener.serve(app).await
}
