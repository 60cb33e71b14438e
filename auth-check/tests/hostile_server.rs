//! What a server cannot make auth-check do: its answers are written out byte for byte, as no library would send them.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use auth_check::{
    checks,
    context::{Attacker, Context, Settings},
    http::Http,
    issuer::IssuerServer,
    jose::{self, Algorithm, RsaKey},
    login::{Browser, Login, MAX_ROUNDS, Visit, Visited},
    message::Request,
    model::{Judged, Outcome, Revision, Unmet},
    run::run,
    tokens::{Given, Mint, Tokens},
};
use serde_json::json;
use url::Url;

/// A server on a free port, and what it was asked: the head of each request.
#[derive(Clone)]
struct Server {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// It answers a request's method and path with what `answer` makes of them and of the server's own origin; if that is
    /// nothing, it closes the connection without a word.
    fn start(answer: impl Fn(&str, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { base, asked: Arc::default() };
        let own = server.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                let mut bytes = Vec::new();
                let mut byte = [0];
                while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                    bytes.extend(byte);
                }
                let head = String::from_utf8_lossy(&bytes).into_owned();
                let line = head.split(" HTTP/").next().unwrap().split('?').next().unwrap().to_owned();
                own.asked.lock().unwrap().push(head);
                // The rest of the request does not matter, but to close on it would reset the connection.
                let _ = stream.write_all(answer(&line, &own.base).as_bytes());
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut bytes);
            }
        });
        server
    }

    /// The requests that begin so.
    fn asked(&self, line: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|head| head.starts_with(line)).cloned().collect()
    }

    async fn settings(&self) -> Settings {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let nothing = json!({ "keys": [] });
        Settings {
            target: format!("{}/mcp", self.base).parse().unwrap(),
            revision: Revision::R2026_07_28,
            mine: Vec::new(),
            tokens: Tokens::default(),
            attacker: Attacker {
                key: Arc::new(RsaKey::generate().unwrap()),
                server: IssuerServer::start(any, None, &nothing, &nothing).await.unwrap(),
            },
            audience: None,
            active: true,
            patience: 0,
        }
    }

    /// The same with a key that the server trusts.
    async fn settings_with_key(&self) -> Settings {
        let mut settings = self.settings().await;
        let key = Arc::clone(&settings.attacker.key);
        settings.tokens.mint = Some(Mint { key, issuer: self.base.clone() });
        settings
    }

    async fn context(&self) -> Context {
        Context::new(self.settings().await)
    }

    /// The same with a log-in by this browser.
    async fn context_with(&self, browser: impl Browser + 'static) -> Context {
        let mut settings = self.settings().await;
        settings.tokens.login = Some(Box::new(Login::new(Box::new(browser), None)));
        Context::new(settings)
    }
}

async fn judge(context: &Context, id: &'static str) -> Judged {
    (checks::find(id).unwrap().run)(context, id).await
}

fn json(status: u16, body: serde_json::Value) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}")
}

/// The documents of a server that is its own authorization server; nothing for what is not one of them.
fn documents(line: &str, base: &str) -> String {
    match line {
        "POST /mcp" => "HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer scope=\"a\"\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "GET /.well-known/oauth-protected-resource/mcp" => {
            json(200, json!({ "resource": format!("{base}/mcp"), "authorization_servers": [base] }))
        }
        "GET /.well-known/oauth-authorization-server" => json(
            200,
            json!({
                "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"), "registration_endpoint": format!("{base}/register"),
                "jwks_uri": format!("{base}/jwks"),
            }),
        ),
        line if line.starts_with("GET /.well-known/") => "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => String::new(),
    }
}

/// The names of this many scopes.
fn scopes(number: usize) -> Vec<String> {
    (0..number).map(|number| format!("s{number}")).collect()
}

fn redirect(place: &str) -> String {
    format!("HTTP/1.1 302 X\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n")
}

/// A client, as if registered by the server at `place`.
fn client(place: &str) -> String {
    let uri = format!("{place}/clients/1");
    json(201, json!({ "client_id": "1", "registration_client_uri": uri, "registration_access_token": "take-it-back" }))
}

/// A server at which clients register.
fn registering() -> Server {
    Server::start(|line, base| match line {
        "POST /register" => client(base),
        line => documents(line, base),
    })
}

#[tokio::test]
async fn a_client_is_taken_back_though_what_it_was_for_fails() {
    let server = registering();
    let context = server.context().await;
    assert!(judge(&context, "REG-07").await.is_err(), "the authorization endpoint says nothing");
    assert_eq!(server.asked("GET /authorize").len(), 1);
    let taken_back = server.asked("DELETE /clients/1 ");
    assert!(
        taken_back.len() == 1 && taken_back[0].contains("Authorization: Bearer take-it-back\r\n"),
        "{taken_back:?}"
    );
}

#[tokio::test]
async fn a_client_is_taken_back_though_no_more_may_be_asked() {
    let server = registering();
    let context = server.context().await;
    let endpoint = format!("{}/register", server.base).parse().unwrap();
    context.register(&endpoint, &json!({})).await.unwrap();
    let nobody = Request::get(&"http://127.0.0.1:1/".parse().unwrap());
    for _ in 0..2000 {
        assert!(context.send(nobody.clone()).await.is_err());
    }
    assert!(context.anonymous().await.is_err());
    context.leave().await;
    assert_eq!(server.asked("DELETE /clients/1 ").len(), 1);
}

#[test]
fn a_run_that_is_stopped_takes_its_client_back() {
    for (kill, code) in [("-INT", 130), ("-TERM", 143)] {
        let slow = AtomicBool::new(true);
        let server = Server::start(move |line, base| match line {
            "POST /register" => client(base),
            "DELETE /clients/1" => {
                // The run is stopped before this comes.
                thread::sleep(Duration::from_secs(if slow.swap(false, Ordering::Relaxed) { 3 } else { 0 }));
                json(200, json!({}))
            }
            line => documents(line, base),
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_auth-check"));
        let mut child =
            command.args([&format!("{}/mcp", server.base), "--active"]).stdout(Stdio::null()).spawn().unwrap();
        while server.asked("DELETE /clients/1 ").is_empty() {
            assert_eq!(child.try_wait().unwrap(), None);
            thread::sleep(Duration::from_millis(20));
        }
        assert!(Command::new("kill").args([kill, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(server.asked("POST /register").len(), 1);
        assert_eq!(server.asked("DELETE /clients/1 ").len(), 2);
    }
}

#[tokio::test]
async fn a_client_is_taken_back_only_at_the_origin_where_it_was_registered() {
    let other = Server::start(|_, _| json(200, json!({})));
    let elsewhere = other.base.clone();
    let server = Server::start(move |line, base| match line {
        "POST /register" => client(&elsewhere),
        line => documents(line, base),
    });
    assert_eq!(judge(&server.context().await, "REG-01").await, Ok(Vec::new()));
    assert_eq!(server.asked("POST /register").len(), 1);
    assert_eq!(other.asked(""), Vec::<String>::new());
}

#[tokio::test]
async fn a_busy_server_has_refused_nothing() {
    for status in [429, 503] {
        let asked = AtomicU32::new(0);
        let server = Server::start(move |line, base| match line {
            // First nobody is asked for, then the good token; all others come too fast.
            "POST /mcp" => match asked.fetch_add(1, Ordering::Relaxed) {
                0 => documents(line, base),
                1 => json(200, json!({ "result": {} })),
                _ => json(status, json!({})),
            },
            "GET /mcp" | "DELETE /mcp" | "POST /register" => json(status, json!({})),
            line => documents(line, base),
        });
        let context = Context::new(server.settings_with_key().await);
        assert_eq!(judge(&context, "TOK-01").await, Ok(Vec::new()));
        let unmet = Err(Unmet(format!("a server that is not busy (it answers {status})")));
        for id in ["CHAL-15", "CHAL-16", "TRAN-08", "TOK-02", "TOK-09", "PLACE-01", "PLACE-05", "PLACE-08"] {
            assert_eq!(judge(&context, id).await, unmet, "{id}");
        }
        for id in ["REG-01", "REG-02", "REG-05", "REG-06", "REG-07"] {
            assert_eq!(judge(&context, id).await, unmet, "{id}");
        }
    }
}

#[tokio::test]
async fn a_busy_server_is_waited_for_once_if_it_says_for_how_long_and_that_is_short() {
    for (wait, times) in [("1", 2), ("60", 1), ("Fri, 27 Nov 2026 12:00:00 GMT", 1)] {
        let server =
            Server::start(move |_, _| format!("HTTP/1.1 429 X\r\nRetry-After: {wait}\r\nContent-Length: 0\r\n\r\n"));
        let context = server.context().await;
        let started = Instant::now();
        assert!(context.anonymous().await.is_err());
        assert_eq!(server.asked("POST /mcp").len(), times, "{wait}");
        assert_eq!(started.elapsed() >= Duration::from_secs(1), times == 2, "{wait}");
    }
}

#[tokio::test]
async fn what_a_busy_server_may_have_done_is_not_asked_for_again() {
    for (status, times) in [(429, 2), (503, 1)] {
        let server = Server::start(move |line, base| match line {
            "POST /register" => format!("HTTP/1.1 {status} X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
            line => documents(line, base),
        });
        assert!(judge(&server.context().await, "REG-01").await.is_err());
        assert_eq!(server.asked("POST /register").len(), times, "{status}");
    }
}

#[tokio::test]
async fn what_was_found_before_a_server_was_busy_stays_found() {
    let asked = AtomicU32::new(0);
    let server = Server::start(move |line, base| match (line, asked.fetch_add(1, Ordering::Relaxed)) {
        ("POST /mcp", 0) => json(200, json!({ "result": {} })),
        ("POST /mcp", _) => json(429, json!({})),
        _ => documents(line, base),
    });
    assert_eq!(judge(&server.context().await, "CHAL-15").await.unwrap().len(), 1);
    for id in ["SCOPE-06", "SCOPE-07"] {
        let asked = AtomicU32::new(0);
        let server = Server::start(move |line, base| match line {
            // First nobody is asked for, then a good token, one without scopes, and one without one of them.
            "POST /mcp" => match asked.fetch_add(1, Ordering::Relaxed) {
                0 => documents(line, base),
                1 | 3 => json(200, json!({ "result": {} })),
                2 => {
                    let challenge = r#"Bearer error="insufficient_scope", scope="a b c""#;
                    format!("HTTP/1.1 403 X\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n")
                }
                _ => json(429, json!({})),
            },
            _ => documents(line, base),
        });
        let judged = judge(&Context::new(server.settings_with_key().await), id).await;
        assert_eq!(judged.as_ref().map(Vec::len), Ok(1), "{id}: {judged:?}\n{:#?}", server.asked("POST"));
    }
}

#[tokio::test]
async fn a_server_that_a_huge_token_kills_is_found() {
    // Alive, asked with the huge token, and asked again.
    for (answers, found) in [([true, false, false], 1), ([true, false, true], 0), ([true, true, true], 0)] {
        let asked = AtomicUsize::new(0);
        let server = Server::start(move |line, base| {
            if answers[asked.fetch_add(1, Ordering::Relaxed)] { documents(line, base) } else { String::new() }
        });
        let findings = judge(&server.context().await, "TRAN-09").await.unwrap();
        assert_eq!(findings.len(), found, "{answers:?}: {findings:?}");
        assert!(findings.iter().all(|it| it.what.contains("no longer answers")), "{findings:?}");
    }
}

#[tokio::test]
async fn what_may_kill_a_server_is_tried_last() {
    let server = Server::start(documents);
    let results = run(server.settings().await, |_, _, _| {}).await.unwrap();
    assert_eq!(results.verdicts.last().unwrap().check.id, "TRAN-09");
}

#[tokio::test]
async fn a_bait_that_the_server_cannot_reach_proves_nothing() {
    for (host, unmet) in [("0.0.0.0", true), ("127.0.0.1", false)] {
        let asked = AtomicU32::new(0);
        let server = Server::start(move |line, base| match line {
            "POST /mcp" if asked.fetch_add(1, Ordering::Relaxed) == 1 => json(200, json!({ "result": {} })),
            line => documents(line, base),
        });
        let mut settings = server.settings_with_key().await;
        settings.target = settings.target.as_str().replace("127.0.0.1", host).parse().unwrap();
        settings.mine = vec![host.to_owned()];
        let judged = judge(&Context::new(settings), "TOK-18").await;
        assert!(matches!(&judged, Err(Unmet(why)) if why.contains("--mock-issuer=URL")) == unmet, "{judged:?}");
        assert!(judged.is_ok() != unmet, "{judged:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_mock_issuer_is_told_so() {
    for (asks, said) in [(false, true), (true, false)] {
        let server = Server::start(documents);
        let mut settings = server.settings().await;
        let issuer = settings.attacker.server.url().to_owned();
        if asks {
            let jwks = format!("{issuer}/jwks").parse().unwrap();
            assert!(Http::new(&jwks, Vec::new()).send(&Request::get(&jwks)).await.is_ok());
        }
        settings.tokens.mint = Some(Mint { key: Arc::clone(&settings.attacker.key), issuer: issuer.clone() });
        let findings = judge(&Context::new(settings), "TOK-01").await.unwrap();
        assert_eq!(findings[0].what.contains(&format!("never asked {issuer} for its keys")), said, "{findings:?}");
    }
}

#[tokio::test]
async fn who_gives_another_address_than_the_endpoints_is_asked_about_it() {
    for (status, asks) in [(404, true), (405, true), (400, false)] {
        let server = Server::start(move |_, _| json(status, json!({})));
        let findings = judge(&server.context().await, "CHAL-01").await.unwrap();
        assert_eq!(findings[0].what.ends_with("Is this the MCP endpoint?"), asks, "{findings:?}");
    }
}

#[tokio::test]
async fn a_client_without_an_id_cannot_try_redirect_uris() {
    let server = Server::start(|line, base| match line {
        "POST /register" => json(201, json!({})),
        line => documents(line, base),
    });
    let unmet = Err(Unmet("a client_id and an authorization_endpoint".to_owned()));
    assert_eq!(judge(&server.context().await, "REG-07").await, unmet);
}

#[tokio::test]
async fn what_a_registration_gives_is_not_shown() {
    let secrets = json!({ "client_secret": "the-secret", "registration_access_token": "take-it-back" });
    let server = Server::start(move |line, base| match line {
        "POST /register" => json(200, secrets.clone()),
        line => documents(line, base),
    });
    let findings = judge(&server.context().await, "REG-01").await.unwrap();
    let shown = format!("{findings:?}");
    assert!(shown.contains("client_secret") && !shown.contains("the-secret") && !shown.contains("take-it"), "{shown}");
}

#[tokio::test]
async fn where_the_browser_is_sent_is_read_as_the_browser_reads_it() {
    let server = Server::start(|line, base| match line {
        "POST /register" => client(base),
        "GET /authorize" => redirect("HTTPS://EVIL.Example/x/../callback?error=access_denied"),
        line => documents(line, base),
    });
    let context = server.context().await;
    assert_eq!(judge(&context, "FLOW-01").await.unwrap().len(), 1);
    assert_eq!(judge(&context, "REG-07").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_a_document_is_followed_only_within_the_origin() {
    let other = Server::start(|_, _| json(200, json!({})));
    let elsewhere = other.base.clone();
    let server = Server::start(move |line, base| match line {
        "GET /.well-known/oauth-protected-resource/mcp" => redirect("/here"),
        "GET /.well-known/oauth-protected-resource" => redirect(&elsewhere),
        "GET /here" => json(200, json!({ "resource": base })),
        line => documents(line, base),
    });
    let context = server.context().await;
    let found: Vec<_> = context.places().await.unwrap().iter().map(|place| place.answer.is_ok()).collect();
    assert_eq!(found, [true, false]);
    assert_eq!(other.asked(""), Vec::<String>::new());
}

#[tokio::test]
async fn what_gives_no_answer_is_asked_once() {
    for (silent, ids) in [
        ("GET /.well-known/oauth-protected-resource/mcp", ["PRM-01", "PRM-03"]),
        ("GET /.well-known/oauth-authorization-server", ["ASM-01", "ASM-02"]),
        ("GET /jwks", ["ASM-16", "ASM-17"]),
    ] {
        let server =
            Server::start(move |line, base| if line == silent { String::new() } else { documents(line, base) });
        let context = server.context().await;
        for id in ids {
            assert!(judge(&context, id).await.is_err(), "{id}");
        }
        assert_eq!(server.asked(silent).len(), 1, "{silent}");
    }
}

#[tokio::test]
async fn a_key_set_is_fetched_once() {
    let server = Server::start(|line, base| match line {
        "GET /jwks" => json(200, json!({ "keys": [{ "kty": "EC", "d": "the-private-half" }] })),
        line => documents(line, base),
    });
    let context = server.context().await;
    for (id, number) in [("ASM-15", 0), ("ASM-16", 1), ("ASM-17", 0)] {
        let findings = judge(&context, id).await.unwrap();
        assert_eq!(findings.len(), number, "{id}: {findings:?}");
        assert!(!format!("{findings:?}").contains("the-private-half"), "{findings:?}");
    }
    assert_eq!(server.asked("GET /jwks").len(), 1);
}

#[tokio::test]
async fn of_many_scopes_some_are_tried_and_a_token_without_any_is_sent_once() {
    let server = Server::start(|line, base| match line {
        "POST /mcp" => {
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scopes(300).join(" "));
            format!("HTTP/1.1 403 X\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n")
        }
        line => documents(line, base),
    });
    let context = Context::new(server.settings_with_key().await);
    assert_eq!(context.purpose().await.unwrap().scopes, scopes(100).join(" "));
    assert!(!context.era().await.unwrap().is_ok());
    let before = server.asked("POST /mcp").len();
    for id in ["SCOPE-01", "SCOPE-02", "SCOPE-03"] {
        assert_eq!(judge(&context, id).await, Ok(Vec::new()), "{id}");
    }
    assert_eq!(server.asked("POST /mcp").len() - before, 1);
    assert_eq!(judge(&context, "SCOPE-06").await, Ok(Vec::new()));
    assert_eq!(server.asked("POST /mcp").len() - before, 11);
}

#[tokio::test]
async fn a_challenge_that_cannot_be_read_is_said_to_be_so() {
    let broken =
        "HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer error_description=\"\"exp\" claim\"\r\nContent-Length: 0\r\n\r\n";
    let good = AtomicBool::new(false);
    let server = Server::start(move |line, base| match line {
        // The good token's `initialize` comes second.
        "POST /mcp" if good.swap(false, Ordering::Relaxed) => json(200, json!({ "result": {} })),
        "POST /mcp" => {
            good.store(true, Ordering::Relaxed);
            broken.to_owned()
        }
        line => documents(line, base),
    });
    let context = Context::new(server.settings_with_key().await);
    let findings = judge(&context, "CHAL-17").await.unwrap();
    assert!(findings[0].what.contains("breaks the grammar: "), "{findings:?}");
    let server =
        Server::start(move |line, base| if line == "POST /mcp" { broken.to_owned() } else { documents(line, base) });
    let findings = judge(&server.context().await, "CHAL-03").await.unwrap();
    let said: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
    assert!(said.len() == 2 && said[0].contains("without a token: ") && said[1].contains("a bad one: "), "{said:?}");
    assert!(said.iter().all(|what| what.contains("breaks the grammar: ")), "{said:?}");
}

#[tokio::test]
async fn many_scopes_are_compared_in_no_time() {
    let server = Server::start(|line, base| match line {
        "GET /.well-known/oauth-protected-resource/mcp" => {
            let all = scopes(60_000);
            json(200, json!({ "resource": base, "authorization_servers": [base], "scopes_supported": all }))
        }
        "GET /.well-known/oauth-authorization-server" => {
            let all: Vec<_> = scopes(60_000).into_iter().rev().collect();
            json(200, json!({ "issuer": base, "scopes_supported": all }))
        }
        line => documents(line, base).replace("scope=\"a\"", ""),
    });
    let context = server.context().await;
    let started = Instant::now();
    assert_eq!(judge(&context, "AGR-01").await, Ok(Vec::new()));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn how_long_a_server_has_to_start_is_measured_by_the_clock() {
    let server = Server::start(|_, _| {
        thread::sleep(Duration::from_secs(1));
        String::new()
    });
    let mut settings = server.settings().await;
    settings.patience = 3;
    assert!(run(settings, |_, _, _| {}).await.is_err());
    // One or two in three seconds, and the one without which nothing can be tried.
    let asked = server.asked("POST /mcp").len();
    assert!(asked <= 3, "{asked}");
}

#[tokio::test]
async fn why_a_check_was_not_run_is_said_without_secrets_and_not_for_ever() {
    let long = "x".repeat(5000);
    for issuer in [
        format!("ftp://alice:the-secret@as.example/{long}?token=the-secret"),
        format!("https://{long}.example/?token=the-secret"),
    ] {
        let server = Server::start(move |line, base| match line {
            "GET /.well-known/oauth-protected-resource/mcp" => {
                json(200, json!({ "resource": base, "authorization_servers": [issuer] }))
            }
            line => documents(line, base),
        });
        let results = run(server.settings().await, |_, _, _| {}).await.unwrap();
        let Some(Outcome::NotRun(why)) = results.outcome("ASM-01") else { panic!("{results:?}") };
        assert!(why.len() < 1000 && !why.contains("the-secret"), "{why}");
    }
}

/// Where nobody listens.
fn redirect_uri() -> Url {
    "http://127.0.0.1:1/callback".parse().unwrap()
}

/// A browser that goes where it is sent, and knows what the server does.
struct Robot;

impl Browser for Robot {
    fn redirect_uri(&self) -> Url {
        redirect_uri()
    }

    fn visit<'a>(&'a self, visit: Visit<'a>) -> Visited<'a> {
        let state = visit.url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let mut place = visit.redirect_uri.clone();
        place.query_pairs_mut().append_pair("state", &state).append_pair("code", "the-code");
        Box::pin(async move { Ok(Some(place)) })
    }
}

#[tokio::test]
async fn an_authorization_server_that_says_yes_to_everything_ends_the_log_ins_and_shows_no_secret() {
    let server = Server::start(|line, base| match line {
        "POST /register" => client(base),
        "POST /token" => {
            let scope = scopes(60_000).join(" ");
            json(
                200,
                json!({ "access_token": "the-access-token", "refresh_token": "the-refresh-token", "scope": scope }),
            )
        }
        "GET /authorize" => "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
        line => documents(line, base),
    });
    let context = server.context_with(Robot).await;
    let started = Instant::now();
    for (id, number) in [
        ("FLOW-04", 0),
        ("FLOW-05", 0),
        ("FLOW-07", 1),
        ("FLOW-08", 1),
        ("FLOW-09", 1),
        ("FLOW-11", 3),
        ("FLOW-13", 1),
        ("FLOW-19", 1),
        ("REF-01", 1),
        ("REF-06", 0),
        ("REF-07", 1),
    ] {
        let findings = judge(&context, id).await.unwrap();
        assert_eq!(findings.len(), number, "{id}: {findings:?}");
        let shown = format!("{findings:?}");
        assert!(!["the-access", "the-refresh", "the-code"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    let login = context.login().unwrap();
    assert!(login.rounds() <= MAX_ROUNDS + 1, "{}", login.rounds());
    while context.round("to log in once more").await.is_ok() {}
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_token_that_has_expired_proves_nothing() {
    for (life, log_ins) in [(3600, 1), (1, 3)] {
        let server = Server::start(move |line, base| match line {
            "POST /register" => client(base),
            "POST /token" => json(200, json!({ "access_token": "opaque", "expires_in": life })),
            "GET /authorize" => "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
            line => documents(line, base),
        });
        let context = server.context_with(Robot).await;
        for _ in 0..2 {
            context.token().await.unwrap();
        }
        assert_eq!(server.asked("POST /token").len(), log_ins, "{life}");
    }

    let server = Server::start(documents);
    let mut settings = server.settings().await;
    let claims = json!({ "exp": jose::now() }).to_string();
    let token = settings.attacker.key.sign(&json!({ "alg": "RS256" }), claims.as_bytes(), Algorithm::Rs256);
    settings.tokens.given = Given::read(&json!({ "tokens": [{ "token": token }] }).to_string()).unwrap();
    let unmet = Err(Unmet("a token that has not expired".to_owned()));
    assert_eq!(judge(&Context::new(settings), "TOK-01").await, unmet);
}

/// Somebody who does not come back.
struct Nobody;

impl Browser for Nobody {
    fn redirect_uri(&self) -> Url {
        redirect_uri()
    }

    fn visit<'a>(&'a self, _: Visit<'a>) -> Visited<'a> {
        Box::pin(async { Err(Unmet("somebody who comes back".to_owned())) })
    }
}

#[tokio::test]
async fn who_does_not_come_back_is_not_waited_for_again() {
    let server = Server::start(|line, base| match line {
        "POST /register" => client(base),
        "GET /authorize" => "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
        line => documents(line, base),
    });
    let context = server.context_with(Nobody).await;
    for id in ["FLOW-04", "FLOW-07", "FLOW-09", "REF-04", "TOK-01"] {
        assert_eq!(judge(&context, id).await, Err(Unmet("somebody who comes back".to_owned())), "{id}");
    }
    assert_eq!(context.login().unwrap().rounds(), 1);
}
