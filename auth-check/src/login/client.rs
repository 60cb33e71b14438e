//! Who logs in, and where: the authorization server's endpoints, and clients that are known or registered there.

use base64::{Engine, engine::general_purpose::STANDARD};
use oauth::{address::is_loopback, secret::ExposeSecret};
use serde_json::{Value, json};
use url::{Url, form_urlencoded::byte_serialize};

use super::Login;
use crate::{
    context::Context,
    documents::Document,
    message::{Exchange, Request},
    model::{Needs, Unmet},
};

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
    registration: Option<Url>,
    /// How clients may prove who they are.
    methods: Vec<String>,
    /// Its whole document.
    pub json: Value,
}

impl Endpoints {
    fn of(document: &Document) -> Option<Self> {
        let json = document.json.clone();
        let url = |member: &str| Url::parse(json[member].as_str()?).ok();
        Some(Endpoints {
            issuer: json["issuer"].as_str()?.to_owned(),
            authorization: url("authorization_endpoint")?,
            token: url("token_endpoint")?,
            revocation: url("revocation_endpoint"),
            registration: url("registration_endpoint"),
            methods: document.texts("token_endpoint_auth_methods_supported").into_iter().map(str::to_owned).collect(),
            json,
        })
    }

    /// Whether a list of its document has this text.
    pub fn lists(&self, member: &str, text: &str) -> bool {
        self.json[member].as_array().is_some_and(|list| list.iter().any(|one| one == text))
    }

    /// The first way to prove who one is that it takes. What is meant where nothing is said, RFC 8414 §2 says.
    fn method(&self, wanted: &[&'static str]) -> &'static str {
        let takes = |method: &&&str| self.methods.iter().any(|one| one == **method);
        wanted.iter().find(takes).copied().unwrap_or("client_secret_basic")
    }
}

/// A client of the authorization server.
pub struct Client {
    /// Its id.
    pub id: String,
    secret: Option<String>,
    /// Whether the secret goes into the header.
    basic: bool,
    /// How it was registered, if it was.
    registered: Option<Exchange>,
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

impl Context {
    /// The log-in.
    ///
    /// # Errors
    /// If there is none.
    pub fn login(&self) -> Result<&Login, Unmet> {
        self.tokens.login.as_deref().ok_or_else(|| Unmet(Needs::Login.as_str().to_owned()))
    }

    /// The authorization server that a person can log in at.
    ///
    /// # Errors
    /// If there is none, or it may not be asked.
    pub async fn endpoints(&self) -> Result<&Endpoints, Unmet> {
        let found = self.login()?.endpoints.get_or_init(async || {
            let all = self.server_metadata().await?;
            let found = all.into_iter().find_map(|(_, document)| Endpoints::of(document));
            let found = found.ok_or_else(|| Unmet("an authorization server with both endpoints".to_owned()))?;
            self.http.allows(&found.authorization)?;
            // Codes and secrets are sent there.
            let open = |url: &&Url| url.scheme() != "https" && !is_loopback(url);
            if [&found.authorization, &found.token].iter().any(open) {
                return Err(Unmet("endpoints with https".to_owned()));
            }
            Ok(found)
        });
        found.await.as_ref().map_err(Clone::clone)
    }

    /// The client that logs in.
    ///
    /// # Errors
    /// If it is not known, and none may be registered.
    pub async fn own_client(&self) -> Result<&Client, Unmet> {
        let login = self.login()?;
        let client = login.clients[0].get_or_init(async || match &login.known {
            Some(known) => {
                let method = self.endpoints().await?.method(&["client_secret_basic", "client_secret_post"]);
                let secret = known.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
                Ok(Client { id: known.id.clone(), secret, basic: method == "client_secret_basic", registered: None })
            }
            None => self.register().await,
        });
        client.await.as_ref().map_err(Clone::clone)
    }

    /// Another client, to which nothing was given.
    ///
    /// # Errors
    /// If none may be registered.
    pub async fn other_client(&self) -> Result<&Client, Unmet> {
        let client = self.login()?.clients[1].get_or_init(|| self.register());
        client.await.as_ref().map_err(Clone::clone)
    }

    /// Registers a client that can log in (RFC 7591).
    async fn register(&self) -> Result<Client, Unmet> {
        if !self.active {
            return Err(Unmet(Needs::Active.as_str().to_owned()));
        }
        let endpoints = self.endpoints().await?;
        let Some(url) = &endpoints.registration else {
            return Err(Unmet("a registration_endpoint, or a client that is registered (--client-id)".to_owned()));
        };
        let method = endpoints.method(&["none", "client_secret_basic", "client_secret_post"]);
        let metadata = json!({
            "client_name": "auth-check", "redirect_uris": [self.login()?.browser.redirect_uri().as_str()],
            "token_endpoint_auth_method": method, "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "application_type": "native",
        });
        let request = Request::new("POST", url).header("Accept", "application/json");
        let exchange = self.send(request.body("application/json", metadata.to_string())).await?;
        let answer = exchange.json().filter(|_| exchange.came.is_success()).unwrap_or_default();
        let text = |member: &str| answer[member].as_str().map(str::to_owned);
        let Some(id) = text("client_id") else {
            let status = exchange.came.status;
            return Err(Unmet(format!("a client: its registration is answered with {status}")));
        };
        // Who gives a secret and says no more means it to be used in the header (RFC 7591 §2).
        let basic = text("token_endpoint_auth_method").is_none_or(|method| method != "client_secret_post");
        Ok(Client { id, secret: text("client_secret"), basic, registered: Some(exchange) })
    }

    /// Takes clients back that were registered for the log-in, where that is possible.
    pub async fn leave(&self) {
        let clients = self.tokens.login.iter().flat_map(|login| &login.clients).filter_map(OnceCellExt::value);
        for registered in clients.filter_map(|client| client.registered.as_ref()) {
            crate::checks::unregister(self, registered).await;
        }
    }
}

/// What a cell has, if it has come to something.
trait OnceCellExt<T> {
    fn value(&self) -> Option<&T>;
}

impl<T> OnceCellExt<T> for tokio::sync::OnceCell<Result<T, Unmet>> {
    fn value(&self) -> Option<&T> {
        self.get().and_then(|result| result.as_ref().ok())
    }
}
