//! Step 5: a server that publishes the key by which tokens will be checked.
//!
//! The map: [`health`] answers `GET /health`; [`rpc`] answers `POST /mcp`
//! by its method table, of which [`tools`] and [`prompts`] are part; [`jwks`] answers
//! `GET /.well-known/jwks.json`; `common` checks who asks, before any of it.

mod health;
mod jwks;
mod prompts;
mod rpc;
mod tools;

use std::process::ExitCode;

use actix_web::{App, middleware::from_fn, web};
use clap::Parser;
use common::{
    config::{HELP, KeyArgs, ServerArgs},
    guards::Guards,
    http, server,
};
use health::Health;
use rpc::Methods;

/// An MCP server, step by step.
#[derive(Parser)]
#[command(version, after_help = HELP)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    server::init_log();
    server::exit(serve(args).await)
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let listener = args.server.bind()?;
    let key = web::Data::new(args.keys.public_key()?);

    let methods = Methods::new()
        .on("initialize", rpc::initialize)
        .on("ping", rpc::ping)
        .on("server/discover", rpc::discover)
        .on("tools/list", tools::list)
        .on("tools/call", tools::call)
        .on("prompts/list", prompts::list)
        .on("prompts/get", prompts::get);
    let methods = web::Data::new(methods);
    let health = web::Data::new(Health::new(&["health", "mcp", "tools", "prompts", "jwks"]));

    let guards = listener.guards.clone();
    let app = move || {
        App::new()
            // The last `wrap` is the outermost: who may ask at all is checked first.
            .wrap(guards.cors())
            .wrap(from_fn(Guards::check))
            .app_data(web::Data::new(guards.clone()))
            .app_data(health.clone())
            .app_data(methods.clone())
            .app_data(key.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(rpc::handle))
            .service(web::resource("/.well-known/jwks.json").get(jwks::jwks))
            .default_service(web::to(http::not_found))
    };
    listener.serve(app).await
}
