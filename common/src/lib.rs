//! What every step needs and no step teaches.
//!
//! A step's own files hold its lesson; this crate holds the rest, so that the lessons stay short:
//!
//! - [`config`]: the command line every server shares, and the public URL that names everything;
//! - [`server`]: binding, running, stopping, and how a program ends; `connections`: what its peers may cost it;
//! - [`guards`]: what is checked on every request (Origin, Host, panics), and the log;
//! - [`http`]: what a request must be (types, sizes, time-outs), and what a refusal looks like;
//! - [`jsonrpc`] and [`mcp`]: the messages on the wire; [`params`]: how they are read;
//! - [`oauth`], [`claims`], [`token_cache`], [`network`], [`files`], [`text`]: what the roles of OAuth share, from the
//!   crate `oauth`;
//! - [`readiness`]: whether what a server stands on can be used;
//! - [`keys`]: the RSA key pair.

pub mod config;
mod connections;
pub mod guards;
pub mod http;
pub mod jsonrpc;
pub mod keys;
pub mod mcp;
pub mod oauth;
pub mod params;
pub mod readiness;
pub mod server;

pub use ::oauth::{claims, files, text, token_cache};

pub mod network {
    //! Whose computer an address leads to, and how long an answer is fresh.
    pub use ::oauth::{address::*, freshness::freshness};
}
