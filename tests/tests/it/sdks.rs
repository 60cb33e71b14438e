//! What the users of the SDKs are told when a token is refused, and how soon, when step 10's provider is away. (The
//! official Rust SDK: see `rmcp.rs`.)

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use integration_tests::{Server, gen_token, interop};

/// A program of `tests/interop/` that does what it is told, line by line.
pub struct Client {
    pub name: &'static str,
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Client {
    fn start(name: &'static str, mut command: Command, server: &Server) -> Result<Self> {
        command.arg(format!("{}/mcp", server.url())).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
        let commands = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Client { name, child, commands, answers })
    }

    /// Its answer to a command, which may take this long.
    pub fn told(&mut self, command: &str, within: Duration) -> Result<String> {
        writeln!(self.commands, "{command}")?;
        let verb = command.split(' ').next().unwrap_or_default();
        self.answers.recv_timeout(within).with_context(|| format!("{}: no answer to {verb} in {within:?}", self.name))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Long enough for a program to start on a busy computer.
pub const START: Duration = Duration::from_mins(1);
/// A call that is refused ends within this time: nobody waits for `Retry-After`, or tries again and again.
pub const SOON: Duration = Duration::from_secs(20);

pub fn clients(server: &Server) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    let python = interop::python()?;
    for (name, kind) in [("Python SDK", "sdk"), ("FastMCP", "fastmcp")] {
        let mut command = Command::new(&python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/interop/drive.py")).arg(kind);
        clients.push(Client::start(name, command, server)?);
    }
    let folder = interop::folder(false)?;
    for (name, version) in [("TypeScript SDK v1", "v1"), ("TypeScript SDK v2", "v2")] {
        let mut command = Command::new("node");
        command.args(["drive.mjs", version]).current_dir(&folder);
        clients.push(Client::start(name, command, server)?);
    }
    clients.push(Client::start("Go SDK", Command::new(interop::go("client")?), server)?);
    Ok(clients)
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Python, Go")]
fn the_sdks_tell_their_users_why_a_token_is_refused() -> Result<()> {
    let server = Server::start("step9")?;
    let token = |args: &[&str]| gen_token(&server.keys(), server.url(), &[&["--username", "alice"], args].concat());
    let (good, narrow, expired) = (token(&[])?, token(&["--scopes", "mcp:read"])?, token(&["--expires-in=-5m"])?);
    for mut client in clients(&server)? {
        let name = client.name;
        assert_eq!(client.told(&format!("connect {good}"), START)?, "ok", "{name}");
        assert_eq!(client.told("call", SOON)?, "ok", "{name}");

        assert_eq!(client.told(&format!("connect {narrow}"), SOON)?, "ok", "{name}");
        // Two have words of their own: one reads only the challenge, the other no body whose `id` is null.
        let said = client.told("call", SOON)?;
        let wanted = match name {
            "TypeScript SDK v2" => r#"Insufficient scope: required "mcp:tools""#,
            _ => "This needs the scope mcp:tools.",
        };
        assert!(said.starts_with("error ") && said.contains(wanted), "{name}: {said}");

        let said = client.told(&format!("connect {expired}"), SOON)?;
        let wanted = if name == "Go SDK" { "Unauthorized" } else { "The token has expired (exp)." };
        assert!(said.starts_with("error ") && said.contains(wanted), "{name}: {said}");
        println!("ok - {name}: {said}");
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Python, Go")]
async fn no_sdk_waits_when_the_provider_is_away() -> Result<()> {
    let (provider, server, token) = interop::with_provider()?;
    let mut clients = clients(&server)?;
    for client in &mut clients {
        assert_eq!(client.told(&format!("connect {token}"), START)?, "ok", "{}", client.name);
        assert_eq!(client.told("call", SOON)?, "ok", "{}", client.name);
    }

    interop::lose(provider, &server, &token).await?;
    for client in &mut clients {
        for command in ["call", &format!("connect {token}")] {
            let asked = Instant::now();
            let said = client.told(command, SOON)?;
            assert!(said.starts_with("error "), "{}: {said}", client.name);
            println!("ok - {}, after {:?}: {said}", client.name, asked.elapsed());
        }
    }
    Ok(())
}
