//! Who takes part in a log-in: the authorization server, and clients that are known or registered there.

use oauth::{address::is_loopback, secret::ExposeSecret};
use serde_json::json;
use url::Url;

use super::{
    Login,
    client::{Client, Endpoints},
};
use crate::{
    context::Context,
    model::{Needs, Unmet},
};

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
                Ok(Client { id: known.id.clone(), secret, basic: method == "client_secret_basic" })
            }
            None => self.register_to_log_in().await,
        });
        client.await.as_ref().map_err(Clone::clone)
    }

    /// Another client, to which nothing was given.
    ///
    /// # Errors
    /// If none may be registered.
    pub async fn other_client(&self) -> Result<&Client, Unmet> {
        let client = self.login()?.clients[1].get_or_init(|| self.register_to_log_in());
        client.await.as_ref().map_err(Clone::clone)
    }

    /// Registers a client that can log in.
    async fn register_to_log_in(&self) -> Result<Client, Unmet> {
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
        let exchange = self.register(url, &metadata).await?;
        let answer = exchange.json().filter(|_| exchange.came.is_success()).unwrap_or_default();
        let text = |member: &str| answer[member].as_str().map(str::to_owned);
        let Some(id) = text("client_id") else {
            let status = exchange.came.status;
            return Err(Unmet(format!("a client: its registration is answered with {status}")));
        };
        // Without `token_endpoint_auth_method`, the secret belongs into the header (RFC 7591 §2).
        let basic = text("token_endpoint_auth_method").is_none_or(|method| method != "client_secret_post");
        Ok(Client { id, secret: text("client_secret"), basic })
    }
}
