//! Every command in the READMEs is run, and its output compared with what the README shows.
//!
//! A ```` ```console ```` block has commands (`$ `, continued by a backslash at the end of a line) and below each its output, in
//! which `…` stands for anything. The commands of one README run in one shell, in order, in a fresh
//! folder, beside a running server of the README's step, whose free port takes the place of 9000. Step 10's trusts a
//! running auth-server, whose port takes the place of 9090.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use integration_tests::{Server, program};
use regex::Regex;

struct Example {
    command: String,
    output: String,
}

fn examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let (mut inside, mut continued) = (false, false);
    for line in readme.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) if !continued => {
                    examples.push(Example { command: command.to_owned(), output: String::new() });
                    continued = command.ends_with('\\');
                }
                (_, Some(example)) if continued => {
                    example.command.push('\n');
                    example.command.push_str(line);
                    continued = line.ends_with('\\');
                }
                (_, Some(example)) => {
                    example.output.push_str(line);
                    example.output.push('\n');
                }
                _ => {}
            },
        }
    }
    examples
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Commands that are true by being run: this test is part of the second, and the server of the first is running.
fn is_understood(command: &str) -> bool {
    let server = r"^cargo run (-q )?-p (step\d+|auth-server)( -- --issuer http://localhost:9090)?$";
    let server = Regex::new(server).expect("it is a regular expression");
    server.is_match(command) || command == "cargo test --workspace"
}

/// `cargo` as it behaves in a clone, from a folder that is none.
fn make_clone(folder: &Path) -> Result<()> {
    let manifest = root().join("Cargo.toml");
    let manifest = manifest.display();
    let script = format!(
        "#!/bin/sh\nverb=$1; shift\n[ \"$verb\" = xtask ] && set -- -q -p xtask -- \"$@\" && verb=run\nexec {} \"$verb\" --manifest-path '{manifest}' \"$@\"\n",
        env!("CARGO")
    );
    fs::create_dir(folder.join("bin"))?;
    fs::write(folder.join("bin/cargo"), script)?;
    fs::set_permissions(folder.join("bin/cargo"), fs::Permissions::from_mode(0o755))?;
    symlink(root().join("tests"), folder.join("tests"))?;
    provide_jq(&folder.join("bin"))
}

/// Where `jq` is missing, `jaq` takes its place, as it does in the shell tests.
fn provide_jq(bin: &Path) -> Result<()> {
    let on_path = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if on_path("jq") {
        return Ok(());
    }
    let tools = root().canonicalize()?.join("target/tools");
    let jaq = if on_path("jaq") { PathBuf::from("jaq") } else { tools.join("bin/jaq") };
    if !on_path("jaq") && !jaq.exists() {
        let install = Command::new(env!("CARGO"))
            .args(["install", "--quiet", "jaq", "--locked", "--root"])
            .arg(tools)
            .status()?;
        ensure!(install.success(), "jq is missing, and jaq could not be installed");
    }
    fs::write(bin.join("jq"), format!("#!/bin/sh\nexec '{}' \"$@\"\n", jaq.display()))?;
    fs::set_permissions(bin.join("jq"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn check(readme: &Path, step: &str) -> Result<usize> {
    let provider = if step == "step10" { Some(Server::start("auth-server")?) } else { None };
    let server = match &provider {
        Some(provider) => Server::start_with(step, &["--issuer", provider.url()])?,
        None => Server::start(step)?,
    };
    let folder = server.keys().parent().context("no folder")?.to_owned();
    make_clone(&folder)?;
    if let Some(provider) = &provider {
        symlink(provider.keys(), folder.join("keys"))?; // as in a clone, where both run in the same folder
    }
    let issuer = provider.as_ref().map_or("http://localhost:9090", Server::url);
    let here =
        |text: &str| text.replace("http://localhost:9000", server.url()).replace("http://localhost:9090", issuer);

    let examples = examples(&fs::read_to_string(readme)?);
    ensure!(!examples.is_empty(), "{} has no examples", readme.display());
    let mut script = String::new();
    for (number, example) in examples.iter().enumerate().filter(|(_, example)| !is_understood(&example.command)) {
        writeln!(script, "printf '\\n@@@{number}\\n'\n{{ {}\n}} 2>&1", here(&example.command))?;
    }
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH")?);
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(&folder).env("PATH", path);
    bash.env("MCP_PORT", "0").env("MCP_PUBLIC_URL", server.url()).env_remove("MCP_KEYS").env("NO_COLOR", "1");
    let output = bash.output()?;
    let output = format!("{}\n@@@", String::from_utf8_lossy(&output.stdout).replace('\r', ""));

    for (number, example) in examples.iter().enumerate() {
        let seen = if is_understood(&example.command) {
            let announced = format!("listening on {}", server.url());
            if example.output.is_empty() { String::new() } else { announced }
        } else {
            let mark = format!("\n@@@{number}\n");
            let (_, rest) = output.split_once(&mark).with_context(|| format!("{} did not run", example.command))?;
            rest.split_once("\n@@@").map_or(rest, |(seen, _)| seen).to_owned()
        };
        let wanted = regex::escape(here(&example.output).trim_end()).replace('…', "(?s:.*?)");
        let wanted = Regex::new(&format!(r"\A\s*{wanted}\s*\z"))?;
        ensure!(
            wanted.is_match(&seen),
            "{}:\n$ {}\nshould print\n{}\nbut printed\n{seen}",
            readme.display(),
            example.command,
            example.output
        );
    }
    Ok(examples.len())
}

#[test]
fn every_command_in_the_readmes_prints_what_they_show() -> Result<()> {
    program("gen-token")?;
    let mut readmes = vec![
        (root().join("README.md"), "step6".to_owned()),
        (root().join("auth-server/README.md"), "auth-server".to_owned()),
    ];
    readmes.extend((1..=10).map(|step| (root().join(format!("step{step}/README.md")), format!("step{step}"))));
    let mut failures = Vec::new();
    for (readme, step) in &readmes {
        match check(readme, step) {
            Ok(count) => println!("{}: {count} examples", readme.display()),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
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
    ] {
        fs::write(&readme, format!("```console\n{block}\n```\n"))?;
        assert_eq!(check(&readme, "step1").is_ok(), holds, "{block}");
    }
    Ok(())
}
