//! Where a database is.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use oauth::files;
use url::Url;

/// A file of SQLite, or `postgres://…`. It may hold a password, so all that is shown of it is the host and the name.
#[derive(Clone, PartialEq, Eq)]
pub struct Location(PathBuf);

impl Location {
    /// The URL, if it is one of PostgreSQL.
    pub(super) fn url(&self) -> Option<&str> {
        let text = self.0.to_str()?.trim();
        let (scheme, rest) = text.split_once(':')?;
        let known = ["postgres", "postgresql"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        (known && rest.starts_with("//")).then_some(text)
    }

    /// Whether it is a server's, which many programs can use.
    pub(crate) fn is_shared(&self) -> bool {
        self.url().is_some()
    }

    /// A server must be asked.
    pub(crate) fn may_exist(&self) -> bool {
        self.is_shared() || self.0.exists()
    }

    pub(super) fn file(&self) -> &Path {
        &self.0
    }
}

impl<T: Into<OsString>> From<T> for Location {
    fn from(text: T) -> Self {
        Location(PathBuf::from(text.into()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(url) = self.url() else {
            return if files::is_url(&self.0) { f.write_str("…") } else { self.0.display().fmt(f) };
        };
        f.write_str("postgres://")?;
        let Ok(url) = Url::parse(url) else { return f.write_str("…") };
        f.write_str(url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_a_location_is_shown() {
        for (location, shown) in [
            ("data/auth.db", "data/auth.db"),
            ("postgres://me:secret@db.example:5433/mcp?password=secret", "postgres://db.example:5433/mcp"),
            ("postgresql://me:secret@[::1]/mcp#secret", "postgres://[::1]/mcp"),
            ("postgres:///mcp?host=/run/postgresql&password=secret", "postgres:///mcp"),
            ("postgres://me:se/cret@host:port/mcp", "postgres://…"),
            (" PostgreSQL://me:secret@db.example/mcp", "postgres://db.example/mcp"),
            // These are no URLs of PostgreSQL.
            ("postgres:/me:secret@db.example/mcp", "…"),
            (" mysql://me:secret@db.example/mcp", "…"),
            ("postgres:me:secret@db.example", "…"),
        ] {
            let location = Location::from(location);
            assert_eq!((format!("{location}"), format!("{location:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }
}
