//! Refresh tokens that name their family and prove that they are ours, so that the database need not remember the used
//! ones: one that is authentic but not the family's current one was used before, however long ago (OAuth 2.1 §4.3.1).
//!
//! A token is base64url of the family's id (16 bytes), 32 random bytes, and an HMAC-SHA-256 of both. The family's row has
//! a digest of the current one. Whoever reads the database can make authentic tokens, but not the current one.

use anyhow::Result;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth::secret::{SecretString, random_bytes};
use uuid::Uuid;

const ID: usize = 16;
const SIGNED: usize = ID + 32;

/// Makes refresh tokens, and recognises them.
pub(crate) struct RefreshTokens(hmac::Key);

impl RefreshTokens {
    pub fn new(secret: &[u8]) -> Self {
        RefreshTokens(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub fn issue(&self, family: Uuid) -> Result<SecretString> {
        let mut token = Vec::from(family.into_bytes());
        token.extend(random_bytes()?);
        let tag = hmac::sign(&self.0, &token);
        token.extend(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(token).into())
    }

    /// The family that a token was issued to; `None` if it was not issued here.
    pub fn family(&self, token: &str) -> Option<Uuid> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, tag) = token.split_at_checked(SIGNED)?;
        hmac::verify(&self.0, signed, tag).ok()?;
        Uuid::from_slice(&signed[..ID]).ok()
    }
}

#[cfg(test)]
mod tests {
    use oauth::secret::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_names_its_family_and_nobody_else_can_make_one() {
        let (ours, theirs) = (RefreshTokens::new(&[1; 32]), RefreshTokens::new(&[2; 32]));
        let family = Uuid::new_v4();
        let token = ours.issue(family).unwrap();
        let token = token.expose_secret();
        assert_eq!(ours.family(token), Some(family));
        assert_ne!(ours.issue(family).unwrap().expose_secret(), token);
        assert_eq!(theirs.family(token), None);
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert_eq!(ours.family(&URL_SAFE_NO_PAD.encode(changed)), None, "byte {position}");
            assert_eq!(ours.family(&URL_SAFE_NO_PAD.encode(&bytes[..position])), None, "the first {position} bytes");
        }
        for other in ["", "nonsense", &format!("{token}A"), &format!("{token}=")] {
            assert_eq!(ours.family(other), None, "{other}");
        }
    }
}
