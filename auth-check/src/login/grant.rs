//! The token endpoint: codes and refresh tokens become tokens there.

use super::client::Client;
use crate::{context::Context, message::Exchange, model::Unmet};

/// What the token endpoint gave.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The access token.
    pub access_token: String,
    /// The refresh token, if there is one.
    pub refresh_token: Option<String>,
    /// What the answer says of the scopes.
    pub scope: Option<String>,
}

impl Granted {
    /// What an answer gives; `None` if that is no token.
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let json = exchange.json().filter(|_| exchange.came.is_success())?;
        let text = |member: &str| json[member].as_str().map(str::to_owned);
        let access_token = text("access_token").filter(|token| !token.is_empty())?;
        Some(Granted { access_token, refresh_token: text("refresh_token"), scope: text("scope") })
    }

    /// The refresh token.
    ///
    /// # Errors
    /// If there is none.
    pub fn refresh_token(&self) -> Result<&str, Unmet> {
        self.refresh_token.as_deref().ok_or_else(|| Unmet("a refresh token: the server gives none".to_owned()))
    }
}

impl Context {
    /// A request to the token endpoint.
    ///
    /// # Errors
    /// If there is no answer, or one that is about something else.
    pub async fn ask_for_token(&self, client: &Client, form: &[(&str, &str)]) -> Result<Exchange, Unmet> {
        let exchange = self.send(client.request(&self.endpoints().await?.token, form)).await?;
        match exchange.came.status {
            status @ (429 | 503) => Err(Unmet(format!("a token endpoint that is not busy (it answers {status})"))),
            _ => Ok(exchange),
        }
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
