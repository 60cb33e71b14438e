//! Real clients and the official conformance suite: `tests/interop/run.sh`.

use std::{
    io::{Write, stderr},
    path::Path,
    process::Command,
};

use anyhow::Result;
use integration_tests::has;

#[test]
fn real_clients_can_use_the_steps_and_are_turned_away_when_they_should_be() -> Result<()> {
    for (needed, there) in [("Node 20", has("node", [20, 0])), ("Python 3.11", has("python3", [3, 11]))] {
        if !there {
            assert!(std::env::var_os("CI").is_none(), "real clients need {needed}");
            // Past the test runner, which keeps what passing tests print to itself.
            writeln!(stderr(), "skipped: real clients: needs {needed}")?;
            return Ok(());
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/run.sh");
    let output = Command::new("bash").arg(script).output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() >= 38, "{text}");
    Ok(())
}
