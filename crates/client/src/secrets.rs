//! The secrets of this run. They are never shown: their values are masked wherever they turn up.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The secrets of this run. Everything that is printed is searched for them: a server may send them back where nobody expects
/// them, as in an error message.
#[derive(Default)]
pub struct Secrets(Mutex<Vec<(String, &'static str)>>);

impl Secrets {
    /// Remembers a secret. What is shorter than 6 characters would be found everywhere, and is no secret.
    pub fn add(&self, value: &str, name: &'static str) {
        if value.len() < 6 {
            return;
        }
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A server may repeat a secret as it was sent: encoded in a form, or in JSON.
        let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let json = Value::from(value).to_string();
        for value in [value, &form, json.trim_matches('"')] {
            if secrets.iter().all(|(known, _)| known != value) {
                secrets.push((value.to_owned(), name));
            }
        }
        // The longest first: one secret may be part of another.
        secrets.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// The text without them.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, (value, name)| text.replace(value.as_str(), &format!("‹{name}›")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_scrubbed_where_nobody_expects_it() {
        let secrets = Secrets::default();
        secrets.add("abcdefg", "access token");
        secrets.add("abcdefghij", "refresh token");
        assert_eq!(secrets.scrub("bad: abcdefghij, abcdefg"), "bad: ‹refresh token›, ‹access token›");
        secrets.add("1//a+b\\c==", "refresh token");
        assert_eq!(
            secrets.scrub(r#"refresh_token=1%2F%2Fa%2Bb%5Cc%3D%3D&x {"t":"1//a+b\\c=="}"#),
            r#"refresh_token=‹refresh token›&x {"t":"‹refresh token›"}"#
        );
    }
}
