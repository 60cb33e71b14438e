//! Judges the authorization of an MCP server from outside: what it answers to requests without a token, with a hostile
//! one, and what its metadata says.
//!
//! - [`check`]: what a check is; [`checks`]: all of them, in one table; [`model`]: what comes of them;
//! - [`run`](mod@run): tries them in order, on what they share ([`context`]);
//! - [`http`], [`message`], [`wire`]: requests that no library would send, and their answers; [`mask`]: what is not
//!   shown of them;
//! - [`discovery`], [`documents`]: metadata, found as a client finds it; [`access`]: requests with a token;
//! - [`tokens`]: the ways to tokens; [`login`]: that of a person with a browser; [`registration`]: clients, and back;
//! - [`jose`], [`hostile`], [`proof`]: tokens and proofs that no library would make; [`issuer`]: a small authorization
//!   server;
//! - [`policy`]: what is known already and does not fail a run;
//! - [`report`]: what is shown for people and programs; [`cli`]: the command line.
//!
//! A new check is a row in the table of its group, and a fault of the gallery (`auth-check/gallery`) that it finds.

#![deny(missing_docs)]

pub mod access;
pub mod check;
pub mod checks;
pub mod cli;
pub mod context;
pub mod discovery;
pub mod documents;
pub mod hostile;
pub mod http;
pub mod issuer;
pub mod jose;
pub mod login;
pub mod mask;
pub mod message;
pub mod model;
pub mod policy;
pub mod proof;
pub mod registration;
pub mod report;
pub mod run;
pub mod tokens;
pub mod wire;
