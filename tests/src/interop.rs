//! Other people's programs, which the tests need: Node.js and what `tests/interop/package.json` pins, and Chromium.

use std::{
    env,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

/// Whether the first number of `program --version` is at least this.
fn has(program: &str, least: u32) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let version = String::from_utf8_lossy(&output.stdout);
    version
        .split(|c: char| !c.is_ascii_digit())
        .find_map(|number| number.parse::<u32>().ok())
        .is_some_and(|it| it >= least)
}

/// Where Chromium is.
pub fn chromium() -> String {
    env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into())
}

/// The folder with `node_modules` in it, installed if need be. `None`, where a developer does not have what it takes;
/// in CI that is a failure.
///
/// # Errors
/// If the packages cannot be installed.
pub fn folder(test: &str, with_chromium: bool) -> Result<Option<PathBuf>> {
    for (needed, there) in [("Node 20", has("node", 20)), ("Chromium", !with_chromium || has(&chromium(), 1))] {
        if !there {
            ensure!(env::var_os("CI").is_none(), "{test} needs {needed}");
            // Past the test runner, which keeps what passing tests print to itself.
            writeln!(stderr(), "skipped: {test}: needs {needed}")?;
            return Ok(None);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    if !folder.join("node_modules/playwright-core").exists() {
        let mut install = Command::new("npm");
        let status = install.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder).status()?;
        ensure!(status.success(), "npm ci: {status}");
    }
    if !folder.join("node_modules/node/bin/node").exists() {
        let status = Command::new("node")
            .arg("installArchSpecificPackage")
            .current_dir(folder.join("node_modules/node"))
            .status()?;
        ensure!(status.success(), "node 22: {status}");
    }
    Ok(Some(folder))
}
