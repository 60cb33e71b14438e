//! The report as SARIF 2.1.0, which code hosts show beside the code.

use serde_json::{Value, json};

use super::{headline, reason};
use crate::{check::Verdict, model::Level, run::Results};

/// The report.
pub fn report(results: &Results) -> Value {
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
                "message": { "text": format!("{} {}", finding.what, verdict.check.fix) },
                "locations": [{
                    "physicalLocation": { "artifactLocation": { "uri": results.target } },
                    "logicalLocations": [{ "fullyQualifiedName": results.target, "kind": "resource" }],
                }],
                "partialFingerprints": { "check/v1": format!("{} {}", verdict.check.id, finding.what) },
            })
        })
        .collect();
    let not_run = results.verdicts.iter().filter_map(|verdict| {
        let reason = reason(&verdict.outcome)?;
        let text = format!("{} was not run: {reason}.", verdict.check.id);
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

fn rule(verdict: &Verdict) -> Value {
    let check = verdict.check;
    json!({
        "id": check.id,
        "shortDescription": { "text": check.title },
        "fullDescription": { "text": check.clause.text },
        "help": { "text": check.fix },
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
