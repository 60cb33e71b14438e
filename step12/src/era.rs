//! The modern era (MCP 2026-07-28 "Versioning and Compatibility"): instead of `initialize`, every request carries its
//! version and what the client can do in `_meta`, and headers repeat what proxies want to see without reading the body.
//! A server may serve both eras at one endpoint, as this one does: [`check`] tells them apart.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::HeaderName},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    jsonrpc::{ErrorObject, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, UNSUPPORTED_PROTOCOL_VERSION, present},
    mcp::{DiscoverResult, Era, LEGACY, MODERN},
    params::Text,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{lifecycle::INSTRUCTIONS, methods::Call};

static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
static METHOD: HeaderName = HeaderName::from_static("mcp-method");
static NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The part of the params that the check reads: `_meta`, and what `Mcp-Name` repeats.
#[derive(Default, Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
}

/// The keys that only modern requests have in `_meta`. Other keys of the protocol are older, such as `related-task`.
#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, deserialize_with = "present", rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "io.modelcontextprotocol/clientCapabilities")]
    client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "io.modelcontextprotocol/clientInfo")]
    client_info: Option<&'a RawValue>,
}

/// Determines a call's era, and refuses the call if it breaks the rules of that era.
pub fn check(call: &mut Call<'_>) -> Result<(), HttpResponse> {
    let bad = |call: &Call<'_>, error| call.refuse(StatusCode::BAD_REQUEST, &error);
    let unclear = |call: &Call<'_>| {
        bad(call, ErrorObject::new(INVALID_REQUEST, "The params must name each member once, in Unicode."))
    };
    let head: Head = serde_json::from_str(call.params.get()).map_err(|_| unclear(call))?;
    call.name = head.name;
    let is_object = head.meta.is_none_or(|meta| meta.get().starts_with('{'));
    let meta = match head.meta.filter(|_| is_object) {
        Some(meta) => serde_json::from_str(meta.get()).map_err(|_| unclear(call))?,
        None => Meta::default(),
    };
    let version = header(call.http, &PROTOCOL_VERSION);

    let modern = version.as_deref().is_some_and(|version| version >= MODERN)
        || [meta.protocol_version, meta.client_capabilities, meta.client_info].iter().any(Option::is_some);
    if let Some(version) = version.as_deref()
        && version != MODERN
        && !LEGACY.contains(&version)
    {
        return Err(bad(call, unsupported(version, &served())));
    }
    if modern {
        check_modern(call, head.uri, &meta, version.as_deref()).map_err(|error| bad(call, error))?;
    } else if !is_object {
        // A legacy request may leave `_meta` out, but not put something else there.
        let error = ErrorObject::invalid_params("The params do not fit: _meta must be an object.");
        return Err(call.refuse(StatusCode::OK, &error));
    }
    call.era = if modern { Era::Modern } else { Era::Legacy };
    Ok(())
}

/// What a modern request must have: headers that say the same as the body ("Server Validation"), and `_meta` with the
/// version and the client's capabilities.
fn check_modern(
    call: &Call<'_>,
    uri: Option<&RawValue>,
    meta: &Meta<'_>,
    version: Option<&str>,
) -> Result<(), ErrorObject> {
    let mismatch = |why: &str| ErrorObject::new(HEADER_MISMATCH, format!("Header mismatch: {why}"));
    let missing = |name: &str| mismatch(&format!("the header {name} is missing."));

    let version = version.ok_or_else(|| missing("MCP-Protocol-Version"))?;
    let body_version = meta.protocol_version.map(|json| serde_json::from_str::<String>(json.get()));
    if let Some(Ok(body_version)) = &body_version
        && body_version != version
    {
        return Err(mismatch("MCP-Protocol-Version is not what _meta says."));
    }
    if header(call.http, &METHOD).ok_or_else(|| missing("Mcp-Method"))? != call.method {
        return Err(mismatch("Mcp-Method is not the method."));
    }
    let named = match &*call.method {
        "tools/call" | "prompts/get" => Some(call.name()),
        "resources/read" => Some(uri.and_then(|json| serde_json::from_str::<Text>(json.get()).ok()).map(|text| text.0)),
        _ => None,
    };
    if let Some(named) = named {
        let value = header(call.http, &NAME).ok_or_else(|| missing("Mcp-Name"))?;
        if named.is_none() || decode_sentinel(&value) != named {
            return Err(mismatch("Mcp-Name is not what the params name."));
        }
    }
    let capabilities = meta.client_capabilities.is_some_and(|json| json.get().starts_with('{'));
    if !matches!(body_version, Some(Ok(_))) || !capabilities {
        const WHY: &str = "_meta must have io.modelcontextprotocol/protocolVersion (a string) and io.modelcontextprotocol/clientCapabilities (an object).";
        return Err(ErrorObject::new(INVALID_PARAMS, WHY));
    }
    // A legacy version is served, but not to requests of this form.
    if version == MODERN { Ok(()) } else { Err(unsupported(version, &[MODERN])) }
}

fn unsupported(requested: &str, supported: &[&str]) -> ErrorObject {
    let mut error = ErrorObject::new(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version");
    error.data = Some(json!({ "supported": supported, "requested": requested.chars().take(64).collect::<String>() }));
    error
}

/// All versions we serve, newest first.
fn served() -> Vec<&'static str> {
    [MODERN].into_iter().chain(LEGACY).collect()
}

/// A header's value. Headers that are repeated are joined with commas (RFC 9110 §5.3), so they never match.
fn header<'a>(http: &'a HttpRequest, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = http.headers().get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?;
    let value = values.fold(first, |list, value| Cow::Owned(format!("{list}, {value}")));
    Some(match value {
        Cow::Borrowed(value) => Cow::Borrowed(value.trim()),
        Cow::Owned(value) => Cow::Owned(value.trim().to_owned()),
    })
}

/// `=?base64?aGk=?=` is `hi`; anything else is itself ("Value Encoding"). Broken base64 gives nothing.
fn decode_sentinel(value: &str) -> Option<Cow<'_, str>> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(value)),
    }
}

/// `server/discover` (MCP 2026-07-28 "Discovery"): what `initialize` used to say.
pub async fn discover(call: &Call<'_>) -> Result<DiscoverResult, ErrorObject> {
    call.only_in(Era::Modern)?;
    Ok(DiscoverResult {
        supported_versions: served(),
        capabilities: call.methods.capabilities(),
        instructions: INSTRUCTIONS,
    })
}
