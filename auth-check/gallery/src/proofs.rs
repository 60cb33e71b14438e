//! Which proof is good (RFC 9449 §4.3).

use actix_web::HttpRequest;
use serde_json::Value;

use crate::{
    es256::{Proof, hash},
    grants::{lock, now},
    state::State,
};

/// The thumbprint of the key that has signed a good proof for this request with this token.
pub fn key(request: &HttpRequest, token: &str, state: &State) -> Option<String> {
    let mut headers = request.headers().get_all("dpop");
    let proof = Proof::read(headers.next()?.to_str().ok()?, state.has("unsigned-proof"))?;
    let text = |name: &str| proof.claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let iat = proof.claims.get("iat").and_then(Value::as_u64)?;
    let good = (headers.next().is_none() || state.has("first-of-two-proofs"))
        && (proof.is_typed || state.has("proof-of-any-type"))
        && (text("htm") == request.method().as_str() || state.has("proof-for-any-method"))
        && (text("htu") == format!("{}{}", state.base, request.path()) || state.has("proof-for-any-url"))
        && (now().abs_diff(iat) < 60 || state.has("proof-of-any-time"))
        && (text("ath") == hash(token) || state.has("proof-for-any-token"));
    let fresh = || lock(&state.grants).proofs.insert(text("jti").to_owned()) || state.has("proof-works-twice");
    (good && fresh()).then_some(proof.thumbprint)
}
