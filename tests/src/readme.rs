//! The commands in a README or a chapter of the book are run, and their output compared with what the page shows.
//!
//! A ```` ```console ```` block has commands (`$ `, continued by a backslash at the end of a line) and below each its output, in
//! which `…` stands for anything. The commands of one page run in one shell, in order, in a fresh folder, beside a running
//! server, whose free port takes the place of 9000. What a page shows below the command that starts its server with
//! `--show-exchange`, and in blocks without any command, the server must have printed in the end, in this order.
//!
//! A command that is not run is in a block of another kind, below a comment that says why: `<!-- not run: opens a browser -->`.

use std::{
    fmt::Write,
    fs,
    io::Read,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::{Server, programs, provide_jq, unset::unset};

/// What a page has for a test.
pub struct Page {
    path: PathBuf,
    examples: Vec<Example>,
    /// Parts of what its server prints.
    printed: Vec<String>,
}

struct Example {
    command: String,
    output: String,
}

impl Page {
    /// # Errors
    /// If it cannot be read, or has a command that is neither run nor excused.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(path, &text).with_context(|| path.display().to_string())
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut page = Page { path: path.to_owned(), examples: Vec::new(), printed: Vec::new() };
        let mut block: Option<(&str, Vec<&str>)> = None;
        let mut above = "";
        for line in text.lines() {
            match &mut block {
                Some((kind, lines)) if line.trim_end() == "```" => {
                    page.add(kind, lines, above)?;
                    (block, above) = (None, "");
                }
                Some((_, lines)) => lines.push(line),
                None if line.starts_with("```") => block = Some((line.trim_matches('`').trim(), Vec::new())),
                None if !line.trim().is_empty() => above = line,
                None => {}
            }
        }
        Ok(page)
    }

    fn add(&mut self, kind: &str, lines: &[&str], above: &str) -> Result<()> {
        if kind != "console" {
            let commands = ["sh", "bash"].contains(&kind) || lines.iter().any(|line| line.starts_with("$ "));
            let excused = above.starts_with("<!-- not run: ");
            ensure!(excused || !commands, "is not run, and does not say why:\n{}", lines.join("\n"));
            return Ok(());
        }
        let mut continued = false;
        let first = self.examples.len();
        let mut printed = String::new();
        for line in lines {
            let started = self.examples.len() > first;
            match (line.strip_prefix("$ "), self.examples.last_mut()) {
                (Some(command), _) if !continued => {
                    self.examples.push(Example { command: command.to_owned(), output: String::new() });
                    continued = command.ends_with('\\');
                }
                (_, Some(example)) if continued => {
                    example.command.push('\n');
                    example.command.push_str(line);
                    continued = line.ends_with('\\');
                }
                (_, Some(example)) if started && !shows_exchange(&example.command) => {
                    example.output.push_str(line);
                    example.output.push('\n');
                }
                _ => {
                    printed.push_str(line);
                    printed.push('\n');
                }
            }
        }
        self.printed.extend(Some(printed).filter(|printed| !printed.is_empty()));
        Ok(())
    }

    pub fn has_examples(&self) -> bool {
        !self.examples.is_empty()
    }

    /// What its server must be started with.
    pub fn arguments(&self) -> &'static [&'static str] {
        if self.examples.iter().any(|it| shows_exchange(&it.command)) { &["--show-exchange"] } else { &[] }
    }
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Commands that the test does not run: the server of the first is running already, and this test is part of the
/// second.
fn is_understood(command: &str) -> bool {
    let server = r"^cargo run (-q )?-p (step\d+|auth-server)( -- --issuer \S+( --profile \w+)?| -- --show-exchange)?$";
    let server = Regex::new(server).expect("it is a regular expression");
    server.is_match(command) || command == "cargo test --workspace"
}

fn shows_exchange(command: &str) -> bool {
    is_understood(command) && command.ends_with(" --show-exchange")
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
    CARGO_MANIFEST_DIR=. exec "$program" "$@" # as cargo tells what it runs
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

/// Runs the commands of a page beside this server, which takes the place of that on port 9000, and was started with
/// [`Page::arguments`]; more texts to replace by others, in commands and outputs, may be given. The server ends with them.
///
/// # Errors
/// If a command, or the server, prints something else than the page shows.
pub fn check(page: &Page, mut server: Server, more: &[(&str, &str)]) -> Result<usize> {
    ensure!(page.has_examples(), "{} has no examples", page.path.display());
    let stdout = server.take_stdout().context("somebody else reads what the server prints")?;
    let printed = thread::spawn(move || {
        let mut text = String::new();
        { stdout }.read_to_string(&mut text).map(|_| text)
    });
    let here = |text: &str| {
        let text = text.replace("localhost:9000", server.url().trim_start_matches("http://"));
        more.iter().fold(text, |text, (from, to)| text.replace(from, to))
    };
    let pattern = |text: &str| regex::escape(here(text).trim_end()).replace('…', "(?s:.*?)");
    let output = run(page, &server, &here)?;

    for (number, example) in page.examples.iter().enumerate() {
        let seen = if is_understood(&example.command) {
            let announced = format!("listening on {}", server.url());
            if example.output.is_empty() { String::new() } else { announced }
        } else {
            let mark = format!("\n@@@{number}\n");
            let (_, rest) = output.split_once(&mark).with_context(|| format!("{} did not run", example.command))?;
            rest.split_once("\n@@@").map_or(rest, |(seen, _)| seen).to_owned()
        };
        let wanted = Regex::new(&format!(r"\A\s*{}\s*\z", pattern(&example.output)))?;
        ensure!(
            wanted.is_match(&seen),
            "{}:\n$ {}\nshould print\n{}\nbut printed\n{seen}",
            page.path.display(),
            example.command,
            example.output
        );
    }

    if page.printed.is_empty() {
        return Ok(page.examples.len());
    }
    let announced = format!("listening on {}\n", server.url());
    let patterns: Vec<_> = page.printed.iter().map(|part| (part, pattern(part))).collect();
    server.terminate()?;
    let printed = printed.join().map_err(|_| anyhow::anyhow!("reading failed"))??;
    let (printed, mut at) = (announced + &printed, 0);
    for (part, pattern) in patterns {
        let found = Regex::new(&format!("(?m)^{pattern}$"))?.find_at(&printed, at);
        let found = found.with_context(|| {
            format!("{}: the server should print\n{part}\nbut printed\n{}", page.path.display(), &printed[at..])
        })?;
        at = found.end();
    }
    Ok(page.examples.len())
}

/// All that the commands print, with a line `@@@` and its number before each. What they started ends with them.
fn run(page: &Page, server: &Server, here: &dyn Fn(&str) -> String) -> Result<String> {
    let folder = server.keys().parent().context("no folder")?.to_owned();
    make_clone(&folder)?;
    let mut script = String::new();
    for (number, example) in page.examples.iter().enumerate().filter(|(_, example)| !is_understood(&example.command)) {
        writeln!(script, "printf '\\n@@@{number}\\n'\n{{ {}\n}} 2>&1", here(&example.command))?;
    }
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH")?);
    let mut bash = Command::new("bash");
    unset(&mut bash);
    bash.args(["-c", &script]).current_dir(&folder).env("PATH", path);
    bash.env("MCP_PORT", "0").env("MCP_PUBLIC_URL", server.url()).env_remove("MCP_KEYS").env("NO_COLOR", "1");
    bash.env("TEST_PROGRAMS", programs::folder()?);
    bash.env("MCP_CREDENTIALS", folder.join("credentials"));
    let bash = bash.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn()?;
    let group = format!("-{}", bash.id());
    let output = bash.wait_with_output()?;
    // A command may have left a server behind.
    Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status()?;
    Ok(format!("{}\n@@@", String::from_utf8_lossy(&output.stdout).replace('\r', "")))
}
