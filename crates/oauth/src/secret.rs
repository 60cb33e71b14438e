//! Secrets: passwords, tokens, codes, keys. Knowing one is enough to do something, so its type ([`SecretString`]) cannot be
//! printed, and what is kept is its digest.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
pub use secrecy::{ExposeSecret, SecretString};

/// 256 bits that nobody can guess, as 43 characters that fit into a URL.
///
/// # Errors
/// If the system has no randomness.
pub fn random() -> Result<SecretString, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes()?).into())
}

/// The SHA-256 digest of a secret, as 43 characters of base64url: it shows whether somebody knows the secret, but does
/// not reveal it, unless the secret can be guessed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of a text.
    pub fn of(text: &str) -> Self {
        Digest(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
    }

    /// A stored digest.
    pub fn kept(digest: impl Into<String>) -> Self {
        Digest(digest.into())
    }

    /// The 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the digest of this secret. The comparison takes as long wherever the two differ.
    pub fn fits(&self, secret: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), Digest::of(secret).0.as_bytes()).is_ok()
    }
}

/// The first characters: enough to tell two apart.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}…)", self.0.get(..6).unwrap_or_default())
    }
}

/// The system has no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no randomness")
    }
}

impl std::error::Error for NoRandomness {}

/// 256 bits that nobody can guess.
///
/// # Errors
/// If the system has no randomness.
pub fn random_bytes() -> Result<[u8; 32], NoRandomness> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed_and_known_by_its_digest() {
        let secret = random().unwrap();
        let text = secret.expose_secret();
        assert!(text.len() == 43 && !format!("{secret:?}").contains(text));
        let digest = Digest::of(text);
        assert!(digest.fits(text) && !digest.fits("another") && !digest.fits(""));
        assert_eq!(Digest::kept(digest.as_str()), digest);
        assert!(!format!("{digest:?}").contains(digest.as_str()));
        // FIPS 180-2, appendix B.1.
        assert_eq!(Digest::of("abc").as_str(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }
}
