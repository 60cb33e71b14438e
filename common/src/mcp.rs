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

/// Which of the two protocols a request speaks (MCP 2026-07-28 "Versioning", Terminology).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25 and before: `initialize` comes first.
    Legacy,
    /// 2026-07-28: every request carries its version and capabilities in `_meta`.
    Modern,
}

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

/// A tool's definition ("Tools"), but for its schemas, which [`Tool::define`] adds.
#[derive(Clone, Serialize)]
pub struct Tool {
    pub name: &'static str,
    title: &'static str,
    description: &'static str,
    annotations: ToolAnnotations,
}

impl Tool {
    /// A tool that only looks.
    pub fn reads(name: &'static str, title: &'static str) -> Self {
        let annotations = ToolAnnotations {
            read_only_hint: true,
            destructive_hint: false,
            idempotent_hint: true,
            open_world_hint: false,
        };
        Tool { name, title, description: "", annotations }
    }

    /// A tool that adds something.
    pub fn adds(name: &'static str, title: &'static str) -> Self {
        let mut tool = Self::reads(name, title);
        tool.annotations.read_only_hint = false;
        tool.annotations.idempotent_hint = false;
        tool
    }

    /// A tool that deletes something: once more changes nothing.
    pub fn deletes(name: &'static str, title: &'static str) -> Self {
        let mut tool = Self::reads(name, title);
        tool.annotations.read_only_hint = false;
        tool.annotations.destructive_hint = true;
        tool
    }

    /// What it is good for: a model chooses by this.
    #[must_use]
    pub fn says(self, description: &'static str) -> Self {
        Tool { description, ..self }
    }
}

/// Hints about what a tool does to the world; only to this server's, so far.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolAnnotations {
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
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

/// Each is what [`Tool::define`] has written: definitions never change.
#[derive(Serialize)]
pub struct ListToolsResult {
    pub tools: Vec<Box<RawValue>>,
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
    /// The arguments as the tool's own type. What does not fit is for the model to mend.
    ///
    /// # Errors
    /// [`ToolError::Mend`], which says what does not fit.
    pub fn arguments<T: Deserialize<'a>>(&self) -> Result<T, ToolError> {
        read(self.arguments.unwrap_or_else(empty))
            .map_err(|misfit| ToolError::Mend(format!("The arguments do not fit the tool's inputSchema: {misfit}.")))
    }
}

/// What a tool returns: for programs as it is, for people as text.
pub trait ToolResult: Serialize {
    /// The text. `json`: what programs get, which is all that there is to say if the tool knows nothing better.
    fn into_text(self, json: &str) -> String
    where
        Self: Sized,
    {
        json.to_owned()
    }
}

/// Why a tool has no result ("Tools", Error Handling).
pub enum ToolError {
    /// What the model can mend, in words for it.
    Mend(String),
    /// Everything else.
    Protocol(ErrorObject),
}

impl From<ErrorObject> for ToolError {
    fn from(error: ErrorObject) -> Self {
        ToolError::Protocol(error)
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
    pub fn new(result: impl ToolResult) -> Self {
        let json = written(&result);
        let text = result.into_text(json.get());
        CallToolResult { content: [Content::text(text)], structured_content: Some(json), is_error: false }
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
