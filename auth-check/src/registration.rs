//! Clients that are registered (RFC 7591), and taken back (RFC 7592).

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use crate::{
    context::Context,
    message::{Exchange, Request},
    model::Unmet,
};

/// How long it may take to take all clients back.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let exchange = self.send(request.body("application/json", metadata.to_string())).await?;
        self.registered.lock().await.push(exchange.clone());
        Ok(exchange)
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
        self.registered.lock().await.retain(|other| other.came.body != registration.came.body);
    }

    /// Takes all clients back that are still registered, where that is possible, though the run is at its limits.
    pub async fn leave(&self) {
        self.http.leave();
        let left = self.registered.lock().await.clone();
        let all = async {
            for registration in &left {
                self.unregister(registration).await;
            }
        };
        // What is not taken back by then stays, as above.
        let _ = timeout(PATIENCE, all).await;
    }
}
