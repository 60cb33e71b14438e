//! Tools: what a model may ask this server to do (MCP 2026-07-28 "Tools").

use std::sync::LazyLock;

use common::{
    jsonrpc::{ErrorObject, written},
    mcp::{ListParams, ListToolsResult, Tool, ToolAnnotations},
};
use serde_json::{json, value::RawValue};

use crate::rpc::Call;

/// `tools/list`: every tool, always in the same order.
pub async fn list(call: &Call<'_>) -> Result<ListToolsResult, ErrorObject> {
    call.params::<ListParams>()?.first_page()?;
    Ok(ListToolsResult { tools: TOOLS.iter().map(AsRef::as_ref).collect() })
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
                    "message": { "type": "string", "description": "What to say" },
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
