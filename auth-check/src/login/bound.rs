//! A token that is bound to a key (DPoP, RFC 9449), and requests with it.

use std::sync::{Mutex, PoisonError};

use super::outcome::Bound;
use crate::{
    context::Context,
    message::{Exchange, Request},
    model::Unmet,
    proof::{self, ALGORITHM, ProofKey},
};

/// A request with these proofs, and the token under DPoP.
pub fn proven(request: Request, token: &str, proofs: &[String]) -> Request {
    let request = request.header("Authorization", &format!("DPoP {token}")).secret(token);
    proofs.iter().fold(request, |request, proof| request.header("DPoP", proof).secret(proof))
}

impl Context {
    /// A token that is bound to a key, from one more log-in.
    ///
    /// # Errors
    /// If the authorization server does not offer that.
    pub async fn bound(&self) -> Result<&Bound, Unmet> {
        let bound = self.login()?.bound.get_or_init(async || {
            let endpoints = self.endpoints().await?;
            if !endpoints.lists("dpop_signing_alg_values_supported", ALGORITHM) {
                return Err(Unmet(format!("an authorization server that offers DPoP with {ALGORITHM}")));
            }
            self.granted().await?;
            let (key, foreign) = (ProofKey::generate()?, ProofKey::generate()?);
            let request = self.token_request("for a token that is bound to a key").await?;
            let send = async |nonce: Option<&str>| {
                let claims = proof::claims("POST", &endpoints.token, None, nonce);
                let proof = key.sign(&key.header(), &claims);
                self.send(request.clone().header("DPoP", &proof).secret(&proof)).await
            };
            let mut exchange = send(None).await?;
            // The server may ask for a nonce in the proof (§8).
            if let (false, Some(nonce)) = (exchange.came.is_success(), exchange.came.header("dpop-nonce")) {
                exchange = send(Some(nonce)).await?;
            }
            Ok(Bound { key, foreign, exchange, nonce: Mutex::default() })
        });
        bound.await.as_ref().map_err(Clone::clone)
    }

    /// Sends a request to the MCP server with the proofs that are made for its nonce.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send_proven(
        &self,
        bound: &Bound,
        request: &Request,
        proofs: impl Fn(Option<&str>) -> Vec<String>,
    ) -> Result<Exchange, Unmet> {
        let token = bound.token()?;
        let send = async |nonce: Option<&str>| self.send(proven(request.clone(), &token, &proofs(nonce))).await;
        let nonce = bound.nonce();
        let exchange = send(nonce.as_deref()).await?;
        let new = exchange.came.header("dpop-nonce").map(str::to_owned);
        if new.is_some() && new != nonce {
            bound.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&new);
            if !exchange.came.is_success() {
                return send(new.as_deref()).await;
            }
        }
        Ok(exchange)
    }
}
