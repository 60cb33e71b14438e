//! What the doctor says.

use std::fmt;

/// Something that was found. `Display` is one line, and what the provider wrote is quoted in it and cut short.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How good it is.
    pub verdict: Verdict,
    /// What it is about, such as `PKCE`.
    pub about: String,
    /// What was found.
    pub what: String,
    /// What to do about it; may be empty.
    pub advice: String,
}

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Neither good nor bad.
    Note,
    /// To be looked at.
    Unsure,
    /// To be changed.
    Bad,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { about, what, advice, .. } = self;
        f.write_str(format!("{about}: {what} {advice}").trim_end())
    }
}

/// All that was found so far.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn list(self) -> Vec<Finding> {
        self.0
    }

    fn add(&mut self, verdict: Verdict, about: &str, what: impl ToString, advice: impl ToString) {
        let (about, what, advice) = (about.to_owned(), what.to_string(), advice.to_string());
        self.0.push(Finding { verdict, about, what, advice });
    }

    pub fn good(&mut self, about: &str, what: impl ToString) {
        self.add(Verdict::Good, about, what, "");
    }

    pub fn note(&mut self, about: &str, what: impl ToString) {
        self.add(Verdict::Note, about, what, "");
    }

    pub fn unsure(&mut self, about: &str, what: impl ToString, advice: impl ToString) {
        self.add(Verdict::Unsure, about, what, advice);
    }

    pub fn bad(&mut self, about: &str, what: impl ToString, advice: impl ToString) {
        self.add(Verdict::Bad, about, what, advice);
    }
}
