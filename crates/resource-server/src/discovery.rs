//! The provider's metadata, found with the issuer's URL alone (RFC 8414 §3, OpenID Connect Discovery §4), at the places
//! and in the order of MCP 2026-07-28 "Authorization Server Metadata Discovery".

use oauth::{fetch::Fetcher, well_known};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::fetch::{self, Problem};

/// What a server needs of the metadata; `doctor` reads the rest too.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub jwks_uri: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The metadata of the issuer of this name (`url` is the same, parsed), and where it was. A document that is not the
/// issuer's own is skipped: its `issuer` must be `issuer`, byte for byte (RFC 8414 §3.3).
///
/// # Errors
/// Says why there is none; of several reasons, the most helpful.
pub async fn discover(http: &Fetcher, issuer: &str, url: &Url) -> Result<(Metadata, Url), Problem> {
    let mut problem = Problem::NoMetadata;
    for place in well_known::of_issuer(url) {
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
pub async fn read(http: &Fetcher, issuer: &str, place: &Url) -> Result<Metadata, Problem> {
    let (_, body) = fetch::get(http, place.clone()).await?;
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|_| Problem::NotJson)?;
    match metadata.issuer.as_str() {
        own if own == issuer => Ok(metadata),
        template if is_template(template) => Err(Problem::Template),
        _ => Err(Problem::OtherIssuer),
    }
}

/// Whether it is a template instead of an issuer, with braces or the like, which no URL has (RFC 3986): Entra's
/// metadata for `/common/` names an issuer with `{tenantid}` in it.
pub fn is_template(issuer: &str) -> bool {
    let braces = |text: &str| issuer.to_ascii_lowercase().contains(text);
    issuer.contains(['{', '}', '<', '>']) || braces("%7b") || braces("%7d")
}
