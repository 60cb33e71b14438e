//! The token check that the contenders in Rust share. It has no token cache.

use std::path::Path;

use anyhow::Result;
use common::{claims::Claims, keys::PublicKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors};

/// These environment variables tell every contender except the steps its key and whose tokens to accept.
pub const PUBLIC_KEY: &str = "BENCH_PUBLIC_KEY";
pub const ISSUER: &str = "BENCH_ISSUER";
pub const AUDIENCE: &str = "BENCH_AUDIENCE";

/// One RS256 verification, as jsonwebtoken documents it: signature, `iss`, `aud`, `exp`, `sub`.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    /// Accepts what `issuer` signed with `key` for `audience`.
    pub fn new(key: DecodingKey, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        Verifier { key, validation }
    }

    /// The check that the environment describes; `None` if it names no key.
    ///
    /// # Errors
    /// If the key cannot be read, or issuer or audience is missing.
    pub fn from_env() -> Result<Option<Self>> {
        let Some(file) = std::env::var_os(PUBLIC_KEY) else { return Ok(None) };
        let key = PublicKey::load(Path::new(&file))?.decoding_key;
        Ok(Some(Self::new(key, &std::env::var(ISSUER)?, &std::env::var(AUDIENCE)?)))
    }

    /// The token's claims, if every check passes.
    ///
    /// # Errors
    /// Says which check failed.
    pub fn verify(&self, token: &str) -> Result<Claims, errors::Error> {
        Ok(decode::<Claims>(token, &self.key, &self.validation)?.claims)
    }
}
