//! Who this client is to an authorization server: known beforehand, described at a URL, or registered just now
//! (MCP 2026-07-28 "Client Registration").

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::{
    failure::{Failure, Result},
    http::{Body, Http, Request},
    metadata::AuthorizationServer,
    store::Registration,
    terminal,
    token::oauth_failure,
};

/// How long an assertion of who we are is good, in seconds. It is used at once.
const ASSERTION_LIFETIME: i64 = 60;

/// A client, as one authorization server knows it.
pub struct Client {
    pub id: String,
    pub authentication: Authentication,
}

/// How a client proves who it is at the token endpoint.
#[derive(Clone)]
pub enum Authentication {
    None,
    SecretBasic(String),
    SecretPost(String),
    PrivateKey(EncodingKey, Algorithm),
}

impl Authentication {
    /// Its name in metadata (RFC 8414 §2).
    pub fn method(&self) -> &'static str {
        match self {
            Authentication::None => "none",
            Authentication::SecretBasic(_) => "client_secret_basic",
            Authentication::SecretPost(_) => "client_secret_post",
            Authentication::PrivateKey(..) => "private_key_jwt",
        }
    }

    /// A secret, sent in the way that is called `method`.
    pub fn secret(secret: Option<&str>, method: &str) -> Option<Self> {
        match (method, secret) {
            ("none", _) => Some(Authentication::None),
            ("client_secret_basic", Some(secret)) => Some(Authentication::SecretBasic(secret.to_owned())),
            ("client_secret_post", Some(secret)) => Some(Authentication::SecretPost(secret.to_owned())),
            _ => None,
        }
    }
}

impl Client {
    /// Adds to a token request who we are (RFC 6749 §2.3, RFC 7523 §2.2).
    ///
    /// # Errors
    /// If the assertion cannot be signed.
    pub fn authenticate(&self, http: &Http, issuer: &str, request: &mut Request) -> Result<()> {
        let Body::Form(form) = &mut request.body else { return Ok(()) };
        match &self.authentication {
            // An assertion may say by itself who is asking (RFC 7521 §4.1).
            Authentication::None if self.id.is_empty() => {}
            Authentication::None => form.push(("client_id", self.id.clone())),
            Authentication::SecretPost(secret) => {
                form.push(("client_id", self.id.clone()));
                form.push(("client_secret", secret.clone()));
            }
            Authentication::SecretBasic(secret) => {
                use base64::{Engine, engine::general_purpose::STANDARD};
                // Form-encoded each before they are joined (RFC 6749 §2.3.1): a colon in one would end it too early.
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let credentials = STANDARD.encode(format!("{}:{}", encode(&self.id), encode(secret)));
                http.secrets.add(&credentials, "client secret");
                request.headers.push(("Authorization".to_owned(), format!("Basic {credentials}")));
            }
            Authentication::PrivateKey(key, algorithm) => {
                let now = Utc::now().timestamp();
                // The issuer is the audience: an assertion for one server must not be good at another's endpoint.
                let claims = json!({
                    "iss": self.id, "sub": self.id, "aud": issuer, "jti": Uuid::new_v4().to_string(),
                    "iat": now, "exp": now + ASSERTION_LIFETIME,
                });
                let assertion = jsonwebtoken::encode(&Header::new(*algorithm), &claims, key)
                    .map_err(|_| Failure::local("the private key cannot sign"))?;
                http.secrets.add(&assertion, "client assertion");
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", assertion));
            }
        }
        Ok(())
    }
}

/// What an authorization server answers (RFC 7591 §3.2.1).
#[derive(Deserialize)]
struct ClientInformation {
    client_id: String,
    client_secret: Option<String>,
    client_secret_expires_at: Option<i64>,
    token_endpoint_auth_method: Option<String>,
}

/// Registers with an authorization server.
///
/// # Errors
/// If it refuses, or answers with what is no registration.
pub async fn register(
    http: &Http,
    server: &AuthorizationServer,
    endpoint: Url,
    redirect_uri: &Url,
) -> Result<Registration> {
    // A program on somebody's computer keeps no secret from its owner; so it asks for none where it may.
    let wanted = ["none", "client_secret_basic", "client_secret_post"];
    let supported = &server.token_endpoint_auth_methods_supported;
    let Some(method) = wanted.into_iter().find(|method| supported.iter().any(|one| one == method)) else {
        return Err(Failure::authorization(format!(
            "the authorization server supports none of {} at its token endpoint",
            wanted.join(", ")
        )));
    };
    let metadata = json!({
        "client_name": "step11, an MCP client for the terminal",
        "redirect_uris": [redirect_uri.as_str()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native",
    });
    let why = "Register with the authorization server (RFC 7591)";
    let answer = http.send(why, &Request::post(endpoint, Body::Json(metadata))).await?;
    if answer.status != 201 && answer.status != 200 {
        return Err(oauth_failure(&answer, "the authorization server refuses to register this client")
            .advice("Register a client there yourself, and name it with --client-id and --issuer."));
    }
    let information: ClientInformation = answer.json("the registration")?;
    if let Some(secret) = &information.client_secret {
        http.secrets.add(secret, "client secret");
    }
    let method = information.token_endpoint_auth_method.unwrap_or_else(|| method.to_owned());
    let known = Authentication::secret(information.client_secret.as_deref(), &method).is_some();
    if !known || information.client_id.is_empty() {
        return Err(Failure::authorization(format!(
            "the registration is of no use: client_id or client_secret is missing, or {:?} is no way to authenticate that \
             this client has",
            terminal::line(&method)
        ))
        .at(answer.exchange));
    }
    http.note(&format!("We are {} from now on, at this authorization server only.", information.client_id));
    let expires = information.client_secret_expires_at.filter(|at| *at > 0);
    Ok(Registration {
        client_id: information.client_id,
        client_secret: information.client_secret,
        client_secret_expires_at: expires.and_then(|at| DateTime::from_timestamp(at, 0)),
        token_endpoint_auth_method: method,
        redirect_uri: redirect_uri.to_string(),
    })
}
