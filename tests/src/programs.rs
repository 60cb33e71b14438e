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

/// The path of a program, by the program's name.
///
/// # Errors
/// If the programs cannot be built, or there is none of this name.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<HashMap<String, PathBuf>, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
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

fn build() -> Result<HashMap<String, PathBuf>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--message-format", "json-render-diagnostics", "--quiet"]);
    // Those of the bench are not needed. With a test among the targets, dev-dependencies count, as they do for `cargo test`.
    cargo.args(["--bin", "step*", "--bin", "auth-server", "--bin", "gen-token", "--bin", "xtask", "--test", "it"]);
    cargo.args(["--example", "actix", "--example", "axum", "--example", "rmcp"]); // of resource-server
    cargo.args(if cfg!(debug_assertions) { &[][..] } else { &["--release"] });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = cargo.current_dir(folder).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the programs cannot be built");
    let mut built = HashMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let is_program = matches!(message["target"]["kind"][0].as_str(), Some("bin" | "example"));
        if let (true, Some(name), Some(path)) =
            (is_program, message["target"]["name"].as_str(), message["executable"].as_str())
        {
            built.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    Ok(built)
}
