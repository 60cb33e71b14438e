//! Step 11 in the official conformance suite: every client scenario about authorization, one by one, as only then the
//! exit code counts.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Result, ensure};
use integration_tests::{interop, program, text};

/// In both revisions.
const BOTH: [&str; 14] = [
    "metadata-default",
    "metadata-var1",
    "metadata-var2",
    "metadata-var3",
    "basic-cimd",
    "scope-from-www-authenticate",
    "scope-from-scopes-supported",
    "scope-omitted-when-undefined",
    "scope-step-up",
    "scope-retry-limit",
    "token-endpoint-auth-basic",
    "token-endpoint-auth-post",
    "token-endpoint-auth-none",
    "pre-registration",
];
/// New in 2026-07-28.
const MODERN: [&str; 11] = [
    "resource-mismatch",
    "offline-access-scope",
    "offline-access-not-supported",
    "authorization-server-migration",
    "iss-supported",
    "iss-not-advertised",
    "iss-supported-missing",
    "iss-wrong-issuer",
    "iss-unexpected",
    "iss-normalized",
    "metadata-issuer-mismatch",
];
const BACKWARD: [&str; 2] = ["2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback"];
const EXTENSIONS: [&str; 6] = [
    "client-credentials-jwt",
    "client-credentials-basic",
    "enterprise-managed-authorization",
    "wif-jwt-bearer",
    "dpop",
    "dpop-nonce",
];

/// Runs one scenario with a command for a client; the suite's report is the error.
fn scenario(folder: &Path, command: &str, name: &str, revision: &str) -> Result<()> {
    let mut suite = Command::new(folder.join("node_modules/node/bin/node"));
    suite.arg("node_modules/@modelcontextprotocol/conformance/dist/index.js").current_dir(folder);
    suite.args(["client", "--command", command, "--scenario", &format!("auth/{name}")]);
    if !revision.is_empty() {
        suite.args(["--spec-version", revision]);
    }
    let output = suite.output()?;
    let text = text(&output);
    ensure!(output.status.success(), "{name} {revision}: {}\n{text}", output.status);
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js")]
fn all_47_client_scenarios_pass() -> Result<()> {
    let folder = interop::folder(false)?;
    let command = format!("'{}' conformance", program("step11")?.display());
    let mut scenarios: Vec<(&str, &str)> = Vec::new();
    scenarios.extend(BOTH.map(|name| (name, "2025-11-25")));
    scenarios.extend(BOTH.into_iter().chain(MODERN).map(|name| (name, "2026-07-28")));
    scenarios.extend(BACKWARD.map(|name| (name, "2025-03-26")));
    scenarios.extend(EXTENSIONS.map(|name| (name, "")));
    assert_eq!(scenarios.len(), 14 + 25 + 2 + 6);

    let (queue, failures) = (Mutex::new(scenarios), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, revision)) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
                        return;
                    };
                    if let Err(error) = scenario(&folder, &command, name, revision) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n\n"));
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js")]
fn the_suite_notices_a_client_that_does_nothing() -> Result<()> {
    let folder = interop::folder(false)?;
    for name in ["metadata-default", "iss-wrong-issuer", "dpop"] {
        assert!(scenario(&folder, "true", name, "").is_err(), "{name}");
    }
    Ok(())
}
