//! JSON in which no object has a member twice: two readers would take different ones (RFC 7519 §4, RFC 7515 §10.12).

use std::fmt;

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// The members of a JWT's payload. No member may appear twice, at any depth (RFC 7519 §4): two readers would take
/// different ones.
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Unique::deserialize(deserializer)?.0 {
            Value::Object(members) => Ok(Members(members)),
            _ => Err(de::Error::custom("not an object")),
        }
    }
}

/// JSON in which no object has a member twice. How deep it may be nested is up to the parser.
pub struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut values = Vec::new();
                while let Some(Unique(value)) = access.next_element()? {
                    values.push(value);
                }
                Ok(Unique(values.into()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut members = Map::new();
                while let Some((name, Unique(value))) = access.next_entry::<String, Unique>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member appears twice"));
                    }
                }
                Ok(Unique(members.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The members of a token's payload. None of them is verified. `None`: it is not JSON, or has a member twice.
pub fn unverified(token: &str) -> Option<Map<String, Value>> {
    match insecure_decode_claims(token).ok()? {
        Unique(Value::Object(members)) => Some(members),
        Unique(_) => Some(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_may_be_there_twice_at_any_depth() {
        let read = |json: &str| serde_json::from_str::<Members>(json).is_ok();
        assert!(read(r#"{"a":[{"b":1},{"b":2}],"c":{"b":null,"a":{"b":1.5,"c":-1,"d":true}}}"#));
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[[{"b":{"c":[],"c":[]}}]]}"#,
            r#"{"a":{"b":1,"\u0062":1}}"#,
        ] {
            assert!(!read(twice), "{twice}");
        }
        assert!(!read("[]") && !read("null") && !read(&"[".repeat(100_000)) && !read(&"{\"a\":".repeat(100_000)));
    }
}
