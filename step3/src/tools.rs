//! Tools: what a model may ask this server to do (MCP 2026-07-28 "Tools"). What a tool takes and returns are types; its
//! schemas follow from them.

use common::{
    jsonrpc::ErrorObject,
    mcp::{ListParams, ListToolsResult, Tool},
    params::Integer,
};
use schemars::JsonSchema;
use serde_json::value::RawValue;

use crate::methods::Call;

/// The tools, always in the same order.
#[derive(Default)]
pub struct Tools(Vec<Box<RawValue>>);

impl Tools {
    /// Adds a tool.
    pub fn on<A: JsonSchema, R: JsonSchema>(mut self, tool: Tool) -> Self {
        self.0.push(tool.define::<A, R>());
        self
    }

    /// `tools/list`.
    pub fn list(&self, call: &Call<'_>) -> Result<ListToolsResult, ErrorObject> {
        call.params::<ListParams>()?.first_page()?;
        Ok(ListToolsResult { tools: self.0.clone() })
    }
}

/// The tools that do not depend on their caller.
pub fn tools() -> Tools {
    Tools::default()
        .on::<Echo, Echoed>(Tool::reads("echo", "Echo").says("Says the message again, once or several times."))
        .on::<GetTime, Time>(Tool::reads("get_time", "Current time").says("Tells the time, in any time zone."))
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "step 4 reads it")]
struct Echo {
    /// What to say
    message: String,
    /// How many times, with nothing between
    #[serde(default = "once")]
    repeat_count: Integer<1, 10>,
}

fn once() -> Integer<1, 10> {
    Integer(1)
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "step 4 makes it")]
struct Echoed {
    /// The message, repeated
    text: String,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "step 4 reads it")]
struct GetTime {
    /// An IANA time zone, such as Europe/Paris
    #[serde(default = "utc")]
    timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "step 4 makes it")]
struct Time {
    /// RFC 3339
    #[schemars(extend("format" = "date-time"))]
    time: String,
    timezone: &'static str,
}
