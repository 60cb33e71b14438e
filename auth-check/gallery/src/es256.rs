//! The authorization server's key, and whatever else is signed with ES256 (RFC 7518 §3.4).

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// The elliptic key of RFC 7517, appendix A: everybody knows its private half, which is no matter here.
pub const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
/// Its other coordinate.
pub const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
/// Its private half.
pub const D: &str = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";

/// base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The digest of a text, as PKCE, `ath` and thumbprints have it.
pub fn hash(text: &str) -> String {
    b64(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The point of a public key, uncompressed (SEC 1 §2.3.3).
fn point(x: &str, y: &str) -> Option<Vec<u8>> {
    Some([vec![4], bytes(x)?, bytes(y)?].concat())
}

/// A token of the authorization server with these claims.
///
/// # Panics
/// If the key of the RFC is none.
pub fn sign(claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "1" });
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &bytes(D).expect("it is base64url"),
        &point(X, Y).expect("it is base64url"),
    );
    let signed = pair.expect("it is a key").sign(&SystemRandom::new(), message.as_bytes());
    format!("{message}.{}", b64(signed.expect("a key signs")))
}

/// Whether the authorization server's key signed this.
pub fn is_own(message: &str, signature: &[u8]) -> bool {
    verifies(X, Y, message, signature)
}

fn verifies(x: &str, y: &str, message: &str, signature: &[u8]) -> bool {
    let key = point(x, y).map(|point| UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point));
    key.is_some_and(|key| key.verify(message.as_bytes(), signature).is_ok())
}

/// A DPoP proof that its own key signed (RFC 9449 §4.3).
pub struct Proof {
    /// Whether its `typ` is the right one.
    pub is_typed: bool,
    /// The thumbprint of its key (RFC 7638 §3).
    pub thumbprint: String,
    /// Its claims.
    pub claims: Map<String, Value>,
}

impl Proof {
    /// Reads it. `unsigned`: one without a signature will do.
    pub fn read(text: &str, unsigned: bool) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let object = |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&bytes(part)?).ok() };
        let (header, claims) = (object(header)?, object(claims)?);
        let jwk = header.get("jwk").filter(|jwk| jwk["kty"] == "EC" && jwk["crv"] == "P-256" && jwk["d"].is_null())?;
        let (x, y) = (jwk["x"].as_str()?, jwk["y"].as_str()?);
        let alg = header.get("alg")?;
        let signed = alg == "ES256" && verifies(x, y, message, &bytes(signature)?) || alg == "none" && unsigned;
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let is_typed = header.get("typ").is_some_and(|typ| typ == "dpop+jwt");
        signed.then(|| Proof { is_typed, thumbprint: hash(&canonical), claims })
    }
}
