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

    /// Whether a URI may be a client's redirect URI: https, or http to a loopback address, or an app's own scheme
    /// (RFC 8252 §7); without user, and without fragment (RFC 6749 §3.1.2). What our answer adds to the query must not
    /// be in it already: which of the two would the client believe?
    pub fn accept(&self, uri: &str) -> bool {
        const OURS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];
        let Ok(url) = Url::parse(uri) else { return false };
        let plain = url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && uri.len() <= MAX_LENGTH;
        // What the URL parser forgives, another reader may take for something else. No host has a wildcard in its name.
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
