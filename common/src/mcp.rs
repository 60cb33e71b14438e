//! The MCP messages this server speaks (MCP 2026-07-28 and 2025-11-25, "Schema Reference").

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    jsonrpc::{ErrorObject, written},
    params::{empty, object, read},
};

/// The version whose requests carry everything with them, in `_meta`.
pub const MODERN: &str = "2026-07-28";
/// The versions that begin with `initialize`, newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

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

/// `initialize`, what the client says (2025-11-25 "Lifecycle"). It must also name itself and its capabilities; as
/// nothing here depends on them, a client that does not is answered.
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

/// An answer that says nothing more than that it is one.
#[derive(Serialize)]
pub struct EmptyResult {}

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

/// A tool's definition ("Tools").
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub input_schema: Value,
    pub output_schema: Value,
    pub annotations: ToolAnnotations,
}

/// Hints about what a tool does to the world.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    pub read_only_hint: bool,
    pub destructive_hint: bool,
    pub idempotent_hint: bool,
    pub open_world_hint: bool,
}

impl ToolAnnotations {
    /// A tool that only looks, and only at this server.
    pub fn read_only() -> Self {
        ToolAnnotations { read_only_hint: true, destructive_hint: false, idempotent_hint: true, open_world_hint: false }
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

/// Definitions never change, so each is a [`Tool`] that was [`written`] once.
#[derive(Serialize)]
pub struct ListToolsResult {
    pub tools: Vec<&'static RawValue>,
}

/// `tools/call`, what the client says.
#[derive(Deserialize)]
pub struct CallToolParams<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "object")]
    arguments: Option<&'a RawValue>,
}

impl<'a> CallToolParams<'a> {
    /// The arguments as the tool's own type. What does not fit is for the model to mend, so it comes
    /// back as a result with `isError`, not as a protocol error ("Tools", Error Handling).
    ///
    /// # Errors
    /// The tool error to return, which says what does not fit.
    pub fn arguments<T: Deserialize<'a>>(&self) -> Result<T, CallToolResult> {
        read(self.arguments.unwrap_or_else(empty)).map_err(|misfit| {
            CallToolResult::error(format!("The arguments do not fit the tool's inputSchema: {misfit}."))
        })
    }
}

/// The outcome of a tool, for people (`content`) and for programs (`structured_content`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallToolResult {
    pub content: [Content; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Box<RawValue>>,
    pub is_error: bool,
}

impl CallToolResult {
    pub fn new(text: String, structured_content: Box<RawValue>) -> Self {
        CallToolResult { content: [Content::text(text)], structured_content: Some(structured_content), is_error: false }
    }

    /// A result whose text is its own JSON.
    pub fn json(structured_content: &impl Serialize) -> Self {
        let json = written(structured_content);
        Self::new(json.get().to_owned(), json)
    }

    /// A failure the model can do something about; the text is cut at 300 characters.
    pub fn error(text: impl Into<String>) -> Self {
        let text = text.into().chars().take(300).collect();
        CallToolResult { content: [Content::text(text)], structured_content: None, is_error: true }
    }
}

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

/// A prompt's definition ("Prompts").
#[derive(Clone, Serialize)]
pub struct Prompt {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub arguments: Vec<PromptArgument>,
}

#[derive(Clone, Serialize)]
pub struct PromptArgument {
    pub name: &'static str,
    pub description: &'static str,
    pub required: bool,
}

#[derive(Serialize)]
pub struct ListPromptsResult {
    pub prompts: &'static [Prompt],
}

/// `prompts/get`, what the client says. Arguments are strings ("Prompts", `GetPromptRequestParams`).
#[derive(Deserialize)]
pub struct GetPromptParams<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "object")]
    arguments: Option<&'a RawValue>,
}

impl<'a> GetPromptParams<'a> {
    /// The arguments as the prompt's own type.
    ///
    /// # Errors
    /// `-32602`, which says what does not fit.
    pub fn arguments<T: Deserialize<'a>>(&self) -> Result<T, ErrorObject> {
        read(self.arguments.unwrap_or_else(empty))
            .map_err(|misfit| ErrorObject::invalid_params(format!("The arguments do not fit the prompt: {misfit}.")))
    }
}

#[derive(Serialize)]
pub struct GetPromptResult {
    pub description: &'static str,
    pub messages: Vec<PromptMessage>,
}

impl GetPromptResult {
    /// One message, as if the user had written it.
    pub fn user(description: &'static str, text: String) -> Self {
        GetPromptResult { description, messages: vec![PromptMessage { role: "user", content: Content::text(text) }] }
    }
}

#[derive(Serialize)]
pub struct PromptMessage {
    pub role: &'static str,
    pub content: Content,
}

/// The result of a method.
pub trait McpResult: Serialize {
    /// Whether the modern protocol lets clients keep it (`CacheableResult`).
    const CACHEABLE: bool = false;
}

impl McpResult for InitializeResult {}
impl McpResult for EmptyResult {}
impl McpResult for CallToolResult {}
impl McpResult for GetPromptResult {}
impl McpResult for DiscoverResult {
    const CACHEABLE: bool = true;
}
impl McpResult for ListToolsResult {
    const CACHEABLE: bool = true;
}
impl McpResult for ListPromptsResult {
    const CACHEABLE: bool = true;
}
