//! A person at a real browser: Chromium, driven by `tests/interop/browser.mjs`.

use std::{env, path::Path, process::Command};

use anyhow::{Result, ensure};
use integration_tests::{
    browser::{PASSWORD, start},
    has, is_there,
};

#[test]
fn a_person_logs_in_consents_and_steps_up_in_chromium() -> Result<()> {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    for (needed, there) in [("Node 20", has("node", [20, 0])), ("Chromium", has(&chromium, [1, 0]))] {
        if !is_there("a person at a browser", needed, there) {
            return Ok(());
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    if !folder.join("node_modules/playwright-core").exists() {
        let mut install = Command::new("npm");
        let status = install.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder).status()?;
        ensure!(status.success(), "npm ci: {status}");
    }
    let server = start("step9")?;
    let output = Command::new("node")
        .arg("browser.mjs")
        .args([&format!("{}/mcp", server.url()), PASSWORD])
        .arg(folder.join("../../target/screenshots"))
        .current_dir(&folder)
        .output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() == 7, "{text}");
    Ok(())
}
