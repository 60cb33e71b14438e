//! The provider's metadata, found from nothing but the issuer's URL (RFC 8414 §3, OpenID Connect Discovery §4), at
//! the places and in the order of MCP 2026-07-28 "Authorization Server Metadata Discovery".

use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::fetch::{self, Problem};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// What a server needs of the metadata; `doctor` reads the rest too.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub jwks_uri: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Where the metadata may be. An issuer with a path has its own at each of three places.
pub fn places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut places = vec![at(format!("{OAUTH}{path}")), at(format!("{OPENID}{path}"))];
    if !path.is_empty() {
        places.push(at(format!("{path}{OPENID}")));
    }
    places
}

/// The metadata of the issuer of this name (`url` is the same, parsed), and where it was. A document that is not the
/// issuer's own is passed over: its `issuer` must be `issuer`, byte for byte (RFC 8414 §3.3).
///
/// # Errors
/// Says why it cannot be had; of several reasons, the most telling.
pub async fn discover(http: &Client, issuer: &str, url: &Url) -> Result<(Metadata, Url), Problem> {
    let mut problem = Problem::NoMetadata;
    for place in places(url) {
        match read(http, issuer, &place).await {
            Ok(metadata) => return Ok((metadata, place)),
            // All places are on the same host: no need to wait for it again. But a connection may end at one of them only.
            Err(slow @ Problem::TooSlow) => return Err(slow),
            Err(Problem::Status(404)) => {}
            Err(other) if !matches!(problem, Problem::OtherIssuer | Problem::Template) => problem = other,
            Err(_) => {}
        }
    }
    Err(problem)
}

/// One document.
///
/// # Errors
/// Says why it is not the issuer's metadata.
pub async fn read(http: &Client, issuer: &str, place: &Url) -> Result<Metadata, Problem> {
    let (_, body) = fetch::json(http.get(place.clone())).await?;
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|_| Problem::NotJson)?;
    match metadata.issuer.as_str() {
        own if own == issuer => Ok(metadata),
        template if is_template(template) => Err(Problem::Template),
        _ => Err(Problem::OtherIssuer),
    }
}

/// Whether it is not an issuer's name, but has a place for one, with braces or the like, which no URL has (RFC 3986):
/// Entra's metadata for `/common/` names an issuer with `{tenantid}` in it.
pub fn is_template(issuer: &str) -> bool {
    let braces = |text: &str| issuer.to_ascii_lowercase().contains(text);
    issuer.contains(['{', '}', '<', '>']) || braces("%7b") || braces("%7d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_of_the_specification_in_its_order() {
        for (issuer, expected) in [
            ("https://a.example", vec![format!("https://a.example{OAUTH}"), format!("https://a.example{OPENID}")]),
            ("https://a.example/", vec![format!("https://a.example{OAUTH}"), format!("https://a.example{OPENID}")]),
            (
                "http://localhost:8080/realms/r",
                vec![
                    format!("http://localhost:8080{OAUTH}/realms/r"),
                    format!("http://localhost:8080{OPENID}/realms/r"),
                    format!("http://localhost:8080/realms/r{OPENID}"),
                ],
            ),
        ] {
            let places: Vec<_> = places(&issuer.parse().unwrap()).iter().map(Url::to_string).collect();
            assert_eq!(places, expected);
        }
    }
}
