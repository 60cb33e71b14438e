//! Keys, and tokens put together part by part: what no library would sign.

use anyhow::{Result, anyhow};
use aws_lc_rs::{
    digest,
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{
        self, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Map, Value, json};

/// How a token is signed.
#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    /// RSA PKCS #1 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
}

/// An RSA key that signs.
pub struct RsaKey {
    pair: KeyPair,
}

impl RsaKey {
    /// A new one of 2048 bits.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<Self> {
        Ok(RsaKey { pair: KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no key could be made"))? })
    }

    /// Reads a private key in PKCS #8 or PKCS #1.
    ///
    /// # Errors
    /// If it is another.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            anyhow!("it has no private key as PEM; --issuer-key takes the issuer's private key, not the public one")
        })?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            other => KeyPair::from_pkcs8(other.secret_der()),
        };
        Ok(RsaKey { pair: pair.map_err(|why| anyhow!("it is not an RSA private key: {why}"))? })
    }

    /// What is published of it (RFC 7517 §4), named by its thumbprint.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = json!(self.kid());
        jwk["use"] = json!("sig");
        jwk["alg"] = json!("RS256");
        jwk
    }

    /// A key set of it alone.
    pub fn key_set(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    fn bare_jwk(&self) -> Value {
        let public = self.pair.public_key();
        let n = b64(public.modulus().big_endian_without_leading_zero());
        json!({ "kty": "RSA", "n": n, "e": b64(public.exponent().big_endian_without_leading_zero()) })
    }

    /// Its thumbprint (RFC 7638 §3).
    pub fn kid(&self) -> String {
        let jwk = self.bare_jwk();
        let canonical = format!("{{\"e\":{},\"kty\":\"RSA\",\"n\":{}}}", jwk["e"], jwk["n"]);
        hash(&canonical)
    }

    /// The public half in the form in which programs keep it.
    pub fn public_pem(&self) -> String {
        let der: Result<PublicKeyX509Der<'_>, _> = self.pair.public_key().as_der();
        let text = der.map(|der| STANDARD.encode(der.as_ref())).unwrap_or_default();
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// A token with this header and these bytes for claims, whatever they say.
    ///
    /// # Panics
    /// If the library cannot sign with a good key.
    pub fn sign(&self, header: &Value, claims: &[u8], algorithm: Algorithm) -> String {
        let encoding: &'static dyn RsaEncoding = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_SHA512,
            Algorithm::Ps256 => &RSA_PSS_SHA256,
        };
        let message = unsigned(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature);
        signed.expect("a key of 2048 bits signs any message, with a buffer as long as its modulus");
        format!("{message}.{}", b64(signature))
    }

    /// Whether it signed this message, with PKCS #1 and SHA-256.
    pub fn verifies(&self, message: &str, signature: &[u8]) -> bool {
        let key = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, self.pair.public_key());
        key.verify(message.as_bytes(), signature).is_ok()
    }
}

/// A token that a shared secret signs.
pub fn hmac_signed(header: &Value, claims: &[u8], secret: &[u8], sha512: bool) -> String {
    let message = unsigned(header, claims);
    let algorithm = if sha512 { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 };
    format!("{message}.{}", b64(hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes())))
}

/// Header and claims, without the last dot.
pub fn unsigned(header: &Value, claims: &[u8]) -> String {
    format!("{}.{}", b64(header.to_string()), b64(claims))
}

/// The header and the claims of a JWT, unverified.
pub fn taken_apart(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let mut part = || -> Option<Value> {
        let json = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        serde_json::from_slice::<Map<_, _>>(&json).ok().map(Value::Object)
    };
    let read = (part()?, part()?);
    (parts.next().is_some() && parts.next().is_none()).then_some(read)
}

/// Until when a JWT says that it is good.
pub fn ends(token: &str) -> Option<i64> {
    taken_apart(token)?.1["exp"].as_i64()
}

/// Whether this time has come, or will in a few seconds.
pub fn is_over(ends: i64) -> bool {
    ends <= now() + 5
}

/// The SHA-256 of a text in base64url, as challenges, thumbprints and `ath` have it.
pub fn hash(text: &str) -> String {
    b64(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970, as tokens say when they were made and until when they are good (RFC 7519 §2).
pub fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::Pkcs8V1Der;

    use super::*;

    #[test]
    fn a_token_is_signed_by_its_key_and_can_be_taken_apart() {
        let key = RsaKey::generate().unwrap();
        let (header, claims) = (json!({ "alg": "RS256" }), json!({ "sub": "alice" }));
        let token = key.sign(&header, claims.to_string().as_bytes(), Algorithm::Rs256);
        assert_eq!(taken_apart(&token), Some((header, claims)));
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(key.verifies(message, &signature) && !RsaKey::generate().unwrap().verifies(message, &signature));
        for opaque in ["abc", "a.b.c", "", "e30.e30", "e30.e30.x.y"] {
            assert_eq!(taken_apart(opaque), None, "{opaque}");
        }
    }

    #[test]
    fn a_key_is_read_from_what_a_file_has_around_it() {
        let der: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let pem = |kind| format!("A key\n-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(&*der));
        assert!(RsaKey::from_pem(&pem("PRIVATE KEY")).is_ok());
        for none in [&pem("PUBLIC KEY"), ""] {
            assert!(
                RsaKey::from_pem(none).err().unwrap().to_string().contains("--issuer-key takes the issuer's private")
            );
        }
    }
}
