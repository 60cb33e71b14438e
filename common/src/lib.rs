//! The code that every step needs and no step teaches.
//!
//! A step's own files hold its lesson; this crate holds the rest, so that the lessons stay short:
//!
//! - [`config`]: the command line every server shares, and the public URL that names everything;
//! - [`server`]: binding, running, stopping, and how a program ends; `connections`: what its peers may cost it;
//! - [`requests`]: what happens to every request (panics, errors without a body), and the log;
//!   `exchange`: `--show-exchange`;
//! - [`http`]: what a request must be (types, sizes, time-outs), and what a refusal looks like;
//! - [`jsonrpc`] and [`mcp`]: the messages on the wire; [`params`]: how they are read;
//! - [`readiness`]: whether what a server stands on can be used.
//!
//! What only some steps need are features, so that the first steps build without the rest:
//!
//! - `schemas` (step 3): how tools are described;
//! - `keys` (step 5): `keys`, the RSA key pair; `oauth`, `claims`, `files`, `well_known`, which the roles of OAuth share, from the crate
//!   `oauth`;
//! - `guards`: the rule of step 1, for servers that are no steps.

#[cfg(feature = "guards")]
extern crate self as common; // as the step's file calls it

pub mod config;
mod connections;
mod exchange;
#[cfg(feature = "guards")]
#[path = "../../step1/src/guards.rs"] // there is one such file, byte for byte
#[allow(clippy::missing_errors_doc)] // in the step it is not public
pub mod guards;
pub mod http;
pub mod jsonrpc;
#[cfg(feature = "keys")]
pub mod key_folder;
#[cfg(feature = "keys")]
pub mod keys;
pub mod mcp;
#[cfg(feature = "keys")]
pub mod oauth;
pub mod params;
pub mod proxy;
pub mod readiness;
pub mod requests;
#[cfg(feature = "schemas")]
mod schema;
pub mod server;

#[cfg(feature = "keys")]
pub use ::oauth::{claims, files, well_known};
