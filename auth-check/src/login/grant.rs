//! The token endpoint: codes and refresh tokens become tokens there.

use super::client::Client;
use crate::{context::Context, message::Exchange, model::Unmet};

impl Context {
    /// A request to the token endpoint.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn ask_for_token(&self, client: &Client, form: &[(&str, &str)]) -> Result<Exchange, Unmet> {
        self.send(client.request(&self.endpoints().await?.token, form)).await
    }

    /// A refresh (RFC 6749 §6), perhaps for other scopes.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn refresh(&self, client: &Client, token: &str, scope: Option<&str>) -> Result<Exchange, Unmet> {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        form.extend(scope.map(|scope| ("scope", scope)));
        self.ask_for_token(client, &form).await
    }
}
