//! Step 11 and a person at Chromium, who logs in at a real Keycloak: `tests/interop/client.mjs`.

use std::process::Command;

use anyhow::Result;
use integration_tests::{interop, keycloak::shared, program, text};

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Java, Maven, Node.js, Chromium")]
async fn a_person_logs_in_at_keycloak_and_the_tokens_are_renewed_and_withdrawn() -> Result<()> {
    let folder = interop::folder(true)?;
    let keycloak = shared().await?;
    let keycloak = keycloak.read().await;
    let server = keycloak.step10(&[])?;
    let mut command = Command::new("node");
    command.arg("client.mjs").arg(program("step11")?).arg("keycloak").current_dir(&folder);
    command.args([format!("{}/mcp", server.url()), keycloak.issuer()]);
    let output = command.env("OUTDIR", folder.join("../../target/screenshots")).output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() == 3, "{text}");
    Ok(())
}
