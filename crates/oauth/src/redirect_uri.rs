//! Redirect URIs: which of them a client may have (RFC 8252 §7, RFC 6749 §3.1.2), and when two are the same.

use url::Url;

/// The longest redirect URI, in bytes.
const MAX_LENGTH: usize = 2048;

/// The schemes of apps without a dot in their names, to which answers may go. RFC 8252 §7.1 wants a domain name turned
/// round, with a dot; these are the operator's exceptions, and one for a client of the field.
#[derive(Clone, Debug)]
pub struct AppSchemes(Vec<String>);

impl AppSchemes {
    /// The exceptions: `cursor`, and these.
    pub fn new(more: &[String]) -> Self {
        AppSchemes(["cursor".to_owned()].into_iter().chain(more.iter().cloned()).collect())
    }

    /// Whether a URI may be a client's redirect URI: https, or http to a loopback address, or an app's own scheme (RFC
    /// 8252 §7); without user, and without fragment (RFC 6749 §3.1.2). The query must not have the parameters that our
    /// answer adds: the client could not tell which ones count.
    pub fn accept(&self, uri: &str) -> bool {
        const OURS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];
        let Ok(url) = Url::parse(uri) else { return false };
        let plain = url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && uri.len() <= MAX_LENGTH;
        // Other readers may understand differently what the URL parser forgives. No host has a wildcard in its name.
        let authority = uri.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
        let scheme = match url.scheme() {
            "https" => authority.is_some_and(|host| !host.is_empty() && !host.contains(['@', '*'])),
            "http" => without_loopback_port(uri).is_some(),
            scheme => scheme.contains('.') || self.0.iter().any(|known| known == scheme),
        };
        let query = !url.query_pairs().any(|(name, _)| OURS.contains(&&*name));
        plain && scheme && query && uri.chars().all(|c| c.is_ascii_graphic() && c != '\\')
    }
}

/// Schemes that a browser, or the system, keeps for itself.
const NOT_APPS: [&str; 16] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "javascript",
    "mailto",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// Whether the scheme of a URL can be an app's own.
pub fn can_be_an_apps(scheme: &str) -> bool {
    !NOT_APPS.contains(&scheme)
}

/// The name of a scheme (RFC 3986 §3.1) that an app may have for itself, in lower case.
///
/// # Errors
/// If it is no name of a scheme, or of one that browsers keep for themselves.
pub fn app_scheme(name: &str) -> Result<String, String> {
    let name = name.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(allowed) {
        return Err("a scheme is a letter, then letters, digits, '+', '-' and '.'; without the colon".to_owned());
    }
    if !can_be_an_apps(&name) {
        return Err("browsers keep this scheme for themselves: it cannot be an app's".to_owned());
    }
    Ok(name)
}

/// Redirect URIs are compared byte for byte, but for the port of a loopback address, which a client
/// learns only when it starts (RFC 8252 §7.3).
pub fn matches(registered: &str, asked: &str) -> bool {
    if registered == asked {
        return true;
    }
    let (Some(one), Some(other)) = (without_loopback_port(registered), without_loopback_port(asked)) else {
        return false;
    };
    one == other
}

/// The URI with the port cut out of its text, so that all else is still compared as it was written.
pub fn without_loopback_port(uri: &str) -> Option<String> {
    for host in ["http://localhost", "http://127.0.0.1", "http://[::1]"] {
        if let Some(rest) = uri.strip_prefix(host) {
            let rest = match rest.strip_prefix(':') {
                None => rest,
                Some(port) => {
                    let end = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
                    port[..end].parse::<u16>().ok()?;
                    &port[end..]
                }
            };
            return (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| format!("{host}{rest}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_answers_may_go() {
        let schemes = AppSchemes::new(&["vscode".to_owned()]);
        for uri in [
            "https://client.example/callback?tenant=a",
            "http://localhost:3000/callback",
            "http://127.0.0.1/",
            "http://[::1]:1/x",
            "com.example.app:/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "vscode://callback",
        ] {
            assert!(schemes.accept(uri), "{uri}");
        }
        for uri in [
            "http://client.example/",
            "http://127.0.0.2/",
            "http://localhost.client.example/",
            "http://localhost:99999/",
            "https://user@client.example/",
            "https://*.client.example/",
            "https://client.example/#fragment",
            "https://client.example/?code=1",
            "https://client.example/?%73tate=1",
            "https:client.example/",
            "https://client.example\\@evil.example/",
            "https://client.example/ä",
            "exampleapp://callback",
            "javascript:alert(1)",
            "data:,x",
            "",
            &format!("https://client.example/{}", "a".repeat(MAX_LENGTH)),
        ] {
            assert!(!schemes.accept(uri), "{uri}");
        }
    }

    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        for (registered, asked, same) in [
            ("http://localhost/callback", "http://localhost:1234/callback", true),
            ("http://[::1]:1/callback?a=b", "http://[::1]:2/callback?a=b", true),
            ("https://client.example/callback", "https://client.example/callback", true),
            ("http://localhost/callback", "http://127.0.0.1/callback", false),
            ("http://localhost/callback", "http://localhost:1234/callback/", false),
            ("http://localhost/callback", "http://localhost:1234@evil.example/callback", false),
            ("http://localhost/callback", "http://localhost.evil.example/callback", false),
            ("https://client.example/callback", "https://client.example:444/callback", false),
            ("https://client.example/callback", "https://CLIENT.example/callback", false),
        ] {
            assert_eq!(matches(registered, asked), same, "{registered} {asked}");
        }
    }

    #[test]
    fn an_apps_scheme_is_none_of_the_browsers() {
        assert_eq!(app_scheme("VsCode"), Ok("vscode".to_owned()));
        for name in ["", "1a", "a:", "a b", "javascript", "HTTPS", "file"] {
            assert!(app_scheme(name).is_err(), "{name}");
        }
    }
}
