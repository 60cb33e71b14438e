//! What cargo sets for the programs that it runs. The tests, the bench and xtask all start cargo again, so each takes this file.

use std::process::Command;

/// Takes from a command what cargo has set for this program. If cargo saw it at the command's end, it would build again what
/// looks at it (ring), and all that needs that, even these tests: here, and again in the cargo that comes next without it.
/// What the person has set (`CARGO_INCREMENTAL`, …) stays, for the same reason.
///
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-crates>
pub fn unset(command: &mut Command) -> &mut Command {
    let own = ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if own.contains(&&*text)
            || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|own| text.starts_with(own))
        {
            command.env_remove(&name);
        }
    }
    command
}
