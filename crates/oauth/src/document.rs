//! JSON documents that other people's servers publish, read member by member. A server may write `null`, or an empty
//! text or list, where it has nothing to say: an optional member of that value counts as absent (RFC 8414 §3.2,
//! RFC 9728 §3.2).

use std::fmt;

use serde_json::{Map, Value};

/// A JSON object.
#[derive(Clone, Debug)]
pub struct Document(Map<String, Value>);

/// Why a document cannot be read. It shows no value, because an unexpected value may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The text is not JSON.
    NotJson,
    /// It is JSON, but not an object.
    NotAnObject,
    /// A member that must be there says nothing.
    Missing(&'static str),
    /// A member, and what it must be.
    WrongType(&'static str, &'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotJson => f.write_str("it is not JSON"),
            Malformed::NotAnObject => f.write_str("it is not a JSON object"),
            Malformed::Missing(member) => write!(f, "{member} is missing"),
            Malformed::WrongType(member, what) => write!(f, "{member} must be {what}"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Document {
    /// # Errors
    /// If the text is not a JSON object.
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(members)) => Ok(Document(members)),
            Ok(_) => Err(Malformed::NotAnObject),
            Err(_) => Err(Malformed::NotJson),
        }
    }

    /// Whether a text is a document that says in this member what it is about, even if nothing else in it can be read.
    pub fn names(text: &[u8], member: &'static str) -> bool {
        Document::read(text).and_then(|document| document.required_text(member)).is_ok()
    }

    /// A member, unless it says nothing.
    pub fn member(&self, member: &str) -> Option<&Value> {
        self.0.get(member).filter(|value| !says_nothing(value))
    }

    /// A text.
    ///
    /// # Errors
    /// If the member is not a string.
    pub fn text(&self, member: &'static str) -> Result<Option<String>, Malformed> {
        match self.member(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Malformed::WrongType(member, "a string")),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// If it is missing, empty, or not a string.
    pub fn required_text(&self, member: &'static str) -> Result<String, Malformed> {
        self.text(member)?.ok_or(Malformed::Missing(member))
    }

    /// A list of texts. Entries that are not texts are skipped, since the others can be used without them.
    ///
    /// # Errors
    /// If the member is not an array.
    pub fn texts(&self, member: &'static str) -> Result<Option<Vec<String>>, Malformed> {
        match self.member(member) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())),
            Some(_) => Err(Malformed::WrongType(member, "an array of strings")),
        }
    }

    /// Whether something is so; if nothing is said, it is not.
    ///
    /// # Errors
    /// If the member is not a boolean.
    pub fn flag(&self, member: &'static str) -> Result<bool, Malformed> {
        match self.member(member) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Malformed::WrongType(member, "true or false")),
        }
    }

    /// A number of seconds, as [`seconds`] reads it.
    ///
    /// # Errors
    /// If the member is not such a number.
    pub fn seconds(&self, member: &'static str) -> Result<Option<u64>, Malformed> {
        let read = |value| seconds(value).ok_or(Malformed::WrongType(member, "a number of seconds"));
        self.member(member).map(read).transpose()
    }

    /// The members that are none of these.
    pub fn without(mut self, members: &[&str]) -> Map<String, Value> {
        self.0.retain(|name, _| !members.contains(&name.as_str()));
        self.0
    }
}

impl From<Map<String, Value>> for Document {
    fn from(members: Map<String, Value>) -> Self {
        Document(members)
    }
}

/// `null`, or empty: metadata leaves such a member out (RFC 8414 §3.2, RFC 9728 §3.2).
pub fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A number of seconds that is not negative, rounded down. JSON knows one kind of numbers, so `3599.0` is `3599`
/// (RFC 8259 §6); some servers write it as a text.
pub fn seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) => serde_json::from_str(text).ok()?,
        _ => return None,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and it saturates")]
    let rounded = |float: f64| (float >= 0.0).then_some(float as u64);
    number.as_u64().or_else(|| number.as_f64().and_then(rounded))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(value: &Value) -> Document {
        Document::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_says_nothing_is_absent_and_what_is_of_another_type_is_named() {
        let nothing =
            document(&json!({ "text": null, "list": null, "none": [], "flag": null, "life": "", "empty": "" }));
        for member in ["text", "empty", "missing"] {
            assert_eq!(nothing.text(member).unwrap(), None, "{member}");
            let why = nothing.required_text(member).unwrap_err().to_string();
            assert_eq!(why, format!("{member} is missing"));
        }
        assert_eq!((nothing.texts("list").unwrap(), nothing.texts("none").unwrap()), (None, None));
        assert!(!nothing.flag("flag").unwrap());
        assert_eq!(nothing.seconds("life").unwrap(), None);

        let other = document(&json!({ "text": 5, "list": "a b", "flag": "true", "life": -1 }));
        for (why, is) in [
            (other.text("text").unwrap_err(), "text must be a string"),
            (other.texts("list").unwrap_err(), "list must be an array of strings"),
            (other.flag("flag").unwrap_err(), "flag must be true or false"),
            (other.seconds("life").unwrap_err(), "life must be a number of seconds"),
        ] {
            assert_eq!(why.to_string(), is);
        }
        let some = document(&json!({ "list": ["a", null, 5, "b"], "flag": true }));
        assert_eq!(some.texts("list").unwrap().unwrap(), ["a", "b"]);
        assert!(some.flag("flag").unwrap());
    }

    #[test]
    fn only_an_object_is_a_document() {
        for (text, why) in [
            ("<html>", Malformed::NotJson),
            ("", Malformed::NotJson),
            ("[]", Malformed::NotAnObject),
            ("null", Malformed::NotAnObject),
        ] {
            assert_eq!(Document::read(text.as_bytes()).err(), Some(why), "{text}");
        }
    }

    #[test]
    fn seconds_are_any_number_that_is_not_negative() {
        for (value, expected) in [
            (json!(3600), Some(3600)),
            (json!(3599.0), Some(3599)),
            (json!(3599.9), Some(3599)),
            (json!(1e3), Some(1000)),
            (json!("3600"), Some(3600)),
            (json!("3600.0"), Some(3600)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!(1e300), Some(u64::MAX)),
            (json!(0), Some(0)),
            (json!(-60), None),
            (json!(-0.5), None),
            (json!("-60"), None),
            (json!("for ever"), None),
            (json!(""), None),
            (json!("inf"), None),
            (json!("0x10"), None),
            (json!(true), None),
            (json!([3600]), None),
        ] {
            assert_eq!(seconds(&value), expected, "{value}");
        }
    }
}
