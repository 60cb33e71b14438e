//! A person at a real browser: Chromium, driven by `tests/interop/browser.mjs`.

use std::{
    env,
    io::{Write, stderr},
    path::Path,
    process::Command,
};

use anyhow::{Result, ensure};
use integration_tests::browser::{PASSWORD, start};

/// The first number of `program --version`, or 0.
fn version(program: &str) -> u32 {
    let Ok(output) = Command::new(program).arg("--version").output() else { return 0 };
    let text = String::from_utf8_lossy(&output.stdout);
    text.split(|c: char| !c.is_ascii_digit()).find_map(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn a_person_logs_in_consents_and_steps_up_in_chromium() -> Result<()> {
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    for (needed, there) in [("Node 20", version("node") >= 20), ("Chromium", version(&chromium) > 0)] {
        if !there {
            assert!(env::var_os("CI").is_none(), "the browser test needs {needed}");
            // Past the test runner, which keeps what passing tests print to itself.
            writeln!(stderr(), "skipped: a person at a browser: needs {needed}")?;
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
