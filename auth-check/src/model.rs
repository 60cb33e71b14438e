//! What a check says, and what comes of it.

use std::{fmt, str::FromStr};

/// A revision of the MCP specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// 2025-03-26: the server is its own authorization server.
    R2025_03_26,
    /// 2025-06-18: protected resource metadata.
    R2025_06_18,
    /// 2025-11-25: scope challenges, Client ID Metadata Documents.
    R2025_11_25,
    /// 2026-07-28: the issuer in authorization responses, no sessions.
    R2026_07_28,
}

impl Revision {
    /// All of them, the oldest first.
    pub const ALL: [Revision; 4] =
        [Revision::R2025_03_26, Revision::R2025_06_18, Revision::R2025_11_25, Revision::R2026_07_28];

    /// Its date, which is its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Revision::R2025_03_26 => "2025-03-26",
            Revision::R2025_06_18 => "2025-06-18",
            Revision::R2025_11_25 => "2025-11-25",
            Revision::R2026_07_28 => "2026-07-28",
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Revision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Revision::ALL.into_iter().find(|revision| revision.as_str() == text);
        known.ok_or_else(|| format!("revisions are {}", Revision::ALL.map(Revision::as_str).join(", ")))
    }
}

/// How strongly the specification demands something (RFC 2119). A prohibition has the same levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A server that does otherwise does not conform.
    Must,
    /// There may be reasons to do otherwise.
    Should,
    /// It helps clients.
    May,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::May => "MAY",
        })
    }
}

impl FromStr for Level {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let known = [Level::Must, Level::Should, Level::May].into_iter().find(|level| level.to_string() == text);
        known.ok_or_else(|| anyhow::anyhow!("levels are MUST, SHOULD and MAY"))
    }
}

/// What the specification says.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// Where: a document and its section.
    pub text: &'static str,
    /// Its address.
    pub link: &'static str,
}

/// What a check needs besides the server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A token that the server accepts.
    Token,
    /// A token that the server accepts and that is a JWT, or a key to sign one with.
    Jwt,
    /// A key that the server trusts.
    Key,
    /// Permission to register clients (`--active`).
    Active,
    /// A log-in.
    Login,
}

impl Needs {
    /// The same for people; empty if nothing is needed.
    pub fn as_str(self) -> &'static str {
        match self {
            Needs::Nothing => "",
            Needs::Token => "a token (--token-file, --login, --mock-issuer or --issuer-key)",
            Needs::Jwt => "a token that is a JWT (--token-file or --login), or --mock-issuer or --issuer-key",
            Needs::Active => "--active (it registers clients)",
            Needs::Login => "a log-in (--login)",
            Needs::Key => "a key that the server trusts (--mock-issuer or --issuer-key)",
        }
    }
}

/// The findings of a check, perhaps none; or why it could not be tried.
pub type Judged = Result<Vec<Finding>, Unmet>;

/// Something that is wrong with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, in a sentence.
    pub what: String,
    /// The request, without secrets.
    pub sent: String,
    /// The answer, without secrets.
    pub came: String,
}

/// What is missing to try a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet(pub String);

impl Unmet {
    /// What comes of a check that cannot go on: what it has found until then, if that is something.
    ///
    /// # Errors
    /// If it is nothing.
    pub fn after(self, found: Vec<Finding>) -> Judged {
        if found.is_empty() { Err(self) } else { Ok(found) }
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server does as it should.
    Passed,
    /// The server breaks the rule.
    Found(Vec<Finding>),
    /// It could not be tried, because of what another check found.
    Blocked(&'static str),
    /// It could not be tried without this.
    NotRun(String),
}
