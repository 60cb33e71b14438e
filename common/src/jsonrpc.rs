//! JSON-RPC 2.0 messages, as MCP uses them (MCP 2026-07-28 "Base Protocol").

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, value::RawValue};

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const INVALID_PARAMS: i32 = -32602;
pub const INTERNAL_ERROR: i32 = -32603;
/// HTTP headers and body disagree, or a required header is missing (MCP 2026-07-28 "Server Validation").
pub const HEADER_MISMATCH: i32 = -32020;
/// The protocol version is not served (MCP 2026-07-28 "Protocol Version Negotiation").
pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

/// The members of a message before anything is known about them: each is any JSON value, or absent.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub method: Option<&'a RawValue>,
    /// `null` counts as absent.
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
}

/// Keeps `null` apart from absent, which `Option` would merge.
///
/// # Errors
/// If the value is not a `T`; `null` seldom is.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<Option<T>, D::Error> {
    T::deserialize(json).map(Some)
}

/// A value as serialized text, for a part that many answers repeat: it is written only once.
///
/// # Panics
/// If it cannot be JSON: a map whose keys are no strings.
pub fn written(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("this type can be JSON")
}

/// A successful response: `{"jsonrpc": "2.0", "id": …, "result": …}`.
#[derive(Serialize)]
pub struct Success<'a, R> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: R,
}

impl<'a, R: Serialize> Success<'a, R> {
    /// Answers the request `id`, which is sent back byte for byte.
    pub fn new(id: &'a RawValue, result: R) -> Self {
        Success { jsonrpc: "2.0", id, result }
    }
}

/// A failed response. Without a readable `id` in the request the answer has no `id`.
#[derive(Serialize)]
pub struct Failure<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    error: &'a ErrorObject,
}

impl<'a> Failure<'a> {
    pub fn new(id: Option<&'a RawValue>, error: &'a ErrorObject) -> Self {
        Failure { jsonrpc: "2.0", id, error }
    }
}

/// What went wrong: a code for programs, a sentence for people.
#[derive(Debug, Serialize)]
pub struct ErrorObject {
    pub code: i32,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl ErrorObject {
    /// An error without `data`. Messages may quote the request, so they are cut at 300 characters.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(300) {
            message.truncate(end);
            message.push('…');
        }
        ErrorObject { code, message, data: None }
    }

    /// `-32601`: there is no such method.
    pub fn method_not_found() -> Self {
        Self::new(METHOD_NOT_FOUND, "Method not found")
    }

    /// `-32602`: the method exists, but its params do not fit.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// `-32603`: our fault. The cause goes to the log, never to the client.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(INTERNAL_ERROR, "Internal error")
    }
}
