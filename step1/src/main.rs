//! Step 1: a server that says it is there.
//!
//! The map: [`guards`] checks who asks, before all else; [`health`] answers `GET /health`.

mod guards;
mod health;

use std::process::ExitCode;

use actix_web::{App, middleware::from_fn, web};
use clap::Parser;
use common::{
    config::{HELP, ServerArgs},
    http, server,
};
use guards::Guards;
use health::Health;

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
    let health = web::Data::new(Health::new(&["health"]));

    let app = move || {
        App::new()
            // The last `wrap` is the outermost, so the guards check each request first.
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .app_data(health.clone())
            .service(web::resource("/health").get(health::health))
            .default_service(web::to(http::not_found))
    };
    listener.serve(app).await
}
