//! Step 8: a server where a token opens only what it is meant to open.
//!
//! The map: [`health`] answers `GET /health`; [`auth`] stands before `/mcp`; [`rpc`] answers `POST /mcp` by its
//! method table, of which [`tools`] and [`prompts`] are part; [`jwks`] answers `GET /.well-known/jwks.json`;
//! [`metadata`] has the other documents; [`permissions`] stands before every method; `common` checks who asks, before any of it.

mod auth;
mod health;
mod jwks;
mod metadata;
mod permissions;
mod prompts;
mod rpc;
mod tools;

use std::process::ExitCode;

use actix_web::{App, middleware::from_fn, web};
use auth::Auth;
use auth_server::cli::{AuthArgs, Host};
use clap::Parser;
use common::{
    config::{HELP, KeyArgs, ScopeArgs, ServerArgs, TrustArgs},
    guards::Guards,
    http,
    readiness::Readiness,
    server,
};
use health::Health;
use metadata::Metadata;
use rpc::Methods;

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
    #[command(flatten)]
    auth_server: AuthArgs,
    #[command(flatten)]
    scopes: ScopeArgs,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    server::init_log();
    server::exit(serve(args).await)
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let scopes = args.scopes.basic()?;
    let listener = args.server.bind()?;
    let key = web::Data::new(args.keys.public_key()?);
    let (issuer, audience) = (args.trust.issuer(&listener.public_url), args.trust.audience(&listener.public_url));
    listener.require_https("--issuer", &issuer)?;
    let (public_url, on_loopback) = (listener.public_url.as_str(), listener.on_loopback);
    let host = Host { public_url, on_loopback, key: args.keys.key_pair()?.map(|pair| pair.encoding_key) };
    let auth_server = args.auth_server.embed(host, &issuer, listener.public_url.resource(), &audience).await?;
    let metadata = web::Data::new(Metadata::new(&listener.public_url, &issuer, scopes, auth_server.metadata()));
    let auth = Auth::new(&key, &issuer, &audience)
        .challenge("resource_metadata", &metadata.urls.protected_resource)
        .challenge("scope", &metadata.resource.scopes_supported.join(" "));

    let methods = Methods::new(permissions::check_permission)
        .on("initialize", rpc::initialize)
        .on("ping", rpc::ping)
        .on("server/discover", rpc::discover)
        .on("tools/list", tools::list)
        .on("tools/call", tools::call)
        .on("prompts/list", prompts::list)
        .on("prompts/get", prompts::get)
        .in_handshake("io.github.mcp-auth-steps/oauth", metadata.in_handshake());
    let methods = web::Data::new(methods);
    let health = web::Data::new(Health::new(
        &["health", "mcp", "tools", "prompts", "jwks", "auth", "metadata", "permissions"],
        metadata.urls.clone(),
    ));

    let checked = auth_server.clone();
    let readiness =
        Readiness::default().with("the database of the authorization server", async move || checked.check().await);
    let readiness = web::Data::new(readiness);

    let auth = web::Data::new(auth);
    let guards = listener.guards.clone();
    let app = move || {
        App::new()
            // The last `wrap` is the outermost: who may ask at all is checked first.
            .wrap(guards.cors())
            .wrap(from_fn(Guards::check))
            .app_data(web::Data::new(guards.clone()))
            .app_data(health.clone())
            .app_data(readiness.clone())
            .app_data(methods.clone())
            .app_data(key.clone())
            .app_data(auth.clone())
            .app_data(metadata.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(rpc::handle).wrap(from_fn(auth::authenticate)))
            .service(web::resource("/.well-known/jwks.json").get(jwks::jwks))
            .service(web::resource(metadata::PROTECTED_RESOURCE).get(metadata::protected_resource))
            .service(web::resource(metadata::PROTECTED_RESOURCE_ROOT).get(metadata::protected_resource))
            .service(web::resource(metadata::AUTHORIZATION_SERVER).get(metadata::authorization_server))
            .service(web::resource(metadata::DOCUMENTATION).get(metadata::documentation))
            .configure(|app| auth_server.configure(app))
            .default_service(web::to(http::not_found))
    };
    listener.serve(app).await
}
