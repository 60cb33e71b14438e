//! One exchange: a request and its answer.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use url::Url;

/// The longest answer of an authorization server, and the longest metadata document, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// The longest answer of an MCP server, in bytes; of an event stream, all of it together.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// A request, complete, before it is sent: so that it can be shown, and sent again with another token.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// The longest answer, in bytes.
    pub limit: usize,
}

#[derive(Clone)]
pub enum Body {
    Empty,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

impl Request {
    pub fn get(url: Url) -> Self {
        let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        Request { method: Method::GET, url, headers, body: Body::Empty, limit: MAX_DOCUMENT }
    }

    pub fn post(url: Url, body: Body) -> Self {
        let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        Request { method: Method::POST, url, headers, body, limit: MAX_DOCUMENT }
    }
}

/// The headers about the session that a request belongs to. Its other headers are about its own message.
const OF_THE_SESSION: [&str; 3] = ["Accept", "MCP-Protocol-Version", SESSION_ID];
pub const SESSION_ID: &str = "Mcp-Session-Id";

impl Request {
    /// A message to the same server, in the same session. `session` is the id that the server has just given it.
    pub fn in_session(&self, message: Value, session: Option<&str>) -> Self {
        let is = |name: &str, header: &str| name.eq_ignore_ascii_case(header);
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| OF_THE_SESSION.iter().any(|one| is(name, one)));
        if let Some(session) = session.filter(|_| !headers.iter().any(|(name, _)| is(name, SESSION_ID))) {
            headers.push((SESSION_ID.to_owned(), session.to_owned()));
        }
        Request { headers, body: Body::Json(message), limit: MAX_DOCUMENT, ..self.clone() }
    }
}

/// An answer, read to its end.
pub struct Answer {
    /// The number of the exchange, as the trace counts them.
    pub exchange: u32,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// All values of a header, as they came.
    pub fn header_bytes(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.get_all(name).iter().map(reqwest::header::HeaderValue::as_bytes)
    }

    /// All values of a header that are text; what a server says there may be in any language (RFC 9110 §5.5).
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| str::from_utf8(value.as_bytes()).ok())
    }
}
