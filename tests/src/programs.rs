//! The workspace's programs, which are built once, all together and with the features that the tests were built with: what
//! `cargo test --workspace` has compiled is not compiled again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::unset::unset;

/// The path of a program, by the program's name.
///
/// # Errors
/// If the programs cannot be built, or there is none of this name.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<HashMap<String, PathBuf>, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build(PROGRAMS, &["bin", "example"]).map_err(|error| format!("{error:#}"))) {
        Ok(built) => built.get(name).cloned().with_context(|| format!("there is no program {name}")),
        Err(error) => bail!("{error}"),
    }
}

/// The folder that has them all.
///
/// # Errors
/// If they cannot be built.
pub fn folder() -> Result<PathBuf> {
    program("gen-token")?.parent().map(Path::to_owned).context("no folder")
}

/// The unit tests of a library, by the library's name.
///
/// # Errors
/// If they cannot be built, or there is none of this name.
pub fn unit_tests(library: &str) -> Result<PathBuf> {
    let built = build("test --no-run --lib", &["lib"])?;
    built.get(library).cloned().with_context(|| format!("there is no library {library}"))
}

/// Those of the bench are not needed. With a test among the targets, dev-dependencies count, as they do for `cargo test`.
const PROGRAMS: &str = "build --bin step* --bin auth-server --bin gen-token --bin auth-check --bin xtask --test it \
    --example actix --example axum --example rmcp --example log_in_and_call";

/// `xtask`, which starts cargo, as a person would start it.
///
/// # Errors
/// If it cannot be built.
pub fn xtask() -> Result<Command> {
    let mut xtask = Command::new(program("xtask")?);
    unset(&mut xtask);
    Ok(xtask)
}

/// The cargo that has built this program, as a person would start it.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    unset(&mut cargo);
    cargo
}

/// Runs this command of cargo: what it has built of these kinds, by name.
fn build(command: &str, kinds: &[&str]) -> Result<HashMap<String, PathBuf>> {
    let mut cargo = cargo();
    cargo.args(command.split_whitespace()).args([
        "--workspace",
        "--message-format",
        "json-render-diagnostics",
        "--quiet",
    ]);
    cargo.args(if cfg!(debug_assertions) { &[][..] } else { &["--release"] });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = cargo.current_dir(folder).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the programs cannot be built");
    let mut built = HashMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let is_wanted = message["target"]["kind"][0].as_str().is_some_and(|kind| kinds.contains(&kind));
        if let (true, Some(name), Some(path)) =
            (is_wanted, message["target"]["name"].as_str(), message["executable"].as_str())
        {
            built.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    Ok(built)
}
