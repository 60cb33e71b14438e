//! What `auth-check` finds in a learner's server, with the lesson that teaches it.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::lessons::Lesson;

/// What our own steps lack, too, until the step of the lesson that brings it: so `auth-check/README.md` says, and
/// `tests/tests/it/auth_check.rs` sees.
const BROUGHT_LATER: [&str; 3] = ["CHAL-04", "CHAL-06", "PRM-01"];

/// The parts of a report (`auth-check/report.schema.json`) that are shown.
#[derive(Deserialize)]
struct Report {
    summary: String,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    id: String,
    title: String,
    fix: String,
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    what: String,
}

/// What a report on step `n` finds, for people, and the lessons of what a learner has to change.
pub fn shown<'a>(report: &str, lessons: &'a [Lesson], n: u8, colour: bool) -> Result<(String, Vec<&'a Lesson>)> {
    let report: Report = serde_json::from_str(report).context("the report of auth-check")?;
    let (red, plain) = if colour { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
    let mut text = format!("\nauth-check: {}\n", report.summary);
    let mut taught = Vec::new();
    for Check { id, title, fix, findings } in report.checks.iter().filter(|check| !check.findings.is_empty()) {
        let lesson = teaches(lessons, id).with_context(|| format!("no lesson teaches {id}"))?;
        let later = lesson.step > n && BROUGHT_LATER.contains(&id.as_str());
        let verdict = if later { "later".to_owned() } else { format!("{red}FAIL{plain}") };
        writeln!(text, "{verdict} - {} {id} {title}", lesson.id)?;
        for finding in findings {
            writeln!(text, "       {}", finding.what)?;
        }
        writeln!(text, "       Change: {fix}")?;
        if later {
            writeln!(text, "       You learn this in lesson {}.", lesson.id)?;
        } else {
            taught.push(lesson);
        }
    }
    Ok((text, taught))
}

/// The lesson that names the check, or else its group.
fn teaches<'a>(lessons: &'a [Lesson], id: &str) -> Option<&'a Lesson> {
    let names = |name: &str| lessons.iter().find(|lesson| lesson.checks.iter().any(|one| one == name));
    names(id).or_else(|| names(id.split_once('-')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lessons, root};

    #[test]
    fn a_finding_is_shown_with_its_lesson_and_fails_unless_a_later_lesson_brings_it() -> Result<()> {
        let lessons = lessons::all(root())?;
        let check = |id: &str, found: &str| {
            format!(r#"{{"id":"{id}","title":"T.","fix":"Mend {id}.","findings":[{{"what":"{found}"}}]}}"#)
        };
        let passed = r#"{"id":"TOK-01","title":"T.","fix":"F."}"#;
        let of = |checks: &[String]| format!(r#"{{"summary":"S","checks":[{passed},{}]}}"#, checks.join(","));
        let report = of(&[check("CHAL-06", "No scope."), check("TOK-09", "One."), check("TRAN-01", "Two.")]);
        let ids = |lessons: &[&Lesson]| lessons.iter().map(|one| one.id.clone()).collect::<Vec<_>>();

        let (text, taught) = shown(&report, &lessons, 7, false)?;
        let expected = "\nauth-check: S\n\
            later - 8.1 CHAL-06 T.\n       No scope.\n       Change: Mend CHAL-06.\n       You learn this in lesson 8.1.\n\
            FAIL - 6.2 TOK-09 T.\n       One.\n       Change: Mend TOK-09.\n\
            FAIL - 1.2 TRAN-01 T.\n       Two.\n       Change: Mend TRAN-01.\n";
        assert_eq!((text.as_str(), ids(&taught)), (expected, vec!["6.2".to_owned(), "1.2".to_owned()]));

        let (text, taught) = shown(&report, &lessons, 8, true)?;
        assert!(text.contains("\u{1b}[31mFAIL\u{1b}[0m - 8.1 CHAL-06 T.\n"), "{text}");
        assert_eq!(ids(&taught), ["8.1", "6.2", "1.2"]);
        // Of a later lesson, but our step 6 does not have this.
        assert_eq!(ids(&shown(&of(&[check("REG-01", "")]), &lessons, 6, false)?.1), ["A6"]);
        assert!(shown(&of(&[check("NEW-01", "")]), &lessons, 6, false).is_err());
        Ok(())
    }
}
