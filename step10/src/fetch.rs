//! Asking a provider for JSON. It may be down, slow, wrong or hostile, so everything is bounded: where a URL may
//! lead, how long an answer may take, how large it may be. Redirects are not followed: whatever is elsewhere is not
//! at the URL that we trust.

use std::{error::Error, fmt, time::Duration};

use common::network::is_loopback;
use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, HeaderMap},
    redirect::Policy,
};
use url::Url;

/// The longest answer, in bytes: a hundred keys of 4096 bits with their certificates.
const MAX_BODY: usize = 256 * 1024;
const MAX_URL: usize = 2048;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one request, from the first byte sent to the last byte received.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the provider's word is not taken. The sentences are fixed, so that `/health` and the log may show them: none
/// says what the other side answered, or by which addresses it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    Unreachable,
    TooSlow,
    Redirected,
    Status(u16),
    TooLarge,
    NotJson,
    NoMetadata,
    OtherIssuer,
    Template,
    NoJwksUri,
    ForbiddenUrl(&'static str),
    NotAKeySet(&'static str),
    NoUsableKey,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::Unreachable => "The provider cannot be reached: is it running, and is its certificate valid?",
            Problem::TooSlow => "The provider took too long to answer.",
            Problem::Redirected => "The provider redirects, which is not followed: configure the URL it redirects to.",
            Problem::Status(code) => return write!(f, "The provider answers with the status {code}."),
            Problem::TooLarge => "The provider's answer is larger than 256 KiB.",
            Problem::NotJson => "The provider's answer is not the JSON document it should be.",
            Problem::NoMetadata => {
                "The provider has no metadata at any of the well-known URLs: is the issuer's URL complete?"
            }
            Problem::OtherIssuer => {
                "The provider's metadata names another issuer: configure it exactly as the metadata spells it."
            }
            Problem::Template => {
                "The provider's metadata names an issuer with {…} in it, for many tenants: configure the URL of one."
            }
            Problem::NoJwksUri => "The provider's metadata has no jwks_uri.",
            Problem::ForbiddenUrl(what) => {
                return write!(f, "The provider's {what} is not an https URL (http is for loopback hosts only).");
            }
            Problem::NotAKeySet(why) => return write!(f, "The provider's key set is refused: {why}."),
            Problem::NoUsableKey => "The provider's key set has no key that is fit to check signatures with.",
        })
    }
}

impl Error for Problem {}

impl Problem {
    /// Whether it may pass by itself. If not, somebody has to change something, and waiting does not help.
    pub fn may_pass(self) -> bool {
        matches!(self, Problem::Unreachable | Problem::TooSlow | Problem::Status(429 | 500..))
    }
}

/// An HTTP client for one issuer. The environment's proxy is used, but not on the way to this machine itself.
///
/// # Errors
/// If it cannot be built.
pub fn client(issuer: &Url) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(1);
    Ok(if is_loopback(issuer) { builder.no_proxy() } else { builder }.build()?)
}

/// A URL that may be asked: https, or http to this machine; without user, password and fragment.
pub fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_URL)?;
    let safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (safe && plain && url.has_host()).then_some(url)
}

/// A URL that the issuer's own documents name. Only an issuer on this machine may lead to this machine in plain text.
pub fn named_url(text: &str, issuer: &Url) -> Option<Url> {
    web_url(text).filter(|url| url.scheme() == "https" || issuer.scheme() == "http")
}

/// The headers and the body of a 200, and nothing else.
///
/// # Errors
/// Says what came instead.
pub async fn json(request: RequestBuilder) -> Result<(HeaderMap, Vec<u8>), Problem> {
    let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
    let mut response = request.send().await.map_err(problem)?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(Problem::Redirected),
        status => return Err(Problem::Status(status.as_u16())),
    }
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Problem::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(problem)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Problem::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.headers().clone(), body))
}

fn problem(error: reqwest::Error) -> Problem {
    if error.is_timeout() { Problem::TooSlow } else { Problem::Unreachable }
}
