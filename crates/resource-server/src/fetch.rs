//! Asking a provider for JSON. It may be down, slow, wrong or hostile, so everything is bounded (see `oauth`'s `fetch`):
//! where a URL may lead, how long an answer may take, how large it may be. Redirects are not followed.

use std::{error::Error, fmt, time::Duration};

use ::url::Url;
use oauth::{
    address::is_loopback,
    fetch::{self, Fetcher, Guard, url},
    jwks::NotAKeySet,
};
use reqwest::{
    Client, Method, Request, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue},
};

/// The longest answer, in bytes: a hundred keys of 4096 bits with their certificates.
const MAX_BODY: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one request, from the first byte sent to the last byte received.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a provider's answer is not used. The sentences are fixed, so that a health check and the log may show them: none says
/// what the provider answered, or at which addresses it is reached.
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
    NotAKeySet(NotAKeySet),
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

impl From<fetch::Problem> for Problem {
    fn from(problem: fetch::Problem) -> Self {
        match problem {
            fetch::Problem::TooSlow => Problem::TooSlow,
            fetch::Problem::TooLarge(_) => Problem::TooLarge,
            fetch::Problem::Forbidden | fetch::Problem::Unreachable(_) => Problem::Unreachable,
        }
    }
}

impl From<NotAKeySet> for Problem {
    fn from(why: NotAKeySet) -> Self {
        match why {
            NotAKeySet::NotJson => Problem::NotJson,
            why @ NotAKeySet::TooManyKeys => Problem::NotAKeySet(why),
        }
    }
}

/// An HTTP client for one issuer, whose URL the operator chose. The environment's proxy is used, but not on the way to
/// this machine itself.
///
/// # Errors
/// If it cannot be built.
pub fn client(issuer: &Url) -> reqwest::Result<Fetcher> {
    let builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).pool_max_idle_per_host(1);
    Fetcher::new(if is_loopback(issuer) { builder.no_proxy() } else { builder }, Guard::open())
}

/// A URL that may be asked: https, or http to this machine; without user, password and fragment.
pub fn web_url(text: &str) -> Option<Url> {
    url::parse(text).ok()
}

/// A URL that the issuer's own documents name. Only an issuer on this machine may lead to this machine in plain text.
pub fn named_url(text: &str, issuer: &Url) -> Option<Url> {
    url::parse_named(text, issuer).ok()
}

/// The headers and the body of a 200 to a GET, and nothing else.
///
/// # Errors
/// Says what came instead.
pub async fn get(http: &Fetcher, url: Url) -> Result<(HeaderMap, Vec<u8>), Problem> {
    json(http, Request::new(Method::GET, url)).await
}

/// The same of any request.
///
/// # Errors
/// Says what came instead.
pub async fn json(http: &Fetcher, mut request: Request) -> Result<(HeaderMap, Vec<u8>), Problem> {
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let response = http.send(request).await?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(Problem::Redirected),
        status => return Err(Problem::Status(status.as_u16())),
    }
    let headers = response.headers().clone();
    Ok((headers, fetch::read(response, MAX_BODY).await?))
}
