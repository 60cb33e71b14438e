//! Prompts: texts this server offers to a person (MCP 2026-07-28 "Prompts").

use std::sync::LazyLock;

use common::{
    jsonrpc::ErrorObject,
    mcp::{ListParams, ListPromptsResult, Prompt, PromptArgument},
};

use crate::methods::Call;

/// `prompts/list`: every prompt, always in the same order.
pub async fn list(call: &Call<'_>) -> Result<ListPromptsResult, ErrorObject> {
    call.params::<ListParams>()?.first_page()?;
    Ok(ListPromptsResult { prompts: &PROMPTS })
}

/// The definitions, made once: they never change.
static PROMPTS: LazyLock<Vec<Prompt>> = LazyLock::new(definitions);

fn definitions() -> Vec<Prompt> {
    vec![
        Prompt {
            name: "greeting",
            title: "Greeting",
            description: "Greets somebody.",
            arguments: vec![
                PromptArgument { name: "name", description: "Whom to greet", required: true },
                PromptArgument { name: "style", description: "formal, casual or enthusiastic", required: false },
            ],
        },
        Prompt {
            name: "help",
            title: "Help",
            description: "Explains what this server can do.",
            arguments: vec![PromptArgument { name: "topic", description: "tools or prompts", required: false }],
        },
    ]
}
