//! `cargo xtask check`: judges a step in `mine/` with the step's own script and with `auth-check`.

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{cargo, ended, findings, lessons, start, unset::unset};

/// The first step that asks for a token.
const AUTHORIZATION: u8 = 6;

/// What is judged: all that a step promises, or a part of it.
pub enum What {
    Step,
    /// The lessons of this number: `6.2`, or `6`.
    Only(String),
    /// The open task of this lesson.
    Task(String),
}

/// Builds step `n`, starts it and judges it. Prints a line for each check, and where the lessons of those that failed are.
pub fn check(root: &Path, mine: &Path, n: Option<u8>, what: &What) -> Result<ExitCode> {
    let lessons = lessons::all(root)?;
    let find = |id: &str| lessons.iter().find(|lesson| lesson.id == id);
    let n = match (n, what) {
        (Some(n), _) => n,
        (None, What::Task(id)) => find(id).with_context(|| format!("there is no lesson {id}"))?.step,
        (None, _) => start::newest(mine)?,
    };
    start::folder(root, mine, n)?;
    let program = build(mine, n)?;

    let mut bash = Command::new("bash");
    match what {
        What::Task(id) => bash.args(["tests/test_task.sh", id, "--step", &n.to_string()]),
        _ => bash.arg(format!("tests/test_step{n}.sh")),
    };
    unset(&mut bash).arg("--program").arg(program).current_dir(root).stdout(Stdio::piped());
    if let What::Only(id) = what {
        bash.args(["--only", id]);
    }
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.json");
    // A server in which lessons are still to do has too much that it finds.
    if matches!(what, What::Step) && n >= AUTHORIZATION {
        bash.arg("--auth-check").arg(&report);
    }
    let colour = io::stdout().is_terminal();
    if colour {
        bash.env("CLICOLOR_FORCE", "1");
    }
    let mut script = bash.spawn().context("cannot run bash")?;
    let mut failed: Vec<String> = Vec::new();
    let mut again = |id: &str| {
        if !failed.iter().any(|known| known == id) {
            failed.push(id.to_owned());
        }
    };
    for line in BufReader::new(script.stdout.take().context("no standard output")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some(id) = lesson_of_failure(&line) {
            again(id);
        }
    }
    let status = script.wait()?;
    let mut found = false;
    // There is none if the script did not come to its end.
    if report.is_file() {
        let report = fs::read_to_string(report).context("cannot read the report of auth-check")?;
        let (text, taught) = findings::shown(&report, &lessons, n, colour)?;
        print!("{text}");
        found = !taught.is_empty();
        for lesson in taught {
            again(&lesson.id);
        }
    }
    if !failed.is_empty() {
        println!("\nRead again:");
    }
    for id in &failed {
        let lesson = find(id).with_context(|| format!("there is no lesson {id}"))?;
        println!("{}", lesson.entry());
    }
    Ok(if found { ExitCode::FAILURE } else { ended(status) })
}

/// The number in `FAIL - 6.2 an expired token is invalid (…)`, which may be in colour.
fn lesson_of_failure(line: &str) -> Option<&str> {
    let (verdict, rest) = line.split_once(" - ")?;
    if verdict.contains("FAIL") { rest.split(' ').next() } else { None }
}

/// Builds the program of a step in `mine`, and none of this workspace.
fn build(mine: &Path, n: u8) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--package", &format!("step{n}"), "--message-format", "json-render-diagnostics"]);
    let output = cargo.current_dir(mine).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "your step {n} does not build");
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        if let Some(program) = message["executable"].as_str() {
            return Ok(program.into());
        }
    }
    bail!("your step {n} has no program: what became of its src/main.rs?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_is_named_by_its_failing_checks_only() {
        for (line, id) in [
            ("FAIL - 6.2 an expired token is invalid (expected 401 - got 500)", Some("6.2")),
            ("\x1b[31mFAIL\x1b[0m - 9.5 and is not remembered beyond it (…)", Some("9.5")),
            ("ok - 6.2 FAIL - 6.3 is no name of a check", None),
            ("3 passed, 2 failed", None),
        ] {
            assert_eq!(lesson_of_failure(line), id, "{line}");
        }
    }
}
