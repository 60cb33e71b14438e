//! Real clients and the official conformance suite: `tests/interop/run.sh`.

use std::{
    io::{Write, stderr},
    path::Path,
    process::Command,
};

use anyhow::Result;

/// Whether the first number of `program --version` is at least this.
fn has(program: &str, least: [u32; 2]) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let version = String::from_utf8_lossy(&output.stdout);
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.trim().split('.').map_while(|number| number.parse().ok());
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)] >= least
}

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
