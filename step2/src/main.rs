//! Step 2: a server that speaks JSON-RPC and says hello in MCP.
//!
//! The map: [`health`] answers `GET /health`; [`rpc`] answers `POST /mcp`; `common` checks who asks, before any of it.

mod health;
mod rpc;

use std::process::ExitCode;

use actix_web::{App, middleware::from_fn, web};
use clap::Parser;
use common::{
    config::{HELP, ServerArgs},
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
}

#[actix_web::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    server::init_log();
    server::exit(serve(args).await)
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let listener = args.server.bind()?;

    let methods =
        Methods::new().on("initialize", rpc::initialize).on("ping", rpc::ping).on("server/discover", rpc::discover);
    let methods = web::Data::new(methods);
    let health = web::Data::new(Health::new(&["health", "mcp"]));

    let guards = listener.guards.clone();
    let app = move || {
        App::new()
            // The last `wrap` is the outermost: who may ask at all is checked first.
            .wrap(guards.cors())
            .wrap(from_fn(Guards::check))
            .app_data(web::Data::new(guards.clone()))
            .app_data(health.clone())
            .app_data(methods.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(rpc::handle))
            .default_service(web::to(http::not_found))
    };
    listener.serve(app).await
}
