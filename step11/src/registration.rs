//! Who this client is to an authorization server: known beforehand, described at a URL, or registered just now
//! (MCP 2026-07-28 "Client Registration").

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::{
    document::Document,
    failure::{Failure, Result},
    http::{Body, Http, Request},
    metadata::AuthorizationServer,
    store::Registration,
    terminal,
    token::{has_error, oauth_failure},
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

    /// The secret that both know.
    pub fn shared(&self) -> Option<&str> {
        match self {
            Authentication::SecretBasic(secret) | Authentication::SecretPost(secret) => Some(secret),
            Authentication::None | Authentication::PrivateKey(..) => None,
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
        // Beside `Basic` and an assertion, too: it is no secret, no specification forbids it, and there are servers that
        // look for it here first. Only a grant that says by itself who is asking needs none (RFC 7521 §4.1).
        if !self.id.is_empty() {
            form.push(("client_id", self.id.clone()));
        }
        match &self.authentication {
            Authentication::None => {}
            Authentication::SecretPost(secret) => form.push(("client_secret", secret.clone())),
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
    if !answer.status.is_success() || has_error(&answer.body) {
        return Err(oauth_failure(&answer, "the authorization server refuses to register this client")
            .advice("Register a client there yourself, and name it with --client-id and --issuer."));
    }
    let at = |failure: Failure| failure.at(answer.exchange);
    let information = Document::read("the registration", &answer.body).map_err(at)?;
    let client_id = information.required_text("client_id").map_err(at)?;
    let client_secret = information.text("client_secret").map_err(at)?;
    if let Some(secret) = &client_secret {
        http.secrets.add(secret, "client secret");
    }
    // Who gives a secret and says no more means it to be used, in the way that is meant by default (RFC 7591 §2).
    let unsaid = match (&client_secret, method) {
        (Some(_), "none") => "client_secret_basic",
        _ => method,
    };
    let method = information.text("token_endpoint_auth_method").map_err(at)?.unwrap_or_else(|| unsaid.to_owned());
    if Authentication::secret(client_secret.as_deref(), &method).is_none() {
        return Err(at(Failure::authorization(format!(
            "the registration is of no use: client_secret is missing, or {:?} is no way to authenticate that this client has",
            terminal::line(&method)
        ))));
    }
    // 0 means that it does not expire (RFC 7591 §3.2.1).
    let expires = information.seconds("client_secret_expires_at").map_err(at)?.filter(|at| *at > 0);
    http.note(&format!("We are {client_id} from now on, at this authorization server only."));
    Ok(Registration {
        client_id,
        client_secret,
        client_secret_expires_at: expires.and_then(|at| DateTime::from_timestamp(i64::try_from(at).ok()?, 0)),
        token_endpoint_auth_method: method,
        redirect_uri: redirect_uri.to_string(),
    })
}
