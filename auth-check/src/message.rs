//! Requests and answers as they are on the wire, and as a report shows them.

use std::fmt::Write;

use oauth::challenge::Challenge;
use serde_json::Value;
use url::Url;

use crate::{
    mask::{self, line, masked},
    model::Finding,
};

/// The headers of an answer that a report shows, and those whose names begin with one that ends in `-`.
const TELLING: [&str; 8] = [
    "access-control-",
    "allow",
    "cache-control",
    "content-type",
    "location",
    "retry-after",
    "vary",
    "www-authenticate",
];

/// A request, byte for byte.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Whom it is sent to, and what it asks for.
    pub url: Url,
    /// The request target, if it is not the URL's path and query.
    target: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// What a report must not show.
    secrets: Vec<String>,
}

impl Request {
    /// A request without headers of its own.
    pub fn new(method: &str, url: &Url) -> Self {
        let (method, url) = (method.to_owned(), url.clone());
        Request { method, url, target: None, headers: Vec::new(), body: Vec::new(), secrets: Vec::new() }
    }

    /// A request for a document.
    pub fn get(url: &Url) -> Self {
        Request::new("GET", url).header("Accept", "application/json")
    }

    /// A body of this type.
    #[must_use]
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", kind)
    }

    /// One more header, even if there is one of this name. What would end it becomes a space (RFC 9110 §5.5).
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), in_a_header(value).into_bytes()));
        self
    }

    /// The token in the header where it belongs (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}")).secret(token)
    }

    /// A text that no report shows.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        self.secrets.extend([secret.to_owned(), in_a_header(secret)]);
        self
    }

    /// Another request target than the URL's, as it is.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    fn request_target(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.target.clone().unwrap_or_else(|| format!("{}{query}", self.url.path()))
    }

    /// What is sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.request_target()).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        };
        let own = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !own("host") {
            let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
            line("Host", format!("{}{port}", self.url.host_str().unwrap_or_default()).as_bytes());
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        line("User-Agent", concat!("auth-check/", env!("CARGO_PKG_VERSION")).as_bytes());
        line("Connection", b"close");
        if !self.body.is_empty() || self.method == "POST" {
            line("Content-Length", self.body.len().to_string().as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// For people; it may have secrets.
    fn shown(&self) -> String {
        let mut text = format!("{} {}\n", self.method, self.request_target());
        for (name, value) in &self.headers {
            let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value));
        }
        text + "\n" + &String::from_utf8_lossy(&self.body)
    }
}

fn in_a_header(value: &str) -> String {
    value.replace(['\r', '\n', '\0'], " ")
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// All headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

impl Reply {
    /// All values of a header.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether the request was let in.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server itself failed.
    pub fn is_failure(&self) -> bool {
        self.status >= 500
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first event of a stream that has data.
    pub fn event(&self) -> Option<String> {
        let text = self.text().replace("\r\n", "\n");
        let mut events = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
        events.find_map(|event| {
            let data: Vec<_> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
            (!data.is_empty()).then(|| data.join("\n").trim().to_owned()).filter(|data| !data.is_empty())
        })
    }

    /// The `Bearer` challenges.
    ///
    /// # Errors
    /// Says what breaks the grammar.
    pub fn challenges(&self) -> Result<Vec<Challenge>, &'static str> {
        let mut all = Vec::new();
        for header in self.all("www-authenticate") {
            all.extend(oauth::challenge::read(header)?);
        }
        all.retain(|challenge| challenge.is("Bearer"));
        Ok(all)
    }

    /// What breaks the grammar of the challenge, in a sentence.
    pub fn unreadable_challenge(&self) -> Option<String> {
        let why = self.challenges().err()?;
        Some(format!("The WWW-Authenticate header breaks the grammar: {why}."))
    }

    /// A parameter of the `Bearer` challenge.
    pub fn challenge(&self, name: &str) -> Option<String> {
        self.challenges().ok()?.iter().find_map(|challenge| challenge.param(name).map(str::to_owned))
    }

    /// For people, with this for its body; it may have secrets.
    fn shown(&self, body: &str) -> String {
        let mut text = format!("HTTP {}\n", self.status);
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if TELLING.iter().any(|one| lower == *one || one.ends_with('-') && lower.starts_with(one)) {
                let _ = writeln!(text, "{lower}: {}", String::from_utf8_lossy(value));
            }
        }
        text + "\n" + body
    }
}

/// A request and the answer to it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was sent.
    pub sent: Request,
    /// What came.
    pub came: Reply,
}

impl Exchange {
    /// Something that is wrong with it.
    pub fn finding(&self, what: impl Into<String>) -> Finding {
        let (body, mut secrets) = mask::body(&self.came.text());
        secrets.extend(self.location().iter().flat_map(mask::of_redirect));
        secrets.extend_from_slice(&self.sent.secrets);
        let shown = |text: &str| masked(text.trim(), &secrets).trim().to_owned();
        Finding {
            what: line(&shown(&what.into())),
            sent: shown(&self.sent.shown()),
            came: shown(&self.came.shown(&body)),
        }
    }

    /// The same, if it is so.
    pub fn found_if(&self, so: bool, what: impl Into<String>) -> Vec<Finding> {
        if so { vec![self.finding(what)] } else { Vec::new() }
    }

    /// Where the answer leads (RFC 9110 §10.2.2).
    pub fn location(&self) -> Option<Url> {
        self.came.header("location").and_then(|place| self.sent.url.join(place).ok())
    }

    /// The answer's body as JSON: the whole of it, or the first event of a stream.
    pub fn json(&self) -> Option<Value> {
        let text = self.came.event().unwrap_or_else(|| self.came.text());
        serde_json::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_secret_and_controls_no_terminal() {
        let url = Url::parse("http://localhost:1/mcp").unwrap();
        let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEi.eyJzdWIiOiJhbGljZSIsImF1ZCI6InIi.c2lnbmF0dXJlLWlzLXNlY3JldA";
        let sent = Request::new("POST", &url).bearer(token).body("application/json", format!("{{\"t\":\"{token}\"}}"));
        let body = format!("\u{1b}[31m{token} {}", token.split('.').nth(2).unwrap()).into_bytes();
        let headers = vec![("WWW-Authenticate".to_owned(), format!("Bearer error=\"{token}\"").into_bytes())];
        let finding = Exchange { sent, came: Reply { status: 401, headers, body } }.finding("x");
        let shown = format!("{}{}", finding.sent, finding.came);
        for secret in token.split('.').chain(["\u{1b}"]) {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("Authorization: Bearer ‹token, ") && shown.contains("www-authenticate"), "{shown}");
    }
    #[test]
    fn a_value_ends_no_header() {
        let url = Url::parse("http://localhost:1/mcp").unwrap();
        let sent = Request::get(&url).header("X", "a\r\nY: b\0c").bearer("not-a-token\r\nZ: d");
        let bytes = String::from_utf8(sent.bytes()).unwrap();
        assert!(bytes.contains("\r\nX: a  Y: b c\r\n") && bytes.contains("Bearer not-a-token  Z: d\r\n"), "{bytes:?}");
        let came = Reply { status: 200, headers: Vec::new(), body: Vec::new() };
        assert!(!Exchange { sent, came }.finding("x").sent.contains("not-a-token"));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets_and_not_for_ever() {
        let url = Url::parse("http://localhost:1/mcp").unwrap();
        let sent = Request::get(&url).bearer("the-token-of-alice");
        let came = Reply { status: 200, headers: Vec::new(), body: br#"{"access_token":"another-token"}"#.to_vec() };
        let long = format!("the-token-of-alice\nanother-token{}", "x".repeat(5000));
        let finding = Exchange { sent, came }.finding(long);
        let shown = format!("{finding:?}");
        assert!(!shown.contains("token-of") && !shown.contains("another"), "{shown}");
        assert!(finding.what.len() < 1000 && finding.what.lines().count() == 1, "{shown}");
    }
}
