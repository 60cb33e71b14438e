//! Prompts: their definitions, requests and results.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::results::{Content, McpResult};
use crate::{
    jsonrpc::ErrorObject,
    params::{empty, object, read},
};

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

impl McpResult for GetPromptResult {}
impl McpResult for ListPromptsResult {
    const CACHEABLE: bool = true;
}
