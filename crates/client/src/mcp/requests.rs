//! The requests of a client: tools, prompts, and all other methods.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::{era::Era, message::result, param_headers::param_headers, session::Session};
use crate::{
    exchange::MAX_MESSAGE,
    failure::{Failure, Result},
};

/// Pages of a list, at most.
const MAX_PAGES: usize = 100;

impl Session {
    /// A request and its result.
    ///
    /// # Errors
    /// If it is missing: the server refuses, or does not answer in MCP.
    pub async fn call(&mut self, why: &str, method: &str, params: Value) -> Result<Value> {
        self.call_with(why, method, params, &[]).await
    }

    async fn call_with(
        &mut self,
        why: &str,
        method: &str,
        params: Value,
        headers: &[(String, String)],
    ) -> Result<Value> {
        let (answer, outcome) = self.wire.exchange(why, method, params, headers).await?;
        let result = result(&answer, outcome)?;
        if result["resultType"] == "input_required" {
            return Err(
                Failure::tool("the server asks for more input, which this client cannot give").at(answer.exchange)
            );
        }
        Ok(result)
    }

    /// All pages of a list: the member `name` of each. Together they have the limits of one answer: 16 MiB, and the
    /// time that one exchange may take, which counts from the first page on.
    ///
    /// # Errors
    /// The same, and if there is no end.
    pub async fn list(&mut self, why: &str, method: &str, name: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut params = json!({});
        let mut read = 0;
        let mut began = None;
        for _ in 0..MAX_PAGES {
            let (answer, outcome) = self.wire.exchange(why, method, params, &[]).await?;
            let mut page = result(&answer, outcome)?;
            read += answer.body.len();
            let late = began.get_or_insert_with(Instant::now).elapsed() > self.wire.flow.settings().timeout;
            if read > MAX_MESSAGE || late {
                let why = if late { "takes too long" } else { "is too long" };
                return Err(
                    Failure::network(format!("{method} {why}: there are pages without end")).at(answer.exchange)
                );
            }
            match page[name].take() {
                Value::Array(items) => all.extend(items),
                _ => return Err(Failure::network(format!("the answer to {method} has no {name}"))),
            }
            match page["nextCursor"].take() {
                Value::String(cursor) => params = json!({ "cursor": cursor }),
                _ => return Ok(all),
            }
        }
        Err(Failure::network(format!("{method} has more than {MAX_PAGES} pages")))
    }

    /// The tools, without those that must not be used (their names and the reasons come second).
    ///
    /// # Errors
    /// As [`Session::list`].
    pub async fn tools(&mut self) -> Result<(Vec<Value>, Vec<(String, &'static str)>)> {
        let mut rejected = Vec::new();
        let mut tools = self.list("Ask which tools there are", "tools/list", "tools").await?;
        if self.wire.era == Era::Modern {
            tools.retain(|tool| match param_headers(&tool["inputSchema"], &Map::new()) {
                Ok(_) => true,
                Err(why) => {
                    rejected.push((tool["name"].as_str().unwrap_or_default().to_owned(), why));
                    false
                }
            });
        }
        Ok((tools, rejected))
    }

    /// Calls a tool, whose definition is at hand. `arguments` is a JSON object. The result is MCP's `CallToolResult`: if its
    /// `isError` is `true`, the tool failed.
    ///
    /// # Errors
    /// As [`Session::call`], and if the arguments are not an object.
    pub async fn call_tool(&mut self, tool: &Value, arguments: &Value) -> Result<Value> {
        let members = arguments.as_object().ok_or_else(|| Failure::usage("the arguments of a tool are an object"))?;
        let headers = match self.wire.era {
            Era::Modern => param_headers(&tool["inputSchema"], members).map_err(Failure::tool)?,
            Era::Legacy(_) => Vec::new(),
        };
        let params = json!({ "name": tool["name"], "arguments": arguments });
        self.call_with("Call the tool", "tools/call", params, &headers).await
    }

    /// The definition of one tool.
    ///
    /// # Errors
    /// As [`Session::list`], and if there is no such tool, or it must not be used.
    pub async fn tool(&mut self, name: &str) -> Result<Value> {
        let (tools, rejected) = self.tools().await?;
        if let Some((_, why)) = rejected.iter().find(|(rejected, _)| rejected == name) {
            return Err(Failure::tool(format!("the tool {name} must not be used: {why}")));
        }
        let names = tools.iter().filter_map(|tool| tool["name"].as_str()).collect::<Vec<_>>().join(", ");
        tools.into_iter().find(|tool| tool["name"] == name).ok_or_else(|| {
            Failure::tool(format!("there is no tool {name:?} here")).advice(format!("There are: {names}"))
        })
    }
}
