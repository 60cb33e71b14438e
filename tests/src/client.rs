//! Step 11 as a person runs it: a terminal to read, a browser that opens what the program asks for.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use reqwest::Url;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{browser::Browser, command};

/// Nothing that a test starts may take longer: a hang is a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The addresses that the desktop was asked to open, one on each line.
    pub opened: String,
}

impl Outcome {
    /// Everything that a person, or a log, could see.
    pub fn visible(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Step 11 for one server, with credentials of its own.
pub struct Client {
    server: String,
    folder: TempDir,
}

impl Client {
    /// # Errors
    /// If there is no temporary folder.
    pub fn new(server: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Takes the place of the desktop's program, and writes down what it should open.
        let bin = folder.path().join("bin");
        fs::create_dir(&bin)?;
        let launcher = bin.join("xdg-open");
        fs::write(&launcher, format!("#!/bin/sh\necho \"$@\" >>{}\n", folder.path().join("opened").display()))?;
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755))?;
        Ok(Client { server: server.to_owned(), folder })
    }

    pub fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// The one file of credentials.
    ///
    /// # Errors
    /// If it is missing.
    pub fn stored(&self) -> Result<PathBuf> {
        for file in fs::read_dir(self.credentials())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                return Ok(path);
            }
        }
        bail!("nothing is stored")
    }

    /// The program with these arguments, not yet started.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = command("step11")?;
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display());
        if !args.contains(&"--login-timeout") {
            command.args(["--login-timeout", "30"]);
        }
        if !args.contains(&"--timeout") {
            command.args(["--timeout", "5"]);
        }
        command
            .args(["--server", &self.server])
            .args(args)
            .env("MCP_CREDENTIALS", self.credentials())
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env_remove("SSH_CONNECTION")
            .env_remove("XDG_DATA_HOME")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs it. `browser` is called with each address that the person is asked to open.
    ///
    /// # Errors
    /// If it does not end.
    pub fn run(&self, args: &[&str], browser: impl Fn(&str) + Send + 'static) -> Result<Outcome> {
        self.wait(self.command(args)?.spawn()?, browser)
    }

    /// Waits for one that was started.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait(&self, mut child: Child, browser: impl Fn(&str) + Send + 'static) -> Result<Outcome> {
        let stderr = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut stdout = child.stdout.take().context("no standard output")?;
        let reader = thread::spawn(move || {
            let mut text = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("  http").filter(|url| url.contains("code_challenge=")) {
                    browser(&format!("http{url}"));
                }
                text.push_str(&line);
                text.push('\n');
            }
            text
        });
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stdout.read_to_end(&mut text);
            let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
        });
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                child.kill()?;
                bail!("it hangs; so far: {:?}", reader.join());
            }
            thread::sleep(Duration::from_millis(10));
        };
        let stderr = reader.join().map_err(|_| anyhow::anyhow!("the browser failed"))?;
        let stdout = receiver.recv_timeout(Duration::from_secs(5))?;
        let opened = fs::read_to_string(self.folder.path().join("opened")).unwrap_or_default();
        Ok(Outcome { code: status.code(), stdout, stderr, opened })
    }
}

/// A person at the log-in and consent pages of the server at this origin, who allows these scopes. Returns where the browser is sent
/// in the end.
///
/// # Errors
/// If a page is not what it should be.
pub fn person(origin: &str, url: &str, user: &str, scopes: &[&str]) -> Result<String> {
    let path = url.strip_prefix(origin).context("another server's page")?;
    let asked: BTreeMap<String, String> = Url::parse(url)?.query_pairs().into_owned().collect();
    let redirect_uri = asked.get("redirect_uri").context("no redirect_uri")?;
    let answer = Runtime::new()?.block_on(Browser::at(vec![origin])?.consent(path, user, scopes))?;
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(answer).finish();
    Ok(format!("{redirect_uri}?{query}"))
}

/// What a browser does without a person: it follows redirects, wherever they lead.
pub fn follow(url: &str) {
    let mut next = url.to_owned();
    for _ in 0..5 {
        match get(&next) {
            Ok(Some(location)) => next = location,
            _ => return,
        }
    }
}

/// `GET` over plain http; the `Location` of the answer.
fn get(url: &str) -> Result<Option<String>> {
    let url = Url::parse(url)?;
    let address = (url.host_str().context("no host")?, url.port().context("no port")?);
    let mut stream = TcpStream::connect(address)?;
    let target = &url[url::Position::BeforePath..];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n\r\n", address.0, address.1)?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let location = answer.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    });
    Ok(location)
}
