//! `POST /mcp`: one JSON-RPC message comes in, and at most one goes out (MCP 2026-07-28 "Base Protocol", "Streamable
//! HTTP"). It is a request, which is answered; a notification, which is not; or neither, which is refused.

use std::borrow::Cow;

use actix_web::{HttpRequest, HttpResponse, web};
use common::{
    http::JsonBody,
    jsonrpc::{Envelope, ErrorObject, Failure, INVALID_REQUEST, PARSE_ERROR},
    mcp::Era,
    params::{self, Text},
};
use serde_json::value::RawValue;

use crate::auth::Caller;
use crate::methods::{self, Call, Methods};

/// The route's handler: everything that is posted to `/mcp` comes through here.
pub async fn handle(http: HttpRequest, caller: Caller, methods: web::Data<Methods>, body: JsonBody) -> HttpResponse {
    match Message::parse(&body.0) {
        Ok(Message::Request { id, method, params }) => {
            let (http, caller, methods) = (&http, &caller, &**methods);
            let call = Call { http, caller, methods, id, method, params, era: Era::Legacy, name: None };
            methods::answer(call).await.unwrap_or_else(|refusal| refusal)
        }
        Ok(Message::Notification) => HttpResponse::Accepted().finish(),
        Err(Neither { id, error }) => HttpResponse::BadRequest().json(Failure::new(id, &error)),
    }
}

/// A message that a client may send.
enum Message<'a> {
    /// Asks for something to be done. The response carries its `id`.
    Request {
        id: &'a RawValue,
        method: Cow<'a, str>,
        /// An object.
        params: &'a RawValue,
    },
    /// Has no `id`: nobody answers it, and nothing is done.
    Notification,
}

/// Anything else, and what is wrong with it; with its `id`, if that can be read.
struct Neither<'a> {
    id: Option<&'a RawValue>,
    error: ErrorObject,
}

impl<'a> Message<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Neither<'a>> {
        let not_json = |why: &str| Neither { id: None, error: ErrorObject::new(PARSE_ERROR, why) };
        let invalid = |id, why: &str| Neither { id, error: ErrorObject::new(INVALID_REQUEST, why) };
        let text = std::str::from_utf8(body).map_err(|_| not_json("The body is not UTF-8."))?;
        let envelope: Envelope = match serde_json::from_str(text) {
            Ok(_) if text.trim_start().starts_with('[') => {
                return Err(invalid(None, "Send one message at a time: MCP has no batches."));
            }
            Ok(envelope) => envelope,
            // It is JSON but no message, or no JSON at all: only reading it to the end can tell.
            Err(_) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => return Err(invalid(None, "A message is one JSON object, and names each member once.")),
                Err(_) => return Err(not_json("The body is not JSON.")),
            },
        };
        let string = |json: &'a RawValue| serde_json::from_str::<Text>(json.get()).ok().map(|text| text.0);
        let id = envelope.id.filter(|id| is_id(id.get()));
        if envelope.jsonrpc.and_then(string).as_deref() != Some("2.0") {
            return Err(invalid(id, "The member jsonrpc must be \"2.0\"."));
        }
        let Some(method) = envelope.method.and_then(string) else {
            let why = "The member method must be a string: this endpoint takes requests and notifications.";
            return Err(invalid(id, why));
        };
        if envelope.params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err(invalid(id, "The member params must be an object."));
        }
        if envelope.id.is_none() {
            return Ok(Message::Notification);
        }
        let Some(id) = id else {
            return Err(invalid(None, "The member id must be a string or an integer."));
        };
        Ok(Message::Request { id, method, params: envelope.params.unwrap_or_else(params::empty) })
    }
}

/// A string or an integer, of any length.
fn is_id(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    json.starts_with('"') || digits.bytes().all(|byte| byte.is_ascii_digit())
}
