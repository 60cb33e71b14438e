//! A client of the authorization server, and where it goes there.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::{Url, form_urlencoded::byte_serialize};

use crate::{documents::Document, message::Request};

/// The authorization server that is asked: the first that a person can log in at.
pub struct Endpoints {
    /// Its issuer.
    pub issuer: String,
    /// Where the browser goes.
    pub authorization: Url,
    /// Where codes become tokens.
    pub token: Url,
    /// Where tokens are taken back.
    pub revocation: Option<Url>,
    /// Where clients register.
    pub(super) registration: Option<Url>,
    /// How clients may prove who they are.
    methods: Vec<String>,
    /// Its whole document.
    pub json: Value,
}

impl Endpoints {
    pub(super) fn of(document: &Document) -> Option<Self> {
        let json = document.json.clone();
        Some(Endpoints {
            issuer: json["issuer"].as_str()?.to_owned(),
            authorization: document.url("authorization_endpoint")?,
            token: document.url("token_endpoint")?,
            revocation: document.url("revocation_endpoint"),
            registration: document.url("registration_endpoint"),
            methods: document.texts("token_endpoint_auth_methods_supported").into_iter().map(str::to_owned).collect(),
            json,
        })
    }

    /// Whether a list of its document has this text.
    pub fn lists(&self, member: &str, text: &str) -> bool {
        self.json[member].as_array().is_some_and(|list| list.iter().any(|one| one == text))
    }

    /// The first of these ways to authenticate that the server accepts. If its metadata lists none, that is
    /// `client_secret_basic` (RFC 8414 §2).
    pub(super) fn method(&self, wanted: &[&'static str]) -> &'static str {
        let takes = |method: &&&str| self.methods.iter().any(|one| one == **method);
        wanted.iter().find(takes).copied().unwrap_or("client_secret_basic")
    }
}

/// A client of the authorization server.
pub struct Client {
    /// Its id.
    pub id: String,
    pub(super) secret: Option<String>,
    /// Whether the secret goes into the header.
    pub(super) basic: bool,
}

impl Client {
    /// Whether it can keep no secret.
    pub fn is_public(&self) -> bool {
        self.secret.is_none()
    }

    /// A request with this form, as the client sends it (RFC 6749 §2.3.1). None of the texts is shown.
    pub fn request(&self, url: &Url, form: &[(&str, &str)]) -> Request {
        let mut request = Request::new("POST", url).header("Accept", "application/json");
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in form {
            if matches!(*name, "code" | "code_verifier" | "refresh_token" | "token") {
                request = request.secret(value).secret(&encoded(value));
            }
            body.append_pair(name, value);
        }
        match &self.secret {
            Some(secret) if self.basic => {
                let credentials = STANDARD.encode(format!("{}:{}", encoded(&self.id), encoded(secret)));
                request = request.header("Authorization", &format!("Basic {credentials}")).secret(&credentials);
            }
            Some(secret) => {
                body.append_pair("client_id", &self.id).append_pair("client_secret", secret);
                request = request.secret(secret).secret(&encoded(secret));
            }
            None => {
                body.append_pair("client_id", &self.id);
            }
        }
        request.body("application/x-www-form-urlencoded", body.finish())
    }
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
