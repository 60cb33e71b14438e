//! The contenders: the servers that are measured, and how each is built and started.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use bench::{AUDIENCE, ISSUER, PUBLIC_KEY};

use crate::{
    tokens::{Issuer, SERVER},
    unset::unset,
    work::Work::{self, Echo, Flood, List, Modern, Tokens},
};

/// A server that is measured.
pub struct Contender {
    pub name: &'static str,
    program: Program,
    /// Whether it checks tokens.
    pub guarded: bool,
    /// The kinds of work it is measured with. Not every kind suits every contender: `tokens` differs from `echo` only
    /// with a token cache, `modern` needs MCP 2026-07-28, the bare handler has no lists, and the rows of one kind of
    /// work are meant to be compared.
    pub works: &'static [Work],
    env: &'static [(&'static str, &'static str)],
}

enum Program {
    Bare,
    Step,
    /// A step that gets the issuer's keys from its URL.
    StepAtIssuer,
    Rmcp,
    Go,
    TypeScript,
    Python,
}

const fn contender(name: &'static str, program: Program, guarded: bool, works: &'static [Work]) -> Contender {
    Contender { name, program, guarded, works, env: &[] }
}

/// All there are. The first is the limit.
pub static CONTENDERS: [Contender; 15] = [
    contender("bare", Program::Bare, false, &[Echo]),
    contender("bare, verifying", Program::Bare, true, &[Echo]),
    contender("step4", Program::Step, false, &[Echo, Modern, List]),
    contender("step6", Program::Step, true, &[Echo, Flood]),
    contender("step8", Program::Step, true, &[Echo]),
    contender("step9", Program::Step, true, &[Echo, Modern, List, Tokens, Flood]),
    Contender { env: &[("RUST_LOG", "off")], ..contender("step9, log off", Program::Step, true, &[Echo]) },
    contender("step10", Program::StepAtIssuer, true, &[Echo, Tokens]),
    contender("step12", Program::StepAtIssuer, true, &[Echo, Tokens]),
    contender("rmcp", Program::Rmcp, false, &[Echo]),
    contender("rmcp, verifying", Program::Rmcp, true, &[Echo, Modern, List, Flood]),
    contender("Go SDK", Program::Go, true, &[Echo]),
    contender("TypeScript SDK", Program::TypeScript, true, &[Echo]),
    contender("FastMCP", Program::Python, true, &[Echo]),
    contender("FastAPI", Program::Python, true, &[Echo]),
];

/// Why a contender is left out.
pub struct Missing(pub String);

impl Contender {
    pub fn named(name: &str) -> Result<&'static Self, String> {
        CONTENDERS.iter().find(|contender| contender.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            format!(
                "there is: {}",
                CONTENDERS.iter().map(|one| format!("{:?}", one.name)).collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// Whether cargo builds it, so that no other tool is needed.
    pub fn in_rust(&self) -> bool {
        matches!(self.program, Program::Bare | Program::Step | Program::StepAtIssuer | Program::Rmcp)
    }

    /// Whether it must find its issuer at a URL.
    pub fn needs_provider(&self) -> bool {
        matches!(self.program, Program::StepAtIssuer)
    }

    /// The program's name: the same program may run in several ways.
    fn base_name(&self) -> &'static str {
        self.name.split(',').next().unwrap_or(self.name)
    }

    /// Installs it unless [`build`] did, and gives the command that starts it in a folder of its own.
    ///
    /// # Errors
    /// If it cannot be built although all tools are there.
    pub fn prepare(&self, root: &Path, issuer: &Issuer) -> Result<Result<Command, Missing>> {
        let own = |folder: &str| root.join("run").join(folder);
        let mut command = match self.program {
            Program::Bare | Program::Rmcp => Command::new(release()?.join(self.base_name())),
            Program::Step => {
                let mut command = Command::new(release()?.join(self.base_name()));
                command.args(["--port", "0", "--public-url", SERVER]);
                if self.guarded {
                    command.arg("--keys").arg(issuer.folder());
                }
                command
            }
            Program::StepAtIssuer => {
                let mut command = Command::new(release()?.join(self.base_name()));
                command.args(["--port", "0", "--public-url", SERVER, "--issuer", issuer.name()]);
                command
            }
            Program::Go => {
                if let Some(missing) = missing("go", "version", "Go 1.25 or later") {
                    return Ok(Err(missing));
                }
                let program = installed()?.join("go-server");
                run(Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(source("go")))?;
                Command::new(program)
            }
            Program::TypeScript => {
                for (tool, name) in [("node", "Node.js 20 or later"), ("npm", "npm")] {
                    if let Some(missing) = missing(tool, "--version", name) {
                        return Ok(Err(missing));
                    }
                }
                let folder = source("typescript");
                run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder))?;
                let mut command = Command::new("node");
                command.arg(folder.join("server.mjs")).env("NODE_ENV", "production");
                command
            }
            Program::Python => {
                if let Some(missing) = missing("python3", "--version", "Python 3.11") {
                    return Ok(Err(missing));
                }
                let name = self.name.to_ascii_lowercase();
                let (folder, venv) = (source(&name), installed()?.join(&name));
                if !venv.join("bin/pip").exists() {
                    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
                }
                run(Command::new(venv.join("bin/pip"))
                    .args(["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"])
                    .arg(folder.join("requirements.txt")))?;
                let mut command = Command::new(venv.join("bin/python"));
                command.arg(folder.join("server.py"));
                command
            }
        };
        without_settings(&mut command);
        if self.guarded {
            command.env(PUBLIC_KEY, issuer.public_key()).env(ISSUER, issuer.name()).env(AUDIENCE, Issuer::audience());
        }
        command.envs(self.env.iter().copied());
        let folder = own(&self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        fs::create_dir_all(&folder)?;
        command.current_dir(folder);
        Ok(Ok(command))
    }
}

/// Takes the settings of the person who measures from a command.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("MCP_") || name == "RUST_LOG"
    }) {
        command.env_remove(name);
    }
}

/// Serves an issuer's metadata and keys at its own URL.
const PROVIDER: &str = "step9";

/// What starts it.
///
/// # Errors
/// If cargo's target folder cannot be found.
pub fn provider(keys: &Path) -> Result<Command> {
    let mut command = Command::new(release()?.join(PROVIDER));
    command.args(["--port", "0", "--keys"]).arg(keys);
    Ok(command)
}

/// The source of a contender in another language.
fn source(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contenders").join(language)
}

/// Where contenders in other languages are installed: below cargo's own target folder.
fn installed() -> Result<PathBuf> {
    let folder = target()?.join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Builds the contenders in Rust with one call, so that shared dependencies are compiled once.
///
/// # Errors
/// If one does not build.
pub fn build(contenders: &[&Contender]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    unset(&mut cargo);
    cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).arg("--target-dir").arg(target()?);
    let ours = contenders.iter().filter(|contender| contender.in_rust());
    let mut names: BTreeSet<_> = ours.map(|contender| contender.base_name()).collect();
    if contenders.iter().any(|contender| contender.needs_provider()) {
        names.insert(PROVIDER);
    }
    if names.is_empty() {
        return Ok(()); // cargo takes no names for all
    }
    for name in names {
        let package = if name.starts_with("step") { name } else { "bench" };
        cargo.args(["--package", package, "--bin", name]);
        if name == "rmcp" {
            cargo.args(["--features", "bench/rmcp"]);
        }
    }
    // Cargo's own output is the best error message, so its standard error is not captured.
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo could not build the contenders");
    Ok(())
}

/// Cargo's target folder: we are in `release/` or `debug/` below it.
fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("no path of our own")?;
    Ok(program.ancestors().nth(2).context("no target folder")?.to_owned())
}

/// Where cargo puts what it builds.
///
/// # Errors
/// If cargo's target folder cannot be found.
pub fn release() -> Result<PathBuf> {
    Ok(target()?.join("release"))
}

fn missing(tool: &str, version: &str, name: &str) -> Option<Missing> {
    let there = Command::new(tool).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    (!there.is_ok_and(|status| status.success())).then(|| Missing(format!("{tool} is missing: install {name}")))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
