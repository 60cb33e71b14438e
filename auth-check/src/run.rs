//! Tries all checks, in the table's order, but for the last.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

use crate::{
    check::{Check, Verdict},
    checks,
    context::{Context, Settings},
    jose, mask,
    model::{Finding, Needs, Outcome, Revision, Unmet},
};

/// What a server may not survive: it comes last, so that no other check is lost.
const LAST: &str = "TRAN-09";

/// What a run found.
#[derive(Debug)]
pub struct Results {
    /// The MCP endpoint, without what may be secret in its URL.
    pub target: String,
    /// The revision that it was held against.
    pub revision: Revision,
    /// What came of each check that applies, in the order in which they were tried.
    pub verdicts: Vec<Verdict>,
    /// How many requests were sent.
    pub requests: u32,
}

impl Results {
    /// What was found, with the check that found it.
    pub fn found(&self) -> impl Iterator<Item = (&Verdict, &[Finding])> {
        self.verdicts.iter().filter_map(|verdict| match &verdict.outcome {
            Outcome::Found(findings) => Some((verdict, findings.as_slice())),
            _ => None,
        })
    }

    /// How many checks found something that is not excused.
    pub fn failing(&self) -> usize {
        self.found().filter(|(verdict, _)| verdict.excused.is_none()).count()
    }

    /// How many checks have passed, found something, and were not run.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Outcome) -> bool| self.verdicts.iter().filter(|one| is(&one.outcome)).count();
        let not_run = count(|one| matches!(one, Outcome::Blocked(_) | Outcome::NotRun(_)));
        (count(|one| *one == Outcome::Passed), self.found().count(), not_run)
    }

    /// What came of a check.
    pub fn outcome(&self, id: &str) -> Option<&Outcome> {
        self.verdicts.iter().find(|verdict| verdict.check.id == id).map(|verdict| &verdict.outcome)
    }
}

/// Tries all checks that apply. `progress` is told each before it is tried, with its number and how many there are.
///
/// # Errors
/// If the server does not answer at all, or may not be asked.
pub async fn run(settings: Settings, progress: impl Fn(&Check, usize, usize)) -> Result<Results> {
    Ok(try_all(&ready(settings).await?, progress).await)
}

/// Waits until the server is ready to be tried.
///
/// # Errors
/// As [`run`].
pub async fn ready(settings: Settings) -> Result<Context> {
    let patience = settings.patience;
    let context = Context::new(settings);
    wait(&context, patience).await;
    if let Err(Unmet(why)) = context.anonymous().await {
        bail!("nothing can be tried: this needs {}", mask::sentence(&why));
    }
    Ok(context)
}

/// The same as [`run`], on a server that is ready.
pub async fn try_all(context: &Context, progress: impl Fn(&Check, usize, usize)) -> Results {
    let revision = context.revision;
    let mut applying: Vec<_> = checks::all().filter_map(|check| Some((check, check.level(revision)?))).collect();
    applying.sort_by_key(|(check, _)| check.id == LAST);
    let mut verdicts: Vec<Verdict> = Vec::new();
    let mut known: HashMap<&str, Outcome> = HashMap::new();
    for (number, (check, level)) in applying.iter().enumerate() {
        progress(check, number + 1, applying.len());
        let outcome = match stopped(check, &known) {
            Some(outcome) => outcome,
            None => try_one(context, check).await,
        };
        known.insert(check.id, outcome.clone());
        verdicts.push(Verdict { check, level: *level, outcome, excused: None });
    }
    context.leave().await;
    Results { target: mask::url(&context.target), revision, verdicts, requests: context.http.count() }
}

/// Waits until the server answers, and something else than that it is not ready.
async fn wait(context: &Context, seconds: u32) {
    let ready = async || context.send(context.legacy("tools/list")).await.is_ok();
    let waiting = async {
        while !ready().await {
            sleep(Duration::from_secs(1)).await;
        }
    };
    // The first check judges what the server says after that.
    let _ = timeout(Duration::from_secs(seconds.into()), waiting).await;
}

/// What an earlier check makes of this one.
fn stopped(check: &Check, known: &HashMap<&str, Outcome>) -> Option<Outcome> {
    check.after.iter().find_map(|id| match known.get(id)? {
        Outcome::Passed => None,
        Outcome::NotRun(why) => Some(Outcome::NotRun(why.clone())),
        Outcome::Found(_) => Some(Outcome::Blocked(id)),
        Outcome::Blocked(first) => Some(Outcome::Blocked(first)),
    })
}

async fn try_one(context: &Context, check: &Check) -> Outcome {
    if !has(context, check.needs).await {
        return Outcome::NotRun(check.needs.as_str().to_owned());
    }
    match (check.run)(context, check.id).await {
        Ok(findings) if findings.is_empty() => Outcome::Passed,
        Ok(findings) => Outcome::Found(findings),
        // It may quote what a server said.
        Err(Unmet(why)) => Outcome::NotRun(mask::sentence(&why)),
    }
}

async fn has(context: &Context, needs: Needs) -> bool {
    match needs {
        Needs::Nothing => true,
        Needs::Token => context.tokens.any(),
        Needs::Key => context.tokens.mint.is_some(),
        Needs::Active => context.active,
        Needs::Login => context.tokens.login.is_some(),
        Needs::Jwt => context.token().await.is_ok_and(|token| jose::taken_apart(&token).is_some()),
    }
}
