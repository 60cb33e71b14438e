//! Signs tokens: keys of all kinds, good tokens, and tokens that no library would make.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic is a test's failure")]

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rsa::{
    RsaPrivateKey,
    pkcs8::{EncodePrivateKey, LineEnding},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};

/// The audience of [`claims`].
pub const AUDIENCE: &str = "https://mcp.test/mcp";

/// A key that signs, and what is published of it.
pub struct Signer {
    pub key: EncodingKey,
    pub algorithm: Algorithm,
    pub kid: String,
    pub jwk: Value,
}

impl Signer {
    /// One of a few RSA keys. They are shared, since making one takes a while.
    pub fn rsa(number: usize, kid: &str) -> Self {
        Self::of_rsa(rsa_key(number), kid)
    }

    pub fn of_rsa(key: &RsaPrivateKey, kid: &str) -> Self {
        let jwk = json!({
            "kty": "RSA", "kid": kid, "use": "sig",
            "n": b64(key.n().to_bytes_be()), "e": b64(key.e().to_bytes_be()),
        });
        Signer { key: encoding_key(key), algorithm: Algorithm::RS256, kid: kid.to_owned(), jwk }
    }

    pub fn ec(kid: &str) -> Self {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap();
        Self::of_ec(der.as_ref(), &pair, "P-256", Algorithm::ES256, kid)
    }

    pub fn ec384(kid: &str) -> Self {
        let signing = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap();
        Self::of_ec(der.as_ref(), &pair, "P-384", Algorithm::ES384, kid)
    }

    fn of_ec(der: &[u8], pair: &EcdsaKeyPair, curve: &str, algorithm: Algorithm, kid: &str) -> Self {
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let jwk = json!({ "kty": "EC", "crv": curve, "kid": kid, "x": b64(x), "y": b64(y) });
        Signer { key: EncodingKey::from_ec_der(der), algorithm, kid: kid.to_owned(), jwk }
    }

    pub fn ed(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key()) });
        Signer { key: EncodingKey::from_ed_der(der.as_ref()), algorithm: Algorithm::EdDSA, kid: kid.to_owned(), jwk }
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        json!({ "alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": self.kid })
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims.to_string().as_bytes(), &self.key, self.algorithm)
    }
}

/// One of a few RSA keys of 2048 bits, which are made once.
pub fn rsa_key(number: usize) -> &'static RsaPrivateKey {
    static KEYS: [OnceLock<RsaPrivateKey>; 3] = [const { OnceLock::new() }; 3];
    KEYS[number].get_or_init(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap())
}

pub fn encoding_key(key: &RsaPrivateKey) -> EncodingKey {
    EncodingKey::from_rsa_pem(key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap()
}

/// A token with this header and these bytes for claims, whatever they say.
pub fn signed(header: &Value, claims: &[u8], key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// What alice's tokens say at this issuer; each token is another.
pub fn claims(issuer: &str) -> Value {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let jti = COUNT.fetch_add(1, Ordering::Relaxed);
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice", "preferred_username": "alice", "client_id": "client",
        "scope": "mcp:read mcp:tools", "roles": ["user"], "iat": now(), "exp": now() + 300, "jti": jti.to_string(),
    })
}

/// The object with another value for a member, or (null) without it.
pub fn with(object: &Value, name: &str, value: Value) -> Value {
    changed(object, name, (!value.is_null()).then_some(value))
}

/// The object with another value for a member, which may be null, or (`None`) without it.
pub fn changed(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut object = object.clone();
    match value {
        Some(value) => object[name] = value,
        None => drop(object.as_object_mut().unwrap().remove(name)),
    }
    object
}
