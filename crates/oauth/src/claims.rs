//! What an access token says (RFC 9068 §2.2), as types: a required claim that is missing, or any claim
//! of the wrong type (`null` is one), makes the whole token unreadable.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value};

pub use crate::scope::Scopes;

/// The scopes this server knows, in the order in which it names them.
pub const SCOPES: [&str; 3] = ["mcp:read", "mcp:tools", "mcp:prompts"];

/// The scopes for basic use: to list everything, and to call tools.
pub const BASIC_SCOPES: [&str; 2] = ["mcp:read", "mcp:tools"];

/// Keeps `null` apart from absent, which `Option` would merge.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<Option<T>, D::Error> {
    T::deserialize(json).map(Some)
}

/// The claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued the token.
    pub iss: String,
    /// Whom it is for.
    pub aud: Audience,
    /// Whom it is about; unique within `iss`.
    pub sub: String,
    /// The person's name, for people.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// Which client the token was issued to.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What it allows.
    #[serde(default)]
    pub scope: Scopes,
    /// Absent is not the same as empty: without the claim a person counts as `user`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// When it was issued.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub iat: Option<NumericDate>,
    /// Until when it is good.
    pub exp: NumericDate,
    /// From when on it is good.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<NumericDate>,
    /// The token's own id.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Whatever is in it, the token is good only with a proof that its sender has a key (RFC 7800 §3.1): DPoP (RFC
    /// 9449) or mutual TLS (RFC 8705). A server that cannot check the proof must not accept the token.
    #[serde(default, deserialize_with = "present", skip_serializing)]
    pub cnf: Option<IgnoredAny>,
}

impl Claims {
    /// What to call the person.
    pub fn username(&self) -> &str {
        self.preferred_username.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.sub)
    }

    /// About how many bytes of memory these claims take.
    pub fn bytes(&self) -> usize {
        let text = |text: &str| text.len() + 16; // what the allocator adds, about
        let texts = |texts: &[String]| texts.iter().map(|one| size_of::<String>() + text(one)).sum::<usize>();
        let optional = [&self.preferred_username, &self.client_id, &self.jti];
        let aud = match &self.aud {
            Audience::One(aud) => text(aud),
            Audience::Several(list) => texts(list),
        };
        size_of::<Self>()
            + text(&self.iss)
            + aud
            + text(&self.sub)
            + text(self.scope.as_str())
            + optional.into_iter().flatten().map(|one| text(one)).sum::<usize>()
            + self.roles.as_deref().map_or(0, texts)
    }

    /// The roles this server knows among those the token names. Unknown roles are ignored; a token without the claim
    /// counts as a `user`'s.
    pub fn roles(&self) -> Vec<Role> {
        match &self.roles {
            None => vec![Role::User],
            Some(names) => names.iter().filter_map(|name| Role::parse(name)).collect(),
        }
    }
}

/// `aud`: one recipient or several (RFC 7519 §4.1.3).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single recipient.
    One(String),
    /// A list of recipients.
    Several(Vec<String>),
}

/// Seconds since 1970, possibly with a fraction (RFC 7519 §2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumericDate(pub f64);

impl NumericDate {
    /// Whole seconds, without the fraction.
    #[allow(clippy::cast_possible_truncation)] // `as` saturates, which is right for an absurd date
    pub fn seconds(self) -> i64 {
        self.0 as i64
    }
}

impl Serialize for NumericDate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.seconds())
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(NumericDate)
    }
}

/// The ceiling of what a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do all that a user may, and see who the users are.
    Admin,
    /// May use tools and prompts.
    User,
    /// May look, and use prompts.
    Guest,
}

impl Role {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "admin" => Some(Role::Admin),
            "user" => Some(Role::User),
            "guest" => Some(Role::Guest),
            _ => None,
        }
    }
}

/// What a token's header says (RFC 7515 §4.1), as far as it is used. A member of the wrong type (`null` is one) makes
/// the whole token unreadable. Keys (`jwk`, `jku`, `x5u`, `x5c`) are not looked at: the sender does not choose them.
#[derive(Deserialize)]
pub struct JoseHeader {
    /// What it is signed with.
    pub alg: Algorithm,
    /// What kind of token it is.
    #[serde(default, deserialize_with = "present")]
    pub typ: Option<String>,
    /// Which key it is signed with.
    #[serde(default, deserialize_with = "present")]
    pub kid: Option<String>,
    /// Extensions that the reader must understand (§4.1.11). We understand none, so a token with any of them is
    /// refused.
    #[serde(default, deserialize_with = "present")]
    pub crit: Option<IgnoredAny>,
}

impl JoseHeader {
    /// Reads the first part of a token. `None`: it is not such a header.
    pub fn of(token: &str) -> Option<Self> {
        part(token, 0)
    }
}

/// Whether a claim that each token must have (RFC 9068 §2.2) is missing, whatever the others are.
pub fn lacks_a_claim(token: &str) -> bool {
    let claims: Option<Map<String, Value>> = part(token, 1);
    claims.is_some_and(|claims| ["iss", "aud", "exp", "sub"].iter().any(|name| !claims.contains_key(*name)))
}

/// One of the parts of a token, as JSON.
fn part<T: DeserializeOwned>(token: &str, number: usize) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(number)?).ok()?).ok()
}
