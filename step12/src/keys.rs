//! Keys that rotate: the folder of keys is read again and again, and what signs, what is published and what is accepted follow
//! it without a restart. Which key signs when is in the library ([`KeyFolder`]).

use actix_web::{HttpResponse, web};
use anyhow::{Error, Result};
use auth_server::AuthServer;
use common::{
    key_folder::KeyFolder,
    keys::{JwkSet, PublicKey},
};
use resource_server::ResourceServer;

/// What `/.well-known/jwks.json` has: our authorization server's keys, or the one key of somebody else who signs.
pub enum Published {
    Ours(Box<AuthServer>),
    Given(PublicKey),
}

impl Published {
    /// Those of the folder, with which our authorization server signs.
    pub fn ours(auth_server: AuthServer, folder: &KeyFolder) -> Result<Self> {
        auth_server.replace_keys(folder.signing_keys())?;
        Ok(Published::Ours(Box::new(auth_server)))
    }

    pub fn jwks(&self) -> JwkSet {
        match self {
            Published::Ours(auth_server) => auth_server.jwks(),
            Published::Given(key) => key.jwks().clone(),
        }
    }
}

/// RFC 7517 §5. Public keys are public: anyone may read and keep them for five minutes.
pub async fn jwks(published: web::Data<Published>) -> HttpResponse {
    HttpResponse::Ok().insert_header(("Cache-Control", "public, max-age=300")).json(published.jwks())
}

/// Follows the folder for as long as the server runs. A new key is accepted before it is published and signs.
pub async fn follow(folder: KeyFolder, issuer: &str, server: &ResourceServer, auth_server: &AuthServer) -> Error {
    let take = |folder: &KeyFolder| {
        server.replace_own_keys(issuer, &serde_json::to_vec(&folder.jwks())?)?;
        auth_server.replace_keys(folder.signing_keys())
    };
    folder.follow(take).await
}
