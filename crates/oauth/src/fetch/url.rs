//! Which URLs may be asked at all.

use std::fmt;

use url::Url;

use crate::address::is_loopback;

/// The longest URL, in bytes.
pub const MAX_LENGTH: usize = 4096;

/// Why a text is not a URL that may be asked. The sentence lacks its subject, the URL, which may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// It is longer than [`MAX_LENGTH`].
    TooLong,
    /// It is no URL, or one that another parser might take for something else.
    NotAUrl,
    /// `http`, and not to this computer.
    PlainHttp,
    /// Neither `https` nor `http`.
    OtherScheme,
    /// It names no host, or a user.
    NoHostOrUser,
    /// It has a fragment.
    Fragment,
    /// It has a query, and is to name a server.
    Query,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadUrl::TooLong => "is too long",
            BadUrl::NotAUrl => "is not a URL",
            BadUrl::PlainHttp => "is plain http, which is for this computer only",
            BadUrl::OtherScheme => "is neither https nor http",
            BadUrl::NoHostOrUser => "must name a host, and no user",
            BadUrl::Fragment => "must not have a fragment",
            BadUrl::Query => "must not have a query",
        })
    }
}

impl std::error::Error for BadUrl {}

/// A URL that anybody gave us, if it is one that may be asked: https, or http to this computer (OAuth 2.1 §1.5), without
/// user, password and fragment.
///
/// # Errors
/// Says why not.
pub fn parse(text: &str) -> Result<Url, BadUrl> {
    on_any_host(text).and_then(safe)
}

/// The URL that names a server: an issuer (RFC 8414 §2) or a resource (RFC 9728 §1.2). It is one that may be asked, without
/// query. `insecure_http`: it may be http on any host.
///
/// # Errors
/// Says why not.
pub fn of_server(text: &str, insecure_http: bool) -> Result<Url, BadUrl> {
    let url = on_any_host(text)?;
    let url = if insecure_http { url } else { safe(url)? };
    if url.query().is_some() { Err(BadUrl::Query) } else { Ok(url) }
}

fn safe(url: Url) -> Result<Url, BadUrl> {
    if url.scheme() == "http" && !is_loopback(&url) { Err(BadUrl::PlainHttp) } else { Ok(url) }
}

fn on_any_host(text: &str) -> Result<Url, BadUrl> {
    if text.len() > MAX_LENGTH {
        return Err(BadUrl::TooLong);
    }
    if text.trim() != text || text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(BadUrl::NotAUrl);
    }
    let url = Url::parse(text).map_err(|_| BadUrl::NotAUrl)?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(BadUrl::OtherScheme);
    }
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl::NoHostOrUser);
    }
    if url.fragment().is_some() {
        return Err(BadUrl::Fragment);
    }
    Ok(url)
}

/// A URL that the documents of `from` name. Only a server on this computer may lead to this computer in plain text.
///
/// # Errors
/// Says why it may not be asked.
pub fn parse_named(text: &str, from: &Url) -> Result<Url, BadUrl> {
    let url = parse(text)?;
    if url.scheme() == "http" && from.scheme() != "http" { Err(BadUrl::PlainHttp) } else { Ok(url) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_computer() {
        for url in ["https://mcp.example/mcp", "http://localhost:9000/mcp", "http://127.0.0.1/", "http://[::1]:1/x?y=1"]
        {
            assert!(parse(url).is_ok(), "{url}");
        }
        for (url, why) in [
            ("http://mcp.example/mcp", BadUrl::PlainHttp),
            ("http://localhost.evil.example/", BadUrl::PlainHttp),
            ("http://10.0.0.1/", BadUrl::PlainHttp),
            ("file:///etc/passwd", BadUrl::OtherScheme),
            ("javascript:alert(1)", BadUrl::OtherScheme),
            ("-flag", BadUrl::NotAUrl),
            ("--", BadUrl::NotAUrl),
            ("", BadUrl::NotAUrl),
            ("https://user@mcp.example/", BadUrl::NoHostOrUser),
            ("https://user:password@mcp.example/", BadUrl::NoHostOrUser),
            ("https://mcp.example/#fragment", BadUrl::Fragment),
            (" https://mcp.example/", BadUrl::NotAUrl),
            ("https://mcp.example/\n", BadUrl::NotAUrl),
            ("https:\\\\mcp.example\\", BadUrl::NotAUrl),
            ("data:text/html,x", BadUrl::OtherScheme),
            (&format!("https://mcp.example/{}", "x".repeat(MAX_LENGTH)), BadUrl::TooLong),
        ] {
            assert_eq!(parse(url), Err(why), "{url}");
        }
    }

    #[test]
    fn a_server_is_named_without_query_and_may_be_allowed_to_be_insecure() {
        for (url, strict, insecure) in [
            ("https://as.example", None, None),
            ("https://as.example/tenant", None, None),
            ("http://localhost:9090", None, None),
            ("http://as.example", Some(BadUrl::PlainHttp), None),
            ("https://as.example?x", Some(BadUrl::Query), Some(BadUrl::Query)),
            ("https://as.example#x", Some(BadUrl::Fragment), Some(BadUrl::Fragment)),
            ("https://user@as.example", Some(BadUrl::NoHostOrUser), Some(BadUrl::NoHostOrUser)),
            ("https://as.example ", Some(BadUrl::NotAUrl), Some(BadUrl::NotAUrl)),
            ("urn:example:issuer", Some(BadUrl::OtherScheme), Some(BadUrl::OtherScheme)),
        ] {
            assert_eq!((of_server(url, false).err(), of_server(url, true).err()), (strict, insecure), "{url}");
        }
    }

    #[test]
    fn who_is_elsewhere_does_not_lead_here_in_plain_text() {
        let [there, here] = ["https://as.example", "http://localhost:8080"].map(|url| Url::parse(url).unwrap());
        assert_eq!(parse_named("http://localhost/jwks", &there), Err(BadUrl::PlainHttp));
        assert!(parse_named("http://localhost/jwks", &here).is_ok());
        assert!(parse_named("https://as.example/jwks", &there).is_ok());
    }
}
