//! How a client names itself, and proves who it is, at the token endpoint (RFC 6749 §2.3, RFC 7523 §2.2).

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Utc;
use oauth::{
    identifiers::ClientId,
    secret::{ExposeSecret, SecretString},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    exchange::{Body, Request},
    failure::Result,
    private_key::PrivateKey,
    secrets::Secrets,
};

/// How long our assertion is valid, in seconds. It is used at once.
const ASSERTION_LIFETIME: i64 = 60;

/// A client, as one authorization server knows it.
pub struct Identity {
    pub id: ClientId,
    pub authentication: Authentication,
}

/// How a client proves who it is at the token endpoint.
#[derive(Clone)]
pub enum Authentication {
    None,
    SecretBasic(SecretString),
    SecretPost(SecretString),
    PrivateKey(PrivateKey),
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
    pub fn shared(&self) -> Option<&SecretString> {
        match self {
            Authentication::SecretBasic(secret) | Authentication::SecretPost(secret) => Some(secret),
            Authentication::None | Authentication::PrivateKey(..) => None,
        }
    }

    /// A secret, sent by the method of this name.
    pub fn secret(secret: Option<&SecretString>, method: &str) -> Option<Self> {
        match (method, secret) {
            ("none", _) => Some(Authentication::None),
            ("client_secret_basic", Some(secret)) => Some(Authentication::SecretBasic(secret.clone())),
            ("client_secret_post", Some(secret)) => Some(Authentication::SecretPost(secret.clone())),
            _ => None,
        }
    }
}

impl Identity {
    /// Adds the client's authentication to a token request (RFC 6749 §2.3, RFC 7523 §2.2).
    ///
    /// # Errors
    /// If the assertion cannot be signed.
    pub fn authenticate(&self, secrets: &Secrets, issuer: &str, request: &mut Request) -> Result<()> {
        let Body::Form(form) = &mut request.body else { return Ok(()) };
        // `client_id` is sent beside `Basic` and assertions, too: it is no secret, no specification forbids it, and
        // some servers look for it here first. Only a grant that itself names the client needs none (RFC 7521 §4.1).
        if !self.id.as_str().is_empty() {
            form.push(("client_id", self.id.to_string()));
        }
        match &self.authentication {
            Authentication::None => {}
            Authentication::SecretPost(secret) => form.push(("client_secret", secret.expose_secret().to_owned())),
            Authentication::SecretBasic(secret) => {
                // Each is form-encoded before they are joined (RFC 6749 §2.3.1): a colon in the id would end it too
                // early.
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let credentials =
                    STANDARD.encode(format!("{}:{}", encode(self.id.as_str()), encode(secret.expose_secret())));
                secrets.add(&credentials, "client secret");
                request.headers.push(("Authorization".to_owned(), format!("Basic {credentials}")));
            }
            Authentication::PrivateKey(key) => {
                let now = Utc::now().timestamp();
                // The issuer is the audience: an assertion for one server must not be good at another's endpoint.
                let claims = json!({
                    "iss": self.id, "sub": self.id, "aud": issuer, "jti": Uuid::new_v4().to_string(),
                    "iat": now, "exp": now + ASSERTION_LIFETIME,
                });
                let assertion = key.sign(&claims)?;
                secrets.add(&assertion, "client assertion");
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", assertion));
            }
        }
        Ok(())
    }
}
