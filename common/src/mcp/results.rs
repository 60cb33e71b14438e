//! The parts that the results of several methods have in common.

use serde::{Deserialize, Serialize};

use crate::jsonrpc::ErrorObject;

/// The result of a method.
pub trait McpResult: Serialize {
    /// Whether the modern protocol lets clients keep it (`CacheableResult`).
    const CACHEABLE: bool = false;
}

/// For whom a result may be cached (`CacheableResult`).
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheScope {
    /// Everyone sees the same.
    Public,
    /// It depends on who asks.
    Private,
}

/// How long, in milliseconds, and for whom a result may be cached.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caching {
    pub ttl_ms: u32,
    pub cache_scope: CacheScope,
}

/// An empty result.
#[derive(Serialize)]
pub struct EmptyResult {}

impl McpResult for EmptyResult {}

/// A piece of text (`TextContent`).
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Content {
    Text { text: String },
}

impl Content {
    pub fn text(text: String) -> Self {
        Content::Text { text }
    }
}

/// `tools/list` and `prompts/list`, what the client says ("Pagination").
#[derive(Deserialize)]
pub struct ListParams {
    #[serde(default)]
    cursor: Option<String>,
}

impl ListParams {
    /// All there is fits on one page, so no cursor was ever given out.
    ///
    /// # Errors
    /// `-32602` if the client sends one.
    pub fn first_page(&self) -> Result<(), ErrorObject> {
        match self.cursor {
            None => Ok(()),
            Some(_) => Err(ErrorObject::invalid_params("The cursor is invalid: there is one page only.")),
        }
    }
}
