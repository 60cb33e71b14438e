//! What is tried with tokens that are taken back.

use url::Url;

use super::{
    client::Client,
    outcome::{Granted, Revocations},
};
use crate::{context::Context, message::Exchange, model::Unmet};

impl Context {
    async fn revocation_endpoint(&self) -> Result<&Url, Unmet> {
        let endpoint = self.endpoints().await?.revocation.as_ref();
        endpoint.ok_or_else(|| Unmet("a revocation_endpoint".to_owned()))
    }

    /// A revocation request (RFC 7009 §2.1).
    ///
    /// # Errors
    /// If the server has no such endpoint, or there is no answer.
    pub async fn revoke(&self, client: &Client, token: &str) -> Result<Exchange, Unmet> {
        let form = [("token", token), ("token_type_hint", "refresh_token")];
        self.send(client.request(self.revocation_endpoint().await?, &form)).await
    }

    /// What came of taking the refresh token of one more log-in back.
    ///
    /// # Errors
    /// If there is none.
    pub async fn revocations(&self) -> Result<&Revocations, Unmet> {
        let revocations = self.login()?.revocations.get_or_init(async || {
            let own = self.own_client().await?;
            self.revocation_endpoint().await?;
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
