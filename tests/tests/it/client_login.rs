//! Step 11 and a person, at step 9: every command, as a person runs it. The person is a script here; with Chromium, and
//! at the official TypeScript SDK's example server, in `tests/interop/client.mjs`. And at servers of the Python and Go SDKs.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::{
    Server,
    browser::{Browser, PASSWORD, start},
    client::{Client, follow, person},
    free_port, interop, program, programs,
    signer::rsa_key,
    text,
};
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use regex::Regex;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use serde_json::{Value, json};

/// Alice, who allows these scopes, at a browser on the same computer.
fn alice(server: &Arc<Server>, scopes: &'static [&'static str]) -> impl Fn(&str) + Send + 'static {
    let server = server.clone();
    move |url| follow(&person(server.url(), url, "alice", scopes).expect("the person"))
}

fn nobody(url: &str) {
    panic!("there should be no log-in: {url}");
}

const ALL: &[&str] = &["mcp:read", "mcp:tools", "mcp:prompts"];

fn setup() -> Result<(Arc<Server>, Client)> {
    let server = Arc::new(start("step9")?);
    let client = Client::new(&format!("{}/mcp", server.url()))?;
    Ok((server, client))
}

#[test]
fn one_log_in_and_every_command() -> Result<()> {
    let (server, client) = setup()?;
    let outcome = client.run(&["status"], nobody)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("step11 login"), "{outcome:?}");

    let outcome = client.run(&["call", "echo", "message=hi", "repeat_count=3"], alice(&server, ALL))?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hihihi\n"), "{outcome:?}");
    let run = |args: &[&str]| client.run(args, nobody);
    assert!(run(&["status"])?.stdout.contains("mcp:read mcp:tools\n"));
    // The scopes that the server asks for at first are for basic use; a prompt needs more.
    let outcome = client.run(&["prompt", "greeting", "style=formal"], alice(&server, ALL))?;
    assert!(outcome.code == Some(0) && outcome.stdout.contains("Good day, alice"), "{outcome:?}");
    for (args, code, says) in [
        (&["tools"][..], 0, "echo  Says the message"),
        (&["call", "whoami"], 0, "\"username\":\"alice\""),
        (&["--json", "call", "echo", "message=hi"], 0, "\"structuredContent\": {"),
        (&["prompts"], 0, "takes: name, style"),
        (&["prompt", "greeting", "style=formal"], 0, "Good day, alice"),
        (&["status"], 0, "mcp:read mcp:tools mcp:prompts"),
        (&["trace", "echo", "message=hi"], 0, "1. Ask the MCP server what it can do"),
        (&["call", "echo"], 2, "message is missing. echo takes: message (string, required), repeat_count (integer)"),
        (&["call", "echo", "message=hi", "repeat_count=many"], 2, "repeat_count=many"),
        (&["call", "echo", "message=hi", "loud=1"], 2, "loud is not an argument"),
        (&["call", "echo", "message=hi", "repeat_count=99"], 5, "the tool failed"),
        (&["call", "nothing"], 5, "There are: echo, get_time, whoami"),
        (&["prompt", "greeting", "style=rude"], 5, "-32602"),
        (&["--protocol-version", "2025-06-18", "call", "echo", "message=old"], 0, "old"),
    ] {
        let outcome = run(args)?;
        assert_eq!(outcome.code, Some(code), "{args:?} {outcome:?}");
        assert!(outcome.visible().contains(says), "{args:?} {outcome:?}");
    }
    let outcome = run(&["--json", "call", "nothing"])?;
    let error: Value = serde_json::from_str(&outcome.stderr)?;
    assert_eq!(error["error"]["kind"], "tool");
    let outcome = run(&["--json", "status"])?;
    let status: Value = serde_json::from_str(&outcome.stdout)?;
    assert_eq!((&status[0]["issuer"], &status[0]["renewable"]), (&json!(server.url()), &json!(true)));

    // Another person's log-in, with the existing registration.
    let who = server.clone();
    let outcome = client.run(&["login"], move |url| {
        follow(&person(who.url(), url, "bob", &["mcp:read", "mcp:tools"]).expect("the person"));
    })?;
    assert!(outcome.code == Some(0) && outcome.stdout.contains("mcp:read mcp:tools"), "{outcome:?}");
    assert!(run(&["call", "whoami"])?.stdout.contains("\"username\":\"bob\""));

    let token =
        serde_json::from_str::<Value>(&fs::read_to_string(client.stored()?)?)?["grant"]["refresh_token"].clone();
    let outcome = run(&["logout"])?;
    assert!(outcome.code == Some(0) && outcome.stdout.contains("Logged out"), "{outcome:?}");
    assert!(outcome.stderr.is_empty() && client.stored().is_err(), "{outcome:?}");
    // It no longer works.
    let runtime = tokio::runtime::Runtime::new()?;
    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str().context("no token")?)];
    let reply = runtime.block_on(Browser::new(&server)?.token(&form))?;
    assert_ne!(reply.status, 200, "{reply:?}");
    Ok(())
}

#[test]
fn a_narrow_consent_is_widened_when_a_tool_needs_more() -> Result<()> {
    let (server, client) = setup()?;
    let outcome = client.run(&["--scope", "mcp:read", "login"], alice(&server, &["mcp:read"]))?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(client.run(&["tools"], nobody)?.code, Some(0));
    // --scope asks for exactly these scopes.
    let outcome = client.run(&["--scope", "mcp:read", "call", "echo", "message=hi"], nobody)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("mcp:tools"), "{outcome:?}");
    let who = server.clone();
    let outcome = client.run(&["call", "echo", "message=hi"], move |url| {
        assert!(url.contains("scope=mcp%3Aread+mcp%3Atools"), "{url}");
        follow(&person(who.url(), url, "alice", &["mcp:read", "mcp:tools"]).expect("the person"));
    })?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    Ok(())
}

#[test]
fn over_ssh_the_last_pages_address_is_pasted() -> Result<()> {
    let (server, client) = setup()?;
    let mut command = client.command(&["--paste", "call", "echo", "message=hi"])?;
    command.env("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22").stdin(Stdio::piped());
    let mut child = command.spawn()?;
    let mut keyboard = child.stdin.take().context("no keyboard")?;
    let keyboard_of = std::sync::Mutex::new(move |text: &str| writeln!(keyboard, "{text}"));
    let who = server.clone();
    let outcome = client.wait(child, move |url| {
        let answer = person(who.url(), url, "alice", ALL).expect("the person");
        let mut paste = keyboard_of.lock().expect("the keyboard");
        paste("https://evil.example/callback?code=x").expect("to paste");
        paste(&answer).expect("to paste");
    })?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("paste that page's address here"), "{outcome:?}");
    assert!(outcome.stderr.contains("That is not the address"), "{outcome:?}");
    assert_eq!(outcome.opened, "", "nothing is opened over SSH");
    Ok(())
}

#[test]
fn a_machine_with_a_key_or_a_secret_needs_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = rsa_key(0).to_pkcs8_pem(LineEnding::LF)?;
    let jwk = Jwk::from_encoding_key(&EncodingKey::from_rsa_pem(key.as_bytes())?, Algorithm::RS256)?;
    let machine = |id: &str, method: &str, more: (&str, Value)| {
        json!({
            "client_id": id, "token_endpoint_auth_method": method, "roles": ["user"], "scope": "mcp:tools",
            "grant_types": ["client_credentials"], more.0: more.1,
        })
    };
    let clients = json!([
        machine("signed", "private_key_jwt", ("jwks", json!({ "keys": [jwk] }))),
        machine("secret", "client_secret_basic", ("client_secret", json!("a secret: & more"))),
    ]);
    let write = |name: &str, text: &str| -> Result<String> {
        let file = folder.path().join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(file.to_str().context("not UTF-8")?.to_owned())
    };
    let clients = write("clients.json", &clients.to_string())?;
    let (key, secret) = (write("key.pem", &key)?, write("secret", "a secret: & more\n")?);
    let server = Server::start_in_env("step9", &["--clients", &clients], &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let client = Client::new(&format!("{}/mcp", server.url()))?;
    for (id, proof) in [("signed", ["--private-key", &key]), ("secret", ["--client-secret-file", &secret])] {
        let mut args = vec!["--grant", "client-credentials", "--client-id", id, "--issuer", server.url()];
        args.extend(proof);
        // The server names two scopes, of which these machines may have one.
        let outcome = client.run(&[&args[..], &["tools"]].concat(), nobody)?;
        assert!(outcome.code == Some(4) && outcome.stderr.contains("with --scope"), "{outcome:?}");
        args.extend(["--scope", "mcp:tools", "call", "whoami"]);
        // The second time with the stored token.
        for _ in 0..2 {
            let outcome = client.run(&args, nobody)?;
            assert!(
                outcome.code == Some(0) && outcome.stdout.contains(&format!("\"client_id\":\"{id}\"")),
                "{outcome:?}"
            );
        }
    }
    let wrong = write("wrong", "another")?;
    let args = ["--grant", "client-credentials", "--client-id", "secret", "--issuer", server.url()];
    let folder = Client::new(&format!("{}/mcp", server.url()))?;
    let outcome = folder.run(&[&args[..], &["--client-secret-file", &wrong, "tools"]].concat(), nobody)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("invalid_client"), "{outcome:?}");
    Ok(())
}

/// Puts what differs from run to run out of a trace: ports, identifiers, times.
fn steady(trace: &str, server: &Server) -> Result<String> {
    let mut text = trace.replace(server.url(), "http://localhost:9000");
    for (pattern, instead) in [
        (r"http://127\.0\.0\.1:\d+/callback/[A-Za-z0-9_-]{22}", "http://127.0.0.1:PORT/callback/ISSUER"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "CLIENT-ID"),
        (r"code_challenge=[A-Za-z0-9_-]+", "code_challenge=…"),
        (r#""client_id_issued_at":\d+"#, r#""client_id_issued_at":…"#),
        (r#""expires_at\\?":\\?"[^"\\]+\\?""#, r#""expires_at":"…""#),
        (r"access_token, \d+ characters", "access_token, … characters"),
        (r"Bearer ‹\d+ characters›", "Bearer ‹… characters›"),
    ] {
        text = Regex::new(pattern)?.replace_all(&text, instead).into_owned();
    }
    Ok(text)
}

#[test]
fn the_trace_in_the_readme_is_what_happens() -> Result<()> {
    let (server, client) = setup()?;
    let outcome = client.run(&["trace", "echo", "message=hi"], alice(&server, ALL))?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let stored: Value = serde_json::from_str(&fs::read_to_string(client.stored()?)?)?;
    for secret in ["access_token", "refresh_token"] {
        let secret = stored["grant"][secret].as_str().context("no secret")?;
        assert!(!outcome.visible().contains(secret));
    }
    let seen = steady(&outcome.stdout, &server)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../step11/README.md");
    let readme = fs::read_to_string(&file)?;
    let (before, rest) = readme.split_once("```trace\n").context("no trace")?;
    let (shown, after) = rest.split_once("```").context("the trace has no end")?;
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, format!("{before}```trace\n{seen}```{after}"))?;
    } else {
        assert_eq!(shown, seen, "run this test with UPDATE=1, and read what it changed");
    }
    Ok(())
}

#[test]
fn the_shell_test_passes_on_step_11_and_fails_on_a_client_that_does_nothing() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (client, code, last) in [(program("step11")?, 0, " 0 failed\n"), ("/bin/true".into(), 1, " failed\n")] {
        let output = Command::new("bash")
            .arg(root.join("test_step11.sh"))
            .arg("--client")
            .arg(client)
            .env("TEST_PROGRAMS", programs::folder()?)
            .output()?;
        let text = text(&output);
        assert!(output.status.code() == Some(code) && text.contains(last), "{text}");
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Chromium")]
fn a_person_logs_in_with_chromium_at_step_9_and_at_the_official_sdks_example() -> Result<()> {
    let folder = interop::folder(true)?;
    let server = start("step9")?;
    for args in [&["step9", &format!("{}/mcp", server.url())][..], &["sdk"]] {
        let mut command = Command::new("node");
        command
            .arg("client.mjs")
            .arg(program("step11")?)
            .args(args)
            .current_dir(&folder)
            .env("MCP_DEV_PASSWORD", PASSWORD);
        let output = command.env("OUTDIR", folder.join("../../target/screenshots")).output()?;
        let text = text(&output);
        println!("{text}");
        ensure!(output.status.success() && text.matches("ok - ").count() >= 2, "{args:?}: {text}");
    }
    Ok(())
}

/// Somebody else's server, which is stopped when the test ends.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Python")]
fn a_person_logs_in_at_servers_built_on_the_python_sdks_classes() -> Result<()> {
    let python = interop::python()?;
    for kind in ["fastmcp", "sdk"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/client_servers.py");
        let server = interop::Foreign::start(Command::new(&python).arg(script).arg(kind))?;
        let client = Client::new(&format!("{}/mcp", server.url))?;
        // They list client_secret_basic, look for client_id in the form, and send no `iss`.
        // On a busy machine, these servers need more than five seconds for their first answer.
        let patient = ["--timeout", "60"];
        let outcome = client.run(&[&patient[..], &["trace", "greet", "name=Ada"]].concat(), follow)?;
        assert!(outcome.code == Some(0) && outcome.stdout.ends_with("\nHello, Ada!\n"), "{kind}: {outcome:?}");
        assert_eq!(outcome.stdout.matches("Register with").count(), 1, "{kind}: {outcome:?}");
        assert!(outcome.stdout.contains("(there is no `iss`)"), "{kind}: {outcome:?}");
        // Renewed, as if an hour had passed.
        let path = client.stored()?;
        let mut stored: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let before = stored["grant"]["refresh_token"].clone();
        stored["grant"]["expires_at"] = json!("2020-01-01T00:00:00Z");
        fs::write(&path, stored.to_string())?;
        let outcome = client.run(&[&patient[..], &["call", "greet", "name=Bob"]].concat(), nobody)?;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "Hello, Bob!\n"), "{kind}: {outcome:?}");
        let stored: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        assert_ne!(stored["grant"]["refresh_token"], before, "{kind}");
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Go")]
fn the_go_sdks_server_gets_an_answer_to_what_it_asks_in_the_middle_of_a_call() -> Result<()> {
    let everything = "github.com/modelcontextprotocol/go-sdk/examples/server/everything";
    let program = interop::go(everything)?;
    // It does not accept port 0, and another program may have taken the port by then, so it tries once more.
    let mut running = None;
    for _ in 0..5 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut server =
            Foreign(Command::new(&program).args(["-http", &address.to_string()]).stderr(Stdio::null()).spawn()?);
        while server.0.try_wait()?.is_none() && running.is_none() {
            running = TcpStream::connect(address).ok().map(|_| address);
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(address) = running {
            return asks_and_is_answered(&Client::new(&format!("http://{address}/"))?);
        }
    }
    bail!("the server does not start")
}

fn asks_and_is_answered(client: &Client) -> Result<()> {
    const NO_SUCH: &str = "This client has no such method.";
    for version in [&[][..], &["--protocol-version", "2025-11-25"], &["--protocol-version", "2025-06-18"]] {
        for (tool, code, says) in [("ping", 0, ""), ("sample", 5, NO_SUCH), ("roots", 5, NO_SUCH)] {
            let outcome = client.run(&[version, &["call", tool]].concat(), nobody)?;
            assert!(outcome.code == Some(code) && outcome.stderr.contains(says), "{version:?} {tool}: {outcome:?}");
        }
    }
    let outcome = client.run(&["trace", "ping"], nobody)?;
    for shown in ["\"method\":\"ping\"", "Answer the server's request", "\"result\":{}}", "goes on"] {
        assert!(outcome.stdout.contains(shown), "{shown}: {outcome:?}");
    }
    Ok(())
}

/// The file of an example in `crates/client`.
const EXAMPLE: &str = "crates/client/examples/log_in_and_call.rs";

#[test]
fn the_librarys_example_logs_in_and_calls_a_tool() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let example = fs::read_to_string(root.join(EXAMPLE))?;
    let code = &example[example.find("use std").context("no code")?..];
    let readme = fs::read_to_string(root.join("crates/client/README.md"))?;
    assert!(readme.contains(&format!("```rust\n{code}```\n")), "the README shows another example");

    let server = Arc::new(start("step9")?);
    let mut command = Command::new(program("log_in_and_call")?);
    command.arg(format!("{}/mcp", server.url())).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = Client::new(&format!("{}/mcp", server.url()))?;
    let outcome = client.wait(command.spawn()?, alice(&server, ALL))?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "\"hi\"\n"), "{outcome:?}");
    Ok(())
}

/// Every test and every row that the README's table of clauses names is there.
#[test]
fn each_clause_in_the_librarys_readme_has_a_test_that_exists() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    let mut folders = ["tests/tests", "crates/client/src", "crates/oauth/src"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path)?);
            }
        }
    }
    let readme = fs::read_to_string(root.join("crates/client/README.md"))?;
    let (test, row) = (Regex::new("`([a-z0-9_]+)`")?, Regex::new("\"([^\"]+)\"")?);
    let mut clauses = 0;
    for line in readme.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let [clause, tests] = cells[..] else { continue };
        let named = test.captures_iter(tests).map(|found| format!("fn {}(", &found[1]));
        let named: Vec<String> =
            named.chain(row.captures_iter(tests).map(|found| format!("\"{}\"", &found[1]))).collect();
        if !["MUST", "SHOULD"].iter().any(|word| clause.contains(word)) {
            continue;
        }
        clauses += 1;
        assert!(!named.is_empty(), "{clause} has no test");
        for name in named {
            assert!(sources.contains(&name), "{clause}: {name} does not exist");
        }
    }
    ensure!(clauses > 30, "the table has only {clauses} clauses");
    Ok(())
}
