//! Helpers for the integration tests: they start the real programs and talk to them over HTTP.

pub mod browser;
pub mod client;
pub mod gated;
pub mod haproxy;
pub mod instead;
pub mod interop;
pub mod keycloak;
pub mod mock;
pub mod permissions;
pub mod postgres;
pub mod programs;
pub mod provider;
pub mod readme;
pub mod signer;
pub mod unset;
pub mod workshop;
pub mod world;

use std::{
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub use programs::program;

use instead::Instead;

/// The version whose requests carry everything with them.
pub const MODERN: &str = "2026-07-28";
/// The versions that begin with `initialize`, newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// A command that runs a package's program without the settings of the person who runs the tests.
///
/// # Errors
/// If the program cannot be built.
pub fn command(package: &str) -> Result<Command> {
    let mut command = Command::new(program(package)?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MCP_")) {
        command.env_remove(name);
    }
    Ok(command)
}

/// A port for a server that has to be told one. It is below those that systems choose for connections (from 32768 on, by
/// default), so none takes it before the server listens there.
pub fn free_port() -> u16 {
    // A hasher of the standard library is random.
    let mut ports = std::iter::repeat_with(|| 10_000 + (RandomState::new().hash_one(()) % 20_000) as u16);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap_or_default()
}

/// What a program wrote, to both outputs.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Does something for each item, a few at a time. Returns the items for which it failed.
pub fn each<T: Sync>(threads: usize, items: &[T], what: impl Fn(&T) -> Result<()> + Sync) -> Vec<(&T, anyhow::Error)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
            failed.extend(what(item).err().map(|error| (item, error)));
        }
        failed
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Where `jq` is missing, `jaq` takes its place in the folder `bin`, as it does in the shell tests.
///
/// # Errors
/// If it cannot be installed.
pub fn provide_jq(bin: &Path) -> Result<()> {
    let on_path = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if on_path("jq") {
        return Ok(());
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?.join("target/tools");
    let jaq = if on_path("jaq") { PathBuf::from("jaq") } else { tools.join("bin/jaq") };
    if !on_path("jaq") && !jaq.exists() {
        let install =
            programs::cargo().args(["install", "--quiet", "jaq", "--locked", "--root"]).arg(tools).status()?;
        ensure!(install.success(), "jq is missing, and jaq could not be installed");
    }
    fs::write(bin.join("jq"), format!("#!/bin/sh\nexec '{}' \"$@\"\n", jaq.display()))?;
    fs::set_permissions(bin.join("jq"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Whether the first numbers of `program --version` are at least these.
pub fn has(program: &str, least: [u32; 2]) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let version = String::from_utf8_lossy(&output.stdout);
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.trim().split('.').map_while(|number| number.parse().ok());
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)] >= least
}

/// An error, if what a test needs is not there.
///
/// # Errors
/// If it is not.
pub fn needs(needed: &str, there: bool) -> Result<()> {
    ensure!(there, "this test needs {needed}");
    Ok(())
}

/// A token from `gen-token` for the server at `server_url`, signed with the key in `keys`.
///
/// # Errors
/// If the program fails, or prints something that is not text.
pub fn gen_token(keys: &Path, server_url: &str, args: &[&str]) -> Result<String> {
    let output = command("gen-token")?.arg("--keys").arg(keys).args(["--server", server_url]).args(args).output()?;
    if !output.status.success() {
        bail!("gen-token failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// A step's server on a free port, in a folder of its own. It is killed when it is dropped.
pub struct Server {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    folder: TempDir,
    url: String,
    client: reqwest::Client,
}

impl Server {
    /// Starts a step without further arguments.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(package: &str) -> Result<Self> {
        Self::start_with(package, &[])
    }

    /// Starts a step and waits until it says that it listens.
    ///
    /// # Errors
    /// If it does not come up; the error has what it wrote to standard error.
    pub fn start_with(package: &str, args: &[&str]) -> Result<Self> {
        Self::start_in_env(package, args, &[])
    }

    /// The same, with environment variables.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_in_env(package: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let Instead { package, args: owned, env: further } = Instead::of(package, args, folder.path())?;
        let args = &owned.iter().map(String::as_str).collect::<Vec<_>>();
        let mut command = command(package)?;
        command
            .envs(further)
            .envs(env.iter().copied())
            .args(if args.contains(&"--port") { &[][..] } else { &["--port", "0"] })
            .args(args)
            .current_dir(folder.path())
            .env("RUST_LOG", "debug");
        if package.strip_prefix("step").and_then(|step| step.parse::<u8>().ok()).is_some_and(|step| step >= 5)
            && !args.contains(&"--keys")
        {
            command.arg("--keys").arg(folder.path().join("keys"));
        }
        let log = File::create(folder.path().join("stderr"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let Some(url) = line.trim_end().strip_prefix("listening on ").map(str::to_owned) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(folder.path().join("stderr"))?;
            bail!("{package} did not come up: {read:?} {line:?} {log}");
        };
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Server { child, stdout: Some(stdout), folder, url, client })
    }

    /// The URL it printed, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output after the line that says that it listens. Nobody reads it until it is taken.
    pub fn take_stdout(&mut self) -> Option<BufReader<ChildStdout>> {
        self.stdout.take()
    }

    /// Sends SIGTERM: its exit code, and how long it took to end.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn terminate(&mut self) -> Result<(Option<i32>, Duration)> {
        let told = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(sent.success(), "kill failed");
        Ok((self.child.wait()?.code(), told.elapsed()))
    }

    /// A line of `/proc/<pid>/status` (`proc_pid_status(5)`), in KiB: `VmRSS`, `VmHWM`.
    ///
    /// # Errors
    /// If there is no such line.
    pub fn memory(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
    }

    /// The folder of the key pair (from step 5 on).
    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Everything it has written to standard error so far.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn stderr(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("stderr"))?)
    }

    /// A request to a path of this server.
    pub fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// `GET` of a path.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(reqwest::Method::GET, path)
    }

    /// `POST /mcp` of any bytes that claim to be JSON.
    pub fn post_text(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(reqwest::Method::POST, "/mcp")
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .body(body)
    }

    /// `POST /mcp` of JSON.
    pub fn post(&self, body: &Value) -> RequestBuilder {
        self.post_text(body.to_string())
    }

    /// A legacy request.
    pub fn legacy(&self, method: &str, params: Value) -> RequestBuilder {
        self.post(&rpc(method, params))
    }

    /// A complete modern request: headers and `_meta` as they must be.
    pub fn modern(&self, method: &str, params: Value) -> RequestBuilder {
        let body = rpc(method, with_meta(params));
        let mut request = self.post(&body).header("MCP-Protocol-Version", MODERN).header("Mcp-Method", method);
        if let Some(name) = body["params"]["name"].as_str() {
            request = request.header("Mcp-Name", name);
        }
        request
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A JSON-RPC request with the id 1.
pub fn rpc(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// The `_meta` that a modern request needs.
pub fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "tests", "version": "1.0.0" }
    })
}

/// Params with that `_meta`.
pub fn with_meta(mut params: Value) -> Value {
    params["_meta"] = meta();
    params
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// If it is missing.
    pub async fn of(request: RequestBuilder) -> Result<Self> {
        let response: Response = request.send().await?;
        Ok(Reply { status: response.status(), headers: response.headers().clone(), text: response.text().await? })
    }

    /// Sends all of these at once.
    ///
    /// # Errors
    /// If an answer is missing.
    pub async fn of_all(requests: impl Iterator<Item = RequestBuilder>) -> Result<Vec<Self>> {
        let mut all = JoinSet::new();
        for request in requests {
            all.spawn(Self::of(request));
        }
        all.join_all().await.into_iter().collect()
    }

    /// The body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// What a refusal on `/mcp` says: `error`, `error_description` and what else there is, from whichever form its body
    /// must have. `id`: what the server knew of the request's; null if it had not read the message.
    ///
    /// # Panics
    /// If the body has the wrong form.
    pub fn refusal(&self, id: &Value) -> Value {
        let body = self.json();
        let flat = id.is_null() && !matches!(self.status.as_u16(), 401 | 403);
        if flat {
            assert!(body["error"].is_string() && body["error_description"].is_string(), "{self:?}");
            return body;
        }
        let error = &body["error"];
        let mut said = error["data"].clone();
        assert!(said["error"].is_string() && said.get("error_description").is_none(), "{self:?}");
        let whole = json!({ "code": self.status.as_u16(), "message": error["message"], "data": said });
        assert_eq!(body, json!({ "jsonrpc": "2.0", "id": id, "error": whole }), "{self:?}");
        assert!(error["message"].is_string(), "{self:?}");
        said["error_description"] = error["message"].clone();
        said
    }

    /// A header's value; the empty text if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The status and the code of the JSON-RPC error (0: none).
    pub fn outcome(&self) -> (u16, i64) {
        (self.status.as_u16(), self.json()["error"]["code"].as_i64().unwrap_or_default())
    }
}
