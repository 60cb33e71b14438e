//! A client's private key, to prove who it is with (RFC 7523 §2.2).

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

use crate::failure::{Failure, Result};

/// A private key, and the algorithm that goes with it.
#[derive(Clone)]
pub struct PrivateKey {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl PrivateKey {
    /// Reads a key from PEM (PKCS#8): P-256, P-384, RSA or Ed25519. Signing something tells which it is.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let candidates = [
            (EncodingKey::from_ec_pem(pem), Algorithm::ES256),
            (EncodingKey::from_ec_pem(pem), Algorithm::ES384),
            (EncodingKey::from_rsa_pem(pem), Algorithm::RS256),
            (EncodingKey::from_ed_pem(pem), Algorithm::EdDSA),
        ];
        let keys = candidates.into_iter().filter_map(|(key, algorithm)| Some(PrivateKey { key: key.ok()?, algorithm }));
        let mut good = keys.filter(|key| key.sign(&Value::Null).is_ok());
        good.next().ok_or_else(|| {
            Failure::local("the private key is no PEM with an EC (P-256, P-384), RSA or Ed25519 key in PKCS#8")
        })
    }

    /// A JWT with these claims.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key)
            .map_err(|_| Failure::local("the private key cannot sign"))
    }
}
