//! What the MCP server and its authorization server say of themselves (RFC 9728, RFC 8414, OpenID Connect Discovery),
//! and the order in which they are asked (MCP 2026-07-28 "Authorization Server Discovery").

use url::Url;

use crate::{
    document::Document,
    failure::{Failure, Kind, Result},
    http::{Answer, Http, parse_url, shown},
    terminal,
};

const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// The parts of RFC 9728 §2 that a client acts upon.
pub struct ProtectedResource {
    pub resource: String,
    pub authorization_servers: Vec<String>,
    pub scopes_supported: Option<Vec<String>>,
    pub dpop_bound_access_tokens_required: bool,
}

impl ProtectedResource {
    fn read(text: &[u8]) -> Result<Self> {
        let document = Document::read("the protected resource's metadata", text)?;
        let nobody = || Failure::authorization("the MCP server's metadata names no authorization server");
        Ok(ProtectedResource {
            resource: document.required_text("resource")?,
            // Optional in RFC 9728, but not in MCP ("Authorization Server Location").
            authorization_servers: document.texts("authorization_servers")?.ok_or_else(nobody)?,
            scopes_supported: document.texts("scopes_supported")?,
            dpop_bound_access_tokens_required: document.flag("dpop_bound_access_tokens_required")?,
        })
    }
}

/// The parts of RFC 8414 §2 and its extensions that a client acts upon.
pub struct AuthorizationServer {
    pub issuer: String,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: String,
    /// RFC 7591.
    pub registration_endpoint: Option<String>,
    /// RFC 7009.
    pub revocation_endpoint: Option<String>,
    pub scopes_supported: Vec<String>,
    /// RFC 7636.
    pub code_challenge_methods_supported: Vec<String>,
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 9207.
    pub authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document.
    pub client_id_metadata_document_supported: bool,
    /// RFC 9449.
    pub dpop_signing_alg_values_supported: Vec<String>,
}

impl AuthorizationServer {
    fn read(text: &[u8]) -> Result<Self> {
        let document = Document::read("the authorization server's metadata", text)?;
        let list = |member| Ok::<_, Failure>(document.texts(member)?.unwrap_or_default());
        Ok(AuthorizationServer {
            issuer: document.required_text("issuer")?,
            authorization_endpoint: document.text("authorization_endpoint")?,
            // No flow of ours can do without it (RFC 8414 §2).
            token_endpoint: document.required_text("token_endpoint")?,
            registration_endpoint: document.text("registration_endpoint")?,
            revocation_endpoint: document.text("revocation_endpoint")?,
            scopes_supported: list("scopes_supported")?,
            code_challenge_methods_supported: list("code_challenge_methods_supported")?,
            // What is meant where nothing is said (RFC 8414 §2).
            token_endpoint_auth_methods_supported: document
                .texts("token_endpoint_auth_methods_supported")?
                .unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
            authorization_response_iss_parameter_supported: document
                .flag("authorization_response_iss_parameter_supported")?,
            client_id_metadata_document_supported: document.flag("client_id_metadata_document_supported")?,
            dpop_signing_alg_values_supported: list("dpop_signing_alg_values_supported")?,
        })
    }

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
        self.endpoint("token_endpoint", Some(&self.token_endpoint))
    }
}

/// A search that found nothing, and what each place answered.
#[derive(Debug, Default)]
pub struct NotFound {
    answers: Vec<Failure>,
    /// Whether a place knows the document and does not give it: one about another, one that cannot be used, or a server
    /// that fails. Else there is simply none.
    withheld: bool,
}

impl NotFound {
    fn add(&mut self, why: Failure, withheld: bool) {
        self.answers.push(why);
        self.withheld |= withheld;
    }

    pub fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// Both searches were in vain.
    pub fn and(mut self, other: NotFound) -> Self {
        self.answers.extend(other.answers);
        self
    }

    /// The failure, with all the answers.
    pub fn failure(self, what: &str) -> Failure {
        let network = self.answers.iter().any(|answer| answer.kind == Kind::Network);
        let said: Vec<&str> = self.answers.iter().map(|answer| answer.message.as_str()).collect();
        let kind = if network { Kind::Network } else { Kind::Authorization };
        let mut failure = Failure::new(kind, format!("{what}: {}", said.join("; ")));
        failure.advice = self.answers.into_iter().find_map(|answer| answer.advice);
        failure
    }
}

/// Looks for a document at several places of one host, the first that has it. `read` says of an answer what it is; or why
/// not, and whether that is withheld.
async fn search<T>(
    http: &Http,
    why: &str,
    places: Vec<Url>,
    mut not_found: NotFound,
    read: impl Fn(&Url, &Answer) -> std::result::Result<T, (Failure, bool)>,
) -> Result<std::result::Result<T, NotFound>> {
    let last = places.len().saturating_sub(1);
    for (index, place) in places.into_iter().enumerate() {
        let outcome = match http.get(why, place.clone()).await {
            // No need to call at a host again where nobody is.
            Err(failure) if failure.unconnected => return Err(failure),
            Err(failure) => Err((failure, true)),
            Ok(answer) if answer.status.is_success() => {
                let about = |(failure, withheld): (Failure, bool)| {
                    let message = format!("{}: {}", shown(&place), failure.message);
                    (Failure { message, ..failure }, withheld)
                };
                read(&place, &answer).map_err(about)
            }
            Ok(answer) => {
                let message = format!("{} answers {}", shown(&place), answer.status);
                Err((Failure::authorization(message), !answer.status.is_client_error()))
            }
        };
        match outcome {
            Ok(found) => return Ok(Ok(found)),
            Err((failure, withheld)) => {
                let more = if index == last { "" } else { " There are other places to look." };
                http.note(&format!("Not here: {}.{more}", failure.message));
                not_found.add(failure, withheld);
            }
        }
    }
    Ok(Err(not_found))
}

/// Asks the MCP server who protects it: at the challenge's URL first, then at the two well-known ones, all of them on the
/// server's own origin.
///
/// # Errors
/// If the server does not answer.
pub async fn protected_resource(
    http: &Http,
    server: &Url,
    challenged: Option<&str>,
) -> Result<std::result::Result<ProtectedResource, NotFound>> {
    let mut not_found = NotFound::default();
    let challenged = challenged.and_then(|text| {
        let refused = match parse_url(text) {
            Ok(url) if url.origin() == server.origin() => return Some(url),
            Ok(url) => format!("{} is on another origin than the MCP server", shown(&url)),
            Err(why) => why,
        };
        let failure = Failure::authorization(format!("the challenge's resource_metadata is not asked: {refused}"));
        http.note(&format!("{}. There are other places to look.", failure.message));
        not_found.add(failure, true);
        None
    });
    let mut places: Vec<Url> = challenged.iter().cloned().collect();
    places.extend(well_known_resource(server).into_iter().filter(|url| Some(url) != challenged.as_ref()));
    let why = "Ask the MCP server who protects it (RFC 9728)";
    search(http, why, places, not_found, |place, answer| {
        let document = ProtectedResource::read(&answer.body)
            .map_err(|failure| (failure, Document::names(&answer.body, "resource")))?;
        let is_challenged = Some(place) == challenged.as_ref();
        let about = check_resource(server, (!is_challenged).then_some(place), &document.resource)
            .map_err(|failure| (failure, true))?;
        http.note(&format!("{about} Its authorization servers: {}.", document.authorization_servers.join(", ")));
        Ok(document)
    })
    .await
}

/// The well-known URLs of a resource (RFC 9728 §3.1): with its path, then without. A slash at the path's end belongs to
/// it; but many servers leave it out there, as it is with issuers.
fn well_known_resource(server: &Url) -> Vec<Url> {
    let at = |path: &str| {
        let mut url = server.clone();
        url.set_path(&format!("{PROTECTED_RESOURCE}{path}"));
        url
    };
    let mut root = at("");
    root.set_query(None);
    let path = if server.path() == "/" { "" } else { server.path() };
    let mut places = vec![at(path), at(path.trim_end_matches('/')), root];
    places.dedup();
    places
}

/// `resource` must be what was asked for, byte for byte (RFC 9728 §3.3): the server's URL; or its origin, in the document
/// at the root if it was `probed` for there, and in the one that the server's own challenge names. Everything else is
/// about another server: it could make us fetch tokens that are meant for that one. Says what was compared.
fn check_resource(server: &Url, probed: Option<&Url>, resource: &str) -> Result<&'static str> {
    let origin = server.origin().ascii_serialization();
    let is_origin = resource.strip_suffix('/').unwrap_or(resource) == origin;
    let mut root = server.clone();
    root.set_path(PROTECTED_RESOURCE);
    root.set_query(None);
    // `Url` writes an empty path as `/`; the two mean the same server, and either may be published.
    if resource == server.as_str() || (server.path() == "/" && resource == origin) {
        return Ok("`resource` is the server that was asked, as it must be.");
    }
    match probed {
        Some(url) if is_origin && *url == root => {
            return Ok(
                "`resource` is the origin of the server that was asked, as it may be in the document at the root.",
            );
        }
        None if is_origin => {
            return Ok(
                "`resource` is only the origin of the server that was asked. The server's own challenge leads here, so that is accepted.",
            );
        }
        _ => {}
    }
    let failure = Failure::authorization(format!(
        "the metadata is about another resource: {:?} instead of {:?}",
        terminal::line(resource),
        server.as_str()
    ));
    // At the origin alone there need not be an endpoint.
    Err(if is_origin {
        failure
    } else {
        failure.advice("If that is the address you meant, give it with --server, letter for letter.")
    })
}

/// Asks an authorization server what it offers: the well-known URLs in the specification's order, the first that has
/// metadata of this issuer. Where nobody named the issuer and the client `guessed` it, it may end in a slash, or not.
///
/// # Errors
/// If the issuer may not be asked, or does not answer.
pub async fn authorization_server(
    http: &Http,
    issuer: &str,
    guessed: bool,
) -> Result<std::result::Result<AuthorizationServer, NotFound>> {
    let url = parse_url(issuer)
        .map_err(|why| Failure::authorization(format!("the authorization server is refused: {why}")))?;
    if url.query().is_some() {
        return Err(Failure::authorization(format!("the issuer {:?} must not have a query", terminal::line(issuer))));
    }
    let why = "Ask the authorization server what it offers (RFC 8414, OpenID Connect Discovery)";
    search(http, why, well_known_issuer(&url), NotFound::default(), |_, answer| {
        let document = AuthorizationServer::read(&answer.body)
            .map_err(|failure| (failure, Document::names(&answer.body, "issuer")))?;
        // Identical, without any normalization (RFC 8414 §3.3): else one server could speak for another.
        if document.issuer == issuer {
            http.note("`issuer` is the one that was asked, letter for letter, as it must be.");
        } else if guessed && document.issuer.strip_suffix('/') == Some(issuer) {
            http.note("`issuer` is the server's origin with a slash. Nobody named it without, so that is accepted.");
        } else {
            let failure = Failure::authorization(format!(
                "the metadata is of another issuer: {:?} instead of {:?}",
                terminal::line(&document.issuer),
                terminal::line(issuer)
            ));
            return Err((failure, true));
        }
        Ok(document)
    })
    .await
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
        token_endpoint: format!("{origin}/token"),
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
            places(well_known_resource(&url("https://mcp.example/a/mcp/?x=y"))),
            [
                "https://mcp.example/.well-known/oauth-protected-resource/a/mcp/?x=y",
                "https://mcp.example/.well-known/oauth-protected-resource/a/mcp?x=y",
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
            (root, "https://mcp.example/other", false),
            (root, "http://mcp.example", false),
            (root, "https://mcp.example:8443", false),
            (root, "https://mcp.example?x=y", false),
            (root, "", false),
        ] {
            assert_eq!(check_resource(&server, Some(document), resource).is_ok(), good, "{document} {resource}");
            // Where the challenge named the document, its place does not matter.
            let named = [server.as_str(), "https://mcp.example", "https://mcp.example/"].contains(&resource);
            assert_eq!(check_resource(&server, None, resource).is_ok(), named, "{document} {resource}");
        }
        let bare = url("https://mcp.example");
        let root = &well_known_resource(&bare)[0];
        assert!(check_resource(&bare, Some(root), "https://mcp.example").is_ok());
    }
}
