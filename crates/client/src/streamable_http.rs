//! Answers of MCP servers, which may be event streams (MCP 2026-07-28 "Streamable HTTP"); and what a server asks meanwhile.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use oauth::fetch::{self, Bounded, Problem};
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};

use crate::{
    event_stream::EventStream,
    exchange::{Answer, Request, SESSION_ID},
    failure::{Failure, Result},
    http::{Http, unread},
};

/// How many requests of a server are answered within one stream.
const MAX_REPLIES: usize = 100;
/// How long the last of these answers may take once the stream has delivered its response.
const LAST_REPLIES: Duration = Duration::from_secs(2);
/// The JSON-RPC error for an unknown method.
const METHOD_NOT_FOUND: i32 = -32601;

impl Http {
    /// The same for MCP, whose answers may be event streams. A stream is read only up to the message that answers `id`,
    /// since the server may keep it open. A request that the server makes meanwhile is answered at once, since the
    /// server may wait for that (MCP 2025-11-25 "Ping"); `authorize` adds the token to our answer.
    ///
    /// # Errors
    /// The same, and if the stream ends without that message.
    pub async fn send_message(
        &self,
        why: &str,
        request: &Request,
        id: &Value,
        authorize: impl Fn(&Request) -> Result<Request>,
    ) -> Result<Answer> {
        let (exchange, response) = self.begin(why, &authorize(request)?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let at = |problem: Problem| unread(&request.url, status, &problem).at(exchange);
        if !(status == StatusCode::OK && is_event_stream(&headers)) {
            let body = fetch::read(response, request.limit).await.map_err(at)?;
            self.trace.response(status, &headers, &body);
            return Ok(Answer { exchange, status, headers, body });
        }
        self.trace.head(status, &headers);
        let session = headers.get(SESSION_ID).and_then(|value| value.to_str().ok());
        let mut chunks = Bounded::new(response, request.limit).map_err(at)?;
        let mut events = EventStream::default();
        let (mut replies, mut answered) = (FuturesUnordered::new(), 0);
        let answer = loop {
            // The stream is read on while a reply is under way: a server may serve one request at a time.
            let chunk = tokio::select! {
                biased;
                Some(()) = replies.next() => continue,
                chunk = chunks.chunk() => chunk,
            };
            let Some(chunk) = chunk.map_err(at)? else { break None };
            let mut messages = chunk.iter().filter_map(|byte| events.push(*byte)).flat_map(one_by_one);
            let answer = messages.find(|data| {
                let message: Value = serde_json::from_slice(data).unwrap_or_default();
                if let Some(reply) = reply(&message)
                    && answered < MAX_REPLIES
                {
                    answered += 1;
                    self.trace.body(data);
                    replies.push(self.deliver(authorize(&request.in_session(reply, session))));
                }
                is_response(&message, id)
            });
            if answer.is_some() {
                break answer;
            }
        };
        // Replies to the server's requests that are still under way get some time to arrive.
        let all = async { while replies.next().await.is_some() {} };
        let in_time = tokio::time::timeout(LAST_REPLIES, all).await.is_ok();
        if !in_time {
            self.note("The server does not take our answers to its requests.");
        }
        let body = answer.ok_or_else(|| Failure::network("the event stream ended without an answer").at(exchange))?;
        if answered > 0 {
            self.note(&format!("The stream of exchange {exchange} goes on."));
        }
        self.trace.body(&body);
        Ok(Answer { exchange, status, headers, body })
    }

    /// Sends our answer to a request of the server's. Nothing here depends on its arrival.
    async fn deliver(&self, reply: Result<Request>) {
        let sent = async {
            let reply = reply?;
            let (_, response) = self.begin("Answer the server's request, which came in the stream", &reply).await?;
            // A server that takes it says 202 and no more (MCP 2025-11-25 "Sending Messages to the Server").
            self.trace.response(response.status(), response.headers(), &[]);
            Ok::<(), Failure>(())
        };
        if let Err(failure) = sent.await {
            self.note(&format!("That answer did not arrive: {}.", failure.message));
        }
    }
}

/// Whether a JSON-RPC message is the response to a request: not a request of the server's own with the same id. An error
/// may come without an id, where the server could not read ours (JSON-RPC 2.0 §5).
pub fn is_response(message: &Value, id: &Value) -> bool {
    let error = message["error"].is_object();
    message["jsonrpc"] == "2.0"
        && message["method"].is_null()
        && (message["result"].is_object() || error)
        && (message["id"] == *id || (message["id"].is_null() && error))
}

/// The messages of an event. In 2025-03-26 a server may send several together, as an array (its "Base Protocol",
/// "Batching").
fn one_by_one(event: Vec<u8>) -> Vec<Vec<u8>> {
    match serde_json::from_slice(&event) {
        Ok(Value::Array(messages)) => messages.iter().map(|message| message.to_string().into_bytes()).collect(),
        _ => vec![event],
    }
}

/// Our answer to a request of the server's: to a ping an empty result (MCP 2025-11-25 "Ping"), to everything else that
/// this client has no such method, as it has none of the capabilities (JSON-RPC 2.0 §5.1). `None`: it is not a request.
fn reply(message: &Value) -> Option<Value> {
    let id = &message["id"];
    let method = message["method"].as_str()?;
    if message["jsonrpc"] != "2.0" || !(id.is_string() || id.is_i64() || id.is_u64()) {
        return None;
    }
    if method == "ping" {
        return Some(json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
    let error = json!({ "code": METHOD_NOT_FOUND, "message": "This client has no such method." });
    Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_request_has_an_answer_and_nothing_else_has() {
        let error = |id: Value| {
            let error = json!({ "code": -32601, "message": "This client has no such method." });
            Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
        };
        for (message, answer) in [
            (
                json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
                Some(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })),
            ),
            (
                json!({ "jsonrpc": "2.0", "id": "a", "method": "sampling/createMessage", "params": {} }),
                error(json!("a")),
            ),
            (json!({ "jsonrpc": "2.0", "id": 0, "method": "roots/list" }), error(json!(0))),
            (json!({ "jsonrpc": "2.0", "id": -1, "method": "elicitation/create" }), error(json!(-1))),
            (json!({ "jsonrpc": "2.0", "id": 1, "method": "Ping" }), error(json!(1))),
            (json!({ "jsonrpc": "2.0", "method": "notifications/message" }), None),
            (json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }), None),
            (json!({ "jsonrpc": "2.0", "id": 1.5, "method": "ping" }), None),
            (json!({ "jsonrpc": "2.0", "id": 1, "result": {} }), None),
            (json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }), None),
            (json!([{ "jsonrpc": "2.0", "id": 1, "method": "ping" }]), None),
        ] {
            assert_eq!(reply(&message), answer, "{message}");
        }
    }
}
