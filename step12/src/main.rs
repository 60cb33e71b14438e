//! Step 12: step 10 on many machines. What all replicas must know is in a database that they share.
//!
//! The map is step 10's. [`notes`] are in SQLite or in PostgreSQL, as is what the authorization server keeps; while the database
//! is away, [`methods`] says when to come again; [`health`] tells those who restart a replica from those who send it requests.
//! [`keys`] are replaced while all replicas run. Behind a proxy that they share with others, [`well_known`] says where clients
//! find the documents.

mod auth;
mod caller;
mod doctor;
mod documents;
mod era;
mod guards;
mod health;
mod issuers;
mod jsonrpc;
mod keys;
mod lifecycle;
mod methods;
mod notes;
mod permissions;
mod prompts;
mod tools;
mod user_tools;
mod well_known;

use std::{pin::pin, process::ExitCode, sync::Arc, time::Duration};

use actix_web::{App, middleware::from_fn, web};
use anyhow::{Result, bail};
use auth_server::cli::{AuthArgs, Host};
use clap::{Parser, Subcommand};
use common::{
    claims::SCOPES,
    config::{HELP, KeyArgs, PublicUrl, ScopeArgs, ServerArgs},
    http,
    proxy::ProxyArgs,
    readiness::Readiness,
    server,
    well_known::OPENID_CONFIGURATION,
};
use doctor::DoctorArgs;
use documents::{OAuthMeta, OAuthUrls};
use futures_util::future::select;
use guards::Guards;
use health::Health;
use issuers::IssuerArgs;
use keys::Published;
use methods::{Call, Methods};
use notes::{Notes, NotesArgs};
use resource_server::{ResourceServer, actix};
use serde_json::json;
use well_known::WellKnownArgs;

/// An MCP server, step by step.
#[derive(Parser)]
#[command(version, after_help = HELP, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    issuers: IssuerArgs,
    #[command(flatten)]
    scopes: ScopeArgs,
    #[command(flatten)]
    auth_server: AuthArgs,
    #[command(flatten)]
    notes: NotesArgs,
    #[command(flatten)]
    proxy: ProxyArgs,
    #[command(flatten)]
    well_known: WellKnownArgs,
    /// For how long to go on once told to stop, with /ready red, so that a proxy sends nothing more
    #[arg(long, env = "MCP_DRAIN", value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    drain: Duration,
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

async fn serve(args: Args) -> Result<()> {
    let elsewhere = args.issuers.elsewhere()?;
    let scopes = args.scopes.basic()?;
    let mut listener = args.server.bind_as(PublicUrl::with_path)?;
    listener.behind(args.proxy);
    let draining = listener.drain(args.drain);
    let guards = web::Data::new(Guards::new(&listener)?);
    let notes = Notes::open(&args.notes).await?;
    let url = &listener.public_url;
    let places = args.well_known.places(url)?;
    let server = ResourceServer::new(url.resource()).metadata_url(places.protected_resource());
    // Either we sign the tokens, as in step 9, or the issuers named with --issuer do.
    let (server, own, folder) = match elsewhere {
        true if args.keys.public_key.is_some() => bail!("--public-key: with --issuer, keys come from there"),
        true if args.issuers.names(url) => {
            bail!("--issuer: {} is this server itself, which it trusts without --issuer", url.as_str())
        }
        true => (args.issuers.trust(server)?, None, None),
        false => {
            let (public_url, on_loopback) = (url.as_str(), listener.on_loopback);
            let folder = args.keys.folder()?;
            let key = folder.as_ref().map(|folder| folder.keys()[0].pair.encoding_key.clone());
            let host = Host { public_url, on_loopback, key };
            let audience = args.issuers.audience.clone().unwrap_or_else(|| url.resource());
            let auth_server = args.auth_server.embed(host, public_url, url.resource(), &audience).await?;
            let published = match &folder {
                Some(folder) => Published::ours(auth_server.clone(), folder)?,
                None => Published::Given(args.keys.public_key()?),
            };
            let server = server.own_keys(public_url, serde_json::to_vec(&published.jwks())?).audience(audience);
            (server, Some((web::Data::new(published), auth_server)), folder)
        }
    };
    let server = server.scopes(SCOPES).basic_scopes(scopes).name("MCP authorization, step by step");
    let server = server.documentation(url.join(documents::DOCUMENTATION)).allow_insecure_http(); // the listener allows it or not
    let (resource_server, tasks) = server.start().await?;
    let urls = OAuthUrls::new(&places, url, own.is_some());

    let tools = Arc::new(user_tools::add(tools::tools(), &notes));
    let (required, listed, called) = (tools.clone(), tools.clone(), tools);
    let refusing = resource_server.clone();
    let guard = move |call: &Call<'_>| permissions::check(call, required.required(call), &refusing);
    let methods = Methods::new(era::check, Box::new(guard))
        .on("initialize", lifecycle::initialize)
        .on("ping", lifecycle::ping)
        .on("server/discover", era::discover)
        .on("tools/list", async move |call: &Call<'_>| listed.list(call))
        .on("tools/call", async move |call: &Call<'_>| called.call(call).await)
        .on("prompts/list", prompts::list)
        .on("prompts/get", prompts::get)
        .in_handshake("io.github.mcp-auth-steps/oauth", json!(OAuthMeta::of(&resource_server)));
    let methods = web::Data::new(methods);
    let mut enabled =
        vec!["health", "mcp", "tools", "prompts", "auth", "metadata", "permissions", "user_tools", "providers"];
    enabled.extend(own.is_some().then_some("jwks"));
    let health = web::Data::new(Health::new(enabled, urls));

    let mut readiness = Readiness::default().with("the database of the notes", async move || notes.check().await);
    readiness = readiness.unless(draining);
    if let Some((_, auth_server)) = own.clone() {
        readiness = readiness.with("the database of the authorization server", async move || auth_server.check().await);
    }
    let readiness = web::Data::new(readiness);

    let resource_server = web::Data::new(resource_server);
    let (issuer, accepting, signing) = (listener.public_url.as_str().to_owned(), resource_server.clone(), own.clone());
    let follow = async move {
        match (folder, &signing) {
            (Some(folder), Some((_, auth_server))) => keys::follow(folder, &issuer, &accepting, auth_server).await,
            _ => std::future::pending().await,
        }
    };
    let app = move || {
        App::new()
            // The last `wrap` is the outermost, so the guards check each request first.
            .wrap(Guards::cors())
            .wrap(from_fn(Guards::check))
            .app_data(guards.clone())
            .app_data(health.clone())
            .app_data(readiness.clone())
            .app_data(methods.clone())
            .app_data(resource_server.clone())
            .service(web::resource("/health").get(health::health))
            .service(web::resource("/ready").get(health::ready))
            .service(web::resource("/mcp").post(jsonrpc::handle).wrap(from_fn(auth::authenticate)))
            .configure(actix::documents(&resource_server))
            .service(web::resource(documents::DOCUMENTATION).get(documents::documentation))
            .configure(|app| {
                let Some((published, auth_server)) = &own else { return };
                app.app_data(published.clone()).app_data(web::Data::new(auth_server.metadata()));
                app.service(web::resource(places.authorization_server_paths()).get(documents::authorization_server));
                if places.below {
                    app.service(web::resource(OPENID_CONFIGURATION).get(documents::openid_configuration));
                }
                app.service(web::resource(documents::JWKS).get(keys::jwks));
                auth_server.configure(app);
            })
            .default_service(web::to(http::not_found))
    };
    let failure = async { select(pin!(async { tasks.await.into() }), pin!(follow)).await.factor_first().0 };
    listener.serve_unless(app, failure).await
}
