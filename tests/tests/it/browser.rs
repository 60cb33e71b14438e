//! A person at a real browser: Chromium, driven by `tests/interop/browser.mjs`.

use std::process::Command;

use anyhow::Result;
use integration_tests::{Server, browser::PASSWORD, interop, text};

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Chromium")]
fn a_person_logs_in_consents_and_steps_up_in_chromium() -> Result<()> {
    let folder = interop::folder(true)?;
    // A client asks for the basic scopes: here all three, which need the most room on the consent page.
    let args = ["--basic-scopes", "mcp:read mcp:tools mcp:prompts"];
    let server = Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let output = Command::new("node")
        .arg("browser.mjs")
        .args([&format!("{}/mcp", server.url()), PASSWORD])
        .arg(folder.join("../../target/screenshots"))
        .current_dir(&folder)
        .output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() == 7, "{text}");
    Ok(())
}
