//! A refusal on the wire: the status, the challenge (RFC 6750 §3) for programs, and the body for people. Its
//! correlation id is in the log, so a person who is refused can ask the people who run the server, and neither has to
//! see the token.

use oauth::challenge::Challenge;
use serde::Serialize;
use serde_json::{json, value::RawValue};

use crate::refusal::Refusal;

/// The answer to a request that is refused, for any web framework. It has a body of type `application/json`.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values in printable ASCII; `content-type` is one of them.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
    /// What the log should say.
    pub log: LogRefusal,
}

/// Why a request was refused, for the log: the token is not in it. The adapters put it into the response's extensions.
#[derive(Clone, Debug)]
pub struct LogRefusal {
    /// A code, such as `audience_other`.
    pub reason: &'static str,
    /// A sentence, and what in the token did not fit.
    pub detail: String,
    /// The value of the response's header `X-Correlation-Id`, if it has one.
    pub correlation_id: Option<String>,
}

/// What the body says, and a JSON-RPC error's `data`.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_description: &'a str,
    reason: &'a str,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'a str,
}

impl Answer {
    /// A message that is answered with a JSON-RPC error of the protocol's own.
    #[cfg(feature = "tower")]
    pub(crate) fn rpc_error(status: u16, code: i32, message: &str, id: Option<&RawValue>) -> Self {
        let error = json!({ "code": code, "message": message });
        let body = match id {
            Some(id) => json!({ "jsonrpc": "2.0", "id": id, "error": error }),
            None => json!({ "jsonrpc": "2.0", "error": error }),
        };
        let headers = vec![("content-type", "application/json".to_owned())];
        let log = LogRefusal { reason: "message_malformed", detail: message.to_owned(), correlation_id: None };
        Answer { status, headers, body: body.to_string(), log }
    }

    /// `challenge`: what all challenges of this server say. `id`: that of the JSON-RPC request, if it is known.
    ///
    /// Many clients show people only the `message` of a JSON-RPC error response, so a 401, a 403 and every refusal of a
    /// message whose `id` is known are one. Its `code` is the HTTP status. Before the message is read, its `id` is null:
    /// some clients accept no response without the member. All other refusals have no `id` to name, and some clients
    /// would wait for a response to theirs: they are an object with `error` and `error_description`.
    pub(crate) fn new(refusal: &Refusal, challenge: Challenge, id: Option<&RawValue>) -> Self {
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let words = refusal.words();
        let error = refusal.error.unwrap_or("unauthorized");
        let body = Body {
            error,
            error_description: &words,
            reason: refusal.reason,
            correlation_id: &correlation_id,
            advice: &refusal.advice,
        };
        let body = if id.is_none() && !matches!(refusal.status, 401 | 403) {
            json!(body)
        } else {
            let data = Body { error_description: "", ..body };
            json!({ "jsonrpc": "2.0", "id": id.unwrap_or(RawValue::NULL),
                "error": { "code": refusal.status, "message": words, "data": data } })
        };
        let mut headers =
            vec![("content-type", "application/json".to_owned()), ("x-correlation-id", correlation_id.clone())];
        // Another token would help only with these codes (RFC 6750 §3.1).
        if matches!(refusal.error, None | Some("invalid_request" | "invalid_token" | "insufficient_scope")) {
            let mut challenge = challenge;
            if let Some(scope) = &refusal.scope {
                challenge = challenge.with("scope", scope);
            }
            if let Some(error) = refusal.error {
                // Nothing that would end the quotes, or is not ASCII (RFC 6750 §3).
                let allowed = |c| matches!(c, ' '..='~') && c != '"' && c != '\\';
                let description: String = words.chars().map(|c| if allowed(c) { c } else { '\'' }).collect();
                challenge = challenge.with("error", error).with("error_description", &description);
            }
            headers.push(("www-authenticate", challenge.to_string()));
        }
        if let Some(seconds) = refusal.retry_after {
            headers.push(("retry-after", seconds.to_string()));
        }
        let detail = format!("{words} {}", refusal.detail).trim_end().to_owned();
        let log = LogRefusal { reason: refusal.reason, detail, correlation_id: Some(correlation_id) };
        Answer { status: refusal.status, headers, body: body.to_string(), log }
    }
}
