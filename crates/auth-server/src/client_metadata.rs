//! What a client says of itself (RFC 7591 §2), and how much of it is accepted: the same for a client that registers and
//! for one that publishes a document ([`crate::cimd`]).
//!
//! What we do not know is left out, and nobody is refused for it: other servers may know it. Refused is what could hurt
//! somebody, and what leaves nothing to work with.

use common::text;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Value};
use url::Url;

use crate::params::known_scopes;

pub(crate) const MAX_REDIRECT_URIS: usize = 10;
/// In characters.
pub(crate) const MAX_NAME: usize = 100;
const MAX_URL: usize = 2048;

/// What a client says of itself. Members we do not use are ignored; an empty string counts as absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// Only in a metadata document, where it must be the document's own URL.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    #[serde(default, deserialize_with = "uris")]
    pub redirect_uris: Vec<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub response_types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, deserialize_with = "keys", skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
}

/// A member's value; an empty string counts as absent, whatever the member's type.
fn present<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?.filter(|value| value != "");
    value.map(|value| serde_json::from_value(value).map_err(D::Error::custom)).transpose()
}

/// The texts in a list. One without anything in it counts as absent.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let members = present::<_, Vec<Value>>(deserializer)?.unwrap_or_default();
    let members: Vec<_> = members.into_iter().filter(|member| member != "").collect();
    if members.is_empty() {
        return Ok(None);
    }
    let texts =
        members.into_iter().filter_map(|member| if let Value::String(text) = member { Some(text) } else { None });
    Ok(Some(texts.collect()))
}

fn uris<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(list(deserializer)?.unwrap_or_default())
}

/// The keys of a set that we can read.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JwkSet>, D::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set = present::<_, Set>(deserializer)?;
    let readable = |key| {
        let key = serde_json::from_value::<Jwk>(key).ok()?;
        (!matches!(key.algorithm, AlgorithmParameters::Other(_))).then_some(key)
    };
    Ok(set.map(|set| JwkSet { keys: set.keys.into_iter().filter_map(readable).collect() }))
}

/// Why metadata is refused (RFC 7591 §3.2.2): a code for programs, a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unacceptable {
    pub error: &'static str,
    pub why: &'static str,
}

/// A member, and what is said if it has another type.
const TYPES: [(&str, &str); 9] = [
    ("client_id", "Its client_id must be a string."),
    ("client_name", "Its client_name must be a string."),
    ("client_uri", "Its client_uri must be a string."),
    ("redirect_uris", "Its redirect_uris must be a list of strings."),
    ("token_endpoint_auth_method", "Its token_endpoint_auth_method must be a string."),
    ("grant_types", "Its grant_types must be a list of strings."),
    ("response_types", "Its response_types must be a list of strings."),
    ("scope", "Its scope must be a string, with spaces between the scopes."),
    ("jwks", "Its jwks must be an object with a list of keys (RFC 7517 §5)."),
];

impl ClientMetadata {
    /// Reads a JSON object.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Unacceptable> {
        let refused = |why| Unacceptable { error: "invalid_client_metadata", why };
        // Not a list, which serde would take for the members in their order.
        let members: Map<String, Value> =
            serde_json::from_slice(json).map_err(|_| refused("The client metadata is not a JSON object."))?;
        for (name, why) in TYPES {
            let alone = members.get(name).map(|value| Map::from_iter([(name.to_owned(), value.clone())]));
            if alone.is_some_and(|alone| serde_json::from_value::<Self>(alone.into()).is_err()) {
                return Err(refused(why));
            }
        }
        serde_json::from_slice(json).map_err(|_| refused("A member is there more than once."))
    }

    /// What of it is accepted, with the defaults of RFC 7591 §2 filled in.
    pub(crate) fn accepted(mut self, schemes: &AppSchemes) -> Result<Self, Unacceptable> {
        let refuse = |why| Err(Unacceptable { error: "invalid_client_metadata", why });
        let of_uris = |why| Err(Unacceptable { error: "invalid_redirect_uri", why });
        self.redirect_uris.retain(|uri| schemes.accept(uri));
        if self.redirect_uris.is_empty() {
            return of_uris(
                "There must be a redirect URI that is https, http to localhost, 127.0.0.1 or [::1], or of an app's own \
                 scheme, whose name needs a dot (com.example.app:/callback) unless the operator allows it with \
                 --app-scheme; without a user, without a fragment, and without code, state, iss or error in its query.",
            );
        }
        if self.redirect_uris.len() > MAX_REDIRECT_URIS {
            return of_uris("There may be 10 redirect_uris at most.");
        }
        let grants = self.grant_types.get_or_insert_with(|| vec!["authorization_code".to_owned()]);
        grants.retain(|grant| matches!(grant.as_str(), "authorization_code" | "refresh_token"));
        if grants.is_empty() {
            return refuse("None of its grant_types is authorization_code or refresh_token.");
        }
        let types = self.response_types.get_or_insert_with(|| vec!["code".to_owned()]);
        types.retain(|kind| kind == "code");
        if types.is_empty() {
            return refuse("None of its response_types is code.");
        }
        let known = self.scope.as_deref().map(known_scopes).filter(|scopes| !scopes.is_empty());
        self.scope = known.map(|scopes| scopes.join(" "));
        if let Some(name) = &self.client_name {
            let Some(name) = visible(name) else {
                return refuse(
                    "Its client_name must have 1 to 100 characters that can be seen, in one line and in one direction of writing.",
                );
            };
            self.client_name = Some(name);
        }
        let mut keys = self.jwks.iter().flat_map(|jwks| &jwks.keys);
        if keys.any(|key| matches!(key.algorithm, AlgorithmParameters::OctetKey(_))) {
            return refuse("Its jwks has a symmetric key: whoever knows it could sign as the client.");
        }
        if self.client_uri.as_deref().is_some_and(|uri| !is_web_page(uri)) {
            return refuse("Its client_uri is not the address of a web page.");
        }
        Ok(self)
    }
}

/// A name as a page can show it, without what cannot be seen in it: with that, one name looks like another. What turns
/// the direction of writing is not left out but refused, as the name was meant to look different.
fn visible(name: &str) -> Option<String> {
    let name = name.trim();
    let shown: String = name.chars().filter(|&c| !text::is_invisible(c)).collect();
    let shown = shown.trim();
    let fits =
        shown.chars().any(text::is_drawn) && shown.chars().count() <= MAX_NAME && !name.chars().any(text::is_control);
    fits.then(|| shown.to_owned())
}

fn is_web_page(uri: &str) -> bool {
    uri.len() <= MAX_URL && Url::parse(uri).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// The schemes of apps without a dot in their names, to which answers may go. RFC 8252 §7.1 wants a domain name turned
/// round, with a dot; these are the operator's exceptions, and one for a client of the field.
#[derive(Clone, Debug)]
pub struct AppSchemes(Vec<String>);

impl AppSchemes {
    pub fn new(more: &[String]) -> Self {
        AppSchemes(["cursor".to_owned()].into_iter().chain(more.iter().cloned()).collect())
    }

    /// Whether a URI may be a client's redirect URI: https, or http to a loopback address, or an app's own scheme
    /// (RFC 8252 §7); without user, and without fragment (RFC 6749 §3.1.2). What our answer adds to the query must not
    /// be in it already: which of the two would the client believe?
    pub fn accept(&self, uri: &str) -> bool {
        const OURS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];
        let Ok(url) = Url::parse(uri) else { return false };
        let plain =
            url.fragment().is_none() && url.username().is_empty() && url.password().is_none() && uri.len() <= MAX_URL;
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
pub(crate) fn can_be_an_apps(scheme: &str) -> bool {
    !NOT_APPS.contains(&scheme)
}

/// Reads `--app-scheme` (RFC 3986 §3.1).
pub(crate) fn app_scheme(name: &str) -> Result<String, String> {
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
pub fn redirect_uri_matches(registered: &str, asked: &str) -> bool {
    if registered == asked {
        return true;
    }
    let (Some(one), Some(other)) = (without_loopback_port(registered), without_loopback_port(asked)) else {
        return false;
    };
    one == other
}

/// The URI with the port cut out of its text, so that all else is still compared as it was written.
pub(crate) fn without_loopback_port(uri: &str) -> Option<String> {
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
