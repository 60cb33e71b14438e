//! What the server says of itself, as a resource and as an authorization server.

use actix_web::{HttpRequest, HttpResponse, http::Method};
use serde_json::{Value, json};

use crate::{
    es256::{D, X, Y},
    state::State,
};

const RESOURCE: &str = "/.well-known/oauth-protected-resource";
const RESOURCE_MCP: &str = "/.well-known/oauth-protected-resource/mcp";

/// Answers everything that is not `/mcp`.
pub fn serve(request: &HttpRequest, state: &State) -> HttpResponse {
    let path = request.path();
    let is_get = request.method() == Method::GET;
    let own_place = state.has("document-only-at-challenge");
    match path {
        "/metadata" if is_get && own_place => resource(request, state),
        RESOURCE | RESOURCE_MCP if is_get && !own_place => resource(request, state),
        "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration" if is_get => {
            server(path, state)
        }
        "/jwks" if is_get && !state.has("no-key-set") => HttpResponse::Ok().json(key_set(state)),
        _ => HttpResponse::NotFound().finish(),
    }
}

fn document(document: &Value, as_text: bool) -> HttpResponse {
    let kind = if as_text { "text/plain" } else { "application/json" };
    HttpResponse::Ok().content_type(kind).body(document.to_string())
}

fn resource(request: &HttpRequest, state: &State) -> HttpResponse {
    if state.has("no-resource-document") {
        return HttpResponse::NotFound().finish();
    }
    let issuers: Vec<_> = [&state.base, &state.trust.issuer].into_iter().filter(|one| !one.is_empty()).collect();
    let mut members = json!({
        "resource": state.resource(), "authorization_servers": issuers,
        "scopes_supported": ["files:read", "files:write"], "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256"],
    });
    if state.has("resource-is-a-list") {
        members["resource"] = json!([state.resource()]);
    }
    if state.has("no-authorization-servers") {
        members.as_object_mut().map(|members| members.remove("authorization_servers"));
    }
    if state.has("resource-empty-member") {
        members["resource_signing_alg_values_supported"] = json!([]);
    }
    if state.has("offline-access-in-document") {
        members["scopes_supported"] = json!(["files:read", "offline_access"]);
    }
    if state.has("offers-query") {
        members["bearer_methods_supported"] = json!(["header", "query"]);
    }
    if state.has("scopes-in-one-text") {
        members["scopes_supported"] = json!(["files:read files:write"]);
    }
    if state.has("issuer-is-a-name") {
        members["authorization_servers"] = json!([state.base, "accounts"]);
    }
    if state.has("two-resources") && request.path() == RESOURCE {
        members["resource"] = json!(state.base);
    }
    let host = request.headers().get("x-forwarded-host").and_then(|host| host.to_str().ok());
    if let Some(host) = host.filter(|_| state.has("believes-forwarded-host")) {
        members["resource"] = json!(format!("https://{host}/mcp"));
    }
    document(&members, state.has("resource-document-as-text"))
}

fn server(path: &str, state: &State) -> HttpResponse {
    if state.has("no-server-document") {
        return HttpResponse::NotFound().finish();
    }
    let at = |path: &str| format!("{}{path}", state.base);
    let mut members = json!({
        "issuer": state.base, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "registration_endpoint": at("/register"),
        "revocation_endpoint": at("/revoke"), "scopes_supported": ["files:read", "files:write", "files:list"],
        "response_types_supported": ["code"], "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": true, "client_id_metadata_document_supported": true,
        "dpop_signing_alg_values_supported": ["ES256"],
    });
    let changes: &[(&str, &str, Value)] = &[
        ("server-member-mistyped", "scopes_supported", json!("files:read files:write")),
        ("issuer-with-slash", "issuer", json!(at("/"))),
        ("server-empty-member", "op_policy_uri", Value::Null),
        ("http-endpoint", "revocation_endpoint", json!("http://as.example/revoke")),
        ("plain-pkce", "code_challenge_methods_supported", json!(["S256", "plain"])),
        ("implicit-grant", "grant_types_supported", json!(["authorization_code", "implicit"])),
        ("no-iss", "authorization_response_iss_parameter_supported", json!(false)),
        ("no-client-documents", "client_id_metadata_document_supported", json!(false)),
        ("secret-clients-only", "token_endpoint_auth_methods_supported", json!(["client_secret_basic"])),
        ("client-alg-none", "token_endpoint_auth_signing_alg_values_supported", json!(["none"])),
        ("no-signing-algorithms", "token_endpoint_auth_methods_supported", json!(["none", "private_key_jwt"])),
        ("unknown-scope", "scopes_supported", json!(["mail:read"])),
        ("other-protected-resources", "protected_resources", json!(["https://other.example/mcp"])),
    ];
    for (fault, member, value) in changes {
        if state.has(fault) {
            members[*member] = value.clone();
        }
    }
    let missing: &[(&str, &str)] = &[
        ("no-token-endpoint", "token_endpoint"),
        ("no-response-types", "response_types_supported"),
        ("no-pkce", "code_challenge_methods_supported"),
    ];
    for (_, member) in missing.iter().filter(|(fault, _)| state.has(fault)) {
        members.as_object_mut().map(|members| members.remove(*member));
    }
    if state.has("two-servers") && path.ends_with("openid-configuration") {
        members["token_endpoint"] = json!(at("/other-token"));
    }
    document(&members, state.has("server-document-as-text"))
}

/// A key set with the elliptic key.
fn key_set(state: &State) -> Value {
    let mut key = json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": "1", "alg": "ES256",
        "x": X, "y": Y,
    });
    if state.has("private-key-published") {
        key["d"] = json!(D);
    }
    let mut keys = vec![key];
    if state.has("short-key") {
        let n = format!("{}s", "r".repeat(170)); // 128 bytes
        keys.push(json!({ "kty": "RSA", "use": "sig", "kid": "2", "alg": "RS256", "n": n, "e": "AQAB" }));
    }
    json!({ "keys": keys })
}
