//! Parameters of a query or form, each at most once (RFC 6749 §3.1, §3.2).

use std::fmt;

use oauth::claims::SCOPES;
use url::form_urlencoded;

/// The longest query or form, in bytes.
pub(crate) const MAX: usize = 16 * 1024;

/// Decoded names and values, in order. `Debug` shows the names alone: passwords, codes and secrets are among the values.
pub(crate) struct Params(Vec<(String, String)>);

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, _)| (name, "[redacted]"))).finish()
    }
}

impl Params {
    /// `None` if it is too long.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= MAX).then(|| Params(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }

    /// The value of a parameter that is there once. Without a value it counts as absent (RFC 6749 §3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next()?;
        (values.next().is_none() && !value.is_empty()).then_some(value)
    }

    /// All values of a parameter, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether one of these appears more than once.
    pub fn repeats(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.all(name).count() > 1)
    }
}

/// The scopes we know among those that somebody names. Those we do not are left out, as RFC 6749 §3.3 allows.
pub(crate) fn known_scopes(asked: &str) -> Vec<&'static str> {
    SCOPES.into_iter().filter(|scope| asked.split(' ').any(|one| one == *scope)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", Params::parse("username=alice&password=correct+horse").unwrap());
        assert_eq!(shown, r#"{"username": "[redacted]", "password": "[redacted]"}"#);
    }
}
