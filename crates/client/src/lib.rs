//! An OAuth 2.1 client for MCP: it gets tokens, keeps them, renews them, and calls the tools of a protected server.
//!
//! [`Client`] is where to begin: [`Settings`](settings::Settings) say what is wanted, a [`Person`](person::Person) logs in,
//! a [`Store`](store::Store) keeps the tokens, and an [`Observer`](observer::Observer) may watch. What comes of it is a
//! [`Session`] with an MCP server.
//!
//! Messages name settings by their item, as in `Settings::issuer`; a program that calls them something else replaces that.

#![deny(missing_docs)]

mod authentication;
mod authorization;
mod client;
pub mod credentials;
mod discovery;
mod dpop;
mod endpoints;
pub mod escape;
mod event_stream;
mod exchange;
pub mod failure;
pub mod file_store;
mod flow;
mod grant;
mod http;
mod identity;
mod identity_assertion;
mod kept;
mod mask;
mod mcp;
mod oauth_error;
pub mod observer;
pub mod person;
pub mod private_key;
mod reach;
mod refresh;
mod registration;
mod revocation;
mod scopes;
mod search;
pub mod secrets;
pub mod settings;
pub mod store;
mod streamable_http;
mod token;
mod trace;
pub mod urls;
mod words;

pub use oauth::{
    identifiers::{ClientId, Issuer, RedirectUri, Resource, Scope},
    secret::SecretString,
};

pub use self::{
    client::Client,
    failure::{Failure, Result},
    mcp::Session,
};
