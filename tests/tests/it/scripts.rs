//! The shell test of each step passes on that step, and fails on the one before: it can fail.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpListener,
    process::Command,
};

use anyhow::{Context, Result};
use integration_tests::{Server, programs, readme::root, text};
use regex::Regex;
use serde_json::Value;

fn script(step: u8) -> Result<Command> {
    let mut command = Command::new("bash");
    command.arg(format!("tests/test_step{step}.sh")).current_dir(root());
    command.env("TEST_PROGRAMS", programs::folder()?);
    Ok(command)
}

#[test]
fn every_script_passes_on_its_own_step() -> Result<()> {
    let number = Regex::new(r"^ok - (\d\.\d|10|12) \S")?;
    for step in (1..=10).chain([12]) {
        let output = script(step)?.output()?;
        let text = text(&output);
        assert!(output.status.success(), "test_step{step}.sh: {text}");
        assert!(text.trim_end().ends_with(" passed, 0 failed"), "test_step{step}.sh: {text}");
        let verdicts: Vec<_> = text.lines().filter(|line| line.starts_with("ok")).collect();
        assert!(verdicts.iter().all(|line| number.is_match(line)), "test_step{step}.sh: {text}");
        assert!(verdicts.iter().any(|line| line.starts_with(&format!("ok - {step}"))), "test_step{step}.sh: {text}");
    }
    Ok(())
}

#[test]
fn a_script_judges_one_lesson_or_those_of_a_step_and_lists_them_all() -> Result<()> {
    for (only, numbers) in [("2.1", &["2.1"][..]), ("2", &["2.1", "2.2", "2.3"])] {
        let output = script(3)?.args(["--only", only]).output()?;
        let text = text(&output);
        let verdicts = text.lines().filter_map(|line| line.strip_prefix("ok - ")?.split(' ').next());
        let judged: BTreeSet<_> = verdicts.collect();
        assert!(output.status.success() && judged.iter().eq(numbers), "{text}");
    }
    let help = text(&script(3)?.arg("--help").output()?);
    for line in ["  --only LESSON ", "  2.1  One JSON-RPC message\n", "  4.3  The second era of the protocol\n"] {
        assert!(help.contains(line), "{line}: {help}");
    }
    for (args, says) in [
        (&["--only", "9.1"][..], "there is no check of lesson 9.1 here"),
        (&["--only"], "--only needs a lesson"),
        (&["--auth-check", "/tmp/report"], "--auth-check is for step 6 and later"),
        (&["--program", "/none"], "--program needs a program"),
        (&["--program", "/bin/sh", "--url", "http://localhost:1"], "either --program or --url"),
    ] {
        let output = script(3)?.args(args).output()?;
        assert!(output.status.code() == Some(2) && text(&output).contains(says), "{args:?}: {}", text(&output));
    }
    Ok(())
}

#[test]
fn what_auth_check_finds_in_a_step_has_what_takes_a_log_in() -> Result<()> {
    let report = tempfile::NamedTempFile::new()?;
    let output = script(7)?.args(["--only", "7.1", "--auth-check"]).arg(report.path()).output()?;
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&std::fs::read(report.path())?)?;
    let checks = report["checks"].as_array().context("no checks")?;
    for id in ["FLOW-15", "REF-04", "REV-03", "TOK-23"] {
        assert!(checks.iter().any(|check| check["id"] == id && check["outcome"] == "passed"), "{id}: {report:#}");
    }
    Ok(())
}

/// Answers every request with 404, until the test ends.
fn nothing_but_404() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    Ok(port)
}

#[test]
fn the_first_script_fails_on_a_server_that_has_nothing() -> Result<()> {
    let url = format!("http://localhost:{}", nothing_but_404()?);
    let output = script(1)?.args(["--url", &url]).output()?;
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL"), "{text}");
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn every_script_fails_on_the_step_before() -> Result<()> {
    for (before, step) in (1..10).map(|before| (before, before + 1)).chain([(10, 12)]) {
        let server = Server::start(&format!("step{before}"))?;
        let mut command = script(step)?;
        command.args(["--url", server.url()]);
        if step > 5 {
            command.arg("--keys").arg(server.keys());
        }
        let output = command.output()?;
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "test_step{step}.sh on step {before}: {text}");
        assert!(text.contains("FAIL"), "test_step{step}.sh on step {before}: {text}");
    }
    Ok(())
}
