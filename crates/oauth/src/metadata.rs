//! The metadata documents of OAuth.

use serde::Serialize;

/// What a protected resource says of itself (RFC 9728 §2).
#[derive(Clone, Serialize)]
pub struct ProtectedResourceMetadata {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub scopes_supported: Vec<&'static str>,
    pub bearer_methods_supported: [&'static str; 1],
    pub resource_name: &'static str,
    pub resource_documentation: String,
}

/// What an authorization server says of itself (RFC 8414 §2). What it does not have, it does not name.
#[derive(Clone, Serialize)]
pub struct AuthorizationServerMetadata {
    pub issuer: String,
    pub jwks_uri: String,
    pub scopes_supported: Vec<&'static str>,
    pub response_types_supported: Vec<&'static str>,
    pub grant_types_supported: Vec<&'static str>,
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(flatten)]
    pub endpoints: Option<Endpoints>,
}

/// Where an authorization server does its work, and how.
#[derive(Clone, Serialize)]
pub struct Endpoints {
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    /// RFC 7591.
    pub registration_endpoint: String,
    /// RFC 7009.
    pub revocation_endpoint: String,
    pub token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    pub revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    /// RFC 7636.
    pub code_challenge_methods_supported: Vec<&'static str>,
    /// RFC 9207.
    pub authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document.
    pub client_id_metadata_document_supported: bool,
}
