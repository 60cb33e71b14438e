//! Real clients and the official conformance suite: `tests/interop/run.sh`.

use anyhow::Result;
use integration_tests::{interop, programs, text};

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Python")]
fn real_clients_can_use_the_steps_and_are_turned_away_when_they_should_be() -> Result<()> {
    let output = interop::script("run.sh", false)?.env("TEST_PROGRAMS", programs::folder()?).output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() >= 38, "{text}");
    Ok(())
}
