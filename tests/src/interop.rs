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

/// The folder with `node_modules` in it, installed if need be. `None`, where a developer does not have what it takes;
/// in CI that is a failure.
///
/// # Errors
/// If the packages cannot be installed.
pub fn folder(test: &str, with_chromium: bool) -> Result<Option<PathBuf>> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    if !is_there(test, "Node.js 20", has("node", [20, 0]))
        || with_chromium && !is_there(test, "Chromium", has(&chromium(), [1, 0]))
    {
        return Ok(None);
    }
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let status = Command::new("bash").args(["-e", "node.sh"]).current_dir(&folder).status()?;
    ensure!(status.success(), "tests/interop/node.sh: {status}");
    Ok(Some(folder))
}
