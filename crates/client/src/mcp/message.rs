//! One request and its answer, in either era.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    era::{Era, MODERN},
    param_headers::header_value,
};
use crate::{
    escape,
    exchange::{Answer, Body, MAX_MESSAGE, Request, SESSION_ID},
    failure::{Failure, Result},
    flow::Flow,
    settings::Application,
    streamable_http::is_response,
    words::Words,
};

/// The outcome of a request: `result`, or `error` with its code.
pub type Outcome = std::result::Result<Value, RpcError>;

pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Value,
}

/// The destination of requests, and what each says besides its own message.
pub struct Wire {
    pub flow: Flow,
    pub era: Era,
    next_id: u64,
    /// The session id from a legacy server.
    pub legacy_id: Option<String>,
}

impl Wire {
    pub fn new(flow: Flow) -> Self {
        Wire { flow, era: Era::Modern, next_id: 0, legacy_id: None }
    }

    /// One request, one answer, and what it says; `None`: it is no JSON-RPC response to this request.
    pub async fn exchange(
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
                "io.modelcontextprotocol/clientInfo": client_info(&self.flow.settings().application),
            });
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let request = self.request(message, headers);
        let answer = self.flow.send(why, &request, &id).await?;
        let message: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // An error response belongs to this request, whatever its id says: a server that fails may not know the
        // request's id, and some make one up.
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

    pub fn request(&self, message: Value, more: &[(String, String)]) -> Request {
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
        let url = self.flow.settings().server.clone();
        Request { method: Method::POST, url, headers, body: Body::Json(message), limit: MAX_MESSAGE }
    }
}

/// The result, if there is one.
///
/// # Errors
/// If the server refuses, or does not answer in MCP.
pub fn result(answer: &Answer, outcome: Option<Outcome>) -> Result<Value> {
    match outcome {
        Some(Ok(result)) if answer.status.is_success() => Ok(result),
        Some(Err(error)) => Err(refused(&error, answer.exchange)),
        _ => Err(no_message(answer)),
    }
}

pub fn refused(error: &RpcError, exchange: u32) -> Failure {
    Failure::tool(format!("the server refuses: {} ({})", escape::line(&error.message), error.code)).at(exchange)
}

pub fn no_message(answer: &Answer) -> Failure {
    let advice = if answer.status.is_redirection() {
        "The server is elsewhere. If you trust that place, give its address with `Settings::server`."
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

pub fn client_info(application: &Application) -> Value {
    json!({ "name": application.name, "title": application.title, "version": application.version })
}
