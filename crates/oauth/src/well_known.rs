//! Where metadata documents are: under a well-known name, put between a URL's host and its path (RFC 8615).

use url::Url;

/// Of a protected resource (RFC 9728 §3).
pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
/// Of an authorization server (RFC 8414 §3).
pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
/// Of an OpenID provider (OpenID Connect Discovery §4).
pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// Where an issuer's metadata may be, in the order in which a client asks (MCP 2026-07-28 "Authorization Server Metadata
/// Discovery"): two places; three, if the issuer has a path. A slash at the path's end is left out (RFC 8414 §3.1).
pub fn of_issuer(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        at(issuer, &format!("{AUTHORIZATION_SERVER}{path}")),
        at(issuer, &format!("{OPENID_CONFIGURATION}{path}")),
    ];
    if !path.is_empty() {
        places.push(at(issuer, &format!("{path}{OPENID_CONFIGURATION}")));
    }
    places
}

/// Where a protected resource's metadata may be, in the order in which a client asks (RFC 9728 §3.1, MCP 2026-07-28
/// "Protected Resource Metadata Discovery Requirements"): with its path, then without. A slash at the path's end belongs
/// to it; but many servers leave it out there, as it is with issuers.
pub fn of_resource(resource: &Url) -> Vec<Url> {
    let path = if resource.path() == "/" { "" } else { resource.path() };
    let mut root = at(resource, PROTECTED_RESOURCE);
    root.set_query(None);
    let mut places = vec![
        at(resource, &format!("{PROTECTED_RESOURCE}{path}")),
        at(resource, &format!("{PROTECTED_RESOURCE}{}", path.trim_end_matches('/'))),
        root,
    ];
    places.dedup();
    places
}

/// The same URL with another path.
fn at(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_path(path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_of_the_specification_in_its_order() {
        for (issuer, expected) in [
            (
                "https://as.example",
                &[
                    "https://as.example/.well-known/oauth-authorization-server",
                    "https://as.example/.well-known/openid-configuration",
                ][..],
            ),
            (
                "https://as.example/",
                &[
                    "https://as.example/.well-known/oauth-authorization-server",
                    "https://as.example/.well-known/openid-configuration",
                ],
            ),
            (
                "http://localhost:8080/realms/r",
                &[
                    "http://localhost:8080/.well-known/oauth-authorization-server/realms/r",
                    "http://localhost:8080/.well-known/openid-configuration/realms/r",
                    "http://localhost:8080/realms/r/.well-known/openid-configuration",
                ],
            ),
            (
                "https://as.example/tenant1/",
                &[
                    "https://as.example/.well-known/oauth-authorization-server/tenant1",
                    "https://as.example/.well-known/openid-configuration/tenant1",
                    "https://as.example/tenant1/.well-known/openid-configuration",
                ],
            ),
        ] {
            let places: Vec<_> = of_issuer(&issuer.parse().unwrap()).iter().map(Url::to_string).collect();
            assert_eq!(places, expected, "{issuer}");
        }
        for (resource, expected) in [
            ("https://mcp.example", &["https://mcp.example/.well-known/oauth-protected-resource"][..]),
            (
                "https://mcp.example/mcp",
                &[
                    "https://mcp.example/.well-known/oauth-protected-resource/mcp",
                    "https://mcp.example/.well-known/oauth-protected-resource",
                ],
            ),
            (
                "https://mcp.example/a/mcp/?x=y",
                &[
                    "https://mcp.example/.well-known/oauth-protected-resource/a/mcp/?x=y",
                    "https://mcp.example/.well-known/oauth-protected-resource/a/mcp?x=y",
                    "https://mcp.example/.well-known/oauth-protected-resource",
                ],
            ),
        ] {
            let places: Vec<_> = of_resource(&resource.parse().unwrap()).iter().map(Url::to_string).collect();
            assert_eq!(places, expected, "{resource}");
        }
    }
}
