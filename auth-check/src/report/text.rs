//! The report for people: the worst first, each with what to do.

use std::fmt::Write;

use super::{headline, reason};
use crate::{
    check::{Check, Verdict},
    checks::GROUPS,
    model::{Finding, Level, Outcome, Revision},
    run::Results,
};

const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const GREEN: &str = "\u{1b}[32m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// The whole report, with colours; what is no terminal strips them.
pub fn report(results: &Results) -> String {
    let mut text = format!("{BOLD}{}{PLAIN}\n", headline(results));
    let _ =
        writeln!(text, "{} held against MCP {}, with {} requests", results.target, results.revision, results.requests);
    for level in [Level::Must, Level::Should, Level::May] {
        for group in GROUPS {
            let of = results.found().filter(|(verdict, _)| verdict.level == level);
            for (verdict, findings) in of.filter(|(verdict, _)| verdict.check.prefix() == group.prefix) {
                finding(&mut text, verdict, findings);
            }
        }
    }
    not_run(&mut text, results);
    passed(&mut text, results);
    text
}

fn finding(text: &mut String, verdict: &Verdict, findings: &[Finding]) {
    let (check, level) = (verdict.check, verdict.level);
    let colour = if level == Level::Must { RED } else { YELLOW };
    let _ = writeln!(text, "\n{colour}{BOLD}{level} {}{PLAIN} {BOLD}{}{PLAIN}", check.id, check.title);
    for finding in findings {
        let _ = writeln!(text, "  {colour}✗{PLAIN} {}", finding.what);
    }
    if let Some(why) = &verdict.excused {
        let _ = writeln!(text, "  {BOLD}Excused:{PLAIN} {why}");
    }
    let _ = writeln!(text, "  {BOLD}Change:{PLAIN} {}", check.fix);
    let _ = writeln!(text, "  {BOLD}Why:{PLAIN} {}\n       {}", check.clause.text, check.clause.link);
    if let Some(first) = findings.first() {
        block(text, "sent", &first.sent);
        block(text, "came", &first.came);
    }
}

fn block(text: &mut String, title: &str, lines: &str) {
    for (number, line) in lines.lines().filter(|line| !line.is_empty()).enumerate() {
        let margin = if number == 0 { title } else { "" };
        let _ = writeln!(text, "  {margin:>4} │ {line}");
    }
}

fn not_run(text: &mut String, results: &Results) {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for verdict in &results.verdicts {
        let Some(reason) = reason(&verdict.outcome) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ids)) => ids.push(verdict.check.id),
            None => reasons.push((reason, vec![verdict.check.id])),
        }
    }
    if !reasons.is_empty() {
        let _ = writeln!(text, "\n{YELLOW}{BOLD}Not run{PLAIN}");
    }
    for (reason, ids) in reasons {
        let _ = writeln!(text, "  {reason}: {}", ids.join(" "));
    }
}

fn passed(text: &mut String, results: &Results) {
    let ids = results.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Passed);
    let ids: Vec<_> = ids.map(|verdict| verdict.check.id).collect();
    if !ids.is_empty() {
        let _ = writeln!(text, "\n{GREEN}{BOLD}Passed{PLAIN}\n  {}", ids.join(" "));
    }
}

/// All checks, a line each.
pub fn list() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let _ = writeln!(text, "{BOLD}{} ({}){PLAIN}", group.title, group.checks.len());
        for check in group.checks {
            let level = check.levels.last().map(|(_, level)| level.to_string()).unwrap_or_default();
            let _ = writeln!(text, "  {:9} {level:6} {}", check.id, check.title);
        }
    }
    text
}

/// All about a check.
pub fn explain(check: &Check) -> String {
    let mut text = format!("{BOLD}{} {}{PLAIN}\n", check.id, check.title);
    let _ = writeln!(text, "  Change:  {}", check.fix);
    let _ = writeln!(text, "  Clause:  {}\n           {}", check.clause.text, check.clause.link);
    let levels = Revision::ALL.iter().filter_map(|revision| Some(format!("{revision} {}", check.level(*revision)?)));
    let _ = writeln!(text, "  Applies: {}", levels.collect::<Vec<_>>().join(", "));
    let needs = if check.needs.as_str().is_empty() { "nothing but the server" } else { check.needs.as_str() };
    let _ = writeln!(text, "  Needs:   {needs}");
    if !check.after.is_empty() {
        let _ = writeln!(text, "  After:   {} (if it finds something, this one is blocked)", check.after.join(", "));
    }
    let tokens: Vec<_> =
        crate::hostile::TABLE.iter().filter(|row| row.check == Some(check.id)).map(|row| row.name).collect();
    for (number, name) in tokens.iter().enumerate() {
        let _ = writeln!(text, "  {} {name}", if number == 0 { "Tokens: " } else { "        " });
    }
    text
}
