//! Accepts access tokens for an MCP server, or for any other protected resource: of any number of issuers, each known by
//! its URL only.
//!
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

#[cfg(feature = "actix")]
pub mod actix;
mod answer;
mod bearer;
mod caller;
mod discovery;
pub mod doctor;
mod documents;
mod error;
mod fetch;
mod introspection;
mod issuer;
mod issuers;
mod json;
mod keys;
mod opaque;
mod profile;
mod provider;
mod reading;
mod reasons;
mod refusal;
mod renewal;
mod resource_server;
mod tasks;
mod times;
#[cfg(feature = "tower")]
pub mod tower;
mod unknown_kid;
mod verify;

pub use answer::{Answer, LogRefusal};
pub use caller::Caller;
pub use error::ConfigError;
pub use issuer::Issuer;
pub use keys::{KeyReport, KeyState};
pub use oauth::{
    claims::{Claims, Role},
    metadata::ProtectedResourceMetadata,
};
pub use profile::Profile;
pub use refusal::Refusal;
pub use resource_server::{Builder, ResourceServer, TrustsNobody, TrustsSomebody};
pub use tasks::{TaskEnded, Tasks};
pub use times::Times;
