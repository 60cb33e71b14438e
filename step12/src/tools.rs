//! Tools: what a model may ask this server to do (MCP 2026-07-28 "Tools"). What a tool takes and returns are types; its
//! schemas follow from them.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use chrono_tz::Tz;
use common::{
    jsonrpc::ErrorObject,
    mcp::{CallToolParams, CallToolResult, ListParams, ListToolsResult, Tool, ToolError, ToolResult},
    params::Integer,
};
use futures_util::future::LocalBoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::methods::Call;
use crate::permissions::{CALL_TOOLS, Requirement, role_allows};

/// The tools, always in the same order.
#[derive(Default)]
pub struct Tools(Vec<Registered>);

struct Registered {
    name: &'static str,
    definition: Box<RawValue>,
    requires: Requirement,
    run: Run,
}

type Outcome<R> = Result<R, ToolError>;
type Run =
    Box<dyn for<'a> Fn(&'a Call<'a>, CallToolParams<'a>) -> LocalBoxFuture<'a, Outcome<CallToolResult>> + Send + Sync>;

impl Tools {
    /// Adds a tool.
    pub fn on<A, R, F>(mut self, tool: Tool, requires: Requirement, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        R: ToolResult + JsonSchema,
        F: for<'a> AsyncFn(&'a Call<'a>, A) -> Outcome<R> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        self.0.push(Registered {
            name: tool.name,
            definition: tool.define::<A, R>(),
            requires,
            run: Box::new(move |call, params| {
                let run = Arc::clone(&run);
                Box::pin(async move { run(call, params.arguments()?).await.map(CallToolResult::new) })
            }),
        });
        self
    }

    /// The requirement of the tool that a call names; `None` if it names no tool of ours.
    pub fn required(&self, call: &Call<'_>) -> Option<Requirement> {
        let name = call.name().filter(|_| call.method == "tools/call")?;
        self.0.iter().find(|tool| tool.name == name).map(|tool| tool.requires)
    }

    /// `tools/list`.
    pub fn list(&self, call: &Call<'_>) -> Result<ListToolsResult, ErrorObject> {
        call.params::<ListParams>()?.first_page()?;
        let shown = self.0.iter().filter(|tool| role_allows(call.caller, &[CALL_TOOLS, tool.requires]));
        Ok(ListToolsResult { tools: shown.map(|tool| tool.definition.clone()).collect() })
    }

    /// `tools/call`: runs the tool that the params name. An unknown tool is a protocol error. Arguments that do not fit
    /// give a result that says so, since a model can correct them.
    pub async fn call(&self, call: &Call<'_>) -> Result<CallToolResult, ErrorObject> {
        let params: CallToolParams = call.params()?;
        let Some(tool) = self.0.iter().find(|tool| tool.name == params.name) else {
            return Err(ErrorObject::invalid_params(format!("Unknown tool: {}", params.name)));
        };
        match (tool.run)(call, params).await {
            Ok(result) => Ok(result),
            Err(ToolError::Mend(why)) => Ok(CallToolResult::error(why)),
            Err(ToolError::Protocol(error)) => Err(error),
        }
    }
}

/// The tools that do not depend on their caller.
pub fn tools() -> Tools {
    Tools::default()
        .on(Tool::reads("echo", "Echo").says("Says the message again, once or several times."), CALL_TOOLS, echo)
        .on(Tool::reads("get_time", "Current time").says("Tells the time, in any time zone."), CALL_TOOLS, get_time)
}

/// How long the text of `echo` may become, in bytes: a small request must not make a huge answer.
const MAX_ECHO: usize = 64 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Echo {
    /// What to say; at most 64 KiB when repeated
    message: String,
    /// How many times, with nothing between
    #[serde(default = "once")]
    repeat_count: Integer<1, 10>,
}

fn once() -> Integer<1, 10> {
    Integer(1)
}

#[derive(JsonSchema, Serialize)]
struct Echoed {
    /// The message, repeated
    text: String,
}

impl ToolResult for Echoed {
    fn into_text(self, _: &str) -> String {
        self.text
    }
}

async fn echo(_: &Call<'_>, Echo { message, repeat_count: Integer(count) }: Echo) -> Result<Echoed, ToolError> {
    let count = usize::from(count);
    if message.len() * count > MAX_ECHO {
        let most = MAX_ECHO / count;
        return Err(ToolError::Mend(format!("message must be at most {most} bytes long if repeat_count is {count}.")));
    }
    Ok(Echoed { text: message.repeat(count) })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetTime {
    /// An IANA time zone, such as Europe/Paris
    #[serde(default = "utc")]
    timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

#[derive(JsonSchema, Serialize)]
struct Time {
    /// RFC 3339
    #[schemars(extend("format" = "date-time"))]
    time: String,
    timezone: &'static str,
}

impl ToolResult for Time {
    fn into_text(self, _: &str) -> String {
        self.time
    }
}

async fn get_time(_: &Call<'_>, GetTime { timezone }: GetTime) -> Result<Time, ToolError> {
    let zone: Tz = timezone.parse().map_err(|_| {
        ToolError::Mend(format!("timezone must be an IANA time zone name, such as Europe/Paris, not {timezone:?}."))
    })?;
    let time = Utc::now().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(Time { time, timezone: zone.name() })
}
