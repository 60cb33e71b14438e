//! Tools: what a model may ask this server to do (MCP 2026-07-28 "Tools").

use std::sync::LazyLock;

use chrono::{SecondsFormat, Utc};
use chrono_tz::Tz;
use common::{
    jsonrpc::{ErrorObject, written},
    mcp::{CallToolParams, CallToolResult, ListParams, ListToolsResult, Tool, ToolAnnotations},
    params::Integer,
};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::rpc::Call;

/// `tools/list`: every tool, always in the same order.
pub async fn list(call: &Call<'_>) -> Result<ListToolsResult, ErrorObject> {
    call.params::<ListParams>()?.first_page()?;
    Ok(ListToolsResult { tools: TOOLS.iter().map(AsRef::as_ref).collect() })
}

/// `tools/call`: runs the tool that the params name. A tool that we do not have is an error of the
/// protocol; arguments that do not fit are a result that says so, since a model can mend those.
pub async fn call(call: &Call<'_>) -> Result<CallToolResult, ErrorObject> {
    let params: CallToolParams = call.params()?;
    let outcome = match &*params.name {
        "echo" => params.arguments().and_then(echo),
        "get_time" => params.arguments().and_then(get_time),
        name => return Err(ErrorObject::invalid_params(format!("Unknown tool: {name}"))),
    };
    Ok(outcome.unwrap_or_else(|error| error))
}

/// How long the text of `echo` may become, in bytes: a small request must not make a huge answer.
const MAX_ECHO: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    message: String,
    #[serde(default = "once")]
    repeat_count: Integer<1, 10>,
}

fn once() -> Integer<1, 10> {
    Integer(1)
}

#[derive(Serialize)]
struct EchoResult<'a> {
    text: &'a str,
}

fn echo(Echo { message, repeat_count: Integer(count) }: Echo) -> Result<CallToolResult, CallToolResult> {
    let count = usize::from(count);
    if message.len() * count > MAX_ECHO {
        let text = format!("message must be at most {} bytes long if repeat_count is {count}.", MAX_ECHO / count);
        return Err(CallToolResult::error(text));
    }
    let text = message.repeat(count);
    let structured = written(&EchoResult { text: &text });
    Ok(CallToolResult::new(text, structured))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetTime {
    #[serde(default = "utc")]
    timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn get_time(arguments: GetTime) -> Result<CallToolResult, CallToolResult> {
    let zone: Tz = arguments.timezone.parse().map_err(|_| {
        CallToolResult::error(format!(
            "timezone must be an IANA time zone name, such as Europe/Paris, not {:?}.",
            arguments.timezone
        ))
    })?;
    let time = Utc::now().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true);
    let structured = written(&json!({ "time": time, "timezone": zone.name() }));
    Ok(CallToolResult::new(time, structured))
}

/// The definitions, written once: they never change.
static TOOLS: LazyLock<Vec<Box<RawValue>>> = LazyLock::new(|| definitions().iter().map(written).collect());

fn definitions() -> Vec<Tool> {
    vec![
        Tool {
            name: "echo",
            title: "Echo",
            description: "Says the message again, once or several times.",
            input_schema: json!({
                "type": "object",
                "properties": {
                    "message": { "type": "string", "description": "What to say; at most 64 KiB when repeated" },
                    "repeat_count": {
                        "type": "integer", "minimum": 1, "maximum": 10, "default": 1,
                        "description": "How many times, with nothing between"
                    }
                },
                "required": ["message"],
                "additionalProperties": false
            }),
            output_schema: json!({
                "type": "object",
                "properties": { "text": { "type": "string", "description": "The message, repeated" } },
                "required": ["text"]
            }),
            annotations: ToolAnnotations::read_only(),
        },
        Tool {
            name: "get_time",
            title: "Current time",
            description: "Tells the time, in any time zone.",
            input_schema: json!({
                "type": "object",
                "properties": {
                    "timezone": {
                        "type": "string", "default": "UTC",
                        "description": "An IANA time zone, such as Europe/Paris"
                    }
                },
                "additionalProperties": false
            }),
            output_schema: json!({
                "type": "object",
                "properties": {
                    "time": { "type": "string", "format": "date-time", "description": "RFC 3339" },
                    "timezone": { "type": "string" }
                },
                "required": ["time", "timezone"]
            }),
            annotations: ToolAnnotations::read_only(),
        },
    ]
}
