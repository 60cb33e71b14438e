//! A check: a rule, its clause, and how it is tried.

use std::{fmt, pin::Pin};

use crate::{
    context::Context,
    model::{Clause, Judged, Level, Needs, Outcome, Revision},
};

/// One rule, and how it is tried.
pub struct Check {
    /// Its name, which stays: `CHAL-01`.
    pub id: &'static str,
    /// What is so in a good server.
    pub title: &'static str,
    /// Since which revision it applies, and how strictly; the oldest first, each until the next.
    pub levels: &'static [(Revision, Level)],
    /// The clause that it comes from.
    pub clause: Clause,
    /// What to change in a server that fails it.
    pub fix: &'static str,
    /// What it cannot be run without.
    pub needs: Needs,
    /// The checks that must have passed: without what they ask for, this one cannot be tried.
    pub after: &'static [&'static str],
    /// Tries it.
    pub run: Run,
}

impl Check {
    /// One that takes a log-in.
    pub const fn of_a_log_in(
        (id, title): (&'static str, &'static str),
        levels: &'static [(Revision, Level)],
        clause: Clause,
        fix: &'static str,
        after: &'static [&'static str],
        run: Run,
    ) -> Self {
        Check { id, title, levels, clause, fix, needs: Needs::Login, after, run }
    }

    /// How strictly a revision asks for it; `None` if it does not.
    pub fn level(&self, revision: Revision) -> Option<Level> {
        let of = self.levels.iter().rev().find(|(since, _)| *since <= revision);
        of.map(|(_, level)| *level)
    }

    /// The group's name in its id: `CHAL`.
    pub fn prefix(&self) -> &'static str {
        self.id.split_once('-').map_or(self.id, |(prefix, _)| prefix)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Tries a check, whose id it is given.
pub type Run = for<'a> fn(&'a Context, &'static str) -> Pin<Box<dyn Future<Output = Judged> + 'a>>;

/// A check, and what came of it.
#[derive(Debug)]
pub struct Verdict {
    /// The check.
    pub check: &'static Check,
    /// How strictly the revision in question asks for it.
    pub level: Level,
    /// What came of it.
    pub outcome: Outcome,
    /// Why what was found does not fail the run, if it does not.
    pub excused: Option<String>,
}

/// Required by every revision.
pub const MUST: &[(Revision, Level)] = &[(Revision::R2025_03_26, Level::Must)];
/// Recommended by every revision.
pub const SHOULD: &[(Revision, Level)] = &[(Revision::R2025_03_26, Level::Should)];
/// Required since there is protected resource metadata.
pub const MUST_2025_06: &[(Revision, Level)] = &[(Revision::R2025_06_18, Level::Must)];
/// Recommended since then.
pub const SHOULD_2025_06: &[(Revision, Level)] = &[(Revision::R2025_06_18, Level::Should)];
/// Recommended since there are scope challenges.
pub const SHOULD_2025_11: &[(Revision, Level)] = &[(Revision::R2025_11_25, Level::Should)];
/// Recommended by the newest revision.
pub const SHOULD_2026_07: &[(Revision, Level)] = &[(Revision::R2026_07_28, Level::Should)];

/// An asynchronous function of the context as a check's [`Run`].
macro_rules! run {
    ($function:path) => {
        |context, _| Box::pin($function(context))
    };
}
pub(crate) use run;
