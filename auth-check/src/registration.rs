//! Clients that are registered (RFC 7591), and taken back (RFC 7592).

use serde_json::Value;
use url::Url;

use crate::{
    context::Context,
    message::{Exchange, Request},
    model::Unmet,
};

impl Context {
    /// Where clients register: at the authorization servers that register any.
    pub async fn registration_endpoints(&self) -> Vec<Url> {
        let servers = self.server_metadata().await.unwrap_or_default();
        servers.iter().filter_map(|(_, document)| document.url("registration_endpoint")).collect()
    }

    /// Registers a client with this metadata.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn register(&self, endpoint: &Url, metadata: &Value) -> Result<Exchange, Unmet> {
        let request = Request::new("POST", endpoint).header("Accept", "application/json");
        self.send(request.body("application/json", metadata.to_string())).await
    }

    /// Takes a registration back, where that is possible (RFC 7592 §2.3).
    pub async fn unregister(&self, registration: &Exchange) {
        let answer = registration.json().unwrap_or_default();
        let (uri, token) = (answer["registration_client_uri"].as_str(), answer["registration_access_token"].as_str());
        // The answer may name any address, but the server may speak only for its own origin.
        let own = |url: &Url| url.origin() == registration.sent.url.origin();
        if let (Some(url), Some(token)) = (uri.and_then(|uri| Url::parse(uri).ok()).filter(own), token) {
            // If it stays, it is one more unused client, as the person was told.
            let _ = self.send(Request::new("DELETE", &url).bearer(token)).await;
        }
    }
}
