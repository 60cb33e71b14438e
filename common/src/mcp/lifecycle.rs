//! The first messages: what client and server say about themselves.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::results::McpResult;

/// Name and version of a program (`Implementation`).
#[derive(Clone, Serialize)]
pub struct Implementation {
    pub name: &'static str,
    pub title: &'static str,
    pub version: &'static str,
}

/// What a server can do. Absent: it cannot.
#[derive(Clone, Serialize)]
pub struct ServerCapabilities {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Map<String, Value>>,
}

/// `initialize`, what the client says (2025-11-25 "Lifecycle"). The client must also send its name and its
/// capabilities. Nothing here depends on them, so a client that omits them is answered anyway.
#[derive(Deserialize)]
pub struct InitializeParams {
    #[serde(rename = "protocolVersion")]
    pub protocol_version: String,
}

/// `initialize`, what the server answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    pub protocol_version: &'static str,
    pub capabilities: ServerCapabilities,
    pub server_info: Implementation,
    pub instructions: &'static str,
}

/// `server/discover` (2026-07-28 "Discovery").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverResult {
    pub supported_versions: Vec<&'static str>,
    pub capabilities: ServerCapabilities,
    pub instructions: &'static str,
}

impl McpResult for InitializeResult {}
impl McpResult for DiscoverResult {
    const CACHEABLE: bool = true;
}
