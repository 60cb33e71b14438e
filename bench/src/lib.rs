//! What the contenders in Rust share: the check of a token, without any memory of tokens seen before.

use std::path::Path;

use anyhow::Result;
use common::{claims::Claims, keys::PublicKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors};

/// The environment that every contender but the steps is told its key by, and whose tokens to accept.
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

    /// The one that the environment describes; none if it names no key.
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
    /// Which check does not.
    pub fn verify(&self, token: &str) -> Result<Claims, errors::Error> {
        Ok(decode::<Claims>(token, &self.key, &self.validation)?.claims)
    }
}
