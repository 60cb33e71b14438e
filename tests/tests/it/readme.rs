//! Every command in the READMEs is run, and its output compared with what the README shows. (keycloak/README.md: see
//! `keycloak.rs`.)

use std::{fs, path::Path};

use anyhow::Result;
use integration_tests::{
    Server, program,
    readme::{Page, check, root},
};

/// Step 10's server trusts a running auth-server, whose port takes the place of 9090.
pub fn check_beside(page: &Path, step: &str) -> Result<usize> {
    let page = Page::read(page)?;
    if step != "step10" {
        return check(&page, Server::start_with(step, page.arguments())?, &[]);
    }
    let provider = Server::start("auth-server")?;
    let server = Server::start_with(step, &["--issuer", provider.url()])?;
    // As in a clone, where both run in the same folder. A link would not be trusted.
    fs::create_dir_all(server.keys())?;
    for key in fs::read_dir(provider.keys())? {
        let key = key?;
        fs::copy(key.path(), server.keys().join(key.file_name()))?;
    }
    check(&page, server, &[("http://localhost:9090", provider.url())])
}

#[test]
fn every_command_in_the_readmes_prints_what_they_show() -> Result<()> {
    program("gen-token")?;
    let mut readmes = vec![
        (root().join("README.md"), "step6".to_owned()),
        (root().join("crates/auth-server/README.md"), "auth-server".to_owned()),
    ];
    for readme in ["step11/README.md", "auth-check/README.md"] {
        readmes.push((root().join(readme), "step9".to_owned()));
    }
    readmes
        .extend((1..=10).chain([12]).map(|step| (root().join(format!("step{step}/README.md")), format!("step{step}"))));
    let mut failures = Vec::new();
    for (readme, step) in &readmes {
        // Some commands have a time limit, and beside other tests a machine may be too busy.
        let again = |error| {
            println!("{}, first time: {error:#}", readme.display());
            check_beside(readme, step)
        };
        match check_beside(readme, step).or_else(again) {
            Ok(count) => println!("{}: {count} examples", readme.display()),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

#[test]
fn a_command_that_is_not_run_says_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("README.md");
    for (text, holds) in [
        ("```sh\ncargo run\n```", false),
        ("```text\n$ cargo run\n```", false),
        ("```text\nanything else\n```", true),
        ("<!-- not run: opens a browser -->\n```sh\ncargo run\n```", true),
        ("<!-- not run: opens a browser -->\nWords.\n\n```sh\ncargo run\n```", false),
        ("```console\n$ cargo run -q -p step1\n```", true),
    ] {
        fs::write(&page, text)?;
        assert_eq!(Page::read(&page).is_ok(), holds, "{text}");
    }
    Ok(())
}

#[test]
fn an_output_that_is_not_the_readmes_is_noticed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let readme = folder.path().join("README.md");
    for (block, holds) in [
        ("$ echo one\none", true),
        ("$ echo one\n…", true),
        ("$ echo one\ntwo", false),
        ("$ echo one\non", false),
        ("$ echo one; echo two\none", false),
        ("$ echo one", false),
        ("$ A=1\n$ echo \\\n  $A\n1", true),
        // What the server prints is in a block without a command.
        ("$ true\n```\n```console\nlistening on http://localhost:9000", true),
        ("$ true\n```\n```console\nlistening on http://localhost:…", true),
        ("$ true\n```\n```console\nlistening on http://localhost:9000/", false),
        ("$ true\n```\n```console\nlistening on …\n```\n```console\nlistening on …", false),
    ] {
        fs::write(&readme, format!("```console\n{block}\n```\n"))?;
        assert_eq!(check_beside(&readme, "step1").is_ok(), holds, "{block}");
    }
    Ok(())
}
