//! `--show-exchange`: what a server shows of the requests that it answers, and what it does not.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{Browser, CALLBACK, PASSWORD, VERIFIER, parameters, redemption},
    command,
};
use serde_json::json;

/// What a server has written to standard output so far, without its first line.
struct Output(Arc<Mutex<String>>);

impl Output {
    fn of(server: &mut Server) -> Result<Self> {
        let mut stdout = server.take_stdout().context("it was taken")?;
        let written = Arc::new(Mutex::new(String::new()));
        let there = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|count| count > 0) {
                there.lock().unwrap_or_else(PoisonError::into_inner).push_str(&std::mem::take(&mut line));
            }
        });
        Ok(Output(written))
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many exchanges are there.
    fn exchanges(&self, count: usize) -> Result<Vec<String>> {
        let started = Instant::now();
        loop {
            let text = self.text();
            let exchanges: Vec<_> = text.split_terminator("\n\n").map(str::to_owned).collect();
            if exchanges.len() >= count && text.ends_with("\n\n") {
                return Ok(exchanges);
            }
            ensure!(started.elapsed() < Duration::from_secs(20), "{} of {count} exchanges: {text}", exchanges.len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn start(step: &str) -> Result<(Server, Output)> {
    let mut server = Server::start_in_env(step, &["--show-exchange"], &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let output = Output::of(&mut server)?;
    Ok((server, output))
}

#[tokio::test]
async fn a_log_in_is_shown_exchange_by_exchange_without_its_secrets() -> Result<()> {
    let (server, output) = start("step9")?;
    let browser = Browser::new(&server)?;
    let mut secrets = vec![PASSWORD.to_owned(), VERIFIER.to_owned(), "the state".to_owned()];

    Reply::of(server.legacy("tools/list", json!({}))).await?;
    Reply::of(server.get("/.well-known/oauth-protected-resource/mcp")).await?;
    Reply::of(server.get("/.well-known/oauth-authorization-server")).await?;
    let metadata = json!({ "client_name": "a test", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code", "refresh_token"] });
    let registered = browser.register_as(&metadata).await?.json();
    let (client, secret) = (registered["client_id"].as_str().unwrap(), registered["client_secret"].as_str().unwrap());
    secrets.push(secret.to_owned());

    let login = browser.open(&browser.request(client, &[])).await?;
    let form = [("username", "alice"), ("password", PASSWORD), ("csrf", &login.csrf)];
    let logged_in = browser.send(browser.post(&login.action, &form)).await?;
    let consent = browser.open(logged_in.header("location")).await?;
    let form = [("csrf", &*consent.csrf), ("decision", "allow"), ("scope", "mcp:read"), ("scope", "mcp:tools")];
    let decided = browser.send(browser.post(&consent.action, &form)).await?;
    let code = parameters(decided.header("location"))?["code"].clone();
    secrets.extend([login.csrf, consent.csrf, code.clone()]);

    let form = [&redemption(client, &code)[..], &[("client_secret", secret)]].concat();
    let granted = browser.token(&form).await?.json();
    let token = granted["access_token"].as_str().unwrap();
    Reply::of(server.modern("tools/call", json!({ "name": "whoami", "arguments": {} })).bearer_auth(token)).await?;
    let refresh = granted["refresh_token"].as_str().unwrap();
    let form =
        [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", client), ("client_secret", secret)];
    let refreshed = browser.token(&form).await?.json();
    let newer = refreshed["refresh_token"].as_str().unwrap();
    let form = [("token", newer), ("client_id", client), ("client_secret", secret)];
    Reply::of(browser.post("/revoke", &form)).await?;
    Reply::of(server.get(&format!("/nowhere?access_token={token}"))).await?;
    Reply::of(server.get(&format!("/nowhere/{newer}"))).await?;

    let seen = output.exchanges(14)?;
    let whole = output.text();
    for (place, parts) in [
        &["1. A message", "> POST /mcp", "< HTTP/1.1 401", "No access token came"][..],
        &["2. Discovery", "(RFC 9728", "\"authorization_servers\""],
        &["3. Discovery", "(RFC 8414", "\"token_endpoint\""],
        &["4. The client registers", "\"client_name\": \"a test\"", "< HTTP/1.1 201", client],
        &["5. The authorization request", "GET /authorize?… HTTP/1.1", "code_challenge_method=S256", "‹a page, "],
        &["6. The person logs in", "password=‹28 characters›", "< HTTP/1.1 303"],
        &["7. The authorization request", "Cookie: ", "Allow access?"],
        &["8. The person decides", "decision=allow", "> scope=mcp:tools", "  code=‹43 characters›", "takes a code"],
        &["9. The client exchanges the code", "code_verifier=‹43 characters›", "expires_in", "\"sub\": \"user_alice\""],
        &[
            "10. `tools/call`: the client calls the tool `whoami`",
            "Bearer ‹JWT, ",
            "\"scope\": \"mcp:read mcp:tools\"",
            "alice",
        ],
        &["11. The client exchanges its refresh token", "refresh_token=‹"],
        &["12. The client withdraws a token", "< HTTP/1.1 200"],
        &["13. Another request", "GET /nowhere?… HTTP/1.1", "access_token=‹"],
        &["14. Another request", "GET /nowhere/‹", "< HTTP/1.1 404"],
    ]
    .into_iter()
    .enumerate()
    {
        for part in parts {
            assert!(seen[place].contains(part), "{part:?} is not in\n{}", seen[place]);
        }
    }

    secrets.extend([secret, token, refresh, newer].map(str::to_owned));
    secrets.extend(refreshed["access_token"].as_str().map(str::to_owned));
    secrets.extend(token.split('.').map(str::to_owned));
    secrets.extend(browser.cookies.lock().unwrap().values().cloned());
    for secret in secrets {
        assert!(!whole.contains(&secret), "{secret} is shown:\n{whole}");
    }
    Ok(())
}

/// A client that writes what it likes.
fn raw(server: &Server, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://"))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn what_a_client_sends_does_not_reach_the_terminal_as_it_is() -> Result<()> {
    let (server, output) = start("step4")?;
    let blank = "\u{115f}\u{1160}\u{3164}\u{ffa0}\u{2800}";
    let hostile = format!("{blank}\u{1b}[2J\u{9b}31m\u{202e}\r\u{7}\n1. a forged exchange\n");
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": &hostile, "params": { &hostile: &hostile } }).to_string();
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let post = |path: &str, more: &str, body: &str| {
        raw(
            &server,
            format!("POST {path} HTTP/1.1\r\n{head}{more}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        )
    };
    post("/mcp", "User-Agent: \u{9b}31m\u{202e}\r\n", &text)?;
    post("/mcp", "", &format!("not JSON {hostile}"))?;
    post("/mcp?%1b[2J=%1b[2J&scope=%1b[2J%0a1.", "", &text)?;
    post("/mcp", "", &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}", "[".repeat(5_000)))?;
    let seen = output.exchanges(4)?;
    let whole = output.text();
    for unsafe_text in ["\u{1b}", "\u{9b}", "\u{202e}", "\r", "\u{7}", "\n1. a forged"] {
        assert_eq!(whole.matches(unsafe_text).count(), 0, "{unsafe_text:?}: {whole}");
    }
    assert!(!whole.contains(|c| blank.contains(c)) && seen[0].contains("\\u{115f}\\u{1160}"), "{whole}");
    assert!(seen[0].contains("User-Agent: \\u{9b}31m\\u{202e}"), "{}", seen[0]);
    assert!(seen[2].contains("POST /mcp?… HTTP/1.1") && seen[2].contains("scope=\\u{1b}[2J\\u{a}1."), "{}", seen[2]);
    Ok(())
}

#[test]
fn secrets_in_unusual_places_are_not_shown() -> Result<()> {
    let head = "Host: localhost\r\nConnection: close\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let json = "Content-Type: application/json\r\n";
    let jwt = format!("eyJhbGciOiJub25lIn0.{}", "s3cr3t".repeat(9));
    let half = format!("{{\"access_token\":\"{}", "s3cr3t".repeat(2_000));
    let nested =
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"accessToken":"s3cr3t","password":{"a":["s3cr3t"]}}}"#;
    let twice =
        r#"{"client_secret":"s3cr3t","client_secret":"s3cr3t","s3cr3t":"s3cr3t","jwks":{"keys":[{"d":"s3cr3t"}]}}"#;
    let call = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"nothing","params":{params}}}"#);
    let named = r#"{"auth_token":"s3cr3t","x-api-key":"s3cr3t","subject_token":"s3cr3t","device_code":"s3cr3t","sessionToken":["s3cr3t"]}"#;
    let utf16: Vec<_> = call(r#"{"token":"s3cr3t"}"#).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!("/nowhere?{}s3cr3t", "scope=a://?".repeat(5_000));
    let requests = [
        ("/token", format!("{form}Authorization: s3cr3t s3cr3t\r\n"), "s3cr3t".to_owned()),
        ("/token", format!("{form}Authorization: Basic czNjcjN0OnMzY3IzdA==\r\n"), "s3cr3t=s3cr3t".to_owned()),
        (
            "/token",
            format!("{form}Cookie: s3cr3t; a=s3cr3t\r\nDPoP: s3cr3t\r\n"),
            "%73%33cr3t=1&code=s3cr3t".to_owned(),
        ),
        ("/token", String::new(), "code=s3cr3t".to_owned()),
        ("/token", form.to_owned(), format!("code={}", "s3cr3t".repeat(2_000))),
        ("/register", json.to_owned(), twice.to_owned()),
        ("/register", json.to_owned(), half.clone()),
        (
            "/register",
            json.to_owned(),
            r#"{"redirect_uris":["https://s3cr3t:s3cr3t@a.example/?s3cr3t=s3cr3t#s3cr3t"]}"#.to_owned(),
        ),
        ("/mcp", format!("{json}X-Unknown: s3cr3t\r\nReferer: http://localhost/?code=s3cr3t\r\n"), nested.to_owned()),
        ("/mcp", json.to_owned(), half),
        ("/mcp", json.to_owned(), format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{jwt}","params":["{jwt}"]}}"#)),
        ("/mcp?s3cr3t", "Authorization: Bearer s3cr3t\r\n".to_owned(), "{}".to_owned()),
        ("/mcp", json.to_owned(), call(&format!(r#"{{"token":"s3cr3t","message":"{}"}}"#, "a".repeat(9_000)))),
        ("/mcp", json.to_owned(), r#"{"token":"s3cr3t""#.to_owned()),
        ("/mcp", json.to_owned(), String::from_utf8(utf16)?),
        ("/register", json.to_owned(), r#""s3cr3t""#.to_owned()),
        ("/register", json.to_owned(), r#"["s3cr3t",[5333333]]"#.to_owned()),
        ("/register", json.to_owned(), "5333333".to_owned()),
        ("/token", form.to_owned(), r#""s3cr3t""#.to_owned()),
        ("/mcp", json.to_owned(), call(named)),
        ("/mcp", json.to_owned(), call(r#"{"password":5333333,"code":5333333,"error":{"pass_code":5333333}}"#)),
        ("/mcp", json.to_owned(), call(r#"{"_meta":{"progressToken":"not a secret"}}"#)),
        ("/register", json.to_owned(), r#"{"redirect_uris":["com.example.app:/cb?x=s3cr3t"]}"#.to_owned()),
        (
            "/register",
            json.to_owned(),
            r#"{"client_name":"See (https://a.example/?x=s3cr3t) or b:/?x=s3cr3t.","client_uri":"https://a.example/?x=s3cr3t "}"#
                .to_owned(),
        ),
        ("/nowhere?redirect_uri=com.example.app:/cb%3Fx%3Ds3cr3t%23s3cr3t", String::new(), String::new()),
        (&deep, String::new(), String::new()),
        ("/s3cr3t-s3cr3t-s3cr3t-s3cr3t?s3cr3t=s3cr3t&state=s3cr3t", String::new(), "s3cr3t".to_owned()),
    ];
    // Step 9 reads no message without a token; step 4 reads nothing else.
    for step in ["step4", "step9"] {
        let (server, output) = start(step)?;
        for (path, headers, body) in &requests {
            let length = body.len();
            raw(
                &server,
                format!("POST {path} HTTP/1.1\r\n{head}{headers}Content-Length: {length}\r\n\r\n{body}").as_bytes(),
            )?;
        }
        output.exchanges(requests.len())?;
        let whole = output.text();
        for secret in ["s3cr3t", "czNjcjN0", "5333333", "\\u{0}"] {
            let lines: Vec<_> = whole.lines().filter(|line| line.contains(secret)).collect();
            assert!(lines.is_empty(), "{step}: {lines:#?}\n{whole}");
        }
        if step == "step4" {
            assert!(
                whole.contains(r#""progressToken":"not a secret""#) && whole.contains(r#""code":-32601"#),
                "{whole}"
            );
        }
    }
    Ok(())
}

#[test]
fn of_many_parameters_the_first_are_shown() -> Result<()> {
    let (server, output) = start("step9")?;
    let many = (0..60).map(|number| format!("scope={number}")).collect::<Vec<_>>().join("&");
    let head = "Host: localhost\r\nConnection: close\r\n";
    raw(&server, format!("GET /login?{many} HTTP/1.1\r\n{head}\r\n").as_bytes())?;
    let form = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", many.len());
    raw(&server, format!("POST /token HTTP/1.1\r\n{head}{form}\r\n{many}").as_bytes())?;
    let seen = output.exchanges(2)?;
    for (seen, lists, what) in [(&seen[0], 2, "< Location: /authorize?…"), (&seen[1], 1, "> POST /token")] {
        assert!(seen.contains(what), "{seen}");
        for (text, each) in [("scope=", 50), ("scope=49", 1), ("… (10 more)", 1)] {
            assert_eq!(seen.matches(text).count(), lists * each, "{text}: {seen}");
        }
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn big_bodies_and_an_output_that_nobody_reads_hold_up_no_request_and_grow_no_memory() -> Result<()> {
    let mut server = Server::start_with("step4", &["--show-exchange"])?;
    let message = "a".repeat(256 * 1024);
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "message": message } }).to_string();
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let request = format!("POST /mcp HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let send = |count: usize| -> Result<()> {
        for _ in 0..count {
            let answer = raw(&server, request.as_bytes())?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        Ok(())
    };
    send(200)?;
    let before = server.memory("VmRSS")?;
    send(800)?;
    let after = server.memory("VmRSS")?;
    println!("{before} KiB after 200 requests with a big body, {after} KiB after 1,000");
    assert!(after <= before + 4096, "{before} KiB after 200 requests, {after} KiB after 1,000");

    // Who begins to read learns that something was left out, and the numbers still say how many there were.
    let output = Output::of(&mut server)?;
    let last = |text: &str| text.lines().filter_map(|line| line.split_once(". ")?.0.parse::<usize>().ok()).next_back();
    let started = Instant::now();
    while !output.text().contains(" left out here") || last(&output.text()).is_none_or(|last| last < 1_000) {
        ensure!(started.elapsed() < Duration::from_secs(20), "{}", output.text());
        raw(&server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}

#[test]
fn it_is_for_a_server_that_only_this_computer_can_reach() -> Result<()> {
    for (step, args) in [
        ("step1", &["--host", "0.0.0.0"][..]),
        ("step6", &["--public-url", "https://mcp.example"]),
        ("auth-server", &["--public-url", "https://as.example"]),
    ] {
        let folder = tempfile::tempdir()?;
        let output =
            command(step)?.args(["--show-exchange", "--port", "0"]).args(args).current_dir(folder.path()).output()?;
        assert_eq!(output.status.code(), Some(1), "{step}");
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("--show-exchange is for development: it is refused unless both"), "{step}: {said}");
    }
    Ok(())
}

#[test]
fn every_step_shows_its_exchanges() -> Result<()> {
    for step in ["step1", "step2", "step3", "step5", "step6", "step7", "step8", "step10"] {
        let (server, output) = start(step)?;
        raw(&server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let seen = output.exchanges(1)?;
        assert!(seen[0].starts_with("1. The health check") && seen[0].contains("\"status\""), "{step}: {}", seen[0]);
    }
    Ok(())
}

/// Without the option nothing but the address is on standard output.
#[test]
fn nothing_is_shown_unless_it_is_asked_for() -> Result<()> {
    let mut server = Server::start("step9")?;
    let output = Output::of(&mut server)?;
    raw(&server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    assert_eq!(server.terminate()?.0, Some(0));
    assert_eq!(output.text(), "");
    Ok(())
}
