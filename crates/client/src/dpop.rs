//! DPoP: tokens that are worthless without a key (RFC 9449).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::Utc;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use oauth::secret::{ExposeSecret, SecretString};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::failure::{Failure, Result};

/// The one algorithm that is offered: every server that does DPoP has it.
pub const ALGORITHM: &str = "ES256";

/// A key, and what servers want to see in its proofs.
pub struct Dpop {
    key: EncodingKey,
    jwk: Jwk,
    pkcs8: SecretString,
    /// The last nonce of each origin (§8, §9).
    nonces: Mutex<HashMap<String, String>>,
}

impl Dpop {
    /// # Errors
    /// If no key can be made.
    pub fn generate() -> Result<Self> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| Failure::local("cannot make a key for DPoP"))?;
        Self::from_pkcs8(SecretString::from(STANDARD.encode(document.as_ref())))
    }

    /// # Errors
    /// If it is no P-256 key.
    pub fn from_pkcs8(pkcs8: SecretString) -> Result<Self> {
        let damaged = || Failure::local("the stored DPoP key is damaged").advice("Log out and in again.");
        let key = EncodingKey::from_ec_der(&STANDARD.decode(pkcs8.expose_secret()).map_err(|_| damaged())?);
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| damaged())?;
        Ok(Dpop { key, jwk, pkcs8, nonces: Mutex::default() })
    }

    pub fn pkcs8(&self) -> &SecretString {
        &self.pkcs8
    }

    /// What an authorization request says about the key (§10).
    ///
    /// # Errors
    /// Never, for a P-256 key.
    pub fn thumbprint(&self) -> Result<String> {
        self.jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| Failure::local("the DPoP key has no thumbprint"))
    }

    /// A fresh proof for one request (§4.2), with the access token it presents.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn proof(&self, method: &Method, url: &Url, access_token: Option<&SecretString>) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(self.jwk.clone());
        let mut target = url.clone();
        target.set_query(None);
        target.set_fragment(None);
        let mut claims = json!({
            "jti": Uuid::new_v4().to_string(),
            "htm": method.as_str(),
            "htu": target.as_str(),
            "iat": Utc::now().timestamp(),
        });
        if let Some(token) = access_token {
            claims["ath"] = Value::String(URL_SAFE_NO_PAD.encode(digest(&SHA256, token.expose_secret().as_bytes())));
        }
        if let Some(nonce) = self.nonces().get(&url.origin().ascii_serialization()) {
            claims["nonce"] = Value::String(nonce.clone());
        }
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| Failure::local("cannot sign a DPoP proof"))
    }

    /// Keeps the nonce that a server sends along; `true` if it is another than before.
    pub fn remember(&self, url: &Url, headers: &HeaderMap) -> bool {
        let Some(nonce) = headers.get("dpop-nonce").and_then(|value| value.to_str().ok()) else { return false };
        self.nonces().insert(url.origin().ascii_serialization(), nonce.to_owned()).as_deref() != Some(nonce)
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
