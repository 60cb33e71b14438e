//! What is tried with tokens that are taken back.

use super::{client::Client, grant::Granted};
use crate::{context::Context, message::Exchange, model::Unmet};

/// What came of taking one refresh token back.
pub struct Revocations {
    /// The answer to another client that does, and whether the token has ended.
    pub other: Result<(Exchange, bool), Unmet>,
    /// The answer to its own client, and to a refresh after it.
    pub own: Result<(Exchange, Exchange), Unmet>,
}

impl Context {
    /// A revocation request (RFC 7009 §2.1).
    ///
    /// # Errors
    /// If the server has no such endpoint, or there is no answer.
    pub async fn revoke(&self, client: &Client, token: &str) -> Result<Exchange, Unmet> {
        let Some(url) = &self.endpoints().await?.revocation else {
            return Err(Unmet("a revocation_endpoint".to_owned()));
        };
        self.send(client.request(url, &[("token", token), ("token_type_hint", "refresh_token")])).await
    }

    /// What came of taking the refresh token of one more log-in back.
    ///
    /// # Errors
    /// If there is none.
    pub async fn revocations(&self) -> Result<&Revocations, Unmet> {
        let revocations = self.login()?.revocations.get_or_init(async || {
            let own = self.own_client().await?;
            if self.endpoints().await?.revocation.is_none() {
                return Err(Unmet("a revocation_endpoint".to_owned()));
            }
            self.granted().await?.refresh_token()?;
            let mut token = self.more("to take tokens back").await?.refresh_token()?.to_owned();
            let other = match self.other_client().await {
                Ok(client) => {
                    let exchange = self.revoke(client, &token).await?;
                    let granted = Granted::of(&self.refresh(own, &token, None).await?);
                    let ended = granted.is_none();
                    token = granted.and_then(|granted| granted.refresh_token).unwrap_or(token);
                    Ok((exchange, ended))
                }
                Err(unmet) => Err(unmet),
            };
            let own = match &other {
                Ok((_, true)) => Err(Unmet("a refresh token that another client did not end".to_owned())),
                _ => Ok((self.revoke(own, &token).await?, self.refresh(own, &token, None).await?)),
            };
            Ok(Revocations { other, own })
        });
        revocations.await.as_ref().map_err(Clone::clone)
    }
}
