//! Starts, stops, and every way in which a start can fail.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{Reply, Server, command};
use serde_json::json;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::spawn_blocking;

struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn start(package: &str, folder: &std::path::Path) -> Result<Self> {
        let mut child = command(package)?
            .args(["--port", "0"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let port = line.trim_end().rsplit(':').next().context("no port")?.parse().with_context(|| line.clone())?;
        Ok(Running { child, port })
    }

    /// Sends the signal. Returns how the program ended and how long that took.
    fn signal(&mut self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "kill failed");
        Ok(())
    }
}

fn failure(package: &str, folder: &std::path::Path, args: &[&str]) -> Result<Output> {
    let output = command(package)?.args(["--port", "0"]).args(args).current_dir(folder).output()?;
    Ok(output)
}

fn assert_one_sentence(output: &Output, code: i32, says: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = error.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(output.stdout.is_empty());
    assert_eq!(errors.len(), 1, "{error}");
    assert!(errors[0].contains(says), "{error} should say {says:?}");
}

#[test]
fn a_request_under_way_is_finished_after_sigterm_and_sigint() -> Result<()> {
    // Step 2's README shows it.
    for (signal, step) in [("-TERM", "step2"), ("-INT", "step4")] {
        let folder = tempfile::tempdir()?;
        let mut server = Running::start(step, folder.path())?;
        let _idle = TcpStream::connect(("127.0.0.1", server.port))?;
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let mut slow = TcpStream::connect(("127.0.0.1", server.port))?;
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        slow.write_all(head.as_bytes())?;
        slow.write_all(&body.as_bytes()[..10])?;
        slow.set_read_timeout(Some(Duration::from_secs(1)))?;
        assert!(slow.read(&mut [0]).is_err(), "an answer before the question's end"); // by now it is under way
        let told = Instant::now();
        server.signal(signal)?;
        slow.write_all(&body.as_bytes()[10..])?;
        slow.set_read_timeout(Some(Duration::from_secs(9)))?;
        let mut answer = vec![0; 1024];
        let read = slow.read(&mut answer)?;
        assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 200 OK"));
        let status = server.child.wait()?;
        assert_eq!(status.code(), Some(0));
        assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    }
    Ok(())
}

#[test]
fn a_busy_port_is_said_in_one_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port().to_string();
    let output = command("step1")?.args(["--port", &port]).current_dir(folder.path()).output()?;
    assert_one_sentence(&output, 1, &format!("port {port} is busy"));
    Ok(())
}

#[test]
fn no_server_runs_with_a_key_it_cannot_trust() -> Result<()> {
    const WEAK: &str = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n";
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("damaged.pem"), "-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----\n")?;
    fs::write(folder.path().join("weak.pem"), WEAK)?;
    fs::write(folder.path().join("empty.pem"), "")?;
    for step in ["step5", "step6", "step7", "step8", "step9", "step10", "step12"] {
        for (file, says) in [
            ("missing.pem", "cannot read"),
            ("damaged.pem", "not an RSA public key"),
            ("empty.pem", "not an RSA public key"),
            ("weak.pem", "512 bits"),
        ] {
            assert_one_sentence(&failure(step, folder.path(), &["--public-key", file])?, 1, says);
        }
        fs::create_dir_all(folder.path().join("broken"))?;
        fs::write(folder.path().join("broken/mcp_private_key.pem"), "nonsense")?;
        fs::set_permissions(folder.path().join("broken/mcp_private_key.pem"), fs::Permissions::from_mode(0o600))?;
        assert_one_sentence(&failure(step, folder.path(), &["--keys", "broken"])?, 1, "not an RSA private key");
    }
    Ok(())
}

#[test]
fn what_cannot_be_opened_or_understood_is_said_in_one_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), "")?;
    fs::write(
        folder.path().join("not.db"),
        "this is not a database, and long enough to be seen not to be one ".repeat(20),
    )?;
    let path = folder.path();
    assert_one_sentence(&failure("step5", path, &["--keys", "file/keys"])?, 1, "file/keys");
    assert_one_sentence(&failure("step9", path, &["--database", "file/notes.db"])?, 1, "cannot open the database");
    assert_one_sentence(&failure("step9", path, &["--database", "not.db"])?, 1, "chmod 600");
    fs::set_permissions(path.join("not.db"), fs::Permissions::from_mode(0o600))?;
    assert_one_sentence(&failure("step9", path, &["--database", "not.db"])?, 1, "cannot open the database");
    for url in ["nonsense", "ftp://localhost", "http://user@localhost", "http://localhost/?q", "http://"] {
        assert_one_sentence(&failure("step1", path, &["--public-url", url])?, 1, "--public-url");
    }
    assert_one_sentence(&failure("step1", path, &["--allow-origin", "localhost"])?, 1, "--allow-origin");
    assert_one_sentence(&failure("step1", path, &["--nonsense"])?, 2, "--nonsense");
    Ok(())
}

#[test]
fn a_public_url_that_gives_passwords_and_tokens_to_whoever_listens_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    for step in ["step1", "step5", "step6", "step7", "step8", "step9", "step10", "step12", "auth-server"] {
        for url in ["http://mcp.example", "HTTP://MCP.EXAMPLE:80/", "http://localhost.example", "http://10.0.0.1:9000"]
        {
            assert_one_sentence(&failure(step, path, &["--public-url", url])?, 1, "--allow-insecure-http");
        }
    }
    for step in ["step6", "step7", "step8", "step9"] {
        let args = ["--issuer", "http://login.example"];
        assert_one_sentence(&failure(step, path, &args)?, 1, "--issuer: http://login.example");
    }
    let args = ["--resource", "http://mcp.example/mcp"];
    assert_one_sentence(&failure("auth-server", path, &args)?, 1, "--resource: http://mcp.example/mcp");
    Server::start_with("auth-server", &["--resource", "http://mcp.example/mcp", "--allow-insecure-http"])?;
    for args in [
        &["--public-url", "http://mcp.example", "--allow-insecure-http", "--issuer", "http://login.example"][..],
        &["--public-url", "https://mcp.example", "--issuer", "https://login.example"],
        &["--public-url", "http://127.0.0.1:9000"],
        &["--public-url", "http://[::1]:9000"],
    ] {
        Server::start_with("step9", args)?;
    }
    Ok(())
}

#[test]
fn an_audience_that_no_token_of_ours_would_have_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for step in ["step7", "step8", "step9", "step10", "step12"] {
        for audience in ["https://other.example/mcp", "http://localhost:9000", "http://localhost:9000/mcp/"] {
            let args = ["--public-url", "http://localhost:9000", "--audience", audience];
            assert_one_sentence(&failure(step, folder.path(), &args)?, 1, "--audience");
        }
        assert!(!folder.path().join("data/auth.db").exists(), "{step}: people were made, and their passwords shown");
        Server::start_with(
            step,
            &["--public-url", "http://localhost:9000", "--audience", "http://localhost:9000/mcp"],
        )?;
    }
    // A server whose tokens come from elsewhere may have another name there.
    for step in ["step7", "step8", "step9"] {
        Server::start_with(step, &["--issuer", "https://login.example", "--audience", "our-name-there"])?;
    }
    Server::start_with("step6", &["--audience", "our-name-there"])?;
    Ok(())
}

#[test]
fn basic_scopes_that_nobody_can_have_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for step in ["step8", "step9", "step10", "step12"] {
        for scopes in
            ["", " ", ",", "mcp:admin", "mcp:read mcp:admin", "MCP:READ", "mcp:read\tmcp:tools", "offline_access"]
        {
            assert_one_sentence(&failure(step, folder.path(), &["--basic-scopes", scopes])?, 1, "--basic-scopes");
        }
    }
    Ok(())
}

#[test]
fn keys_and_databases_that_others_may_change_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let at = |name: &str| path.join(name);
    let set = |name: &str, mode: u32| fs::set_permissions(at(name), fs::Permissions::from_mode(mode));
    // A good pair, and the public half by itself.
    let made = command("gen-token")?.args(["--username", "alice"]).current_dir(path).output()?;
    assert!(made.status.success(), "{made:?}");
    fs::copy(at("keys/mcp_public_key.pem"), at("key.pem"))?;
    for step in ["step5", "step6", "step7", "step8", "step9", "step10", "step12"] {
        for mode in [0o777, 0o770, 0o1777] {
            set("keys", mode)?;
            assert_one_sentence(&failure(step, path, &[])?, 1, &format!("(mode {mode:04o})"));
        }
        set("keys", 0o700)?;
        for mode in [0o644, 0o660, 0o602] {
            set("keys/mcp_private_key.pem", mode)?;
            assert_one_sentence(&failure(step, path, &[])?, 1, &format!("(mode {mode:04o})"));
        }
        set("keys/mcp_private_key.pem", 0o600)?;
        for mode in [0o666, 0o664, 0o646] {
            set("key.pem", mode)?;
            let output = failure(step, path, &["--public-key", "key.pem"])?;
            assert_one_sentence(&output, 1, &format!("(mode {mode:04o})"));
        }
        set("key.pem", 0o644)?;
    }
    let gen_token =
        || -> Result<Output> { Ok(command("gen-token")?.args(["--username", "alice"]).current_dir(path).output()?) };
    set("keys", 0o777)?;
    assert_one_sentence(&gen_token()?, 1, "(mode 0777)");
    set("keys", 0o700)?;
    for (name, target) in [("link.pem", "key.pem"), ("linked-keys", "keys")] {
        std::os::unix::fs::symlink(at(target), at(name))?;
    }
    assert_one_sentence(&failure("step9", path, &["--public-key", "link.pem"])?, 1, "symbolic link");
    assert_one_sentence(&failure("step9", path, &["--keys", "linked-keys"])?, 1, "symbolic link");

    for (option, other) in [("--database", "--auth-database"), ("--auth-database", "--database")] {
        for step in ["step9", "step10", "step12"] {
            fs::create_dir_all(at("data"))?;
            let args = [option, "data/x.db", other, "other/x.db"];
            for mode in [0o777, 0o770, 0o1777] {
                set("data", mode)?;
                assert_one_sentence(&failure(step, path, &args)?, 1, &format!("(mode {mode:04o})"));
            }
            set("data", 0o700)?;
            fs::write(at("elsewhere"), "")?;
            set("elsewhere", 0o600)?;
            std::os::unix::fs::symlink(at("elsewhere"), at("data/x.db"))?;
            assert_one_sentence(&failure(step, path, &args)?, 1, "symbolic link");
            fs::remove_dir_all(at("data"))?;
        }
    }
    Ok(())
}

#[test]
fn programs_that_start_at_once_share_one_key_pair() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let children = (0..6)
        .map(|_| {
            let mut gen_token = command("gen-token")?;
            gen_token.args(["--username", "alice"]).current_dir(folder.path()).stdout(Stdio::piped());
            Ok(gen_token.spawn()?)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut headers = Vec::new();
    for child in children {
        let output = child.wait_with_output()?;
        assert!(output.status.success());
        headers.push(String::from_utf8(output.stdout)?.split('.').next().unwrap_or_default().to_owned());
    }
    headers.dedup();
    assert_eq!(headers.len(), 1, "several keys: {headers:?}");
    let mode =
        |name: &str| Ok::<_, std::io::Error>(fs::metadata(folder.path().join(name))?.permissions().mode() & 0o777);
    assert_eq!(mode("keys/mcp_private_key.pem")?, 0o600);
    assert_eq!(fs::read_dir(folder.path().join("keys"))?.count(), 2, "a temporary file was left behind");
    Ok(())
}

#[test]
fn gen_token_says_what_is_wrong_and_prints_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run =
        |args: &[&str]| -> Result<Output> { Ok(command("gen-token")?.args(args).current_dir(folder.path()).output()?) };
    for args in [
        &[][..],
        &["--username", ""],
        &["--username", "alice", "--scopes", "a\"b"],
        &["--username", "alice", "--expires-in", "soon"],
        &["--username", "alice", "--expires-in", "99999999999999999999h"],
    ] {
        assert_one_sentence(&run(args)?, 2, "");
    }
    assert!(!folder.path().join("keys").exists());
    assert_one_sentence(&run(&["--username", "alice", "--server", "nonsense"])?, 1, "--server");
    fs::write(folder.path().join("file"), "")?;
    assert_one_sentence(&run(&["--username", "alice", "--keys", "file/keys"])?, 1, "file/keys");
    Ok(())
}

/// Probes see the failure. The log says which database it is and why; the answer does not.
#[tokio::test]
async fn health_is_unavailable_while_a_database_cannot_be_written() {
    for (step, option, named) in [
        ("step7", "--auth-database", "the database of the authorization server"),
        ("step8", "--auth-database", "the database of the authorization server"),
        ("step9", "--auth-database", "the database of the authorization server"),
        ("step9", "--database", "the database of the notes"),
        ("step10", "--auth-database", "the database of the authorization server"),
        ("step10", "--database", "the database of the notes"),
        ("step12", "--auth-database", "the database of the authorization server"),
        ("step12", "--database", "the database of the notes"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let server = Server::start_with(step, &[option, file.to_str().unwrap()]).unwrap();
        // Step 12 is asked whether it can serve; to be alive, it needs no database.
        let path = if step == "step12" { "/ready" } else { "/health" };
        let health = async || Reply::of(server.get(path)).await.unwrap();
        let well = health().await;
        assert_eq!((well.status.as_u16(), &well.json()["status"]), (200, &json!("ok")), "{step} {option}");

        // Another program writes, and does not come to an end.
        let options = SqliteConnectOptions::new().filename(&file);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let until = async |status: u16| {
            let end = Instant::now() + Duration::from_secs(30);
            loop {
                let reply = health().await;
                if reply.status == status {
                    return reply.json();
                }
                assert!(Instant::now() < end, "{step} {option}: {reply:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut said = until(503).await;
        assert_eq!(said["status"], "unavailable", "{step} {option}");
        said["status"] = json!("ok");
        assert_eq!(said, well.json(), "{step} {option}: otherwise the same body");
        let log = server.stderr().unwrap();
        assert!(log.contains(named), "{step} {option}: {log}");

        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        assert_eq!(until(200).await, well.json(), "{step} {option}");
    }
}

#[tokio::test]
async fn a_start_waits_for_a_database_that_is_in_use_but_not_for_ever() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("database");
    let start = || {
        let file = file.display().to_string();
        spawn_blocking(move || Server::start_with("step9", &["--auth-database", &file]))
    };
    drop(start().await??);
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&file)).await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    let started = start();
    tokio::time::sleep(Duration::from_secs(5)).await; // longer than a request would wait
    assert!(!started.is_finished(), "it waits: {:?}", started.await?.err());
    sqlx::query("ROLLBACK").execute(&mut other).await?;
    drop(started.await??);

    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    let error = start().await?.err().context("it started")?.to_string();
    assert!(error.contains("cannot open the database") && error.contains("locked"), "{error}");
    Ok(())
}
