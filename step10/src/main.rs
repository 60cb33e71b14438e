//! Step 10: a server that trusts any identity provider, of which it knows but the URL.
//!
//! The map: [`guards`] checks who asks, before all else; [`health`] answers `GET /health`; [`jsonrpc`] answers `POST
//! /mcp` by the table in [`methods`], whose first rows are in [`lifecycle`] and [`era`], and further ones in [`tools`] and
//! [`prompts`]; [`auth`] stands before `/mcp`; [`jwks`] answers `GET /.well-known/jwks.json`; [`metadata`] has the other
//! documents; [`permissions`] stands before every method; [`caller`] tells callers who they are; [`user_tools`] are the
//! tools that know their caller, and [`notes`] what they keep for them.
//!
//! New: [`providers`] says whom we trust and how their tokens are read; [`discovery`] finds their metadata,
//! [`jwks_client`] fetches their keys and keeps them, [`introspection`] asks about opaque tokens, all through [`fetch`]; [`reasons`] tells people what is wrong, and
//! [`doctor`] tells it beforehand.

mod auth;
mod caller;
mod discovery;
mod doctor;
mod era;
mod fetch;
mod guards;
mod health;
mod introspection;
mod jsonrpc;
mod jwks;
mod jwks_client;
mod lifecycle;
mod metadata;
mod methods;
mod notes;
mod permissions;
mod prompts;
mod providers;
mod reasons;
mod tools;
mod user_tools;

use std::{process::ExitCode, sync::Arc};

use actix_web::{App, middleware::from_fn, web};
use auth::Auth;
use auth_server::cli::{AuthArgs, Host};
use clap::{Parser, Subcommand};
use common::{
    config::{HELP, KeyArgs, ScopeArgs, ServerArgs},
    http,
    readiness::Readiness,
    server,
};
use doctor::DoctorArgs;
use guards::Guards;
use health::Health;
use jwks::JwkSet;
use metadata::Metadata;
use methods::{Call, Methods};
use notes::{Notes, NotesArgs};
use providers::{ProviderArgs, Providers};
use serde_json::json;

/// An MCP server, step by step.
#[derive(Parser)]
#[command(version, after_help = HELP, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    providers: ProviderArgs,
    #[command(flatten)]
    scopes: ScopeArgs,
    #[command(flatten)]
    auth_server: AuthArgs,
    #[command(flatten)]
    notes: NotesArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Checks an identity provider, and says what to change
    Doctor(DoctorArgs),
}

#[actix_web::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Doctor(args)) = &args.command {
        return match doctor::examine(args).await {
            Ok(healthy) => ExitCode::from(u8::from(!healthy)),
            Err(error) => server::exit(Err(error)),
        };
    }
    server::init_log();
    server::exit(serve(args).await)
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let elsewhere = args.providers.elsewhere()?;
    let scopes = args.scopes.basic()?;
    let listener = args.server.bind()?;
    let guards = web::Data::new(Guards::new(&listener)?);
    let notes = Notes::open(&args.notes).await?;
    // Either we sign the tokens, as in step 9, or those do whom --issuer names.
    let own = match elsewhere {
        true if args.keys.public_key.is_some() => anyhow::bail!("--public-key: with --issuer, keys come from there"),
        true => None,
        false => {
            let url = &listener.public_url;
            let audience = args.providers.audience.clone().unwrap_or_else(|| url.resource());
            let (public_url, on_loopback) = (url.as_str(), listener.on_loopback);
            let host = Host { public_url, on_loopback, key: args.keys.key_pair()?.map(|pair| pair.encoding_key) };
            let auth_server = args.auth_server.embed(host, public_url, url.resource(), &audience).await?;
            Some((args.keys.public_key()?, auth_server))
        }
    };
    let key = own.as_ref().map(|(key, _)| key);
    let (providers, tasks) = Providers::open(&args.providers, &listener.public_url, key, auth::LEEWAY).await?;
    let issuers = providers.iter().map(|provider| provider.issuer.clone()).collect();
    let server = own.as_ref().map(|(_, auth_server)| auth_server.metadata());
    let metadata = web::Data::new(Metadata::new(&listener.public_url, issuers, scopes, server));
    let auth = Auth::new(providers.clone())
        .challenge("resource_metadata", &metadata.urls.protected_resource)
        .challenge("scope", &metadata.resource.scopes_supported.join(" "));

    let tools = Arc::new(user_tools::add(tools::tools(), &notes));
    let (required, listed, called) = (tools.clone(), tools.clone(), tools);
    let refusing = auth.clone();
    let guard = move |call: &Call<'_>| permissions::check(call, required.required(call), &refusing);
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
    let mut enabled =
        vec!["health", "mcp", "tools", "prompts", "auth", "metadata", "permissions", "user_tools", "providers"];
    enabled.extend(own.is_some().then_some("jwks"));
    let health = web::Data::new(Health::new(enabled, metadata.urls.clone()));

    let mut readiness = Readiness::default().with("the database of the notes", async move || notes.check().await);
    if let Some((_, auth_server)) = own.clone() {
        readiness = readiness.with("the database of the authorization server", async move || auth_server.check().await);
    }
    let readiness = web::Data::new(readiness);

    let own = own.map(|(key, auth_server)| (web::Data::new(JwkSet::new(&key.rsa)), auth_server));
    let (auth, providers) = (web::Data::new(auth), web::Data::new(providers));
    let app = move || {
        App::new()
            // The last `wrap` is the outermost: who may ask at all is checked first.
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .app_data(health.clone())
            .app_data(readiness.clone())
            .app_data(methods.clone())
            .app_data(auth.clone())
            .app_data(providers.clone())
            .app_data(metadata.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/mcp").post(jsonrpc::handle).wrap(from_fn(auth::authenticate)))
            .service(web::resource(metadata::PROTECTED_RESOURCE).get(metadata::protected_resource))
            .service(web::resource(metadata::PROTECTED_RESOURCE_ROOT).get(metadata::protected_resource))
            .service(web::resource(metadata::AUTHORIZATION_SERVER).get(metadata::authorization_server))
            .service(web::resource(metadata::DOCUMENTATION).get(metadata::documentation))
            .configure(|app| {
                let Some((keys, auth_server)) = &own else { return };
                app.app_data(keys.clone()).service(web::resource("/.well-known/jwks.json").get(jwks::jwks));
                auth_server.configure(app);
            })
            .default_service(web::to(http::not_found))
    };
    listener.serve_unless(app, tasks.failure()).await
}
