//! A development OAuth 2.1 authorization server (draft-ietf-oauth-v2-1), to mount in an actix-web application. It is meant
//! for development and teaching, but is written to production standards.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use actix_web::{App, HttpServer};
//! use auth_server::AuthServer;
//! use jsonwebtoken::EncodingKey;
//!
//! let key = EncodingKey::from_rsa_pem(&std::fs::read("key.pem")?)?;
//! let auth_server =
//!     AuthServer::new("https://as.example", key).resource("https://mcp.example/mcp").database("auth.db").open().await?;
//! HttpServer::new(move || App::new().configure(|app| auth_server.configure_all(app))).bind("127.0.0.1:9090")?.run().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A person's way through it: `authorize` checks what a client asks for, has the person log in ([`Users`], `session`)
//! and consent (`pages`), and sends a code back; `token` exchanges it. `client` and `registration` know the clients:
//! registered ones, and those that describe themselves at a URL (`cimd`); [`oauth::client_metadata`] decides how much
//! of their metadata is accepted. `store` keeps what must survive a restart.
#![deny(missing_docs)]

mod account;
mod answers;
mod authorize;
mod body;
mod builder;
mod cimd;
#[cfg(feature = "cli")]
pub mod cli;
mod client;
mod clients;
mod clock;
pub mod database;
mod events;
mod failure;
mod keys;
mod login;
mod pages;
mod params;
mod peer;
mod queue;
mod refresh_token;
mod registration;
mod resource;
mod server;
mod session;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod users;

pub use crate::{
    builder::Builder,
    clients::{Clients, RegisteredClient},
    server::AuthServer,
    users::{Account, Consent, Person, Users},
};
