//! Prompts: texts this server offers to a person (MCP 2026-07-28 "Prompts").

use std::sync::LazyLock;

use common::{
    jsonrpc::{ErrorObject, present},
    mcp::{GetPromptParams, GetPromptResult, ListParams, ListPromptsResult, Prompt, PromptArgument},
};
use serde::Deserialize;

use crate::methods::Call;

/// `prompts/list`: every prompt, always in the same order.
pub async fn list(call: &Call<'_>) -> Result<ListPromptsResult, ErrorObject> {
    call.params::<ListParams>()?.first_page()?;
    Ok(ListPromptsResult { prompts: &PROMPTS })
}

/// `prompts/get`: fills in the prompt that the params name.
pub async fn get(call: &Call<'_>) -> Result<GetPromptResult, ErrorObject> {
    let params: GetPromptParams = call.params()?;
    let Some(prompt) = PROMPTS.iter().find(|prompt| prompt.name == params.name) else {
        return Err(ErrorObject::invalid_params(format!("Unknown prompt: {}", params.name)));
    };
    let text = match prompt.name {
        "greeting" => greeting(params.arguments()?, call.caller.username())?,
        _ => help(params.arguments()?),
    };
    Ok(GetPromptResult::user(prompt.description, text))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Greeting {
    #[serde(default, deserialize_with = "present")]
    name: Option<String>,
    #[serde(default = "casual")]
    style: String,
}

fn casual() -> String {
    "casual".to_owned()
}

fn greeting(Greeting { name, style }: Greeting, caller: &str) -> Result<String, ErrorObject> {
    let name = name.as_deref().unwrap_or(caller);
    match &*style {
        "formal" => Ok(format!("Write a formal greeting, such as: Good day, {name}. It is a pleasure to meet you.")),
        "casual" => Ok(format!("Write a casual greeting, such as: Hi {name}, how are things?")),
        "enthusiastic" => {
            Ok(format!("Write an enthusiastic greeting, such as: Hello {name}! How wonderful to see you!"))
        }
        _ => Err(ErrorObject::invalid_params("The argument style must be formal, casual or enthusiastic.")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Help {
    #[serde(default, deserialize_with = "present")]
    topic: Option<String>,
}

fn help(Help { topic }: Help) -> String {
    match topic.as_deref() {
        Some("tools") => "Explain the tools of this server, such as echo, which repeats a message.".to_owned(),
        Some("prompts") => "Explain the prompts of this server, such as greeting, which greets somebody.".to_owned(),
        Some(topic) => format!("Say that there is no help on {topic:?}, only on tools and on prompts."),
        None => "Explain what this server can do with its tools, such as echo, and its prompts, such as greeting."
            .to_owned(),
    }
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
                PromptArgument { name: "name", description: "Whom to greet; by default you", required: false },
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
