//! `GET /.well-known/jwks.json`: the public key that tokens for this server are checked with
//! (RFC 7517 §5). Whoever signs tokens (`gen-token`) uses the private half.

use actix_web::{HttpResponse, web};
use common::keys::PublicKey;

/// Public keys are public: anyone may read and keep them for five minutes.
pub async fn jwks(key: web::Data<PublicKey>) -> HttpResponse {
    HttpResponse::Ok().insert_header(("Cache-Control", "public, max-age=300")).json(key.jwks())
}
