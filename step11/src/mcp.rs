//! MCP over Streamable HTTP, in both eras: modern requests carry everything with them; legacy ones come after
//! `initialize` (MCP 2026-07-28 "Versioning and Compatibility").

use std::time::Instant;

use common::{
    jsonrpc::{HEADER_MISMATCH, UNSUPPORTED_PROTOCOL_VERSION},
    mcp::{LEGACY, MODERN},
};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::{
    arguments::{self, header_value},
    failure::{Failure, Result},
    flow::Flow,
    http::{Answer, Body, MAX_MESSAGE, Request, SESSION_ID, is_response},
    terminal,
    words::Words,
};

/// `MissingRequiredClientCapabilityError`.
const MISSING_CLIENT_CAPABILITY: i32 = -32021;
/// Pages of a list, at most.
const MAX_PAGES: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    Modern,
    Legacy(&'static str),
}

/// A connection to an MCP server, as far as there is such a thing.
pub struct Session {
    flow: Flow,
    era: Era,
    next_id: u64,
    /// What a legacy server called our session.
    legacy_id: Option<String>,
}

/// The outcome of a request: `result`, or `error` with its code.
type Outcome = std::result::Result<Value, RpcError>;

struct RpcError {
    code: i64,
    message: String,
    data: Value,
}

impl Session {
    /// Finds out which era the server is of, and begins. A server that needs a token asks for it here.
    ///
    /// # Errors
    /// If there is no server, no authorization, or no version that both speak.
    pub async fn connect(flow: Flow) -> Result<Self> {
        let version = flow.settings.protocol_version.clone();
        let mut session = Session { flow, era: Era::Modern, next_id: 0, legacy_id: None };
        match version {
            Some(version) if version != MODERN => session.initialize(legacy(&version)?).await?,
            chosen => session.discover(chosen.is_some()).await?,
        }
        Ok(session)
    }

    /// The modern way first. Whatever is not a modern answer is a legacy server's ("Backward Compatibility").
    async fn discover(&mut self, modern_only: bool) -> Result<()> {
        let (answer, outcome) =
            self.exchange("Ask the MCP server what it can do", "server/discover", json!({}), &[]).await?;
        let supported = match outcome {
            Some(Ok(result)) if result["supportedVersions"].is_array() => result["supportedVersions"].clone(),
            Some(Err(error)) if answer.status == 400 && error.code == i64::from(UNSUPPORTED_PROTOCOL_VERSION) => {
                error.data["supported"].clone()
            }
            Some(Err(error))
                if answer.status == 400
                    && [HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY]
                        .contains(&i32::try_from(error.code).unwrap_or(0)) =>
            {
                return Err(refused(&error, answer.exchange));
            }
            Some(Err(error)) if modern_only && answer.status.is_server_error() => {
                return Err(refused(&error, answer.exchange));
            }
            // A JSON-RPC error with such a status is a legacy server's way to say that it has no such method.
            None if answer.status.is_server_error() => return Err(no_message(&answer)),
            _ if modern_only => {
                return Err(Failure::network(format!("the server does not speak MCP {MODERN}")).at(answer.exchange));
            }
            _ => {
                self.flow.http.note("That is no modern MCP server. We begin as it was done until 2025-11-25.");
                return self.initialize(LEGACY[0]).await;
            }
        };
        let speaks =
            |version: &str| supported.as_array().is_some_and(|versions| versions.iter().any(|one| one == version));
        if speaks(MODERN) {
            return Ok(());
        }
        match LEGACY.into_iter().find(|version| speaks(version)) {
            Some(version) if !modern_only => self.initialize(version).await,
            _ => Err(Failure::network(format!(
                "the server speaks none of our versions of MCP, but {}",
                terminal::line(&supported.to_string())
            ))
            .at(answer.exchange)),
        }
    }

    /// The legacy handshake (2025-11-25 "Lifecycle").
    async fn initialize(&mut self, version: &'static str) -> Result<()> {
        self.era = Era::Legacy(version);
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client_info() });
        let (answer, outcome) = self.exchange("Begin a legacy session", "initialize", params, &[]).await?;
        let result = Self::result(&answer, outcome)?;
        let chosen = result["protocolVersion"].as_str().unwrap_or_default();
        self.era = Era::Legacy(legacy(chosen).map_err(|failure| failure.at(answer.exchange))?);
        let session_id = answer.header_values(SESSION_ID).next().map(str::to_owned);
        if let Some(id) = &session_id {
            self.flow.http.secrets.add(id, "session");
        }
        self.legacy_id = session_id;
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let request = self.request(message, &[]);
        let answer = self.flow.send("Say that we are ready", &request, &Value::Null).await?;
        if answer.status.is_success() { Ok(()) } else { Err(no_message(&answer)) }
    }

    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Ends a legacy session. A server that has none, or will not, may say so.
    pub async fn close(self) {
        if self.legacy_id.is_some() {
            let mut request = self.request(Value::Null, &[]);
            request.method = Method::DELETE;
            request.body = Body::Empty;
            if let Err(failure) = self.flow.send_last("End the session", &request).await {
                self.flow.http.note(&format!("The session could not be ended: {}.", failure.message));
            }
        }
    }

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
        let (answer, outcome) = self.exchange(why, method, params, headers).await?;
        let result = Self::result(&answer, outcome)?;
        if result["resultType"] == "input_required" {
            return Err(
                Failure::tool("the server asks for more input, which this client cannot give").at(answer.exchange)
            );
        }
        Ok(result)
    }

    /// All pages of a list: the member `name` of each. Together they are bounded as one answer is: by [`MAX_MESSAGE`],
    /// and by the time that one exchange may take, which counts from the first page on.
    ///
    /// # Errors
    /// The same, and if there is no end.
    pub async fn list(&mut self, why: &str, method: &str, name: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut params = json!({});
        let mut read = 0;
        let mut began = None;
        for _ in 0..MAX_PAGES {
            let (answer, outcome) = self.exchange(why, method, params, &[]).await?;
            let mut page = Self::result(&answer, outcome)?;
            read += answer.body.len();
            let late = began.get_or_insert_with(Instant::now).elapsed() > self.flow.settings.timeout;
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
        if self.era == Era::Modern {
            tools.retain(|tool| match arguments::headers(&tool["inputSchema"], &Map::new()) {
                Ok(_) => true,
                Err(why) => {
                    rejected.push((tool["name"].as_str().unwrap_or_default().to_owned(), why));
                    false
                }
            });
        }
        Ok((tools, rejected))
    }

    /// Calls a tool, whose definition is at hand.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn call_tool(&mut self, tool: &Value, arguments: Map<String, Value>) -> Result<Value> {
        let headers = match self.era {
            Era::Modern => arguments::headers(&tool["inputSchema"], &arguments).map_err(Failure::tool)?,
            Era::Legacy(_) => Vec::new(),
        };
        let params = json!({ "name": tool["name"], "arguments": arguments });
        self.call_with("Call the tool", "tools/call", params, &headers).await
    }

    /// One request, one answer, and what it says; `None`: it is no JSON-RPC response to this request.
    async fn exchange(
        &mut self,
        why: &str,
        method: &str,
        mut params: Value,
        headers: &[(String, String)],
    ) -> Result<(Answer, Option<Outcome>)> {
        self.next_id += 1;
        let id = json!(self.next_id);
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": client_info(),
            });
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let request = self.request(message, headers);
        let answer = self.flow.send(why, &request, &id).await?;
        let message: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // An answer that is not a success is to this request, whatever its error calls it: a server that fails may not know
        // what it was asked, and some make up an id.
        let ours = is_response(&message, &id)
            || (!answer.status.is_success() && message["result"].is_null() && is_response(&message, &message["id"]));
        let outcome = match (&message["result"], &message["error"]) {
            (result @ Value::Object(_), Value::Null) if ours => Some(Ok(result.clone())),
            (Value::Null, error @ Value::Object(_)) if ours => Some(Err(RpcError {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                data: error["data"].clone(),
            })),
            _ => None,
        };
        Ok((answer, outcome))
    }

    fn request(&self, message: Value, more: &[(String, String)]) -> Request {
        let mut headers = vec![("Accept".to_owned(), "application/json, text/event-stream".to_owned())];
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        match self.era {
            Era::Modern => {
                add("MCP-Protocol-Version", MODERN);
                add("Mcp-Method", message["method"].as_str().unwrap_or_default());
                if let Some(name) = message["params"]["name"].as_str() {
                    add("Mcp-Name", &header_value(name));
                }
            }
            Era::Legacy(version) => {
                // Before the handshake is through there is no version to name; 2025-03-26 had no such header.
                if message["method"] != "initialize" && version != "2025-03-26" {
                    add("MCP-Protocol-Version", version);
                }
                if let Some(id) = &self.legacy_id {
                    add(SESSION_ID, id);
                }
            }
        }
        headers.extend(more.iter().cloned());
        let url = self.flow.settings.server.clone();
        Request { method: Method::POST, url, headers, body: Body::Json(message), limit: MAX_MESSAGE }
    }

    fn result(answer: &Answer, outcome: Option<Outcome>) -> Result<Value> {
        match outcome {
            Some(Ok(result)) if answer.status.is_success() => Ok(result),
            Some(Err(error)) => Err(refused(&error, answer.exchange)),
            _ => Err(no_message(answer)),
        }
    }
}

fn refused(error: &RpcError, exchange: u32) -> Failure {
    Failure::tool(format!("the server refuses: {} ({})", terminal::line(&error.message), error.code)).at(exchange)
}

fn no_message(answer: &Answer) -> Failure {
    let advice = if answer.status.is_redirection() {
        "The server is elsewhere. If you trust that place, give its address with --server."
    } else if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
        "Try again later."
    } else {
        "Is this the address of an MCP server's endpoint? It often ends in /mcp."
    };
    let words = if answer.status.is_success() { None } else { Words::of(&answer.body).sentence() };
    let words = words.map_or(String::new(), |words| format!(": {words}"));
    Failure::network(format!("the server answers {} and no MCP message{words}", answer.status))
        .at(answer.exchange)
        .advice(advice)
}

fn client_info() -> Value {
    json!({ "name": "step11", "title": "An MCP client for the terminal", "version": env!("CARGO_PKG_VERSION") })
}

fn legacy(version: &str) -> Result<&'static str> {
    LEGACY.into_iter().find(|known| *known == version).ok_or_else(|| {
        Failure::network(format!("the server speaks another version of MCP: {:?}", terminal::line(version)))
    })
}
