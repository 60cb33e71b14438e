//! The report as SARIF 2.1.0, which code hosts show beside the code.

use serde_json::{Value, json};

use super::{headline, reason};
use crate::{check::Verdict, model::Level, run::Results};

/// The report.
pub fn report(results: &Results) -> Value {
    // Code hosts take a file's path only: the URL, made to look like one.
    let place = results.target.replacen("://", "/", 1).replace([':', '[', ']'], "_");
    let rules: Vec<_> = results.verdicts.iter().map(rule).collect();
    let found = results.found().flat_map(|(verdict, findings)| findings.iter().map(move |finding| (verdict, finding)));
    let entries: Vec<_> = found
        .map(|(verdict, finding)| {
            let rule = results.verdicts.iter().position(|other| other.check.id == verdict.check.id);
            let suppressions = verdict.excused.iter();
            let suppressions = suppressions.map(|why| json!({ "kind": "external", "justification": why }));
            json!({
                "suppressions": suppressions.collect::<Vec<_>>(),
                "ruleId": verdict.check.id, "ruleIndex": rule, "level": level(verdict.level),
                "message": { "text": escaped(&format!("{} {}", finding.what, verdict.check.fix)) },
                "locations": [{
                    "physicalLocation": { "artifactLocation": { "uri": place } },
                    "logicalLocations": [{ "fullyQualifiedName": results.target, "kind": "resource" }],
                }],
                "partialFingerprints": { "check/v1": format!("{} {}", verdict.check.id, finding.what) },
            })
        })
        .collect();
    let not_run = results.verdicts.iter().filter_map(|verdict| {
        let reason = reason(&verdict.outcome)?;
        let text = escaped(&format!("{} was not run: {reason}.", verdict.check.id));
        Some(json!({ "level": "warning", "message": { "text": text }, "associatedRule": { "id": verdict.check.id } }))
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "auth-check", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": not_run.collect::<Vec<_>>(),
            }],
            "properties": { "summary": headline(results), "revision": results.revision.as_str() },
            "results": entries,
        }],
    })
}

/// A message without placeholders and links (SARIF 2.1.0 §3.11.5 and §3.11.6).
fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}").replace('[', "\\[")
}

fn rule(verdict: &Verdict) -> Value {
    let check = verdict.check;
    json!({
        "id": check.id,
        "shortDescription": { "text": escaped(check.title) },
        "fullDescription": { "text": escaped(check.clause.text) },
        "help": { "text": escaped(check.fix) },
        "helpUri": check.clause.link,
        "defaultConfiguration": { "level": level(verdict.level) },
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "error",
        Level::Should => "warning",
        Level::May => "note",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checks,
        model::{Finding, Outcome, Revision},
    };

    #[test]
    fn a_message_has_no_placeholder_and_no_link() {
        let finding = Finding { what: "{0} is [a](b).".to_owned(), sent: String::new(), came: String::new() };
        let verdict = |outcome| {
            let check = checks::find("FLOW-02").unwrap();
            Verdict { check, level: Level::Must, outcome, excused: None }
        };
        let verdicts = vec![verdict(Outcome::Found(vec![finding])), verdict(Outcome::NotRun("{1}".to_owned()))];
        let results = Results { target: String::new(), revision: Revision::R2026_07_28, verdicts, requests: 1 };
        let run = &report(&results)["runs"][0];
        let text = |message: &Value| message["text"].as_str().unwrap_or_default().to_owned();
        let found = text(&run["results"][0]["message"]);
        assert!(found.starts_with("{{0}} is \\[a](b). ") && found.contains("{{\"error\": …}}"), "{found}");
        let not_run = text(&run["invocations"][0]["toolExecutionNotifications"][0]["message"]);
        assert!(not_run.contains("{{1}}"), "{not_run}");
        assert!(text(&run["tool"]["driver"]["rules"][0]["help"]).contains("{{\"error\": …}}"));
    }
}
