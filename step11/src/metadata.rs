//! What the MCP server and its authorization server say of themselves (RFC 9728, RFC 8414, OpenID Connect Discovery),
//! and the order in which they are asked (MCP 2026-07-28 "Authorization Server Discovery").

use serde::Deserialize;
use url::Url;

use crate::{
    failure::{Failure, Result},
    http::{Http, parse_url, shown},
    terminal,
};

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// The parts of RFC 9728 §2 that a client acts upon.
#[derive(Deserialize)]
pub struct ProtectedResource {
    pub resource: String,
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    pub scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    pub dpop_bound_access_tokens_required: bool,
}

/// The parts of RFC 8414 §2 and its extensions that a client acts upon.
#[derive(Deserialize)]
pub struct AuthorizationServer {
    pub issuer: String,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    /// RFC 7591.
    pub registration_endpoint: Option<String>,
    /// RFC 7009.
    pub revocation_endpoint: Option<String>,
    #[serde(default)]
    pub scopes_supported: Vec<String>,
    /// RFC 7636.
    #[serde(default)]
    pub code_challenge_methods_supported: Vec<String>,
    #[serde(default = "client_secret_basic")]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 9207.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document.
    #[serde(default)]
    pub client_id_metadata_document_supported: bool,
    /// RFC 9449.
    #[serde(default)]
    pub dpop_signing_alg_values_supported: Vec<String>,
}

/// What is meant where nothing is said (RFC 8414 §2).
fn client_secret_basic() -> Vec<String> {
    vec!["client_secret_basic".to_owned()]
}

impl AuthorizationServer {
    /// An endpoint that the flow cannot do without.
    ///
    /// # Errors
    /// If it is missing, or no URL that may be asked.
    pub fn endpoint(&self, name: &str, url: Option<&str>) -> Result<Url> {
        let url = url.ok_or_else(|| {
            Failure::authorization(format!("the authorization server {} names no {name}", terminal::line(&self.issuer)))
        })?;
        parse_url(url).map_err(|why| Failure::authorization(format!("the {name} is refused: {why}")))
    }

    pub fn token_endpoint(&self) -> Result<Url> {
        self.endpoint("token_endpoint", self.token_endpoint.as_deref())
    }
}

/// Asks the MCP server who protects it: at the challenge's URL first, then at the two well-known ones. `None`: it says
/// so nowhere.
///
/// # Errors
/// If a document is there and is not to be believed.
pub async fn protected_resource(
    http: &Http,
    server: &Url,
    challenged: Option<&str>,
) -> Result<Option<ProtectedResource>> {
    let mut candidates = Vec::new();
    if let Some(text) = challenged {
        let url = parse_url(text)
            .map_err(|why| Failure::authorization(format!("the challenge's resource_metadata is refused: {why}")))?;
        if url.origin() != server.origin() {
            return Err(Failure::authorization(format!(
                "the challenge's resource_metadata {} is on another origin than the MCP server",
                shown(&url)
            )));
        }
        candidates.push(url);
    }
    for url in well_known_resource(server) {
        if !candidates.contains(&url) {
            candidates.push(url);
        }
    }
    for url in candidates {
        let why = "Ask the MCP server who protects it (RFC 9728)";
        let answer = http.get(why, url.clone()).await?;
        if answer.status.is_client_error() {
            http.note("Not here. There are other places to look.");
            continue;
        }
        if answer.status != 200 {
            return Err(
                Failure::authorization(format!("{} answers {}", shown(&url), answer.status)).at(answer.exchange)
            );
        }
        let document: ProtectedResource = answer.json("the protected resource's metadata")?;
        check_resource(server, &url, &document.resource).map_err(|failure| failure.at(answer.exchange))?;
        http.note(&format!(
            "`resource` is the server that was asked, as it must be. Its authorization servers: {}.",
            document.authorization_servers.join(", ")
        ));
        return Ok(Some(document));
    }
    Ok(None)
}

/// The well-known URLs of a resource (RFC 9728 §3.1): with its path, then without.
fn well_known_resource(server: &Url) -> Vec<Url> {
    let mut with_path = server.clone();
    with_path.set_path(&format!("{PROTECTED_RESOURCE}{}", server.path().trim_end_matches('/')));
    let mut root = server.clone();
    root.set_path(PROTECTED_RESOURCE);
    root.set_query(None);
    if with_path == root { vec![root] } else { vec![with_path, root] }
}

/// `resource` must be what was asked for, byte for byte: the server's URL, or, in the document at the root, the origin
/// itself (RFC 9728 §3.3). Else a server could make us fetch tokens that are meant for another.
fn check_resource(server: &Url, document: &Url, resource: &str) -> Result<()> {
    let origin = server.origin().ascii_serialization();
    let mut root = server.clone();
    root.set_path(PROTECTED_RESOURCE);
    root.set_query(None);
    let of_origin = *document == root && resource.strip_suffix('/').unwrap_or(resource) == origin;
    // `Url` writes an empty path as `/`; the two mean the same server, and either may be published.
    let of_server = resource == server.as_str() || (server.path() == "/" && resource == origin);
    if of_server || of_origin {
        return Ok(());
    }
    Err(Failure::authorization(format!(
        "the metadata is about another resource: {:?} instead of {:?}",
        terminal::line(resource),
        server.as_str()
    ))
    .advice("If that is the address you meant, give it with --server, letter for letter."))
}

/// Asks an authorization server what it offers: the well-known URLs in the specification's order, the first that
/// answers. `None`: it says so nowhere.
///
/// # Errors
/// If a document is there and is not to be believed.
pub async fn authorization_server(http: &Http, issuer: &str) -> Result<Option<AuthorizationServer>> {
    let url = parse_url(issuer)
        .map_err(|why| Failure::authorization(format!("the authorization server is refused: {why}")))?;
    if url.query().is_some() {
        return Err(Failure::authorization(format!("the issuer {:?} must not have a query", terminal::line(issuer))));
    }
    for candidate in well_known_issuer(&url) {
        let why = "Ask the authorization server what it offers (RFC 8414, OpenID Connect Discovery)";
        let answer = http.get(why, candidate.clone()).await?;
        if answer.status.is_client_error() {
            http.note("Not here. There are other places to look.");
            continue;
        }
        if answer.status != 200 {
            return Err(
                Failure::authorization(format!("{} answers {}", shown(&candidate), answer.status)).at(answer.exchange)
            );
        }
        let document: AuthorizationServer = answer.json("the authorization server's metadata")?;
        // Identical, without any normalization (RFC 8414 §3.3): else one server could speak for another.
        if document.issuer != issuer {
            return Err(Failure::authorization(format!(
                "the metadata is of another issuer: {:?} instead of {:?}",
                terminal::line(&document.issuer),
                terminal::line(issuer)
            ))
            .at(answer.exchange));
        }
        http.note("`issuer` is the one that was asked, letter for letter, as it must be.");
        return Ok(Some(document));
    }
    Ok(None)
}

/// The well-known URLs of an issuer, in the order in which they are tried.
fn well_known_issuer(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let paths = if path.is_empty() {
        vec![AUTHORIZATION_SERVER.to_owned(), OPENID_CONFIGURATION.to_owned()]
    } else {
        vec![
            format!("{AUTHORIZATION_SERVER}{path}"),
            format!("{OPENID_CONFIGURATION}{path}"),
            format!("{path}{OPENID_CONFIGURATION}"),
        ]
    };
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    paths.into_iter().map(at).collect()
}

/// Without any metadata, where 2025-03-26 had clients look (its "Fallbacks for Servers without Metadata Discovery").
pub fn endpoints_of_2025_03_26(server: &Url) -> AuthorizationServer {
    let origin = server.origin().ascii_serialization();
    AuthorizationServer {
        authorization_endpoint: Some(format!("{origin}/authorize")),
        token_endpoint: Some(format!("{origin}/token")),
        registration_endpoint: Some(format!("{origin}/register")),
        revocation_endpoint: None,
        scopes_supported: Vec::new(),
        // 2025-03-26 required PKCE of everybody, and had no way to say so.
        code_challenge_methods_supported: vec!["S256".to_owned()],
        token_endpoint_auth_methods_supported: vec!["none".to_owned()],
        authorization_response_iss_parameter_supported: false,
        client_id_metadata_document_supported: false,
        dpop_signing_alg_values_supported: Vec::new(),
        issuer: origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_places_and_their_order() {
        let places = |urls: Vec<Url>| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            places(well_known_resource(&url("https://mcp.example/a/mcp"))),
            [
                "https://mcp.example/.well-known/oauth-protected-resource/a/mcp",
                "https://mcp.example/.well-known/oauth-protected-resource"
            ]
        );
        assert_eq!(
            places(well_known_resource(&url("https://mcp.example"))),
            ["https://mcp.example/.well-known/oauth-protected-resource"]
        );
        assert_eq!(
            places(well_known_issuer(&url("https://as.example"))),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            places(well_known_issuer(&url("https://as.example/tenant1/"))),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant1",
                "https://as.example/.well-known/openid-configuration/tenant1",
                "https://as.example/tenant1/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn the_resource_is_compared_byte_for_byte() {
        let server = url("https://mcp.example/mcp");
        let [with_path, root] = &well_known_resource(&server)[..] else { panic!() };
        for (document, resource, good) in [
            (with_path, "https://mcp.example/mcp", true),
            (root, "https://mcp.example/mcp", true),
            (root, "https://mcp.example", true),
            (root, "https://mcp.example/", true),
            (with_path, "https://mcp.example", false),
            (with_path, "https://mcp.example/mcp/", false),
            (with_path, "https://MCP.example/mcp", false),
            (with_path, "https://mcp.example:443/mcp", false),
            (root, "https://mcp.example//", false),
            (root, "https://mcp.example.evil.example", false),
            (root, "https://evil.example/mcp", false),
            (root, "", false),
        ] {
            assert_eq!(check_resource(&server, document, resource).is_ok(), good, "{document} {resource}");
        }
        let bare = url("https://mcp.example");
        let root = &well_known_resource(&bare)[0];
        assert!(check_resource(&bare, root, "https://mcp.example").is_ok());
    }
}
