//! The code that the roles of OAuth share: authorization server, resource server and client. It has no web framework
//! and no command line. Each module is named after the thing that it implements:
//!
//! - [`metadata`], [`document`], [`well_known`]: the metadata documents of RFC 9728 and RFC 8414, how they are read, and
//!   where they are;
//! - [`challenge`]: `WWW-Authenticate`, written and read;
//! - [`claims`], [`scope`]: what an access token says (RFC 9068), and what it allows;
//! - [`client_metadata`], [`redirect_uri`]: what a client says about itself (RFC 7591), and how much of it is accepted;
//! - [`jwk`], [`jwks`]: keys to check signatures with (RFC 7517), read strictly;
//! - `fetch` (feature `fetch`), [`address`], [`freshness`]: asking other people's servers, guarded and bounded;
//! - [`identifiers`], [`secret`]: names that must not be mixed up, and texts that must not be printed;
//! - [`token_cache`]: tokens that were verified before;
//! - [`files`]: which files and folders are trusted; [`text`]: characters that cannot be seen.

#![deny(missing_docs)]

pub mod address;
pub mod challenge;
pub mod claims;
pub mod client_metadata;
pub mod document;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod files;
pub mod freshness;
pub mod identifiers;
pub mod jwk;
pub mod jwks;
pub mod metadata;
pub mod redirect_uri;
pub mod scope;
pub mod secret;
pub mod text;
pub mod token_cache;
pub mod well_known;
