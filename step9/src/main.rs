//! Step 9: a server whose tools know who is calling.
//!
//! The map: [`guards`] checks who asks, before all else; [`health`] answers `GET /health`; [`jsonrpc`] answers `POST
//! /mcp` by the table in [`methods`], whose first rows are in [`lifecycle`] and [`era`], and further ones in [`tools`] and
//! [`prompts`]; [`auth`] stands before `/mcp`: [`bearer`] finds a token, [`verify`] checks it, [`token_cache`]
//! remembers it; [`jwks`] answers `GET /.well-known/jwks.json`; [`metadata`] has the other documents; [`permissions`]
//! stands before every method; [`caller`] tells callers who they are; [`user_tools`] are the tools that know their caller,
//! and [`notes`] what they keep for them.

mod auth;
mod bearer;
mod caller;
mod era;
mod guards;
mod health;
mod jsonrpc;
mod jwks;
mod lifecycle;
mod metadata;
mod methods;
mod notes;
mod permissions;
mod prompts;
mod token_cache;
mod tools;
mod user_tools;
mod verify;

use std::{process::ExitCode, sync::Arc};

use actix_web::{App, middleware::from_fn, web};
use auth::Auth;
use auth_server::cli::{AuthArgs, Host};
use bearer::Challenge;
use clap::Parser;
use common::{
    config::{HELP, KeyArgs, ScopeArgs, ServerArgs, TrustArgs},
    http,
    readiness::Readiness,
    server,
};
use guards::Guards;
use health::Health;
use jwks::Jwk;
use metadata::Metadata;
use methods::{Call, Methods};
use notes::{Notes, NotesArgs};
use serde_json::json;
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
    #[command(flatten)]
    auth_server: AuthArgs,
    #[command(flatten)]
    scopes: ScopeArgs,
    #[command(flatten)]
    notes: NotesArgs,
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
    let guards = web::Data::new(Guards::new(&listener)?);
    let key = web::Data::new(args.keys.public_key()?.rsa);
    let (issuer, audience) = (args.trust.issuer(&listener.public_url), args.trust.audience(&listener.public_url));
    listener.require_https("--issuer", &issuer)?;
    let notes = Notes::open(&args.notes).await?;
    let (public_url, on_loopback) = (listener.public_url.as_str(), listener.on_loopback);
    let host = Host { public_url, on_loopback, key: args.keys.key_pair()?.map(|pair| pair.encoding_key) };
    let auth_server = args.auth_server.embed(host, &issuer, listener.public_url.resource(), &audience).await?;
    let metadata = web::Data::new(Metadata::new(&listener.public_url, &issuer, scopes, auth_server.metadata()));
    let challenge = Challenge::default()
        .with("resource_metadata", &metadata.urls.protected_resource)
        .with("scope", &metadata.scopes.join(" "));
    let auth = Auth::new(Verifier::new(&Jwk::new(&key), &issuer, &audience)?, challenge.clone());

    let tools = Arc::new(user_tools::add(tools::tools(), &notes));
    let (required, listed, called) = (tools.clone(), tools.clone(), tools);
    let guard = move |call: &Call<'_>| permissions::check(call, required.required(call), &challenge);
    let methods = Methods::new(era::check, Box::new(guard))
        .on("initialize", lifecycle::initialize)
        .on("ping", lifecycle::ping)
        .on("server/discover", era::discover)
        .on("tools/list", async move |call: &Call<'_>| listed.list(call))
        .on("tools/call", async move |call: &Call<'_>| called.call(call).await)
        .on("prompts/list", prompts::list)
        .on("prompts/get", prompts::get)
        .in_handshake("io.github.mcp-auth-steps/oauth", json!(metadata.in_handshake()));
    let methods = web::Data::new(methods);
    let health = web::Data::new(Health::new(
        &["health", "mcp", "tools", "prompts", "jwks", "auth", "metadata", "permissions", "user_tools"],
        metadata.urls.clone(),
    ));

    let checked = auth_server.clone();
    let readiness =
        Readiness::default().with("the database of the authorization server", async move || checked.check().await);
    let readiness = readiness.with("the database of the notes", async move || notes.check().await);
    let readiness = web::Data::new(readiness);

    let auth = web::Data::new(auth);
    let app = move || {
        App::new()
            // The last `wrap` is the outermost, so the guards check each request first.
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .app_data(health.clone())
            .app_data(readiness.clone())
            .app_data(methods.clone())
            .app_data(key.clone())
            .app_data(auth.clone())
            .app_data(metadata.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(jsonrpc::handle).wrap(from_fn(auth::authenticate)))
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
