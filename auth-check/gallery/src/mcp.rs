//! The MCP endpoint: a token first, then a scope, then the message.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    http::{Method, StatusCode},
    web::Bytes,
};
use serde_json::{Value, json};

use crate::{
    proofs,
    state::State,
    verify::{self, Refused},
};

/// The revisions of MCP that it knows.
const VERSIONS: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
/// The session, where there is one.
const SESSION: &str = "gallery-session";

/// A token, or what is wrong with the header that should have it.
enum Sent {
    Token(String),
    Nothing,
    Malformed,
}

/// Answers a request to `/mcp`.
pub async fn endpoint(request: &HttpRequest, body: &[u8], state: &State) -> HttpResponse {
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    if state.has("open-silent-get") && request.method() == Method::GET {
        return HttpResponse::Ok().content_type("text/event-stream").body(Silence);
    }
    if is_let_in_without_token(request, &message, state) {
        return open(&message);
    }
    let token = match sent(request, &message, body, state) {
        Sent::Token(token) => token,
        Sent::Malformed if state.has("malformed-forbidden") => return HttpResponse::Forbidden().finish(),
        Sent::Malformed => return refuse(StatusCode::BAD_REQUEST, Some("invalid_request"), state),
        Sent::Nothing => return nothing(request, state),
    };
    let key = proofs::key(request, &token, state).filter(|_| !state.has("no-bound-tokens"));
    let claims = match verify::claims(&token, key.as_deref(), state).await {
        Ok(claims) => claims,
        Err(Refused::Failure) => return HttpResponse::InternalServerError().finish(),
        Err(Refused::Expired) if state.has("expired-forbidden") => return HttpResponse::Forbidden().finish(),
        Err(Refused::Expired) if state.has("quotes-in-description") => {
            let error = "invalid_token\", error_description=\"the claim \"exp\" has passed";
            return refuse(StatusCode::UNAUTHORIZED, Some(error), state);
        }
        Err(_) if state.has("bad-token-forbidden") => return HttpResponse::Forbidden().finish(),
        Err(_) if state.has("repeats-token") => {
            let mut refusal = challenge(StatusCode::UNAUTHORIZED, Some("invalid_token"), state);
            return refusal.body(format!("{token} is not good"));
        }
        Err(_) => {
            let error = (!state.has("no-error-code")).then_some("invalid_token");
            return refuse(StatusCode::UNAUTHORIZED, error, state);
        }
    };
    if request.method() != Method::POST {
        return HttpResponse::MethodNotAllowed().insert_header(("Allow", "POST")).finish();
    }
    let version =
        request.headers().get("mcp-protocol-version").map(|version| String::from_utf8_lossy(version.as_bytes()));
    if version.is_some_and(|version| !VERSIONS.contains(&version.as_ref())) {
        return HttpResponse::BadRequest().json(json!({ "error": "invalid_request" }));
    }
    let granted = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
    match message["method"].as_str() {
        Some("initialize") if state.has("open-session") => {
            HttpResponse::Ok().insert_header(("Mcp-Session-Id", SESSION)).json(result(&message))
        }
        Some("initialize" | "server/discover" | "ping") => open(&message),
        Some("notifications/initialized") => HttpResponse::Accepted().finish(),
        Some("tools/list") if state.has("one-scope-at-a-time") => {
            guarded(&message, granted, &["files:read", "files:list"], state)
        }
        Some("tools/list") if state.has("lists-need-no-scope") => open(&message),
        Some("tools/list") => guarded(&message, granted, &["files:read"], state),
        Some("tools/call") => guarded(&message, granted, &["files:write"], state),
        _ => HttpResponse::BadRequest().json(json!({ "error": "invalid_request" })),
    }
}

/// A body that is never there.
struct Silence;

impl MessageBody for Silence {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Pending
    }
}

/// An answer to a request that was let in.
pub fn open(message: &Value) -> HttpResponse {
    HttpResponse::Ok().json(result(message))
}

fn result(message: &Value) -> Value {
    let tool = json!({ "name": "count", "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true } });
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "gallery", "version": env!("CARGO_PKG_VERSION") },
        }),
        Some("tools/list") => json!({ "tools": [tool] }),
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "none" }] }),
        _ => json!({}),
    };
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
}

fn is_let_in_without_token(request: &HttpRequest, message: &Value, state: &State) -> bool {
    let has = |name: &str| request.headers().contains_key(name);
    let post = request.method() == Method::POST;
    !has("authorization")
        && (state.has("open") && post
            || state.has("open-initialize") && message["method"] == "initialize"
            || state.has("open-get") && request.method() == Method::GET
            || state.has("open-invented-session") && has("mcp-session-id")
            || state.has("open-session") && request.headers().get("mcp-session-id").is_some_and(|id| id == SESSION)
            || state.has("believes-forwarded-user") && has("x-forwarded-user"))
}

/// The token of `Authorization: Bearer …`.
fn sent(request: &HttpRequest, message: &Value, body: &[u8], state: &State) -> Sent {
    if let Some(token) = misplaced(request, message, body, state) {
        return Sent::Token(token);
    }
    let mut values = request.headers().get_all("authorization");
    let value = match (values.next(), values.next()) {
        (None, _) => return Sent::Nothing,
        (Some(_), Some(_)) if !state.has("first-of-two-headers") => return Sent::Malformed,
        (Some(value), _) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((&value, ""));
    if state.has("any-scheme") {
        return Sent::Token(if token.is_empty() { value } else { token.to_owned() });
    }
    // Under which scheme it comes does not matter where it is bound: then there is a proof.
    let bound = request.headers().contains_key("dpop") && scheme.eq_ignore_ascii_case("dpop");
    let bearer = if state.has("scheme-by-case") { scheme == "Bearer" } else { scheme.eq_ignore_ascii_case("bearer") };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !bearer && !bound {
        return Sent::Nothing;
    }
    match token.trim() {
        "" => Sent::Malformed,
        token if token.bytes().all(allowed) => Sent::Token(token.to_owned()),
        _ => Sent::Malformed,
    }
}

/// A token where none should be looked for.
fn misplaced(request: &HttpRequest, message: &Value, body: &[u8], state: &State) -> Option<String> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if state.has("query-token") {
        return request.query_string().strip_prefix("access_token=").map(str::to_owned);
    }
    if state.has("body-token") {
        let form = std::str::from_utf8(body).ok().and_then(|body| body.strip_prefix("access_token="));
        return message["access_token"].as_str().or(form).map(str::to_owned);
    }
    if state.has("cookie-token") {
        let mut cookies = header("cookie")?.split("; ");
        return cookies.find_map(|cookie| cookie.strip_prefix("access_token=")).map(str::to_owned);
    }
    if state.has("header-token") {
        return header("x-access-token").map(str::to_owned);
    }
    None
}

/// The answer where there is no token.
fn nothing(request: &HttpRequest, state: &State) -> HttpResponse {
    let another = request.headers().contains_key("authorization");
    if another && state.has("basic-fails") {
        return HttpResponse::InternalServerError().finish();
    }
    if state.has("forbidden-without-token") {
        return HttpResponse::Forbidden().finish();
    }
    if state.has("redirects-to-login") {
        return HttpResponse::Found().insert_header(("Location", "/login")).finish();
    }
    let error = state.has("error-without-token").then_some("invalid_token");
    refuse(StatusCode::UNAUTHORIZED, error, state)
}

fn refuse(status: StatusCode, error: Option<&str>, state: &State) -> HttpResponse {
    let body = if state.has("stack-trace") { "thread 'main' panicked at src/auth.rs:17:5" } else { "No." };
    challenge(status, error, state).body(body)
}

/// A refusal with its challenge.
fn challenge(status: StatusCode, error: Option<&str>, state: &State) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    if state.has("no-challenge") {
        return response;
    }
    let mut params = Vec::new();
    if !state.has("no-resource-metadata") {
        params.push(("resource_metadata", metadata_url(state)));
    }
    let scope = if state.has("scope-with-commas") {
        "files:read,files:write"
    } else if state.has("offline-access-in-challenge") {
        "files:read offline_access"
    } else if state.has("one-scope-at-a-time") {
        "files:read files:list"
    } else if state.has("wrong-scope-401") {
        "files:list"
    } else {
        "files:read"
    };
    if !state.has("no-scope") {
        params.push(("scope", scope.to_owned()));
    }
    if let Some(error) = error {
        params.push(("error", error.to_owned()));
    }
    let quote = if state.has("challenge-without-quotes") { "" } else { "\"" };
    let params: Vec<_> = params.into_iter().map(|(name, value)| format!("{name}={quote}{value}{quote}")).collect();
    response.insert_header(("WWW-Authenticate", format!("Bearer {}", params.join(", "))));
    response
}

fn metadata_url(state: &State) -> String {
    let place = if state.has("challenge-leads-nowhere") {
        "/nowhere"
    } else if state.has("document-only-at-challenge") {
        "/metadata"
    } else {
        "/.well-known/oauth-protected-resource/mcp"
    };
    let base =
        if state.has("document-elsewhere") { state.base.replace("127.0.0.1", "localhost") } else { state.base.clone() };
    format!("{base}{place}")
}

/// What needs scopes.
fn guarded(message: &Value, granted: &str, needed: &[&str], state: &State) -> HttpResponse {
    let has = |scope: &str| {
        let mut each = granted.split(' ');
        state.has("scope-by-part") && granted.contains(scope)
            || state.has("scope-in-any-case") && granted.to_lowercase().split(' ').any(|one| one == scope)
            || each.any(|one| one == scope)
    };
    let Some(missing) = needed.iter().find(|scope| !has(scope)) else { return open(message) };
    if state.has("no-scope-check") {
        return open(message);
    }
    if state.has("scope-unauthorized") {
        return refuse(StatusCode::UNAUTHORIZED, Some("insufficient_scope"), state);
    }
    let mut params = vec!["error=\"insufficient_scope\"".to_owned()];
    let scope = if state.has("all-scopes-403") { "files:read files:write" } else { missing };
    if !state.has("no-scope-403") {
        params.push(format!("scope=\"{scope}\""));
    }
    if !state.has("no-metadata-403") {
        params.push(format!("resource_metadata=\"{}\"", metadata_url(state)));
    }
    let mut response = HttpResponse::Forbidden();
    if !state.has("no-challenge-403") {
        response.insert_header(("WWW-Authenticate", format!("Bearer {}", params.join(", "))));
    }
    response.finish()
}
