//! `GET /.well-known/jwks.json`: the public key that tokens for this server are checked with, as a JSON Web Key
//! (RFC 7517). The private half is where tokens are signed (`gen-token`).

use actix_web::{HttpResponse, web};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{RsaPublicKey, traits::PublicKeyParts};
use serde::Serialize;

/// An RSA public key, and what it is for (RFC 7517 §4, RFC 7518 §6.3.1).
#[derive(Serialize)]
pub struct Jwk {
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    /// The key's name: a token's header names the key that it was signed with.
    pub kid: String,
    kty: &'static str,
    /// The modulus: a big-endian number in base64url.
    pub n: String,
    /// The exponent.
    pub e: String,
}

impl Jwk {
    pub fn new(key: &RsaPublicKey) -> Self {
        let [n, e] = [key.n(), key.e()].map(|number| URL_SAFE_NO_PAD.encode(number.to_bytes_be()));
        // The name follows from the key (RFC 7638): the digest of these members, in this order and without spaces.
        let thumbprint = digest(&SHA256, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#).as_bytes());
        Jwk { usage: "sig", alg: "RS256", kid: URL_SAFE_NO_PAD.encode(thumbprint), kty: "RSA", n, e }
    }
}

/// The document (RFC 7517 §5). There may be several keys; we have one.
#[derive(Serialize)]
struct JwkSet {
    keys: [Jwk; 1],
}

/// Public keys are public: anyone may read and keep them for five minutes.
pub async fn jwks(key: web::Data<RsaPublicKey>) -> HttpResponse {
    let document = JwkSet { keys: [Jwk::new(&key)] };
    HttpResponse::Ok().insert_header(("Cache-Control", "public, max-age=300")).json(document)
}
