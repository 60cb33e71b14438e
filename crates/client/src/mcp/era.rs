//! The two eras of MCP, and their versions (MCP 2026-07-28 "Versioning and Compatibility").

use crate::{
    escape,
    failure::{Failure, Result},
};

/// The one version that has no handshake.
pub const MODERN: &str = "2026-07-28";
/// Those that begin with `initialize`, the newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Each request carries everything with it.
    Modern,
    /// After `initialize`, which agreed on this version.
    Legacy(&'static str),
}

/// A version of the legacy era.
///
/// # Errors
/// If this client does not speak it.
pub fn legacy(version: &str) -> Result<&'static str> {
    LEGACY.into_iter().find(|known| *known == version).ok_or_else(|| {
        Failure::network(format!("the server speaks another version of MCP: {:?}", escape::line(version)))
    })
}
