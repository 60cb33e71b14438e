//! A metadata document: which URLs are allowed, which answers are accepted, and what the document says.

use std::{error::Error, fmt, time::Duration};

use oauth::{address::is_localhost, claims::SCOPES, client_metadata::ClientMetadata, fetch, redirect_uri::AppSchemes};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap},
};
use serde_json::{Map, Value};
use url::Url;

/// The longest URL, in bytes.
pub(super) const MAX_URL: usize = 2048;
/// A server may set its own bounds on how long a document is kept (§4.4).
const SHORTEST: Duration = Duration::from_mins(1);
const USUAL: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(24);

/// Why there is no metadata. The sentences are fixed, so that a page or a log may show them: none says
/// what the other host answered, or which address was forbidden (that would map our network, §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NotAUrl,
    ForbiddenAddress,
    Unreachable,
    Redirected,
    TooLarge,
    TooSlow,
    WrongType,
    NotMetadata(&'static str),
    Busy,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::NotAUrl => "The client_id is not a URL at which a metadata document may be.",
            Problem::ForbiddenAddress => {
                "The client's metadata document is at an address this server does not fetch from."
            }
            Problem::Unreachable => "The client's metadata document could not be fetched.",
            Problem::Redirected => "The client's metadata document is elsewhere, and redirects are not followed.",
            Problem::TooLarge => "The client's metadata document is larger than 5 KiB.",
            Problem::TooSlow => "The client's metadata document took too long to arrive.",
            Problem::WrongType => "The client's metadata document is not served as uncompressed JSON.",
            Problem::NotMetadata(why) => return write!(f, "The client's metadata document is refused. {why}"),
            Problem::Busy => "Too many metadata documents are being fetched; try again in a moment.",
        })
    }
}

impl Error for Problem {}

impl From<fetch::Problem> for Problem {
    fn from(problem: fetch::Problem) -> Self {
        match problem {
            fetch::Problem::Forbidden => Problem::ForbiddenAddress,
            fetch::Problem::TooLarge(_) => Problem::TooLarge,
            fetch::Problem::TooSlow => Problem::TooSlow,
            fetch::Problem::Unreachable(_) => Problem::Unreachable,
        }
    }
}

/// The URL, if the `client_id` is one that the draft allows (§3): https, with a path, without fragment,
/// user and dot segments. Identifiers are compared as text, so the text must already be what the parser
/// makes of it: it silently drops dot segments (even percent-encoded), tabs, an empty user and a default
/// port, and turns `\` into `/`. http passes only to a loopback host; the [`super::Fetcher`] has the last word.
pub(crate) fn is_client_id_url(client_id: &str) -> Option<Url> {
    if client_id.len() > MAX_URL {
        return None;
    }
    let url = Url::parse(client_id).ok()?;
    let scheme = url.scheme() == "https" || url.scheme() == "http" && is_localhost(&url);
    let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (scheme && plain && url.path() != "/" && url.as_str() == client_id).then_some(url)
}

/// Only a 200 carries a document (§4 of version 01 of the draft), as JSON.
pub(super) fn check_head(response: &Response) -> Result<(), Problem> {
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(Problem::Redirected),
        _ => return Err(Problem::Unreachable),
    }
    let headers = response.headers();
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"));
    if encoded || !json {
        return Err(Problem::WrongType);
    }
    Ok(())
}

/// What the document says (§4.1). Members that it must not have are refused: a shared secret in a public document is no
/// secret, and `jwks_uri` would be a second URL to distrust.
pub(super) fn parse(body: &[u8], client_id: &str, schemes: &AppSchemes) -> Result<ClientMetadata, Problem> {
    let refuse = |why| Err(Problem::NotMetadata(why));
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return refuse("It is not a JSON object.");
    };
    if members.keys().any(|name| name.starts_with("client_secret")) {
        return refuse("It publishes a client secret.");
    }
    let metadata = ClientMetadata::parse(body).map_err(|refused| Problem::NotMetadata(refused.why))?;
    if metadata.client_id.as_deref() != Some(client_id) {
        return refuse("Its client_id is not its URL.");
    }
    let metadata = metadata.accepted(schemes, &SCOPES).map_err(|refused| Problem::NotMetadata(refused.why))?;
    let keys = metadata.jwks.as_ref().map_or(&[][..], |jwks| &jwks.keys);
    match metadata.token_endpoint_auth_method.as_deref() {
        None | Some("none") => {}
        Some("private_key_jwt") if !keys.is_empty() => {}
        Some("private_key_jwt") => return refuse("It has no jwks for private_key_jwt that can be used."),
        Some(_) => return refuse("Its token_endpoint_auth_method is neither none nor private_key_jwt."),
    }
    if metadata.client_name.is_none() {
        return refuse("Its client_name is missing.");
    }
    Ok(metadata)
}

/// How long a document stays fresh as HTTP says (§4.4), within our bounds.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    fetch::lifetime(headers).unwrap_or(USUAL).clamp(SHORTEST, LONGEST)
}
