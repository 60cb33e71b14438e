//! DPoP proofs (RFC 9449 §4.2), put together part by part.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use oauth::secret::random_bytes;
use serde_json::{Value, json};
use url::Url;

use crate::{
    jose::{b64, hash, now, unsigned},
    model::Unmet,
};

/// The algorithm of all proofs.
pub const ALGORITHM: &str = "ES256";

/// A key that signs proofs.
pub struct ProofKey(EcdsaKeyPair);

impl ProofKey {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<Self, Unmet> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        pair.map(ProofKey).map_err(|_| Unmet("a computer with randomness".to_owned()))
    }

    /// What is published of it (RFC 7518 §6.2.1).
    pub fn jwk(&self) -> Value {
        // An uncompressed point: 4, and two numbers of 32 bytes.
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y) })
    }

    /// Its thumbprint (RFC 7638 §3).
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        hash(&format!("{{\"crv\":{},\"kty\":{},\"x\":{},\"y\":{}}}", jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]))
    }

    /// The header of its proofs.
    pub fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": ALGORITHM, "jwk": self.jwk() })
    }

    /// A proof with this header and these claims, whatever they say.
    ///
    /// # Panics
    /// If the library cannot sign with a good key.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims.to_string().as_bytes());
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("a key signs any message");
        format!("{message}.{}", b64(signature))
    }
}

/// The claims of a good proof for a request, with the token that the request has.
pub fn claims(method: &str, url: &Url, token: Option<&str>, nonce: Option<&str>) -> Value {
    let mut target = url.clone();
    target.set_query(None);
    target.set_fragment(None);
    let jti = random_bytes().map(b64).unwrap_or_default();
    let mut claims = json!({ "jti": jti, "htm": method, "htu": target.as_str(), "iat": now() });
    if let Some(token) = token {
        claims["ath"] = json!(hash(token));
    }
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    claims
}
