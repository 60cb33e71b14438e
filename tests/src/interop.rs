//! Other people's programs, which the tests need: Node.js and what `tests/interop/package.json` pins, and Chromium.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, ensure};

use crate::{has, is_there};

/// Where Chromium is.
pub fn chromium() -> String {
    env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into())
}

/// Runs one of the scripts that install what is missing, in its folder, which is returned.
fn install(script: &str) -> Result<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let status = Command::new("bash").args(["-e", script]).current_dir(&folder).status()?;
    ensure!(status.success(), "tests/interop/{script}: {status}");
    Ok(folder)
}

/// Where cargo builds.
fn target() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from)
}

/// The folder with `node_modules` in it, installed if need be. `None`, where a developer does not have what it takes;
/// in CI that is a failure.
///
/// # Errors
/// If the packages cannot be installed.
pub fn folder(test: &str, with_chromium: bool) -> Result<Option<PathBuf>> {
    if !is_there(test, "Node.js 20", has("node", [20, 0]))
        || with_chromium && !is_there(test, "Chromium", has(&chromium(), [1, 0]))
    {
        return Ok(None);
    }
    install("node.sh").map(Some)
}

/// A Python with the packages of `tests/interop/requirements.txt`; see [`folder`].
///
/// # Errors
/// If they cannot be installed.
pub fn python(test: &str) -> Result<Option<PathBuf>> {
    if !is_there(test, "Python 3.11", has("python3", [3, 11])) {
        return Ok(None);
    }
    install("python.sh")?;
    Ok(Some(target().join("interop-venv/bin/python")))
}

/// A program of the module `tests/interop/go`, built if need be; see [`folder`].
///
/// # Errors
/// If it cannot be built.
pub fn go(test: &str, package: &str) -> Result<Option<PathBuf>> {
    // From 1.21 on, Go fetches the version that go.mod asks for.
    let version = Command::new("go").args(["env", "GOVERSION"]).output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.trim_end().split('.').next()?.parse::<u32>().ok());
    if !is_there(test, "Go 1.21", minor >= Some(21)) {
        return Ok(None);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go");
    let program = target().join("interop-go").join(package);
    let mut build = Command::new("go");
    let status = build.args(["build", "-o"]).arg(&program).arg(format!("./{package}")).current_dir(&folder).status()?;
    ensure!(status.success(), "go build ./{package} in tests/interop/go: {status}");
    Ok(Some(program))
}
