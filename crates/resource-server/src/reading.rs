//! A verified token's claims, read from where its issuer's profile says that they are.

use std::collections::BTreeSet;

use oauth::claims::{Claims, Scopes};
use serde_json::{Map, Value, json};

use crate::profile::{Ours, Profile};

/// How many roles or scopes a token may have; they are compared with ours one by one.
const MAX_NAMES: usize = 1000;

impl Profile {
    /// Whether this is an access token, by those claims in it that tell the provider's kinds of tokens apart (RFC 8725
    /// §3.12).
    pub(crate) fn is_access_token(&self, members: &Map<String, Value>) -> bool {
        self.access_token.iter().all(|(name, wanted)| members.get(name).is_none_or(|value| value == wanted))
            && !self.id_token.iter().any(|name| members.contains_key(name))
    }

    /// The claims that a resource server reads, from where this provider puts them. `known`: the scopes that the server
    /// knows. Fails with the place of one that is of the wrong type.
    pub(crate) fn claims(&self, members: &Map<String, Value>, known: &[String]) -> Result<Claims, String> {
        if let Some(name) = mistyped(members) {
            return Err(name.to_owned());
        }
        let mut ours = Map::new();
        for (name, _) in REGISTERED {
            if let Some(value) = members.get(name) {
                ours.insert(name.to_owned(), value.clone());
            }
        }
        for (name, places) in [("preferred_username", &self.claims.username), ("client_id", &self.claims.client_id)] {
            if let Some((place, value)) = first(members, places) {
                value.as_str().ok_or(place)?;
                ours.insert(name.to_owned(), value.clone());
            }
        }
        let mut scopes = Vec::new();
        if let Some((place, value)) = first(members, &self.claims.scope) {
            scopes = match value {
                // RFC 6749 §3.3: one string with spaces between; some providers have an array.
                Value::String(text) => text.split(' ').collect(),
                Value::Array(_) => {
                    names(value).filter(|names| !names.iter().any(|name| name.contains(' '))).ok_or(place)?
                }
                _ => return Err(place.to_owned()),
            };
            Scopes::parse(&scopes.join(" ")).map_err(|_| place)?;
        }
        let mut roles: Vec<Ours> = Vec::new();
        for place in &self.claims.roles {
            let Some(value) = at(members, place) else { continue };
            let names = names(value).ok_or(place)?;
            roles.extend(names.iter().filter(|name| **name != "default").filter_map(|name| self.roles.get(*name)));
            if self.roles_are_scopes {
                scopes.extend(names.iter().filter(|name| known.iter().any(|known| known == *name)));
            }
        }
        let scopes: Vec<_> = scopes.iter().map(|name| self.scopes.get(*name).map_or(*name, String::as_str)).collect();
        ours.insert("scope".to_owned(), scopes.join(" ").into());
        if roles.is_empty() {
            roles.extend(self.roles.get("default"));
        }
        let roles: BTreeSet<_> = roles.into_iter().filter_map(Ours::name).collect();
        ours.insert("roles".to_owned(), json!(roles));
        serde_json::from_value(ours.into()).map_err(|_| String::new())
    }
}

type IsOfType = fn(&Value) -> bool;

/// The claims that have one place and one type (RFC 7519 §4.1).
const REGISTERED: [(&str, IsOfType); 7] = [
    ("iss", Value::is_string),
    ("sub", Value::is_string),
    ("aud", |aud| aud.is_string() || is_strings(aud)),
    ("exp", Value::is_number),
    ("nbf", Value::is_number),
    ("iat", Value::is_number),
    ("jti", Value::is_string),
];

/// The others that our own tokens have.
const OWN: [(&str, IsOfType); 4] = [
    ("preferred_username", Value::is_string),
    ("client_id", Value::is_string),
    ("scope", |scope| scope.as_str().is_some_and(|scope| Scopes::parse(scope).is_ok())),
    ("roles", is_strings),
];

fn is_strings(value: &Value) -> bool {
    value.as_array().is_some_and(|values| values.iter().all(Value::is_string))
}

/// The first of the registered claims that is there and of the wrong type.
pub fn mistyped(members: &Map<String, Value>) -> Option<&'static str> {
    mistyped_of(REGISTERED, members)
}

/// The first of the claims of our own tokens that is there and of the wrong type.
pub fn mistyped_own(members: &Map<String, Value>) -> Option<&'static str> {
    mistyped_of(REGISTERED.into_iter().chain(OWN), members)
}

fn mistyped_of(
    claims: impl IntoIterator<Item = (&'static str, IsOfType)>,
    members: &Map<String, Value>,
) -> Option<&'static str> {
    let wrong = |(name, fits): (&'static str, IsOfType)| members.get(name).filter(|value| !fits(value)).map(|_| name);
    claims.into_iter().find_map(wrong)
}

/// The value at the first of these places that exists, and that place.
fn first<'a>(members: &'a Map<String, Value>, places: &'a [String]) -> Option<(&'a str, &'a Value)> {
    places.iter().find_map(|place| Some((place.as_str(), at(members, place)?)))
}

impl Ours {
    fn name(self) -> Option<&'static str> {
        match self {
            Ours::Admin => Some("admin"),
            Ours::User => Some("user"),
            Ours::Guest => Some("guest"),
            Ours::None => None,
        }
    }
}

/// What is at a place: the claim of that name, such as `https://mcp.example/roles`, or what the path leads to, such as
/// `realm_access.roles`. Names may have dots of their own, as in `resource_access.mcp.example.com.roles`: the longest
/// name that is there counts first. A path through something that is not an object ends at `null`, which is not valid
/// for any claim of ours.
fn at<'a>(members: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    static NULL: Value = Value::Null;
    if let Some(value) = members.get(place) {
        return Some(value);
    }
    place.rmatch_indices('.').find_map(|(dot, _)| match members.get(&place[..dot])? {
        Value::Object(members) => at(members, &place[dot + 1..]),
        _ => Some(&NULL),
    })
}

/// A list of names: a string is one name, whatever is in it; an array has one in each entry; an object has them as the
/// names of its members if their values are objects with details, as in Zitadel. (`{"admin": false}` is not a list of
/// names.)
fn names(value: &Value) -> Option<Vec<&str>> {
    let names = match value {
        Value::String(name) => vec![name.as_str()],
        Value::Array(values) => values.iter().map(Value::as_str).collect::<Option<_>>()?,
        Value::Object(members) => {
            members.iter().map(|(name, value)| value.is_object().then_some(name.as_str())).collect::<Option<_>>()?
        }
        _ => return None,
    };
    (names.len() <= MAX_NAMES).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(profile: &str, token: Value) -> Result<(Vec<String>, Option<String>), String> {
        let Value::Object(members) = token else { panic!("not an object") };
        let claims = Profile::load(profile).unwrap().claims(&members, &[])?;
        Ok((claims.roles.unwrap(), claims.preferred_username))
    }

    #[test]
    fn the_longest_member_of_a_path_counts_first() {
        let token = json!({
            "a": { "b.c": { "d": 1 }, "b": { "c": { "d": 2, "e": 3 } }, "x": "text" },
            "a.b": { "z": 4 },
            "dotted.name": "5",
        });
        let Value::Object(members) = token else { panic!("not an object") };
        for (place, wanted) in [
            ("a.b.c.d", Some(json!(1))),
            ("a.b.c.e", Some(json!(3))),
            ("a.b.z", Some(json!(4))),
            ("dotted.name", Some(json!("5"))),
            ("dotted.name.x", Some(Value::Null)),
            ("a.x.y", Some(Value::Null)),
            ("a.y", None),
            ("y", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(at(&members, place).cloned(), wanted, "{place}");
        }
    }

    #[test]
    fn names_are_a_string_an_array_or_the_members_of_an_object() {
        let many = |count: usize| Value::Object((0..count).map(|number| (number.to_string(), json!({}))).collect());
        for (value, wanted) in [
            (json!("a b"), Some(vec!["a b"])),
            (json!(["a", "b"]), Some(vec!["a", "b"])),
            (json!({ "a": { "1": "org.example" }, "b": {} }), Some(vec!["a", "b"])),
            (json!({}), Some(vec![])),
            (json!({ "a": { "1": "x" }, "b": false }), None),
            (json!({ "a": null }), None),
            (json!({ "a": "b" }), None),
            (json!(["a", { "b": {} }]), None),
            (json!(["a", 1]), None),
            (json!(5), None),
            (json!(true), None),
            (Value::Null, None),
        ] {
            assert_eq!(names(&value), wanted, "{value}");
        }
        assert_eq!(names(&many(MAX_NAMES)).map(|names| names.len()), Some(MAX_NAMES));
        assert_eq!(names(&many(MAX_NAMES + 1)), None);
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_named() {
        let good = || json!({ "iss": "i", "aud": ["a"], "sub": "s", "exp": 1 });
        for (profile, name, value, wanted) in [
            ("generic", "preferred_username", Value::Null, "preferred_username"),
            ("generic", "exp", json!("1795694005"), "exp"),
            ("generic", "iat", json!("now"), "iat"),
            ("generic", "jti", json!(1), "jti"),
            ("generic", "aud", json!(["a", 1]), "aud"),
            ("generic", "sub", json!({}), "sub"),
            ("generic", "roles", json!(5), "roles"),
            ("generic", "scope", json!(5), "scope"),
            ("generic", "scope", json!({ "mcp:tools": {} }), "scope"),
            ("generic", "scope", json!("a\u{e4}"), "scope"),
            ("generic", "scp", json!(["a b"]), "scp"),
            ("generic", "azp", json!([]), "azp"),
            ("keycloak", "realm_access", json!("admin"), "realm_access.roles"),
            ("entra", "upn", json!(1), "upn"),
            ("okta", "groups", json!([1]), "groups"),
        ] {
            let mut token = good();
            token[name] = value;
            assert_eq!(claims(profile, token).err().as_deref(), Some(wanted), "{profile} {name}");
        }
        assert!(claims("generic", good()).is_ok());
    }
}
