//! Registers this client with an authorization server (RFC 7591; MCP 2026-07-28 "Client Registration").

use chrono::DateTime;
use oauth::{
    document::{Document, Malformed},
    identifiers::{ClientId, RedirectUri},
    metadata::AuthorizationServerMetadata,
    secret::{ExposeSecret, SecretString},
};
use serde_json::json;
use url::Url;

use crate::{
    authentication::Authentication,
    credentials::Registration,
    escape,
    exchange::{Body, Request},
    failure::{Failure, Result},
    http::Http,
    oauth_error::{has_error, oauth_failure},
};

/// Registers with an authorization server.
///
/// # Errors
/// If it refuses, or its answer is not a registration.
pub async fn register(
    http: &Http,
    client_name: &str,
    server: &AuthorizationServerMetadata,
    endpoint: Url,
    redirect_uri: &Url,
) -> Result<Registration> {
    // A program on a person's computer cannot keep a secret from them, so it asks for none if possible.
    let wanted = ["none", "client_secret_basic", "client_secret_post"];
    let supported = server.auth_methods();
    let Some(method) = wanted.into_iter().find(|method| supported.contains(method)) else {
        return Err(Failure::authorization(format!(
            "the authorization server supports none of {} at its token endpoint",
            wanted.join(", ")
        )));
    };
    let metadata = json!({
        "client_name": client_name,
        "redirect_uris": [redirect_uri.as_str()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native",
    });
    let why = "Register with the authorization server (RFC 7591)";
    let answer = http.send(why, &Request::post(endpoint, Body::Json(metadata))).await?;
    if !answer.status.is_success() || has_error(&answer.body) {
        return Err(oauth_failure(&answer, "the authorization server refuses to register this client")
            .advice("Register a client there yourself, and name it with `Settings::client` and `Settings::issuer`."));
    }
    let at = |why: Malformed| Failure::malformed("the registration", &why).at(answer.exchange);
    let information = Document::read(&answer.body).map_err(at)?;
    let client_id = information.required_text("client_id").map_err(at)?;
    let client_secret = information.text("client_secret").map_err(at)?.map(SecretString::from);
    if let Some(secret) = &client_secret {
        http.secrets.add(secret.expose_secret(), "client secret");
    }
    // A server that gives a secret and names no method expects the default method (RFC 7591 §2).
    let unsaid = match (&client_secret, method) {
        (Some(_), "none") => "client_secret_basic",
        _ => method,
    };
    let method = information.text("token_endpoint_auth_method").map_err(at)?.unwrap_or_else(|| unsaid.to_owned());
    if Authentication::secret(client_secret.as_ref(), &method).is_none() {
        return Err(Failure::authorization(format!(
            "the registration cannot be used: client_secret is missing, or this client cannot authenticate by {:?}",
            escape::line(&method)
        ))
        .at(answer.exchange));
    }
    // 0 means that it does not expire (RFC 7591 §3.2.1).
    let expires = information.seconds("client_secret_expires_at").map_err(at)?.filter(|at| *at > 0);
    http.note(&format!("We are {client_id} from now on, at this authorization server only."));
    Ok(Registration {
        client_id: ClientId::new(client_id),
        client_secret,
        client_secret_expires_at: expires.and_then(|at| DateTime::from_timestamp(i64::try_from(at).ok()?, 0)),
        token_endpoint_auth_method: method,
        redirect_uri: RedirectUri::new(redirect_uri.as_str()),
    })
}
