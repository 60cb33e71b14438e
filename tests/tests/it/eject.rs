//! `cargo xtask eject`: a step as a workspace of its own.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{programs, readme::root};
use reqwest::Url;

fn eject(step: &str, folder: &Path) -> Result<Output> {
    Ok(programs::xtask()?.args(["eject", step]).arg(folder).output()?)
}

fn ejected(step: &str, folder: &Path) -> Result<()> {
    let output = eject(step, folder)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The packages of a Cargo.lock, with their versions.
fn locked(folder: &Path) -> Result<BTreeSet<(String, String)>> {
    let lock = fs::read_to_string(folder.join("Cargo.lock"))?;
    let value = |line: &str, name: &str| line.strip_prefix(name)?.strip_suffix('"').map(str::to_owned);
    let lines: Vec<_> = lock.lines().collect();
    Ok(lines.windows(2).filter_map(|it| Some((value(it[0], "name = \"")?, value(it[1], "version = \"")?))).collect())
}

#[test]
fn a_step_is_written_with_what_it_needs_and_nothing_else() -> Result<()> {
    let all = locked(&root())?;
    for (step, auth_server) in [("6", false), ("9", true)] {
        let folder = tempfile::tempdir()?;
        let folder = folder.path().join("new");
        ejected(step, &folder)?;
        for file in
            [&format!("step{step}/README.md"), "common/Cargo.toml", "LICENSE-MIT", "LICENSE-APACHE", ".gitignore"]
        {
            assert!(folder.join(file).is_file(), "step {step}: {file}");
        }
        assert!(!folder.join("step1").exists() && !folder.join("tests").exists(), "step {step}");
        assert_eq!(folder.join("crates/auth-server").exists(), auth_server, "step {step}");
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        assert!(manifest.contains("unsafe_code = \"forbid\""), "{manifest}");
        assert_eq!(manifest.contains("sqlx = "), auth_server, "{manifest}");
        let locked = locked(&folder)?;
        assert!(locked.is_subset(&all) && locked.len() < all.len(), "step {step}: {:?}", locked.difference(&all));
        // Fails if anything in its manifests is missing or wrong, or if cargo would have to fetch something.
        let mut tree = programs::cargo();
        let output = tree.args(["tree", "--locked", "--offline", "--workspace"]).current_dir(&folder).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let waits = |line: &str| line.trim_start().starts_with("Blocking waiting for file lock"); // for another cargo
        assert!(output.status.success() && said.lines().all(waits), "step {step}: {said}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_ejected_is_said() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let full = folder.path().join("full");
    fs::create_dir(&full)?;
    fs::write(full.join("file"), "")?;
    for (step, folder, code, says) in [
        ("99", folder.path().join("new"), 1, "error: there is no step99"),
        ("0", folder.path().join("new"), 2, "0 is not in 1.."),
        ("six", folder.path().join("new"), 2, "invalid digit"),
        ("6", full.clone(), 1, "full is not empty: choose another folder"),
        ("6", full.join("file"), 1, "error: cannot make the folder"),
        ("6", root().join("target/ejected"), 1, "is in this workspace: choose a folder outside"),
    ] {
        let output = eject(step, &folder)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(says), "{step} {}: {said}", folder.display());
    }
    assert!(!folder.path().join("new").exists() && !root().join("target/ejected").exists());
    assert_eq!(fs::read_dir(full)?.count(), 1);
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
async fn an_ejected_step_builds_and_starts_outside_of_the_workspace() -> Result<()> {
    let folder = tempfile::tempdir()?;
    ejected("6", folder.path())?;
    let mut cargo = programs::cargo();
    cargo.args(["build", "--locked", "--offline", "-p", "step6"]).current_dir(folder.path());
    let output = cargo.env_remove("CARGO_TARGET_DIR").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
    let mut step = Command::new(folder.path().join("target/debug/step6"))
        .args(["--port", "0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(step.stdout.take().context("no standard output")?).read_line(&mut line)?;
    let url = line.trim_end().strip_prefix("listening on ").map(|url| Url::parse(&format!("{url}/health")));
    let status = match url {
        Some(url) => reqwest::get(url?).await.map(|reply| reply.status().as_u16()),
        None => Ok(0),
    };
    step.kill()?;
    step.wait()?;
    assert_eq!(status?, 200, "{line}");
    Ok(())
}
