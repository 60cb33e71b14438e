//! What every step needs and no step teaches.
//!
//! A step's own files hold its lesson; this crate holds the rest, so that the lessons stay short:
//!
//! - [`config`]: the command line every server shares, what it binds, and the public URL that names everything;
//! - [`server`]: running, stopping, and how a program ends;
//! - [`http`]: what is checked on every request (Origin, Host, CORS, sizes, time-outs, panics);
//! - [`jsonrpc`] and [`mcp`]: the messages on the wire;
//! - [`oauth`]: the metadata documents;
//! - [`keys`] and [`claims`]: the RSA key pair, and what a token says.

pub mod claims;
pub mod config;
pub mod http;
pub mod jsonrpc;
pub mod keys;
pub mod mcp;
pub mod oauth;
pub mod server;
