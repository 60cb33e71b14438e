//! Tools: their definitions, calls and results.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::results::{Content, McpResult};
use crate::{
    jsonrpc::{ErrorObject, written},
    params::{empty, object, read},
};

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

    /// A tool that deletes something. A second call changes nothing more.
    pub fn deletes(name: &'static str, title: &'static str) -> Self {
        let mut tool = Self::reads(name, title);
        tool.annotations.read_only_hint = false;
        tool.annotations.destructive_hint = true;
        tool
    }

    /// What it is for: a model chooses tools by this text.
    #[must_use]
    pub fn says(self, description: &'static str) -> Self {
        Tool { description, ..self }
    }
}

/// Hints about what a tool changes. So far no tool reaches anything outside this server.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolAnnotations {
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
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
    /// The arguments as the tool's own type. The model can correct arguments that do not fit.
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
    /// The text for people. `json`: what programs get, which is also the text unless the tool has a better one.
    fn into_text(self, json: &str) -> String
    where
        Self: Sized,
    {
        json.to_owned()
    }
}

/// Why a tool has no result ("Tools", Error Handling).
pub enum ToolError {
    /// An error that the model can correct, in words for it.
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

impl McpResult for CallToolResult {}
impl McpResult for ListToolsResult {
    const CACHEABLE: bool = true;
}
