//! The documents that the library does not provide: those of the authorization server in this program, if it is the
//! issuer, and the documentation. A document never names an endpoint that does not work.

use actix_web::{HttpResponse, web};
use common::{config::PublicUrl, oauth::AuthorizationServerMetadata};
use resource_server::ResourceServer;
use serde::Serialize;
use serde_json::json;

use crate::well_known::Places;

pub const JWKS: &str = "/.well-known/jwks.json";
pub const DOCUMENTATION: &str = "/docs";

/// Where `/health` says the documents are.
#[derive(Clone, Serialize)]
pub struct OAuthUrls {
    protected_resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<String>,
}

impl OAuthUrls {
    /// `ours`: whether this program is the issuer.
    pub fn new(places: &Places, public_url: &PublicUrl, ours: bool) -> Self {
        OAuthUrls {
            protected_resource: places.protected_resource(),
            authorization_server: ours.then(|| places.authorization_server()),
            jwks: ours.then(|| public_url.join(JWKS)),
        }
    }
}

/// What MCP clients learn with the results of `initialize` and `server/discover`.
#[derive(Serialize)]
pub struct OAuthMeta<'a> {
    resource: &'a str,
    resource_metadata: &'a str,
    authorization_servers: &'a [String],
    scopes_supported: &'a [String],
}

impl<'a> OAuthMeta<'a> {
    /// What is in the protected-resource document.
    pub fn of(resource_server: &'a ResourceServer) -> Self {
        let metadata = resource_server.metadata();
        OAuthMeta {
            resource: &metadata.resource,
            resource_metadata: resource_server.metadata_url(),
            authorization_servers: metadata.authorization_servers.as_deref().unwrap_or_default(),
            scopes_supported: metadata.scopes_supported.as_deref().unwrap_or_default(),
        }
    }
}

/// RFC 8414; a client accepts this document only from the issuer (§3.3).
pub async fn authorization_server(metadata: web::Data<AuthorizationServerMetadata>) -> HttpResponse {
    HttpResponse::Ok().json(&**metadata)
}

/// The same, under the name of OpenID Connect, of which some clients want two members more: `sub` is the same for every client,
/// and no algorithm signs ID tokens, since there are none.
pub async fn openid_configuration(metadata: web::Data<AuthorizationServerMetadata>) -> HttpResponse {
    let mut metadata = AuthorizationServerMetadata::clone(&metadata);
    let wanted = [("subject_types_supported", json!(["public"])), ("id_token_signing_alg_values_supported", json!([]))];
    metadata.other.extend(wanted.map(|(name, value)| (name.to_owned(), value)));
    HttpResponse::Ok().json(metadata)
}

/// `resource_documentation`: this step's own README.
pub async fn documentation() -> HttpResponse {
    HttpResponse::Ok().content_type("text/markdown; charset=utf-8").body(include_str!("../README.md"))
}
