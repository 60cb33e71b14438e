//! A token that is bound to a key (DPoP, RFC 9449), and requests with it.

use std::sync::{Mutex, PoisonError};

use super::grant::Granted;
use crate::{
    context::Context,
    message::{Exchange, Request},
    model::Unmet,
    proof::{self, ALGORITHM, ProofKey},
};

/// A token for which a proof was sent.
pub struct Bound {
    /// The key.
    pub key: ProofKey,
    /// A key that the token is not bound to.
    pub foreign: ProofKey,
    /// What the token endpoint answers.
    pub exchange: Exchange,
    /// What the MCP server wants to see in proofs (§9).
    nonce: Mutex<Option<String>>,
}

impl Bound {
    /// The access token.
    ///
    /// # Errors
    /// If there is none, or none that is bound.
    pub fn token(&self) -> Result<String, Unmet> {
        let granted = Granted::of(&self.exchange);
        let bound = self.exchange.json().is_some_and(|json| is_dpop(json["token_type"].as_str()));
        let unbound = || Unmet("a log-in that gives a token which is bound to a key".to_owned());
        granted.filter(|_| bound).map(|granted| granted.access_token).ok_or_else(unbound)
    }

    /// The nonce for the next proof.
    pub fn nonce(&self) -> Option<String> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether a token's type says that it is bound.
pub fn is_dpop(token_type: Option<&str>) -> bool {
    token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP"))
}

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
            // It may want a value of its own in the proof (§8).
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
