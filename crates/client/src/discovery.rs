//! Which authorization servers protect the MCP server, and which one is asked (MCP 2026-07-28 "Authorization Server
//! Discovery").

use oauth::{
    challenge::Challenges,
    identifiers::Issuer,
    metadata::{AuthorizationServerMetadata, ProtectedResourceMetadata},
};

use crate::{
    dpop::{self, Dpop},
    endpoints::{endpoints_of_2025_03_26, lists},
    escape,
    failure::{Failure, Result},
    http::Http,
    search,
    urls::parse_url,
};

/// The descriptions that the two servers publish.
pub struct Discovered {
    pub resource: String,
    pub scopes_supported: Option<Vec<String>>,
    pub dpop_required: bool,
    pub server: AuthorizationServerMetadata,
}

/// Finds out which authorization server protects the server, and how to reach it.
pub async fn discover(http: &Http, challenge: &Challenges, before: Option<&str>) -> Result<Discovered> {
    let settings = &http.settings;
    let server = &settings.server;
    let challenged = challenge.param("resource_metadata");
    let not_the_chosen = |issuer: &str| {
        if settings.issuer.as_ref().is_none_or(|chosen| *chosen == *issuer) {
            return Ok(());
        }
        Err(Failure::authorization(format!(
            "the MCP server relies on the authorization server {}, which is not the one of `Settings::issuer`",
            escape::line(issuer)
        ))
        .advice("What is registered with one authorization server must not be shown to another."))
    };
    let (document, metadata) = match search::protected_resource(http, server, challenged).await? {
        Ok(document) => {
            let issuer = choose_issuer(&document, settings.issuer.as_ref().map(Issuer::as_str).or(before))?;
            not_the_chosen(&issuer)?;
            let metadata = search::authorization_server(http, &issuer, false).await?;
            let nowhere = format!(
                "the authorization server {} has no metadata that can be used at any of its well-known URLs",
                escape::line(&issuer)
            );
            (Some(document), metadata.map_err(|not_found| not_found.failure(&nowhere))?)
        }
        Err(not_found) if not_found.is_withheld() => {
            return Err(not_found.failure("the MCP server's metadata cannot be used"));
        }
        Err(not_found) => {
            // Before 2025-06-18 there was no such document: the MCP server's origin was the authorization server.
            http.note("The server does not say who protects it. In 2025-03-26, it did so itself.");
            let origin = server.origin().ascii_serialization();
            let metadata = match search::authorization_server(http, &origin, true).await? {
                Ok(metadata) => metadata,
                Err(none) if settings.protocol_version.as_deref() == Some("2025-03-26") && !none.is_withheld() => {
                    http.note("Nor does it describe itself: the endpoints are where 2025-03-26 had them.");
                    endpoints_of_2025_03_26(server)
                }
                Err(none) => {
                    let nowhere = "the server wants a token, but says nowhere who gives it";
                    return Err(not_found.and(none).failure(nowhere).advice(
                            "An old server may be reachable with `Settings::protocol_version` 2025-03-26; a newer one must publish RFC 9728 metadata.",
                        ));
                }
            };
            not_the_chosen(&metadata.issuer)?;
            (None, metadata)
        }
    };
    Ok(Discovered {
        resource: document.as_ref().map_or_else(|| server.to_string(), |document| document.resource.clone()),
        dpop_required: document.as_ref().is_some_and(|document| document.dpop_bound_access_tokens_required),
        scopes_supported: document.and_then(|document| document.scopes_supported),
        server: metadata,
    })
}

/// The one that the person named, or that we used before, or the first that may be asked (RFC 9728 §7.6).
fn choose_issuer(document: &ProtectedResourceMetadata, known: Option<&str>) -> Result<String> {
    let servers = document.authorization_servers.as_deref().unwrap_or_default();
    servers
        .iter()
        .find(|server| Some(server.as_str()) == known)
        .or_else(|| servers.iter().find(|server| parse_url(server).is_ok()))
        .or(servers.first())
        .cloned()
        .ok_or_else(|| Failure::authorization("the MCP server's metadata names no authorization server"))
}

/// DPoP where both servers do it, or where the person insists.
pub fn choose_dpop(insists: bool, challenge: &Challenges, found: &Discovered) -> Result<Option<Dpop>> {
    let offered = lists(found.server.dpop_signing_alg_values_supported.as_ref(), dpop::ALGORITHM);
    let wanted = insists || found.dpop_required || challenge.offers_dpop(dpop::ALGORITHM);
    if (insists || found.dpop_required) && !offered {
        return Err(Failure::authorization(
            "tokens shall be bound to a key (DPoP), which the authorization server does not do",
        ));
    }
    if offered && wanted { Dpop::generate().map(Some) } else { Ok(None) }
}
