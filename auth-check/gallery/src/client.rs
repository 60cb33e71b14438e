//! Where clients register (RFC 7591), and the authorization endpoint, which nobody gets past here.

use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use url::Url;

use crate::state::State;

/// The client that every registration gets: it has the redirect URI below, so nothing needs to be kept.
const CLIENT: &str = "gallery-client";
/// The redirect URI of a good registration.
const REGISTERED: &str = "https://auth-check.example/callback";

/// Registers a client.
pub fn register(body: &[u8], state: &State) -> HttpResponse {
    if state.has("register-fails") {
        return HttpResponse::InternalServerError().finish();
    }
    let mut metadata: Value = serde_json::from_slice(body).unwrap_or_default();
    let uris = metadata["redirect_uris"].as_array().cloned().unwrap_or_default();
    let good: Vec<_> = uris.into_iter().filter(|uri| uri.as_str().is_some_and(|uri| is_good(uri, state))).collect();
    if good.is_empty() {
        let error = json!({ "error": "invalid_redirect_uri" });
        return match state {
            _ if state.has("registration-error-as-html") => HttpResponse::BadRequest().body("<p>No.</p>"),
            _ if state.has("registration-unprocessable") => HttpResponse::UnprocessableEntity().json(error),
            _ => HttpResponse::BadRequest().json(error),
        };
    }
    metadata["redirect_uris"] = json!(good);
    if let Some(members) = metadata.as_object_mut() {
        let is_script = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("javascript:"));
        members.retain(|_, value| !is_script(value) || state.has("script-logo"));
    }
    if !state.has("register-without-id") {
        metadata["client_id"] = json!(CLIENT);
    }
    HttpResponse::Created().json(metadata)
}

fn is_good(uri: &str, state: &State) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let scheme = match url.scheme() {
        "https" => true,
        "http" => matches!(url.host_str(), Some("127.0.0.1" | "localhost")) || state.has("http-redirect-uri"),
        _ => state.has("script-redirect-uri"),
    };
    scheme && (url.fragment().is_none() || state.has("fragment-redirect-uri"))
}

/// Shows a page, which is where this server ends; redirects nobody.
pub fn authorize(request: &HttpRequest, state: &State) -> HttpResponse {
    let url = Url::parse(&format!("{}/authorize?{}", state.base, request.query_string()));
    let param = |wanted: &str| {
        let url = url.as_ref().ok()?;
        url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let uri = param("redirect_uri").unwrap_or_default();
    let known = param("client_id").is_some_and(|client| client == CLIENT);
    let by_prefix = known && state.has("redirect-by-prefix") && uri != REGISTERED && uri.starts_with(REGISTERED);
    if by_prefix || !known && state.has("open-redirector") {
        let place = format!("{uri}?error=access_denied");
        return HttpResponse::Found().insert_header(("Location", place)).finish();
    }
    if known && uri == REGISTERED {
        return HttpResponse::Ok().content_type("text/html").body("<p>Log in.</p>");
    }
    HttpResponse::BadRequest().content_type("text/html").body("<p>This client is unknown.</p>")
}
