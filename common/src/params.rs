//! Reads what a client sent as a type of our own. Errors use JSON Schema's words: which member is wrong, and what it
//! must be. So a model or a person can correct it; a parser's position or a Rust type would not help them.

use std::{borrow::Cow, fmt, vec};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeSeed, Expected, MapAccess, Unexpected, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

/// Reads a JSON object as a `T`: a struct of strings, [`Integer`]s and, for what is to be read later, `&RawValue`s.
///
/// # Errors
/// The first thing that does not fit, such as `message must be a string`.
pub fn read<'a, T: Deserialize<'a>>(object: &'a RawValue) -> Result<T, Misfit> {
    // Valid input is parsed once. Invalid input is parsed again by a reader that can say what is wrong. (serde would
    // accept an array for a struct.)
    match serde_json::from_str(object.get()) {
        Ok(read) if object.get().starts_with('{') => Ok(read),
        _ => T::deserialize(Json(object)),
    }
}

/// Used where a client left the object out.
///
/// # Panics
/// Never: it is JSON.
pub fn empty<'a>() -> &'a RawValue {
    serde_json::from_str("{}").expect("it is JSON")
}

/// The member that does not fit, and why.
#[derive(Debug)]
pub struct Misfit {
    member: String,
    problem: String,
}

impl Misfit {
    /// A name may be as long as the body, and messages are cut: a long name must not push the problem out of the
    /// message.
    fn new(member: &str, problem: impl Into<String>) -> Self {
        let member = match member.char_indices().nth(64) {
            Some((end, _)) => format!("{}…", &member[..end]),
            None => member.to_owned(),
        };
        Misfit { member, problem: problem.into() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.member, self.problem)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::new("", problem.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("", format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("", format!("must be {expected}"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(name, "is required")
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let known =
            if known.is_empty() { "it has no properties".to_owned() } else { format!("they are {}", known.join(", ")) };
        Self::new(name, format!("is not one of the properties ({known}), and additional ones are not allowed"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(name, "appears twice")
    }
}

/// JSON Schema's `integer` with its `minimum` and `maximum`. It is about the value, not the spelling: `2.0` is one
/// (2020-12 "Validation" §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Integer<const MINIMUM: u16, const MAXIMUM: u16>(pub u16);

impl<'de, const MINIMUM: u16, const MAXIMUM: u16> Deserialize<'de> for Integer<MINIMUM, MAXIMUM> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Number<const MINIMUM: u16, const MAXIMUM: u16>;
        impl<const MINIMUM: u16, const MAXIMUM: u16> Visitor<'_> for Number<MINIMUM, MAXIMUM> {
            type Value = Integer<MINIMUM, MAXIMUM>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an integer from {MINIMUM} to {MAXIMUM}")
            }

            #[allow(clippy::cast_precision_loss)] // what is in range is exact
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_f64(number as f64)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                if number.fract() == 0.0 && (f64::from(MINIMUM)..=f64::from(MAXIMUM)).contains(&number) {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is whole, and in range
                    return Ok(Integer(number as u16));
                }
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }
        }
        json.deserialize_f64(Number)
    }
}

/// A JSON object that is read later, when it is known what it must be; for `deserialize_with`. `null` counts as absent.
///
/// # Errors
/// If it is something else.
pub fn object<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
    let json = Option::<&RawValue>::deserialize(json)?;
    match json {
        Some(json) if !json.get().starts_with('{') => {
            Err(de::Error::invalid_type(Unexpected::Other("no object"), &"an object"))
        }
        json => Ok(json),
    }
}

/// A value that is still text.
struct Json<'a>(&'a RawValue);

impl<'de> Deserializer<'de> for Json<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let text = self.0.get();
        match text.as_bytes().first() {
            Some(b'"') => match serde_json::from_str(text) {
                Ok(Text(Cow::Borrowed(text))) => visitor.visit_borrowed_str(text),
                Ok(Text(Cow::Owned(text))) => visitor.visit_string(text),
                Err(_) => Err(not_unicode()),
            },
            Some(b'{') => match serde_json::from_str::<Members>(text) {
                Ok(members) => visitor.visit_map(members),
                Err(_) => Err(not_unicode()),
            },
            Some(b'[') => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            Some(b't') => visitor.visit_bool(true),
            Some(b'f') => visitor.visit_bool(false),
            Some(b'n') => visitor.visit_unit(),
            // JSON has no largest number: 1e400 is an infinity, which no schema of ours takes.
            _ => visitor.visit_f64(text.parse().unwrap_or(f64::NAN)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.0.get() == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// Only serde_json's own deserializer can make a `&RawValue`.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        self.0.deserialize_newtype_struct(name, visitor).map_err(|_| de::Error::custom("must be something else"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// The only valid JSON that cannot be read: half of a surrogate pair, as in `"\ud800"`.
fn not_unicode() -> Misfit {
    de::Error::custom("must be Unicode text: one of its \\u escapes is not a character")
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The members of an object in their order. A name may appear twice.
struct Members<'a> {
    rest: vec::IntoIter<(Cow<'a, str>, &'a RawValue)>,
    next: Option<(Cow<'a, str>, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members { rest: members.into_iter(), next: None })
            }
        }
        json.deserialize_map(All)
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.next = self.rest.next();
        self.next.as_ref().map(|(name, _)| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (name, json) = self.next.take().ok_or_else(|| <Misfit as de::Error>::custom("has no name"))?;
        seed.deserialize(Json(json)).map_err(|misfit| match &*misfit.member {
            "" => Misfit::new(&name, misfit.problem),
            inner => Misfit::new(&format!("{name}.{inner}"), misfit.problem),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example<'a> {
        text: String,
        #[serde(default = "one")]
        count: Integer<1, 10>,
        #[serde(borrow, default, deserialize_with = "object")]
        later: Option<&'a RawValue>,
    }

    fn one() -> Integer<1, 10> {
        Integer(1)
    }

    fn example(json: &str) -> Result<Example<'_>, String> {
        let json = serde_json::from_str(json).unwrap();
        let read = read(json).map_err(|misfit| misfit.to_string());
        // Both readers must read valid input alike: the fast one, and the one that can say what is wrong.
        let slowly = Example::deserialize(Json(json)).map_err(|misfit| misfit.to_string());
        assert_eq!(format!("{read:?}"), format!("{slowly:?}"), "{json}");
        read
    }

    #[test]
    fn what_fits_is_read() {
        let example = example(r#" {"\u0074ext": "\u00e9", "count": 2.0, "later": {"a": [1]}} "#).unwrap();
        assert_eq!((&*example.text, example.count), ("é", Integer(2)));
        assert_eq!(example.later.unwrap().get(), r#"{"a": [1]}"#);
        for (count, read) in [("1", 1), ("10", 10), ("1e1", 10), ("100e-1", 10), ("1.0E0", 1), ("0.3e1", 3)] {
            assert_eq!(self::example(&format!(r#"{{"text":"","count":{count}}}"#)).unwrap().count, Integer(read));
        }
        let absent = self::example(r#"{"text":"","later":null}"#).unwrap();
        assert!(absent.count == Integer(1) && absent.later.is_none());
    }

    #[test]
    fn what_does_not_fit_is_named_in_json_schemas_words() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (text, says) in [
            ("5", "must be a string"),
            ("-1", "must be a string"),
            ("2.5", "must be a string"),
            ("1e400", "must be a string"),
            ("null", "must be a string"),
            ("true", "must be a string"),
            ("false", "must be a string"),
            ("[]", "must be a string"),
            (r#"["a"]"#, "must be a string"),
            ("{}", "must be a string"),
            (r#"{"a":1}"#, "must be a string"),
            (&deep, "must be a string"),
            (r#""\ud800""#, "must be Unicode text: one of its \\u escapes is not a character"),
            (r#"{"\ud800":1}"#, "must be Unicode text: one of its \\u escapes is not a character"),
        ] {
            assert_eq!(example(&format!(r#"{{"text":{text}}}"#)).unwrap_err(), format!("text {says}"), "{text}");
        }
        for count in ["0", "11", "-1", "-0", "1.5", "1e400", "-1e400", "1e-400", r#""2""#, "null", "true", "[2]", "{}"]
        {
            let json = format!(r#"{{"text":"","count":{count}}}"#);
            assert_eq!(example(&json).unwrap_err(), "count must be an integer from 1 to 10", "{count}");
        }
        for later in ["5", "[]", r#""{}""#, "true"] {
            let json = format!(r#"{{"text":"","later":{later}}}"#);
            assert_eq!(example(&json).unwrap_err(), "later must be an object", "{later}");
        }
        assert_eq!(example("{}").unwrap_err(), "text is required");
        assert_eq!(example(r#"{"text":"a","text":"b"}"#).unwrap_err(), "text appears twice");
        let long = "x".repeat(500);
        for (name, named) in [("other", "other"), ("", ""), (&long, &format!("{}…", &long[..64]))] {
            let said = example(&format!(r#"{{"text":"","{name}":1}}"#)).unwrap_err();
            let why = "is not one of the properties (they are text, count, later), and additional ones are not allowed";
            assert_eq!(said, format!("{named} {why}"));
        }
    }
}
