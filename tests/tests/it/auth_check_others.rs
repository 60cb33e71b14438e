//! What `auth-check` finds in the servers of others; its README has the table. Each finding was seen by hand too.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Result, ensure};
use auth_check::{
    context::{Attacker, Settings},
    issuer::IssuerServer,
    jose::RsaKey,
    model::{Outcome, Revision},
    policy::Policy,
    report,
    run::{Results, run},
    tokens::{Mint, Tokens},
};
use integration_tests::{
    command,
    interop::{self, Foreign},
    text,
};
use serde_json::{Value, json};

/// Is the authorization server of the server that is started with its URL, and runs all checks.
async fn judged(start: impl FnOnce(&str) -> Result<Foreign>) -> Result<Results> {
    let (trusted, foreign) = (Arc::new(RsaKey::generate()?), Arc::new(RsaKey::generate()?));
    let keys = |key: &RsaKey| json!({ "keys": [key.jwk()] });
    let issuer = IssuerServer::start(([127, 0, 0, 1], 0).into(), None, &keys(&trusted), &keys(&foreign)).await?;
    let url = issuer.url().to_owned();
    let name = url.clone();
    let server = tokio::task::block_in_place(|| start(&name))?;
    let settings = Settings {
        target: format!("{}/mcp", server.url).parse()?,
        revision: Revision::R2026_07_28,
        mine: Vec::new(),
        tokens: Tokens { mint: Some(Mint { key: trusted, issuer: url }), ..Tokens::default() },
        attacker: Attacker { key: foreign, server: issuer },
        audience: None,
        active: true,
        patience: 0,
    };
    run(settings, |_, _, _| {}).await
}

/// The server lets good tokens in, and these checks find something, and no others.
fn expect(results: &Results, expected: &[&str]) -> Result<()> {
    let found: Vec<_> = results.found().map(|(verdict, _)| verdict.check.id).collect();
    ensure!(found == expected, "found {found:?}, not {expected:?}: {}", report::text::report(results));
    ensure!(results.outcome("TOK-01") == Some(&Outcome::Passed));
    Ok(())
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs Python")]
async fn fastmcp_with_its_documented_verifier() -> Result<()> {
    let python = interop::python()?;
    let results = judged(|issuer| Foreign::start(Command::new(python).arg(script("protected.py")).arg(issuer))).await?;
    let expected = [
        "TRAN-01",  // Origin is not looked at,
        "TRAN-03",  // nor is Host.
        "TOK-07",   // A token without `exp` is accepted, and one without
        "TOK-14",   // `sub`.
        "TOK-15",   // `typ` is not looked at.
        "TOK-20",   // To Python, true is the number 1: so is an `nbf`.
        "TOK-21",   // `cnf` is not looked at.
        "PLACE-05", // Of two Authorization headers the first counts.
        "SCOPE-01", // A missing scope is answered with 401, not 403.
    ];
    expect(&results, &expected)
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs Node.js")]
async fn the_typescript_sdk_with_its_documented_middleware() -> Result<()> {
    let folder = interop::folder(false)?;
    let mut node = Command::new(folder.join("node_modules/node/bin/node"));
    let results = judged(|issuer| Foreign::start(node.arg(script("protected.mjs")).arg(issuer))).await?;
    let expected = [
        "CHAL-05",  // The 401 says invalid_token where no token was sent.
        "CHAL-17",  // The SDK puts jose's words into the challenge, with their quotes, so it cannot be read.
        "TRAN-01",  // Origin is not looked at. (Host is.)
        "TOK-14",   // jose is not told that `sub` must be there,
        "TOK-15",   // nor which `typ`;
        "TOK-20",   // it does not look at what `sub` is,
        "TOK-21",   // nor at `cnf`,
        "TOK-22",   // and takes padding. The SDK takes the token up to a space, whatever follows.
        "PLACE-05", // Of two Authorization headers the first counts.
    ];
    expect(&results, &expected)
}

/// The reports as other programs read them: SARIF against OASIS's schema, JUnit by junitparser.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs Python")]
async fn other_programs_read_the_reports() -> Result<()> {
    let python = interop::python()?;
    let start = |issuer: &str| Foreign::start(Command::new(&python).arg(script("protected.py")).arg(issuer));
    let mut results = judged(start).await?;
    let policy = "[[ignore]]\ncheck = \"TRAN-01\"\nreason = \"a <test> & more\"\nuntil = 2999-01-01\n";
    Policy::read(policy)?.apply(&mut results, "2026-01-01");
    let (_, found, not_run) = results.counts();
    ensure!(found > 1 && not_run > 1 && results.failing() == found - 1, "{}", report::headline(&results));

    let folder = tempfile::tempdir()?;
    let (sarif, junit) = (folder.path().join("sarif.json"), folder.path().join("junit.xml"));
    std::fs::write(&sarif, report::sarif::report(&results).to_string())?;
    for required in [false, true] {
        std::fs::write(&junit, report::junit::report(&results, required))?;
        let output = Command::new(&python).arg(script("reports.py")).args([&sarif, &junit]).output()?;
        ensure!(output.status.success(), "{}", text(&output));
        let findings: usize = results.found().map(|(_, findings)| findings.len()).sum();
        let (errors, skipped) = if required { (not_run, 1) } else { (0, not_run + 1) };
        let expected = json!({
            "problems": [], "results": findings, "cases": results.verdicts.len(),
            "failed": results.failing(), "errors": errors, "skipped": skipped,
        });
        ensure!(serde_json::from_slice::<Value>(&output.stdout)? == expected, "{}not {expected}", text(&output));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_behind_our_layers() -> Result<()> {
    let results = judged(|issuer| Foreign::start(command("rmcp")?.env("ISSUER", issuer).env("PORT", "0"))).await?;
    let expected = [
        "TRAN-01", // rmcp looks at Origin only if it is told which are allowed.
    ];
    expect(&results, &expected)
}
