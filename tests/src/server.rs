//! A server of ours that runs, and requests to it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::RequestBuilder;
use serde_json::Value;
use tempfile::TempDir;

use crate::{MODERN, command, instead::Instead, rpc, with_meta};

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
