//! The endpoints in an authorization server's metadata, if they may be asked.

use oauth::metadata::AuthorizationServerMetadata;
use url::Url;

use crate::{
    escape,
    failure::{Failure, Result},
    urls::parse_url,
};

/// An endpoint that the flow cannot do without.
///
/// # Errors
/// If it is missing, or no URL that may be asked.
pub fn endpoint(server: &AuthorizationServerMetadata, name: &str, url: Option<&str>) -> Result<Url> {
    let url = url.ok_or_else(|| {
        Failure::authorization(format!("the authorization server {} names no {name}", escape::line(&server.issuer)))
    })?;
    parse_url(url).map_err(|why| Failure::authorization(format!("the {name} is refused: {why}")))
}

/// Whether a list of the metadata has something in it.
pub fn lists(list: Option<&Vec<String>>, what: &str) -> bool {
    list.is_some_and(|list| list.iter().any(|one| one == what))
}

/// The default endpoints of 2025-03-26, for a server without metadata (its "Fallbacks for Servers without Metadata
/// Discovery").
pub fn endpoints_of_2025_03_26(server: &Url) -> AuthorizationServerMetadata {
    let origin = server.origin().ascii_serialization();
    AuthorizationServerMetadata {
        authorization_endpoint: Some(format!("{origin}/authorize")),
        token_endpoint: Some(format!("{origin}/token")),
        registration_endpoint: Some(format!("{origin}/register")),
        // 2025-03-26 required PKCE of everybody, and had no way to say so.
        code_challenge_methods_supported: Some(vec!["S256".to_owned()]),
        token_endpoint_auth_methods_supported: Some(vec!["none".to_owned()]),
        issuer: origin,
        ..AuthorizationServerMetadata::default()
    }
}
