//! The commands in a README are run, and their output compared with what the README shows.
//!
//! A ```` ```console ```` block has commands (`$ `, continued by a backslash at the end of a line) and below each its output, in
//! which `…` stands for anything. The commands of one README run in one shell, in order, in a fresh
//! folder, beside a running server, whose free port takes the place of 9000.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::{Server, programs, provide_jq};

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

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Commands that are true by being run: this test is part of the second, and the server of the first is running.
fn is_understood(command: &str) -> bool {
    let server = r"^cargo run (-q )?-p (step\d+|auth-server)( -- --issuer \S+( --profile \w+)?)?$";
    let server = Regex::new(server).expect("it is a regular expression");
    server.is_match(command) || command == "cargo test --workspace"
}

/// `cargo` as it behaves in a clone, from a folder that is not one. What it runs is built already.
fn make_clone(folder: &Path) -> Result<()> {
    let manifest = root().join("Cargo.toml");
    let manifest = manifest.display();
    let script = format!(
        r#"#!/bin/sh
programs='{programs}'
case $1 in
  xtask) shift; exec "$programs/xtask" "$@" ;;
  run) [ "$2 $3" = "-q -p" ] && [ -x "$programs/$4" ] && program=$programs/$4 && shift 4 && {{
    [ "$1" != -- ] || shift
    exec "$program" "$@"
  }} ;;
esac
verb=$1; shift
exec {cargo} "$verb" --manifest-path '{manifest}' "$@"
"#,
        programs = programs::folder()?.display(),
        cargo = env!("CARGO"),
    );
    fs::create_dir(folder.join("bin"))?;
    fs::write(folder.join("bin/cargo"), script)?;
    fs::set_permissions(folder.join("bin/cargo"), fs::Permissions::from_mode(0o755))?;
    for part in ["tests", "keycloak"] {
        symlink(root().join(part), folder.join(part))?;
    }
    provide_jq(&folder.join("bin"))
}

/// Runs the commands of a README beside this server, which takes the place of that on port 9000; more texts to
/// replace by others, in commands and outputs, may be given.
///
/// # Errors
/// If a command prints something else than the README shows.
pub fn check(readme: &Path, server: &Server, more: &[(&str, &str)]) -> Result<usize> {
    let folder = server.keys().parent().context("no folder")?.to_owned();
    make_clone(&folder)?;
    let here = |text: &str| {
        let text = text.replace("localhost:9000", server.url().trim_start_matches("http://"));
        more.iter().fold(text, |text, (from, to)| text.replace(from, to))
    };

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
    bash.env("TEST_PROGRAMS", programs::folder()?);
    bash.env("MCP_CREDENTIALS", folder.join("credentials"));
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
