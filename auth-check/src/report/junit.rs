//! The report as JUnit XML: a suite for each group, a case for each check.

use std::fmt::Write;

use super::{headline, reason};
use crate::{checks::GROUPS, model::Outcome, run::Results};

/// The report. What was required and could not be run is an error, not a case that is skipped.
pub fn report(results: &Results, required: bool) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites name=\"auth-check: {}\">", escaped(&headline(results)));
    for group in GROUPS {
        let of: Vec<_> = results.verdicts.iter().filter(|verdict| verdict.check.prefix() == group.prefix).collect();
        if of.is_empty() {
            continue;
        }
        let failures = of.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Found(_)));
        let excused = failures.clone().filter(|verdict| verdict.excused.is_some()).count();
        let failures = failures.count() - excused;
        let not_run = of.iter().filter(|verdict| reason(&verdict.outcome).is_some()).count();
        let (errors, skipped) = if required { (not_run, excused) } else { (0, not_run + excused) };
        let counts =
            format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"", of.len());
        let _ = writeln!(xml, "  <testsuite name=\"{}\" {counts}>", escaped(group.title));
        for verdict in of {
            let name = escaped(&format!("{} {}", verdict.check.id, verdict.check.title));
            let _ = write!(xml, "    <testcase classname=\"auth-check.{}\" name=\"{name}\">", group.prefix);
            match (&verdict.outcome, reason(&verdict.outcome)) {
                (Outcome::Found(_), _) if verdict.excused.is_some() => {
                    let why = verdict.excused.as_deref().unwrap_or_default();
                    let _ = write!(xml, "<skipped message=\"excused: {}\"/>", escaped(why));
                }
                (Outcome::Found(findings), _) => {
                    // One, whatever was found: programs count failures, and a case fails once.
                    let what: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
                    let shown = findings.iter().map(|finding| format!("{}\n\n{}", finding.sent, finding.came));
                    let body: Vec<_> = [verdict.check.fix.to_owned()].into_iter().chain(shown).collect();
                    let (what, body) = (escaped(&what.join(" ")), escaped(&body.join("\n\n")));
                    let _ = write!(xml, "<failure message=\"{what}\" type=\"{}\">{body}</failure>", verdict.level);
                }
                (_, Some(reason)) => {
                    let element = if required { "error" } else { "skipped" };
                    let _ = write!(xml, "<{element} message=\"not run: {}\"/>", escaped(&reason));
                }
                (_, None) => {}
            }
            xml += "</testcase>\n";
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

/// XML 1.0 has no control characters but tab and line breaks.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() && !matches!(c, '\t' | '\n') || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            c => escaped.push(c),
        }
    }
    escaped
}
