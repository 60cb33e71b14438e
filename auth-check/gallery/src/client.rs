//! Where clients register (RFC 7591), and the authorization endpoint, which logs everybody in and allows everything.

use actix_web::{HttpRequest, HttpResponse, http::header::LOCATION};
use serde_json::{Value, json};
use url::Url;

use crate::{
    grants::{Asked, lock},
    state::State,
};

/// Registers a client.
pub fn register(body: &[u8], state: &State) -> HttpResponse {
    if state.has("register-fails") {
        return HttpResponse::InternalServerError().finish();
    }
    let mut metadata: Value = serde_json::from_slice(body).unwrap_or_default();
    let uris = metadata["redirect_uris"].as_array().cloned().unwrap_or_default();
    let text = |uri: Value| uri.as_str().map(str::to_owned);
    let good: Vec<_> = uris.into_iter().filter_map(text).filter(|uri| is_good(uri, state)).collect();
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
        let mut grants = lock(&state.grants);
        let id = grants.name("client");
        metadata["client_id"] = json!(id);
        grants.clients.insert(id, good);
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

/// Sends the browser back with a code; or shows a page, if nobody can say where to.
pub fn authorize(request: &HttpRequest, state: &State) -> HttpResponse {
    let url = Url::parse(&format!("{}/authorize?{}", state.base, request.query_string()));
    let param = |wanted: &str| {
        let url = url.as_ref().ok()?;
        url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let (uri, client) = (param("redirect_uri").unwrap_or_default(), param("client_id").unwrap_or_default());
    let mut grants = lock(&state.grants);
    let registered = grants.clients.get(&client);
    if registered.is_none() && state.has("open-redirector") {
        return redirect(&uri, &[("error", "access_denied")]);
    }
    if !registered.is_some_and(|all| all.iter().any(|one| is_same(one, &uri, state))) {
        return HttpResponse::BadRequest().content_type("text/html").body("<p>This client is unknown.</p>");
    }
    let mut answer = Vec::new();
    if let Some(text) = param("state").filter(|_| !state.has("drops-state")) {
        answer.push(("state", if state.has("changes-state") { text.to_lowercase() } else { text }));
    }
    let issuer = if state.has("other-iss") { format!("{}/", state.base) } else { state.base.clone() };
    if !state.has("promised-iss-is-missing") {
        answer.push(("iss", issuer));
    }
    let challenge = param("code_challenge");
    let plain = challenge.is_some() && param("code_challenge_method").is_none_or(|method| method != "S256");
    let unproven = challenge.is_none() && !state.has("pkce-optional") || plain && !state.has("takes-plain");
    if unproven {
        answer.push(("error", "invalid_request".to_owned()));
    } else {
        let scope = param("scope").unwrap_or_default();
        let asked = Asked { client, redirect_uri: uri.clone(), challenge, scope };
        answer.push(("code", grants.code(asked)));
    }
    let answer: Vec<_> = answer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    redirect(&uri, &answer)
}

/// Whether a redirect URI is the registered one; on loopback, but for its port.
fn is_same(registered: &str, uri: &str, state: &State) -> bool {
    let loopback = |text: &str| Url::parse(text).ok().filter(|url| url.host_str() == Some("127.0.0.1"));
    let without_port = |mut url: Url| url.set_port(None).map(|()| url).ok();
    let same = match (loopback(registered).and_then(without_port), loopback(uri).and_then(without_port)) {
        (Some(one), Some(other)) => one == other || state.has("loopback-in-any-path"),
        _ => registered == uri,
    };
    same || state.has("redirect-by-prefix") && uri.starts_with(registered)
}

fn redirect(uri: &str, params: &[(&str, &str)]) -> HttpResponse {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(params);
    let mark = if uri.contains('?') { '&' } else { '?' };
    HttpResponse::Found().insert_header((LOCATION, format!("{uri}{mark}{}", query.finish()))).finish()
}
