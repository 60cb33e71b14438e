//! The documents that tell a client where to get a token, if it knows only our URL:
//! `/.well-known/oauth-protected-resource` (RFC 9728) and `/.well-known/oauth-authorization-server` (RFC 8414). A
//! document never names an endpoint that does not work.

use actix_web::{HttpResponse, web};
use common::{
    config::PublicUrl,
    http,
    oauth::{AuthorizationServerMetadata, ProtectedResourceMetadata},
};
use serde::Serialize;

/// Where the document about `/mcp` is: the well-known name goes between host and path (RFC 9728 §3.1).
pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
/// The same document, for clients that look at the root.
pub const PROTECTED_RESOURCE_ROOT: &str = "/.well-known/oauth-protected-resource";
pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const JWKS: &str = "/.well-known/jwks.json";
pub const DOCUMENTATION: &str = "/docs";

/// The contents of the documents, and where they are.
#[derive(Clone)]
pub struct Metadata {
    public_url: PublicUrl,
    issuer: String,
    /// What basic use needs.
    pub scopes: Vec<&'static str>,
    /// Only if we are the issuer: a client accepts this document from nobody else (RFC 8414 §3.3).
    server: Option<AuthorizationServerMetadata>,
    pub urls: OAuthUrls,
}

/// Where `/health` says the documents are.
#[derive(Clone, Serialize)]
pub struct OAuthUrls {
    pub protected_resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_server: Option<String>,
    pub jwks: String,
}

/// What MCP clients learn with the handshake.
#[derive(Serialize)]
pub struct OAuthMeta<'a> {
    resource: String,
    resource_metadata: &'a str,
    authorization_servers: [&'a str; 1],
    scopes_supported: &'a [&'static str],
}

impl Metadata {
    /// Every URL is built from the public one, never from a request's `Host`.
    pub fn new(
        public_url: &PublicUrl,
        issuer: &str,
        scopes: Vec<&'static str>,
        server: AuthorizationServerMetadata,
    ) -> Self {
        let ours = issuer == public_url.as_str();
        Metadata {
            public_url: public_url.clone(),
            issuer: issuer.to_owned(),
            scopes,
            server: ours.then_some(server),
            urls: OAuthUrls {
                protected_resource: public_url.join(PROTECTED_RESOURCE),
                authorization_server: ours.then(|| public_url.join(AUTHORIZATION_SERVER)),
                jwks: public_url.join(JWKS),
            },
        }
    }

    /// The document about `/mcp` (RFC 9728 §2).
    fn resource(&self) -> ProtectedResourceMetadata {
        ProtectedResourceMetadata {
            resource: self.public_url.resource(),
            authorization_servers: vec![self.issuer.clone()],
            scopes_supported: self.scopes.clone(),
            bearer_methods_supported: ["header"],
            resource_name: "MCP authorization, step by step",
            resource_documentation: self.public_url.join(DOCUMENTATION),
        }
    }

    /// What the results of `initialize` and `server/discover` carry.
    pub fn in_handshake(&self) -> OAuthMeta<'_> {
        OAuthMeta {
            resource: self.public_url.resource(),
            resource_metadata: &self.urls.protected_resource,
            authorization_servers: [&self.issuer],
            scopes_supported: &self.scopes,
        }
    }
}

pub async fn protected_resource(metadata: web::Data<Metadata>) -> HttpResponse {
    HttpResponse::Ok().json(metadata.resource())
}

pub async fn authorization_server(metadata: web::Data<Metadata>) -> HttpResponse {
    match &metadata.server {
        Some(document) => HttpResponse::Ok().json(document),
        None => http::not_found().await,
    }
}

/// `resource_documentation`: this step's own README.
pub async fn documentation() -> HttpResponse {
    HttpResponse::Ok().content_type("text/markdown; charset=utf-8").body(include_str!("../README.md"))
}
