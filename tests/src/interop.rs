//! Other people's programs, which the tests need: Node.js and what `tests/interop/package.json` pins, and Chromium.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use crate::{Reply, Server, gen_token, has, needs};

/// Where Chromium is.
pub fn chromium() -> String {
    env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into())
}

/// Runs one of the scripts that install what is missing, in its folder, which is returned.
fn install(script: &str) -> Result<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let status = Command::new("bash").args(["-e", script]).current_dir(&folder).status()?;
    ensure!(status.success(), "tests/interop/{script}: {status}");
    Ok(folder)
}

/// Where cargo builds.
fn target() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    env::var_os("CARGO_TARGET_DIR").map_or_else(own, PathBuf::from)
}

/// The folder with `node_modules` in it, installed if it is missing.
///
/// # Errors
/// If Node.js, or Chromium where it is asked for, is missing, or the packages cannot be installed.
pub fn folder(with_chromium: bool) -> Result<PathBuf> {
    needs("Node.js 20", has("node", [20, 0]))?;
    needs("Chromium", !with_chromium || has(&chromium(), [1, 0]))?;
    install("node.sh")
}

/// One of the scripts beside them that use both. What they need is installed before, since two that install at the same
/// time are in each other's way.
///
/// # Errors
/// If Node.js, Python, or Chromium where it is asked for, is missing, or the packages cannot be installed.
pub fn script(name: &str, with_chromium: bool) -> Result<Command> {
    python()?;
    let mut bash = Command::new("bash");
    bash.arg(folder(with_chromium)?.join(name));
    Ok(bash)
}

/// A Python with the packages of `tests/interop/requirements.txt`.
///
/// # Errors
/// If Python is missing, or they cannot be installed.
pub fn python() -> Result<PathBuf> {
    needs("Python 3.11", has("python3", [3, 11]))?;
    install("python.sh")?;
    Ok(target().join("interop-venv/bin/python"))
}

/// A program of the module `tests/interop/go`, or one that it depends on, built if it is missing.
///
/// # Errors
/// If Go is missing, or it cannot be built.
pub fn go(package: &str) -> Result<PathBuf> {
    // From 1.21 on, Go fetches the version that go.mod asks for.
    let version = Command::new("go").args(["env", "GOVERSION"]).output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.trim_end().split('.').next()?.parse::<u32>().ok());
    needs("Go 1.21", minor >= Some(21))?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go");
    let program = target().join("interop-go").join(package.rsplit('/').next().unwrap_or_default());
    let package = if package.contains('/') { package.to_owned() } else { format!("./{package}") };
    let mut build = Command::new("go");
    let status = build.args(["build", "-o"]).arg(&program).arg(&package).current_dir(&folder).status()?;
    ensure!(status.success(), "go build {package} in tests/interop/go: {status}");
    Ok(program)
}

/// Another's server. It is killed when it is dropped.
pub struct Foreign {
    child: Child,
    /// The URL that it printed.
    pub url: String,
}

impl Foreign {
    /// Starts it, and waits until it says that it listens.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut server = Foreign { child, url: String::new() };
        let mut line = String::new();
        BufReader::new(server.child.stdout.take().context("no output")?).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening on ");
        url.with_context(|| format!("{command:?} does not start: {line}"))?.clone_into(&mut server.url);
        Ok(server)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A provider, a step 10 that trusts it and drops its keys soon after the provider is gone, and a token of alice's.
///
/// # Errors
/// If they do not come up.
pub fn with_provider() -> Result<(Server, Server, String)> {
    let provider = Server::start("auth-server")?;
    let hurried = ["--jwks-cooldown", "1s", "--jwks-min-age", "1s", "--jwks-max-age", "1s", "--max-stale", "15s"];
    let server = Server::start_with("step10", &[&["--issuer", provider.url()][..], &hurried].concat())?;
    let token = gen_token(&provider.keys(), server.url(), &["--issuer", provider.url(), "--username", "alice"])?;
    Ok((provider, server, token))
}

/// Ends the provider, and waits until the server knows that and answers 503 with `Retry-After`.
///
/// # Errors
/// If that is not so after a minute.
pub async fn lose(provider: Server, server: &Server, token: &str) -> Result<()> {
    drop(provider);
    let gone = Instant::now();
    while Reply::of(server.get("/health")).await?.json()["status"] != "unavailable" {
        ensure!(gone.elapsed() < Duration::from_mins(1), "the server does not notice that its provider is away");
        sleep(Duration::from_millis(100)).await;
    }
    let reply = Reply::of(server.legacy("ping", json!({})).bearer_auth(token)).await?;
    ensure!(reply.status == 503 && reply.header("retry-after").parse::<u32>()? > 0, "{reply:?}");
    Ok(())
}
