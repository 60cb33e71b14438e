//! What a client says about itself (RFC 7591 §2), and how much of it is accepted: the same for a client that registers
//! and for one that publishes a document (draft-ietf-oauth-client-id-metadata-document).
//!
//! Unknown members are left out, and no client is refused for them: other servers may know them. Metadata is refused if
//! it could hurt somebody, or leaves nothing to work with.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Value};
use url::Url;

use crate::{jwk::Key, redirect_uri::AppSchemes, text};

/// The most redirect URIs of a client.
pub const MAX_REDIRECT_URIS: usize = 10;
/// The longest `client_name`, in characters.
pub const MAX_NAME: usize = 100;
/// The longest `client_uri`, in bytes.
const MAX_URL: usize = 2048;

/// What a client says about itself. Members we do not use are ignored; an empty string counts as absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// Only in a metadata document, where it must be the document's own URL.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What to call it: the client's own word.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The address of a web page about it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Where answers may go.
    #[serde(default, deserialize_with = "uris")]
    pub redirect_uris: Vec<String>,
    /// How it proves who it is.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<String>,
    /// What it will ask the token endpoint for; absent: `authorization_code` only.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    /// What it will ask the authorization endpoint for; absent: `code`.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Option::is_none")]
    pub response_types: Option<Vec<String>>,
    /// The scopes that it will ask for, with spaces between them.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The keys that it signs with.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
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

/// A client's key set (RFC 7517 §5), as it was sent. `Debug` shows no key: one may be private.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Jwks {
    /// JWKs, each any JSON value.
    pub keys: Vec<Value>,
}

impl Jwks {
    /// The keys that signatures can be checked with.
    pub fn usable(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().filter_map(|key| Key::read(&key.to_string()).ok())
    }

    /// Refuses a set that must not be used at all: anybody who has read it could sign as the client.
    ///
    /// # Errors
    /// If one of the keys is symmetric, or is there with its private half.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.keys.iter().any(|key| key["kty"] == "oct") {
            return Err("Its jwks has a symmetric key: everybody who knows it could sign as the client.");
        }
        if self.keys.iter().any(|key| crate::jwk::is_private(&key.to_string())) {
            return Err("Its jwks has the private half of a key: everybody who reads it could sign as the client.");
        }
        Ok(())
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwks({} keys)", self.keys.len())
    }
}

/// Why metadata is refused (RFC 7591 §3.2.2): a code for programs, a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacceptable {
    /// `invalid_client_metadata` or `invalid_redirect_uri`.
    pub error: &'static str,
    /// A fixed sentence, without anything that the client sent.
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
    ///
    /// # Errors
    /// If it is not one, or a member has the wrong type, or appears twice.
    pub fn parse(json: &[u8]) -> Result<Self, Unacceptable> {
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
        serde_json::from_slice(json).map_err(|_| refused("A member appears more than once."))
    }

    /// What of it is accepted, with the defaults of RFC 7591 §2 filled in. `scopes`: those that the server knows.
    ///
    /// # Errors
    /// If nothing is left to work with, or something could hurt somebody.
    pub fn accepted(mut self, schemes: &AppSchemes, scopes: &[&str]) -> Result<Self, Unacceptable> {
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
        let asked = self.scope.take().unwrap_or_default();
        let known = scopes.iter().filter(|scope| asked.split(' ').any(|one| one == **scope));
        self.scope = Some(known.copied().collect::<Vec<_>>().join(" ")).filter(|scope| !scope.is_empty());
        if let Some(name) = &self.client_name {
            let Some(name) = visible(name) else {
                return refuse(
                    "Its client_name must have 1 to 100 characters that can be seen, in one line and in one direction of writing.",
                );
            };
            self.client_name = Some(name);
        }
        if let Some(jwks) = &mut self.jwks {
            if let Err(why) = jwks.check() {
                return refuse(why);
            }
            jwks.keys.retain(|key| Key::read(&key.to_string()).is_ok());
        }
        if self.client_uri.as_deref().is_some_and(|uri| !is_web_page(uri)) {
            return refuse("Its client_uri is not the address of a web page.");
        }
        Ok(self)
    }
}

/// A name as a page can show it, without invisible characters, which could make two names look alike. Characters that
/// turn the direction of writing are refused instead, since such a name was meant to deceive.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accepted(member: &str, value: Value) -> Result<ClientMetadata, Unacceptable> {
        let json = json!({ "redirect_uris": ["http://localhost/callback"], member: value });
        ClientMetadata::parse(json.to_string().as_bytes())?.accepted(&AppSchemes::new(&[]), &["mcp:read", "mcp:tools"])
    }

    #[test]
    fn a_key_that_somebody_else_could_sign_with_is_refused_and_one_that_cannot_be_used_is_left_out() {
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let mut private = public.clone();
        private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        for (key, why) in [
            (private, "private half"),
            (json!({ "kty": "RSA", "n": "AQ", "p": "AQ" }), "private half"),
            (json!({ "kty": "oct", "k": "c2VjcmV0" }), "symmetric"),
        ] {
            let refused = accepted("jwks", json!({ "keys": [public, key] })).unwrap_err();
            assert_eq!(refused.error, "invalid_client_metadata");
            assert!(refused.why.contains(why), "{key}: {}", refused.why);
        }
        let weak = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let other = json!({ "kty": "new" });
        let metadata = accepted("jwks", json!({ "keys": [weak, public, other, 5, "text"] })).unwrap();
        assert_eq!(metadata.jwks.as_ref().map(|jwks| &jwks.keys[..]), Some(&[public][..]));
        assert!(!format!("{metadata:?}").contains("11qYAYKx"), "a key that was not checked yet might be private");
    }

    #[test]
    fn what_is_not_known_is_left_out_and_an_empty_string_is_absent() {
        let metadata = accepted("scope", json!("mcp:tools openid mcp:read")).unwrap();
        assert_eq!(metadata.scope.as_deref(), Some("mcp:read mcp:tools"));
        assert_eq!(metadata.grant_types, Some(vec!["authorization_code".to_owned()]));
        assert_eq!(accepted("scope", json!("openid")).unwrap().scope, None);
        assert_eq!(accepted("client_uri", json!("")).unwrap().client_uri, None);
        assert_eq!(accepted("client_name", json!("a\u{ad}b")).unwrap().client_name.as_deref(), Some("ab"));
        for (member, value, error) in [
            ("client_name", json!("a\u{202e}b"), "invalid_client_metadata"),
            ("grant_types", json!(["implicit"]), "invalid_client_metadata"),
            ("redirect_uris", json!(["http://client.example/"]), "invalid_redirect_uri"),
            ("redirect_uris", json!(5), "invalid_client_metadata"),
        ] {
            assert_eq!(accepted(member, value).unwrap_err().error, error, "{member}");
        }
    }
}
