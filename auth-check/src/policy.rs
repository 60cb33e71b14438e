//! What is known already and does not fail a run: a policy file, and the report of an earlier run.

use std::{collections::HashSet, str::FromStr};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    checks,
    model::{Level, Outcome},
    run::Results,
};

/// What does not fail a run.
#[derive(Debug)]
pub struct Policy {
    /// What is less strict than this does not.
    level: Level,
    ignored: Vec<Ignored>,
}

/// The form of `--policy`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    fail_under: Option<String>,
    #[serde(default)]
    ignore: Vec<Ignored>,
}

/// A check whose findings do not fail a run for a while.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignored {
    check: String,
    reason: String,
    /// The last day (UTC), as 2027-01-31.
    until: toml::value::Datetime,
}

impl Policy {
    /// Reads the file's text.
    ///
    /// # Errors
    /// If it has another form, names a check that is not there, or gives no reason.
    pub fn read(text: &str) -> Result<Self> {
        let File { fail_under, ignore } = toml::from_str(text)?;
        let level = fail_under.map_or(Ok(Level::May), |name| Level::from_str(&name))?;
        for ignored in &ignore {
            let id = &ignored.check;
            ensure!(checks::find(id).is_some(), "there is no check {id}");
            ensure!(!ignored.reason.trim().is_empty(), "{id} is ignored without a reason");
            ensure!(ignored.until.date.is_some() && ignored.until.time.is_none(), "{id}: `until` is not a date");
        }
        Ok(Policy { level, ignored: ignore })
    }

    /// Excuses what it ignores; `today` as 2026-11-27. Returns what somebody should know: entries that have ended.
    pub fn apply(&self, results: &mut Results, today: &str) -> Vec<String> {
        let mut ended = Vec::new();
        for ignored in &self.ignored {
            let until = ignored.until.to_string();
            if until.as_str() < today {
                ended.push(format!("the policy's entry for {} ended on {until}", ignored.check));
                continue;
            }
            let why = format!("ignored until {until}: {}", ignored.reason);
            excuse(results, &why, |verdict| verdict.check.id.eq_ignore_ascii_case(&ignored.check));
        }
        excuse(results, &format!("less strict than {}", self.level), |verdict| verdict.level > self.level);
        ended
    }
}

/// The findings of an earlier run: each a check's id, and what was wrong.
pub struct Baseline(HashSet<(String, String)>);

impl Baseline {
    /// Reads a report in JSON.
    ///
    /// # Errors
    /// If it is something else.
    pub fn read(text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text).context("it is not JSON")?;
        let Some(checks) = report["checks"].as_array().filter(|_| report["version"] == 1) else {
            bail!("it is not a report of auth-check");
        };
        let mut known = HashSet::new();
        for check in checks {
            for finding in check["findings"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                known.insert((text(&check["id"]), text(&finding["what"])));
            }
        }
        Ok(Baseline(known))
    }

    /// Excuses checks all of whose findings were there before.
    pub fn apply(&self, results: &mut Results) {
        excuse(results, "in the baseline", |verdict| match &verdict.outcome {
            Outcome::Found(findings) => {
                findings.iter().all(|one| self.0.contains(&(verdict.check.id.to_owned(), one.what.clone())))
            }
            _ => false,
        });
    }
}

fn excuse(results: &mut Results, why: &str, is_excused: impl Fn(&crate::check::Verdict) -> bool) {
    for verdict in &mut results.verdicts {
        if matches!(verdict.outcome, Outcome::Found(_)) && verdict.excused.is_none() && is_excused(verdict) {
            verdict.excused = Some(why.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_checks_reasons_and_days() {
        let entry = |check: &str, reason: &str, until: &str| {
            format!("[[ignore]]\ncheck = \"{check}\"\nreason = \"{reason}\"\nuntil = {until}\n")
        };
        assert!(Policy::read(&entry("tok-15", "because", "2027-01-31")).is_ok());
        assert!(Policy::read("fail-under = \"MUST\"").is_ok() && Policy::read("").is_ok());
        for bad in [
            entry("TOK-99", "because", "2027-01-31"),
            entry("TOK-15", " ", "2027-01-31"),
            entry("TOK-15", "because", "\"some day\""),
            entry("TOK-15", "because", "2027-01-31T00:00:00Z"),
            "fail-under = \"never\"".to_owned(),
            "ignore = [\"TOK-15\"]".to_owned(),
        ] {
            assert!(Policy::read(&bad).is_err(), "{bad}");
        }
        for bad in ["", "[]", "{}", "{\"version\": 2, \"checks\": []}"] {
            assert!(Baseline::read(bad).is_err(), "{bad}");
        }
    }
}
