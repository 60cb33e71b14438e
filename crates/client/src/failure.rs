//! What went wrong, at which exchange, and what to do about it.

use std::fmt;

use oauth::document::Malformed;

/// The kinds of failures that a program may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This computer: a file that cannot be read, a port that cannot be had.
    Local,
    /// The settings or the arguments do not fit together.
    Usage,
    /// No answer, or none that MCP or HTTP would call one.
    Network,
    /// No token, or one that is not enough.
    Authorization,
    /// The server carried the request out, or refused to, and says what is wrong with it.
    Tool,
}

impl Kind {
    /// Its name, in one word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Local => "local",
            Kind::Usage => "usage",
            Kind::Network => "network",
            Kind::Authorization => "authorization",
            Kind::Tool => "tool",
        }
    }
}

/// The result, or why there is none.
pub type Result<T> = std::result::Result<T, Failure>;

/// One failure, for a person. Its texts may quote a server, so they are escaped and cleared of secrets where they are
/// printed.
#[derive(Debug)]
pub struct Failure {
    /// Its kind.
    pub kind: Kind,
    /// What happened, in a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
    /// The number of the exchange it happened at, as [`observer`](crate::observer) counts them.
    pub exchange: Option<u32>,
    /// The OAuth error code, where a server named one (RFC 6749 §5.2).
    pub oauth_error: Option<String>,
    /// The HTTP status of the answer that was a failure, where there was one.
    pub status: Option<u16>,
    /// Whether there was no connection: then further requests there would fail as well.
    pub(crate) unconnected: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: message.into(),
            advice: None,
            exchange: None,
            oauth_error: None,
            status: None,
            unconnected: false,
        }
    }

    /// A failure of [`Kind::Local`].
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(Kind::Local, message)
    }

    /// A failure of [`Kind::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failure of [`Kind::Network`].
    pub fn network(message: impl Into<String>) -> Self {
        Self::new(Kind::Network, message)
    }

    /// A failure of [`Kind::Authorization`].
    pub fn authorization(message: impl Into<String>) -> Self {
        Self::new(Kind::Authorization, message)
    }

    /// A document that cannot be read; `name` is what it is called in messages.
    pub(crate) fn malformed(name: &str, why: &Malformed) -> Self {
        Self::authorization(format!("{name} cannot be read: {why}"))
    }

    /// A failure of [`Kind::Tool`].
    pub fn tool(message: impl Into<String>) -> Self {
        Self::new(Kind::Tool, message)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Says at which exchange it happened, unless that is known already.
    #[must_use]
    pub fn at(mut self, exchange: u32) -> Self {
        self.exchange.get_or_insert(exchange);
        self
    }

    /// Whether nothing is there: no answer came, or one that says so (404, 405, 410).
    pub(crate) fn is_nowhere(&self) -> bool {
        match self.status {
            None => self.kind == Kind::Network,
            Some(status) => self.oauth_error.is_none() && matches!(status, 404 | 405 | 410),
        }
    }

    /// Whether a server named this OAuth error code.
    pub fn is_oauth(&self, code: &str) -> bool {
        self.oauth_error.as_deref() == Some(code)
    }
}
