//! The report as JSON; its schema is `report.schema.json`, beside this package's README.

use serde_json::{Value, json};

use super::{headline, reason, word};
use crate::{model::Outcome, run::Results};

/// The version of the schema.
const VERSION: u32 = 1;

/// The report.
pub fn report(results: &Results) -> Value {
    let (passed, found, not_run) = results.counts();
    let checks = results.verdicts.iter().map(|verdict| {
        let check = verdict.check;
        let mut entry = json!({
            "id": check.id, "title": check.title, "level": verdict.level.to_string(), "outcome": word(&verdict.outcome),
            "clause": { "text": check.clause.text, "link": check.clause.link }, "fix": check.fix,
        });
        if let Some(reason) = reason(&verdict.outcome) {
            entry["reason"] = json!(reason);
        }
        if let Some(excused) = &verdict.excused {
            entry["excused"] = json!(excused);
        }
        if let Outcome::Found(findings) = &verdict.outcome {
            let findings = findings.iter().map(|one| json!({ "what": one.what, "sent": one.sent, "came": one.came }));
            entry["findings"] = findings.collect();
        }
        entry
    });
    json!({
        "version": VERSION, "summary": headline(results), "target": results.target,
        "revision": results.revision.as_str(), "requests": results.requests,
        "counts": { "passed": passed, "found": found, "not_run": not_run },
        "checks": checks.collect::<Vec<_>>(),
    })
}
