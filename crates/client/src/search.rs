//! Looks for metadata, place by place, until one has the document (MCP 2026-07-28 "Authorization Server Discovery").

use oauth::{
    document::{Document, Malformed},
    metadata::{AuthorizationServerMetadata, ProtectedResourceMetadata},
    well_known::{self, PROTECTED_RESOURCE},
};
use url::Url;

use crate::{
    escape,
    exchange::Answer,
    failure::{Failure, Kind, Result},
    http::Http,
    urls::{parse_url, shown},
};

/// A search that found nothing, and what each place answered.
#[derive(Debug, Default)]
pub struct NotFound {
    answers: Vec<Failure>,
    /// Whether a place failed to give a usable document although there may be one: the document was about another
    /// server or unusable, or the server failed. Otherwise there simply is no document.
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

/// Looks for a document at several places of one host, and takes the first. `read` makes a document of an answer; or
/// says why it is not one, and whether it counts as withheld.
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
            // If nothing answers on this host, the other places need no request.
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
) -> Result<std::result::Result<ProtectedResourceMetadata, NotFound>> {
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
    places.extend(well_known::of_resource(server).into_iter().filter(|url| Some(url) != challenged.as_ref()));
    let why = "Ask the MCP server who protects it (RFC 9728)";
    search(http, why, places, not_found, |place, answer| {
        let unreadable = |why: Malformed| {
            let failure = Failure::malformed("the protected resource's metadata", &why);
            (failure, Document::names(&answer.body, "resource"))
        };
        let document = ProtectedResourceMetadata::read(&answer.body).map_err(unreadable)?;
        // Optional in RFC 9728, but not in MCP ("Authorization Server Location").
        let servers = document.authorization_servers.as_deref().ok_or_else(|| {
            let failure = Failure::authorization("the MCP server's metadata names no authorization server");
            (failure, true)
        })?;
        let is_challenged = Some(place) == challenged.as_ref();
        let about = check_resource(server, (!is_challenged).then_some(place), &document.resource)
            .map_err(|failure| (failure, true))?;
        http.checked(&format!("{about} Its authorization servers: {}.", servers.join(", ")));
        Ok(document)
    })
    .await
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
        escape::line(resource),
        server.as_str()
    ));
    // At the origin alone there need not be an endpoint.
    Err(if is_origin {
        failure
    } else {
        failure.advice("If that is the address you meant, give it with `Settings::server`, letter for letter.")
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
) -> Result<std::result::Result<AuthorizationServerMetadata, NotFound>> {
    let url = parse_url(issuer)
        .map_err(|why| Failure::authorization(format!("the authorization server is refused: {why}")))?;
    if url.query().is_some() {
        return Err(Failure::authorization(format!("the issuer {:?} must not have a query", escape::line(issuer))));
    }
    let why = "Ask the authorization server what it offers (RFC 8414, OpenID Connect Discovery)";
    search(http, why, well_known::of_issuer(&url), NotFound::default(), |_, answer| {
        // No flow of ours can do without a token endpoint (RFC 8414 §2).
        let read =
            AuthorizationServerMetadata::read(&answer.body).and_then(|document| match &document.token_endpoint {
                Some(_) => Ok(document),
                None => Err(Malformed::Missing("token_endpoint")),
            });
        let document = read.map_err(|why| {
            let failure = Failure::malformed("the authorization server's metadata", &why);
            (failure, Document::names(&answer.body, "issuer"))
        })?;
        // Identical, without any normalization (RFC 8414 §3.3): else one server could speak for another.
        if document.issuer == issuer {
            http.checked("`issuer` is the one that was asked, letter for letter, as it must be.");
        } else if guessed && document.issuer.strip_suffix('/') == Some(issuer) {
            http.checked("`issuer` is the server's origin with a slash. Nobody named it without, so that is accepted.");
        } else {
            let failure = Failure::authorization(format!(
                "the metadata is of another issuer: {:?} instead of {:?}",
                escape::line(&document.issuer),
                escape::line(issuer)
            ));
            return Err((failure, true));
        }
        Ok(document)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_resource_is_compared_byte_for_byte() {
        let server = url("https://mcp.example/mcp");
        let [with_path, root] = &well_known::of_resource(&server)[..] else { panic!() };
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
        let root = &well_known::of_resource(&bare)[0];
        assert!(check_resource(&bare, Some(root), "https://mcp.example").is_ok());
    }
}
