//! The metadata documents of OAuth.

use serde::Serialize;

pub use ::oauth::metadata::AuthorizationServerMetadata;

/// What a protected resource says about itself (RFC 9728 §2), as written by step 7 and later.
#[derive(Clone, Serialize)]
pub struct ProtectedResourceMetadata {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub scopes_supported: Vec<&'static str>,
    pub bearer_methods_supported: [&'static str; 1],
    pub resource_name: &'static str,
    pub resource_documentation: String,
}
