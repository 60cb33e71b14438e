//! Step 4: a server whose tools run and whose prompts are filled in.
//!
//! The map: [`guards`] checks who asks, before all else; [`health`] answers `GET /health`; [`jsonrpc`] answers `POST
//! /mcp` by the table in [`methods`], whose first rows are in [`lifecycle`] and [`era`], and further ones in [`tools`] and
//! [`prompts`].

mod era;
mod guards;
mod health;
mod jsonrpc;
mod lifecycle;
mod methods;
mod prompts;
mod tools;

use std::{process::ExitCode, sync::Arc};

use actix_web::{App, middleware::from_fn, web};
use clap::Parser;
use common::{
    config::{HELP, ServerArgs},
    http, server,
};
use guards::Guards;
use health::Health;
use methods::{Call, Methods};

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
    let guards = web::Data::new(Guards::new(&listener)?);

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
    let health = web::Data::new(Health::new(&["health", "mcp", "tools", "prompts"]));

    let app = move || {
        App::new()
            // The last `wrap` is the outermost, so the guards check each request first.
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .app_data(health.clone())
            .app_data(methods.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(jsonrpc::handle))
            .default_service(web::to(http::not_found))
    };
    listener.serve(app).await
}
