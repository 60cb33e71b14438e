//! Names that must not be mixed up, a type for each. They are compared byte for byte, without any normalization
//! (RFC 8414 §3.3, RFC 9728 §3.3, OAuth 2.1 §2.3.1).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text with a meaning.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Gives the text its meaning. The caller has checked that it may be used.
            pub fn new(text: impl Into<String>) -> Self {
                $name(text.into())
            }

            /// The text, as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
    };
}

identifier! {
    /// Who issues tokens: `iss` (RFC 8414 §2, RFC 9068 §2.2).
    Issuer
}
identifier! {
    /// Whom a token is for: the URL of an MCP server (RFC 8707 §2, RFC 9728 §1.2).
    Resource
}
identifier! {
    /// A client, wherever it is known from (RFC 6749 §2.2); a URL, if it describes itself.
    ClientId
}
identifier! {
    /// Where an authorization server's answer goes (RFC 6749 §3.1.2).
    RedirectUri
}
identifier! {
    /// Whom a token is about: `sub`, unique within its issuer (RFC 7519 §4.1.2).
    Subject
}
identifier! {
    /// A scope (RFC 6749 §3.3).
    Scope
}
