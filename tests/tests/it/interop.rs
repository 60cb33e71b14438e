//! Real clients and the official conformance suite: `tests/interop/run.sh`.

use std::{path::Path, process::Command};

use anyhow::Result;
use integration_tests::{has, needs, programs, text};

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Python")]
fn real_clients_can_use_the_steps_and_are_turned_away_when_they_should_be() -> Result<()> {
    for (needed, there) in [("Node 20", has("node", [20, 0])), ("Python 3.11", has("python3", [3, 11]))] {
        needs(needed, there)?;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/run.sh");
    let output = Command::new("bash").arg(script).env("TEST_PROGRAMS", programs::folder()?).output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() >= 38, "{text}");
    Ok(())
}
