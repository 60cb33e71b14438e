//! What the roles of OAuth share: the authorization server, the resource server and the client know it from here.
//! There is no web framework in it, and no command line.
//!
//! - [`metadata`]: the metadata documents; [`claims`]: what a token says;
//! - [`network`]: which addresses are the public internet, and how long an answer is fresh;
//! - [`token_cache`]: tokens that were verified before;
//! - [`files`]: which files and folders are trusted; [`text`]: characters that cannot be seen.

pub mod claims;
pub mod files;
pub mod metadata;
pub mod network;
pub mod text;
pub mod token_cache;

use serde::{Deserialize, Deserializer};

/// Keeps `null` apart from absent, which `Option` would merge.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<Option<T>, D::Error> {
    T::deserialize(json).map(Some)
}
