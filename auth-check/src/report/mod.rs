//! What is said of a run: for people ([`text`]) and for programs ([`json`], [`sarif`], [`junit`]).

pub mod json;
pub mod junit;
pub mod sarif;
pub mod text;

use crate::{model::Outcome, run::Results};

/// The first line of every report: nobody must take what was not run for good.
pub fn headline(results: &Results) -> String {
    let (passed, found, not_run) = results.counts();
    let total = results.verdicts.len();
    let excused = found - results.failing();
    let excused = if excused > 0 { format!(" ({excused} excused)") } else { String::new() };
    format!("{found} of {total} checks found something{excused}, {not_run} were not run, {passed} passed")
}

/// What came of a check, in a word.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Found(_) => "found",
        Outcome::Blocked(_) | Outcome::NotRun(_) => "not run",
    }
}

/// Why a check was not run.
pub fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Blocked(id) => Some(format!("blocked by {id}")),
        Outcome::NotRun(why) => Some(format!("needs {why}")),
        Outcome::Passed | Outcome::Found(_) => None,
    }
}
