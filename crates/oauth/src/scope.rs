//! Scopes (RFC 6749 §3.3).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Whether this is a scope: printable ASCII characters other than `"` and `\` (RFC 6749 §3.3).
pub fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// A set of scopes, written with spaces between them (RFC 6749 §3.3); each is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scopes(String);

impl Scopes {
    /// Reads scopes with spaces between them.
    ///
    /// # Errors
    /// If a scope has a character that RFC 6749 §3.3 does not allow.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scopes = Vec::new();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            if !is_scope(scope) {
                return Err("a scope has printable ASCII characters other than \" and \\ only".to_owned());
            }
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Ok(Scopes(scopes.join(" ")))
    }

    /// The scopes with spaces between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this scope is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|granted| granted == scope)
    }

    /// Each of them, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scopes::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_is_there_once_and_is_what_the_grammar_allows() {
        let scopes = Scopes::parse(" a  b a:c~!  b ").unwrap();
        assert_eq!(scopes.as_str(), "a b a:c~!");
        assert!(scopes.contains("a:c~!") && !scopes.contains("c") && !scopes.contains(""));
        assert_eq!(Scopes::parse("").unwrap(), Scopes::default());
        for bad in ["a\"b", "a\\b", "a\tb", "a\u{7f}", "é"] {
            assert!(Scopes::parse(bad).is_err(), "{bad}");
        }
    }
}
