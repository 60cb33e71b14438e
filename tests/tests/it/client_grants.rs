//! Step 11 and what it stores: it uses grants, registrations and secrets where they belong, keeps them as long as they
//! are good, and then gives them up. What a person names on the command line always counts.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{
    client::{Client, Outcome, follow},
    mock::{Mock, Reply},
    world::{
        ASM, CALL, PRM, Twist, World, answer, asm, challenge, come_back, expire, logged_in, response, stored_grant,
        tokens, unauthorized,
    },
};
use serde_json::{Value, json};
use url::Position;

#[test]
fn another_server_on_the_same_host_is_not_asked_at_the_mcp_servers_port() -> Result<()> {
    // The authorization server is `http://localhost`, port 80, where nothing needs to listen.
    let mcp = Mock::start(|request, url| {
        let own = url.replace("127.0.0.1", "localhost");
        let document = json!({ "resource": format!("{own}/mcp"), "authorization_servers": ["http://localhost"] });
        let issuer = "http://localhost";
        match request.path() {
            PRM => Reply::json(200, &document),
            ASM => Reply::json(
                200,
                &json!({
                    "issuer": issuer, "token_endpoint": format!("{issuer}/token"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }),
            ),
            "/token" => Reply::json(200, &tokens(0)),
            _ => unauthorized("Bearer".into()),
        }
    })?;
    let client = Client::new(&format!("{}/mcp", mcp.url.replace("127.0.0.1", "localhost")))?;
    let args = ["--grant", "client-credentials", "--client-id", "machine", "--issuer", "http://localhost", "tools"];
    let mut command = client.command(&args)?;
    let outcome = client.wait(command.env("MCP_CLIENT_SECRET", "s3cr3t-of-port-80").spawn()?, follow)?;
    assert!(outcome.code == Some(3) || outcome.code == Some(4), "{outcome:?}");
    assert_eq!(mcp.hits(PRM), 1, "{outcome:?}");
    assert!(mcp.seen().iter().all(|request| [PRM, "/mcp"].contains(&request.path())), "{:?}", mcp.seen());
    Ok(())
}

#[test]
fn a_refresh_token_is_kept_though_the_access_token_beside_it_is_of_no_use() -> Result<()> {
    let twist: Twist = Arc::new(|request, _| {
        request.param("refresh_token").filter(|_| request.path() == "/token")?;
        let mut document = tokens(7);
        document["token_type"] = json!("mac");
        Some(Reply::json(200, &document))
    });
    let world = logged_in(None, Some(twist))?;
    expire(&world)?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("instead of Bearer"), "{outcome:?}");
    assert_eq!(stored_grant(&world)?["refresh_token"], "s3cr3t-refresh-7");
    Ok(())
}

#[test]
fn a_token_endpoint_that_has_moved_or_gone_is_looked_for_anew() -> Result<()> {
    // 0: all is well; 1: it has moved; 2: nothing is there any more.
    let now = Arc::new(AtomicUsize::new(0));
    let at = now.clone();
    let twist: Twist = Arc::new(move |request, urls| match (at.load(Ordering::SeqCst), request.path()) {
        (1, ASM) => {
            let mut document = asm(urls);
            document["token_endpoint"] = json!(format!("{}/token2", urls.authorization));
            Some(Reply::json(200, &document))
        }
        (1, "/token2") => Some(Reply::json(200, &tokens(50))),
        (1, "/token") => Some(Reply::status(404)),
        (2, _) => Some(Reply::Raw(Vec::new())),
        _ => None,
    });
    let world = logged_in(None, Some(twist))?;
    expire(&world)?;
    now.store(2, Ordering::SeqCst);
    let before = world.mcp.seen().len();
    let outcome = world.run(CALL)?;
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(world.mcp.seen()[before..].iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(stored_grant(&world)?["refresh_token"], "s3cr3t-refresh-0");
    now.store(1, Ordering::SeqCst);
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    assert_eq!(stored_grant(&world)?["access_token"], "s3cr3t-access-50");
    Ok(())
}

#[test]
fn what_is_kept_from_one_issuer_is_not_used_when_another_is_named() -> Result<()> {
    let twist: Twist = Arc::new(|request, urls| {
        let mut document = asm(urls);
        document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        (request.path() == ASM).then(|| Reply::json(200, &document))
    });
    let world = World::new(None, Some(twist))?;
    let with = |issuer: &str, secret: &str, command: &str| -> Result<Outcome> {
        let args = ["--grant", "client-credentials", "--client-id", "machine", "--issuer", issuer, command];
        world.client.wait(world.client.command(&args)?.env("MCP_CLIENT_SECRET", secret).spawn()?, follow)
    };
    assert_eq!(with(&world.authorization.url, "s3cr3t-for-a", "tools")?.code, Some(0));
    expire(&world)?;
    let before = world.mcp.seen().len();
    let outcome = with(&world.evil.url, "s3cr3t-for-b", "tools")?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("not the one of --issuer"), "{outcome:?}");
    assert!(world.mcp.seen()[before..].iter().all(|request| request.header("authorization").is_none()));
    // The secret is not shown for a log-out either, and the client says that the tokens were not withdrawn.
    let outcome = with(&world.evil.url, "s3cr3t-for-b", "logout")?;
    assert!(outcome.code == Some(0) && outcome.stderr.contains("stay good until they expire"), "{outcome:?}");
    let seen = format!("{:?}", world.authorization.seen());
    assert!(seen.contains("s3cr3t-for-a") && !seen.contains("s3cr3t-for-b"), "{seen}");
    assert!(world.evil.seen().is_empty());
    Ok(())
}

#[test]
fn with_dpop_no_bearer_token_is_sent_not_even_a_stored_one() -> Result<()> {
    let world = logged_in(None, None)?;
    let before = world.mcp.seen().len();
    let outcome = world.run(&["--dpop", "call", "echo", "message=hi"])?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("DPoP"), "{outcome:?}");
    assert!(world.mcp.seen()[before..].iter().all(|request| request.header("authorization").is_none()));
    // Without the option, the stored token is still used.
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!(world.authorization.hits("/authorize"), 1);
    Ok(())
}

#[test]
fn a_log_in_that_is_given_up_takes_no_secret_from_the_grant_that_is_kept() -> Result<()> {
    let registered = AtomicUsize::new(0);
    let twist: Twist = Arc::new(move |request, urls| match request.path() {
        ASM => {
            let mut document = asm(urls);
            document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
            Some(Reply::json(200, &document))
        }
        "/register" => {
            let number = registered.fetch_add(1, Ordering::SeqCst);
            let method = "client_secret_post";
            Some(Reply::json(
                201,
                &json!({ "client_id": format!("client-{number}"), "client_secret": format!("s3cr3t-of-{number}"), "token_endpoint_auth_method": method }),
            ))
        }
        _ => None,
    });
    let world = logged_in(None, Some(twist))?;
    // Another redirect URI needs another registration; then the browser does not come back.
    let outcome = world.client.run(&["--redirect-uri", "http://localhost:0/elsewhere", "login"], |_| ())?;
    assert_eq!((outcome.code, world.authorization.hits("/register")), (Some(4), 2), "{outcome:?}");
    expire(&world)?;
    let outcome = world.run(CALL)?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let renewal = world.authorization.seen().into_iter().find(|request| request.param("refresh_token").is_some());
    let renewal = renewal.context("not renewed")?;
    let known = ["client_id", "client_secret"].map(|name| renewal.param(name).unwrap_or_default());
    assert_eq!(known, ["client-0", "s3cr3t-of-0"]);
    assert_eq!(world.authorization.hits("/authorize"), 1);
    Ok(())
}

#[test]
fn a_logout_waits_for_a_refresh_and_withdraws_what_it_brought() -> Result<()> {
    let twist: Twist = Arc::new(|request, _| {
        request.param("refresh_token").filter(|_| request.path() == "/token")?;
        thread::sleep(std::time::Duration::from_millis(800)); // long enough for the logout to begin
        Some(Reply::json(200, &tokens(9)))
    });
    let world = logged_in(None, Some(twist))?;
    expire(&world)?;
    let child = world.client.command(CALL)?.spawn()?;
    while world.authorization.hits("/token") < 2 {
        thread::sleep(std::time::Duration::from_millis(5));
    }
    let outcome = world.run(&["logout"])?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let seen = world.authorization.seen();
    let revoked: Vec<_> = seen
        .iter()
        .filter(|request| request.path() == "/revoke")
        .filter_map(|request| request.param("token"))
        .collect();
    assert_eq!(revoked, ["s3cr3t-refresh-9"]);
    let outcome = world.client.wait(child, follow)?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    Ok(())
}

#[test]
fn a_logout_says_what_it_could_not_do() -> Result<()> {
    let twist: Twist = Arc::new(|request, urls| {
        let mut document = asm(urls);
        document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        (request.path() == ASM).then(|| Reply::json(200, &document))
    });
    let world = World::new(None, Some(twist))?;
    let issuer = world.authorization.url.clone();
    // One in 64 random ids begins so.
    let args = ["--grant", "client-credentials", "--client-id", "-machine", "--issuer", &issuer, "tools"];
    let mut command = world.client.command(&args)?;
    let outcome = world.client.wait(command.env("MCP_CLIENT_SECRET", "s3cr3t-for-a").spawn()?, follow)?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let outcome = world.run(&["logout"])?;
    assert!(outcome.code == Some(0) && outcome.stderr.contains("only the client -machine"), "{outcome:?}");
    assert_eq!(world.authorization.hits("/revoke"), 0);

    let world = logged_in(None, None)?;
    let path = world.client.stored()?;
    let whole = std::fs::read_to_string(&path)?;
    std::fs::write(&path, &whole[..whole.len() - 3])?;
    let outcome = world.run(&["logout"])?;
    assert!(outcome.code == Some(0) && outcome.stderr.contains("damaged"), "{outcome:?}");
    assert!(outcome.stdout.contains("Logged out") && !path.exists(), "{outcome:?}");
    Ok(())
}

/// A server of 2025-11-25 with a session, and what it answers to the end of it.
fn legacy_mcp(end: Reply) -> Twist {
    Arc::new(move |request, _| {
        if request.path() != "/mcp" || request.header("authorization").is_none() {
            return None;
        }
        if request.method == "DELETE" {
            return Some(end.clone());
        }
        match request.json()["method"].as_str() {
            Some("server/discover") => Some(Reply::status(400)),
            Some("initialize") => {
                let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "x", "version": "1" } });
                Some(response(request, result).with("Mcp-Session-Id", "s3cr3t-session"))
            }
            Some("notifications/initialized") => Some(Reply::status(202)),
            _ => None,
        }
    })
}

#[test]
fn the_end_of_a_session_opens_no_log_in() -> Result<()> {
    let world = World::new(Some(legacy_mcp(unauthorized("Bearer error=\"invalid_token\"".into()))), None)?;
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    let seen = world.mcp.seen();
    let last: Vec<_> = seen.iter().filter(|request| request.method == "DELETE").collect();
    assert!(last.len() == 1 && last[0].header("authorization").is_some(), "{last:?}");
    assert_eq!((world.authorization.hits("/authorize"), world.authorization.hits("/token")), (1, 1));
    Ok(())
}

#[test]
fn the_scopes_of_the_command_line_are_those_that_are_asked_for() -> Result<()> {
    let mcp: Twist = Arc::new(|request, urls| {
        let token = request.header("authorization")?;
        let more = request.json()["method"] == "tools/call" && token == "Bearer s3cr3t-access-0";
        let value = challenge(urls, ", error=\"insufficient_scope\", scope=\"admin\"");
        more.then(|| Reply::status(403).with("WWW-Authenticate", &value))
    });
    let authorization: Twist = Arc::new(|request, urls| {
        let mut document = asm(urls);
        document["scopes_supported"] = json!(["read", "admin", "offline_access"]);
        (request.path() == ASM).then(|| Reply::json(200, &document))
    });
    let world = World::new(Some(mcp), Some(authorization))?;
    let asked = || -> Vec<String> {
        let seen = world.authorization.seen();
        let log_ins = seen.iter().filter(|request| request.path() == "/authorize");
        log_ins.filter_map(|request| request.param("scope")).collect()
    };
    assert_eq!(world.run(&["--scope", "read", "login"])?.code, Some(0));
    assert_eq!(asked(), ["read"]);
    // Following the advice helps, without another `login`.
    let outcome = world.run(&["--scope", "admin read", "call", "echo", "message=hi"])?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    assert_eq!(asked(), ["read", "admin read"]);
    Ok(())
}

#[test]
fn the_redirect_uri_of_the_command_line_is_the_one_that_is_used() -> Result<()> {
    let world = logged_in(None, None)?;
    for args in [&["login"][..], &["--redirect-uri", "http://localhost:0/other", "login"]] {
        assert_eq!(world.run(args)?.code, Some(0));
    }
    let used: Vec<String> =
        world.authorization.seen().iter().filter_map(|request| request.param("redirect_uri")).collect();
    let used: Vec<&String> = used.iter().step_by(2).collect(); // each again at the token endpoint
    assert!(used.len() == 3 && used[0] == used[1] && used[2].starts_with("http://localhost:"), "{used:?}");
    assert!(used[2].ends_with("/other"), "{used:?}");
    Ok(())
}

/// Both servers do DPoP, and the MCP server offers `Bearer` first.
fn both_schemes(nonce: bool) -> (Twist, Twist) {
    let mcp: Twist = Arc::new(move |request, urls| {
        if request.path() != "/mcp" {
            return None;
        }
        if request.header("authorization").is_none() {
            return Some(unauthorized(format!("{}, DPoP algs=\"ES256\"", challenge(urls, ", scope=\"read\""))));
        }
        let has_nonce = request.header("dpop").is_some_and(|proof| claims(proof)["nonce"] == "fresh");
        if nonce && !has_nonce {
            let value = "Bearer error=\"invalid_token\", DPoP error=\"use_dpop_nonce\", algs=\"ES256\"";
            return Some(unauthorized(value.into()).with("DPoP-Nonce", "fresh"));
        }
        let result = match request.json()["method"].as_str() {
            Some("server/discover") => json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
            Some("tools/list") => json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] }),
            _ => json!({ "content": [{ "type": "text", "text": "hi" }] }),
        };
        Some(response(request, result))
    });
    let authorization: Twist = Arc::new(|request, urls| match request.path() {
        ASM => {
            let mut document = asm(urls);
            document["dpop_signing_alg_values_supported"] = json!(["ES256"]);
            Some(Reply::json(200, &document))
        }
        "/token" => {
            let mut document = tokens(0);
            document["token_type"] = json!(if request.header("dpop").is_some() { "DPoP" } else { "Bearer" });
            Some(Reply::json(200, &document))
        }
        _ => None,
    });
    (mcp, authorization)
}

/// What a JWT says, unverified.
fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    serde_json::from_slice(&payload).unwrap_or_default()
}

#[test]
fn dpop_is_used_where_it_is_offered_beside_bearer_and_its_nonce_is_heard() -> Result<()> {
    for nonce in [false, true] {
        let (mcp, authorization) = both_schemes(nonce);
        let world = World::new(Some(mcp), Some(authorization))?;
        let outcome = world.run(CALL)?;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
        let seen = world.mcp.seen();
        assert!(seen.iter().filter_map(|one| one.header("authorization")).all(|value| value.starts_with("DPoP ")));
        // The nonce costs another proof, not another token.
        assert_eq!(world.authorization.hits("/token"), 1, "{outcome:?}");
    }
    Ok(())
}

/// `GET` over plain http, from a page or program that says it is at `host`; the whole answer.
fn fetch(url: &str, host: Option<&str>) -> Result<String> {
    let url = reqwest::Url::parse(url)?;
    let own = &url[Position::BeforeHost..Position::AfterPort];
    let mut stream = TcpStream::connect(own)?;
    let (target, host) = (&url[Position::BeforePath..], host.unwrap_or(own));
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where the authorization server sends the browser, without going there.
fn way_back(url: &str) -> Result<String> {
    let answer = fetch(url, None)?;
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).context("no redirect")?;
    Ok(location.to_owned())
}

/// A person with a browser of their own, whose words are kept for the test to judge.
type Heard = Arc<Mutex<Vec<Result<String>>>>;

#[test]
fn a_request_that_is_not_the_answer_does_not_end_the_log_in() -> Result<()> {
    let world = World::new(None, None)?;
    let heard: Heard = Arc::default();
    let words = heard.clone();
    let outcome = world.client.run(CALL, move |url| {
        let all = || -> Result<Vec<String>> {
            let back = way_back(url)?;
            let bare = back.split('?').next().unwrap_or_default();
            let mut all = vec![fetch(bare, None)?, fetch(&format!("{bare}?code=x&state=y"), None)?];
            all.push(fetch(&format!("{back}&state=y"), None)?);
            all.push(fetch(&back, Some("evil.example"))?);
            all.push(fetch(&back, None)?);
            Ok(all)
        };
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        match all() {
            Ok(all) => words.extend(all.into_iter().map(Ok)),
            Err(error) => words.push(Err(error)),
        }
    })?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(heard.len(), 5, "{heard:?}");
    for (number, page) in heard.iter().enumerate() {
        let page = page.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let (status, title) = if number < 4 { ("400", "Not this one") } else { ("200", "You are logged in") };
        assert!(page.starts_with(&format!("HTTP/1.1 {status}")) && page.contains(title), "{number}: {page}");
    }
    Ok(())
}

#[test]
fn whoever_loads_the_last_page_again_hears_the_same() -> Result<()> {
    let sent = Arc::new(AtomicBool::new(false));
    let twice = sent.clone();
    let slow: Twist = Arc::new(move |request, _| {
        // The page is loaded again before the first load has its answer.
        let end = Instant::now() + Duration::from_secs(20);
        while request.path() == "/token" && !twice.load(Ordering::SeqCst) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        None
    });
    let world = World::new(None, Some(slow))?;
    let heard: Heard = Arc::default();
    let words = heard.clone();
    let outcome = world.client.run(CALL, move |url| {
        let back = way_back(url).unwrap_or_default();
        let again = back.clone();
        let first = thread::spawn(move || fetch(&again, None));
        thread::sleep(Duration::from_millis(200));
        let second = thread::spawn(move || fetch(&back, None));
        thread::sleep(Duration::from_millis(200));
        sent.store(true, Ordering::SeqCst);
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend([first, second].map(|load| load.join().unwrap_or_else(|_| Ok("panic".into()))));
    })?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let good = |page: &Result<String>| page.as_ref().is_ok_and(|page| page.contains("You are logged in"));
    assert!(heard.len() == 2 && heard.iter().all(good), "{heard:?}");
    Ok(())
}

#[test]
fn what_others_shall_read_from_standard_input_is_left_to_them() -> Result<()> {
    let world = World::new(None, None)?;
    let step11 = world.client.command(&["--no-browser", "call", "echo", "message=hi"])?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\"; cat", "sh"]).arg(step11.get_program()).args(step11.get_args());
    shell.envs(step11.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("SSH_CONNECTION");
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn()?;
    child.stdin.take().context("no input")?.write_all(b"one\ntwo\n")?;
    let outcome = world.client.wait(child, follow)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\none\ntwo\n"), "{outcome:?}");
    Ok(())
}

#[test]
fn who_waits_for_another_process_says_so_and_does_not_wait_for_ever() -> Result<()> {
    let world = logged_in(None, None)?;
    expire(&world)?;
    let lock = std::fs::File::open(world.client.stored()?.with_extension("lock"))?;
    lock.lock()?;
    // The tests' --timeout is 3 s: 2 × 3 s, and 10 s for the rest.
    let start = std::time::Instant::now();
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("Waiting for it"), "{outcome:?}");
    assert!(outcome.stderr.contains("another process holds it"), "{outcome:?}");
    assert!((15..30).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(lock);
    assert_eq!(world.run(CALL)?.code, Some(0));
    Ok(())
}

#[test]
fn the_conformance_suites_settings_are_checked_as_a_persons_are() -> Result<()> {
    let world = World::new(None, None)?;
    let url = format!("{}/mcp", world.mcp.url);
    for context in [
        json!({ "client_id": "m", "idp_client_id": "i", "idp_id_token": "x.y.z", "idp_token_endpoint": "http://evil.example/token" }),
        json!({ "client_id": "m" }),
        json!({ "client_id": "m", "client_secret": "s3cr3t-of-m", "issuer": "http://evil.example" }),
    ] {
        let mut command = world.client.command(&["conformance", &url])?;
        let outcome =
            world.client.wait(command.env("MCP_CONFORMANCE_CONTEXT", context.to_string()).spawn()?, follow)?;
        assert_eq!(outcome.code, Some(2), "{context} {outcome:?}");
    }
    for redirect_uri in ["http://127.0.0.2:0/callback", "http://localhost:0/callback?x=y", "https://localhost/callback"]
    {
        assert_eq!(world.run(&["--redirect-uri", redirect_uri, "login"])?.code, Some(2), "{redirect_uri}");
    }
    assert!(world.mcp.seen().is_empty());
    Ok(())
}

#[test]
fn a_registration_is_not_made_in_vain_and_its_secret_is_used_and_not_shown() -> Result<()> {
    let no_pkce: Twist = Arc::new(|request, urls| {
        let mut document = asm(urls);
        document["code_challenge_methods_supported"] = json!(["plain"]);
        (request.path() == ASM).then(|| Reply::json(200, &document))
    });
    let world = World::new(None, Some(no_pkce))?;
    assert_eq!((world.run(CALL)?.code, world.authorization.hits("/register")), (Some(4), 0));

    let register = |information: Value| -> Twist {
        Arc::new(move |request, _| (request.path() == "/register").then(|| Reply::json(201, &information)))
    };
    let world = World::new(None, Some(register(json!({ "client_id": "x", "client_secret": 123_456_789_012_u64 }))))?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("a string"), "{outcome:?}");
    assert!(!outcome.visible().contains("123456789012"), "{outcome:?}");

    // Without a method, a secret is for `client_secret_basic` (RFC 7591 §2).
    let world = World::new(None, Some(register(json!({ "client_id": "x", "client_secret": "s3cr3t-of-x" }))))?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    let seen = world.authorization.seen();
    let exchange = seen.iter().find(|request| request.path() == "/token").context("no token")?;
    assert!(exchange.header("authorization").is_some_and(|value| value.starts_with("Basic ")), "{exchange:?}");
    Ok(())
}

#[test]
fn the_browser_does_not_inherit_the_clients_secret() -> Result<()> {
    let world = World::new(None, None)?;
    let launcher = world.client.credentials().with_file_name("bin").join("xdg-open");
    let told = world.client.credentials().with_file_name("environment");
    let script = std::fs::read_to_string(&launcher)?;
    std::fs::write(&launcher, format!("{script}env >{}\n", told.display()))?;
    let mut command = world.client.command(&["login"])?;
    let outcome = world.client.wait(command.env("MCP_CLIENT_SECRET", "s3cr3t-of-the-client").spawn()?, follow)?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for _ in 0..500 {
        let environment = std::fs::read_to_string(&told).unwrap_or_default();
        if environment.contains("PATH=") && environment.ends_with('\n') {
            assert!(!environment.contains("s3cr3t"), "{environment}");
            return Ok(());
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    anyhow::bail!("nothing was opened")
}

#[test]
fn what_is_kept_is_a_file_in_a_folder_of_ours() -> Result<()> {
    let world = logged_in(None, None)?;
    let path = world.client.stored()?;
    let elsewhere = world.client.credentials().with_file_name("elsewhere");
    std::fs::rename(&path, &elsewhere)?;
    std::os::unix::fs::symlink(&elsewhere, &path)?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("cannot be used"), "{outcome:?}");
    std::fs::remove_file(&path)?;
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&path).status()?.success());
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("not a file"), "{outcome:?}");
    std::fs::remove_file(&path)?;
    std::fs::rename(&elsewhere, &path)?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    // A lock that is a link makes no file elsewhere.
    let lock = path.with_extension("lock");
    std::fs::remove_file(&lock)?;
    std::os::unix::fs::symlink(&elsewhere, &lock)?;
    expire(&world)?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && !elsewhere.exists(), "{outcome:?}");
    for (mode, says) in [(0o777, "anybody may write"), (0o702, "anybody may write"), (0o770, "a group may write")] {
        std::fs::set_permissions(world.client.credentials(), std::fs::Permissions::from_mode(mode))?;
        let outcome = world.run(CALL)?;
        assert!(outcome.code == Some(1) && outcome.stderr.contains(says), "{outcome:?}");
        assert!(outcome.stderr.contains(&format!("(mode {mode:o})")), "{outcome:?}");
    }
    std::fs::set_permissions(world.client.credentials(), std::fs::Permissions::from_mode(0o755))?;
    assert_ne!(world.run(&["status"])?.code, Some(1));
    // The owner of a folder can always give themselves the right to write. Only root can give a folder away to test
    // that.
    let other = if std::os::unix::fs::chown(world.client.credentials(), Some(65_534), None).is_ok() {
        world.client.credentials()
    } else {
        "/".into()
    };
    let outcome = world.run(&["--credentials", other.to_str().context("not UTF-8")?, "status"])?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("somebody else owns the folder"), "{outcome:?}");
    Ok(())
}

/// The authorization server's metadata with these members changed.
fn metadata(change: Value) -> Twist {
    Arc::new(move |request, urls| {
        let mut document = asm(urls);
        document.as_object_mut()?.extend(change.as_object()?.clone());
        (request.path() == ASM).then(|| Reply::json(200, &document))
    })
}

/// All of these, the first that has an answer.
fn all(twists: Vec<Twist>) -> Twist {
    Arc::new(move |request, urls| twists.iter().find_map(|twist| twist(request, urls)))
}

/// The authorization response has no `iss`, and the metadata promises none.
fn without_iss() -> Twist {
    let silent: Twist = Arc::new(|request, urls| {
        let mut pairs = answer(request, urls);
        pairs.retain(|(name, _)| *name != "iss");
        (request.path() == "/authorize").then(|| come_back(request, &pairs))
    });
    all(vec![metadata(json!({ "authorization_response_iss_parameter_supported": false })), silent])
}

#[test]
fn the_client_id_is_in_the_form_beside_basic() -> Result<()> {
    let register: Twist = Arc::new(|request, _| {
        let client = json!({ "client_id": "a:b c", "client_secret": "s3cr3t-of-x" });
        (request.path() == "/register").then(|| Reply::json(201, &client))
    });
    let methods = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"] });
    let world = World::new(None, Some(all(vec![metadata(methods), register])))?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    expire(&world)?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!(world.run(&["logout"])?.code, Some(0));
    let seen = world.authorization.seen();
    let ours: Vec<_> = seen.iter().filter(|request| ["/token", "/revoke"].contains(&request.path())).collect();
    assert_eq!(ours.len(), 3, "{ours:?}");
    for request in ours {
        assert_eq!(request.param("client_id").as_deref(), Some("a:b c"));
        assert!(request.header("authorization").is_some_and(|value| value.starts_with("Basic ")), "{request:?}");
        assert!(!request.body.contains("s3cr3t-of-x"), "{request:?}");
    }
    Ok(())
}

#[test]
fn a_client_that_was_registered_a_moment_ago_is_not_registered_again() -> Result<()> {
    // The server knows only clients from this number on.
    let (known, registered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let from = known.clone();
    let twist: Twist = Arc::new(move |request, _| match request.path() {
        "/register" => {
            let number = registered.fetch_add(1, Ordering::SeqCst);
            Some(Reply::json(201, &json!({ "client_id": number.to_string() })))
        }
        "/token" => {
            let number: usize = request.param("client_id")?.parse().ok()?;
            let unknown = number < from.load(Ordering::SeqCst);
            unknown.then(|| Reply::json(401, &json!({ "error": "invalid_client", "error_description": "who?" })))
        }
        _ => None,
    });
    let world = logged_in(None, Some(twist))?;
    let log_ins = || (world.authorization.hits("/register"), world.authorization.hits("/authorize"));
    assert_eq!(log_ins(), (1, 1));
    // The server has forgotten an old registration: the client registers once more.
    known.store(1, Ordering::SeqCst);
    assert_eq!(world.run(&["login"])?.code, Some(0));
    assert_eq!(log_ins(), (2, 3));
    // The server accepts no client: each run registers only once, and does not store the registration.
    assert_eq!(world.run(&["logout"])?.code, Some(0));
    known.store(100, Ordering::SeqCst);
    for runs in 1..=2 {
        let outcome = world.run(CALL)?;
        assert!(outcome.code == Some(4) && outcome.stderr.contains("invalid_client, who?"), "{outcome:?}");
        assert_eq!(log_ins(), (2 + runs, 3 + runs), "{outcome:?}");
    }
    Ok(())
}

#[test]
fn a_registration_that_another_process_made_meanwhile_is_kept_and_used() -> Result<()> {
    // While the server refuses the first registration, another process stores a new one.
    let stored: Arc<OnceLock<PathBuf>> = Arc::default();
    let path = stored.clone();
    let twist: Twist = Arc::new(move |request, _| match request.path() {
        "/register" => Some(Reply::json(201, &json!({ "client_id": "old" }))),
        "/token" if request.param("client_id")? == "old" => {
            let path = path.get()?;
            let mut kept: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
            for registration in kept["registrations"].as_object_mut()?.values_mut() {
                registration["client_id"] = json!("new");
            }
            std::fs::write(path, kept.to_string()).ok()?;
            Some(Reply::json(401, &json!({ "error": "invalid_client" })))
        }
        _ => None,
    });
    let world = logged_in(None, Some(twist))?;
    let path = world.client.stored()?;
    stored.set(path.clone()).map_err(|_| anyhow::anyhow!("set twice"))?;
    let outcome = world.run(&["login"])?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(world.authorization.hits("/register"), 1);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let ids: Vec<_> = kept["registrations"].as_object().context("none")?.values().map(|it| &it["client_id"]).collect();
    assert_eq!(ids, ["new"]);
    Ok(())
}

#[test]
fn a_server_that_sends_the_browser_to_anothers_log_in_gets_no_code_from_there() -> Result<()> {
    // It sends no `iss`, and compares redirect URIs but for the port (RFC 8252 §7.3).
    let registered: Arc<Mutex<Vec<String>>> = Arc::default();
    let known = registered.clone();
    let bare = |uri: &str| uri.parse().map(|url: url::Url| url.path().to_owned()).unwrap_or_default();
    let compare: Twist = Arc::new(move |request, _| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match request.path() {
            "/register" => known.push(bare(request.json()["redirect_uris"][0].as_str()?)),
            "/authorize" if !known.contains(&bare(&request.param("redirect_uri")?)) => return Some(Reply::status(400)),
            _ => {}
        }
        None
    });
    let honest = World::new(None, Some(all(vec![compare, without_iss()])))?;
    assert_eq!(honest.run(CALL)?.code, Some(0));
    assert_eq!(honest.run(&["login"])?.code, Some(0));
    assert_eq!(registered.lock().unwrap_or_else(PoisonError::into_inner).len(), 1, "it is the same each time");

    // Another MCP server's authorization server gives us the same client_id as the honest one.
    let theirs = format!("{}/authorize", honest.authorization.url);
    let mix_up =
        metadata(json!({ "authorization_endpoint": theirs, "authorization_response_iss_parameter_supported": false }));
    let hostile = World::new(None, Some(mix_up))?;
    let outcome = hostile.run(&["--login-timeout", "2", "call", "echo", "message=hi"])?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("did not come back in time"), "{outcome:?}");
    assert_eq!(hostile.authorization.hits("/token"), 0, "the code went to the wrong server");
    assert_eq!(honest.authorization.hits("/authorize"), 3);
    Ok(())
}

#[test]
fn where_the_redirect_uri_is_the_same_for_all_servers_only_iss_or_the_person_tells_them_apart() -> Result<()> {
    let described = metadata(json!({ "client_id_metadata_document_supported": true }));
    let at_url = &["--client-metadata", "https://client.example/metadata.json"][..];
    let chosen = &["--redirect-uri", "http://localhost:0/other"][..];
    let silent = || {
        let change = json!({
            "client_id_metadata_document_supported": true, "authorization_response_iss_parameter_supported": false,
        });
        all(vec![metadata(change), without_iss()])
    };
    for args in [at_url, chosen] {
        let world = World::new(None, Some(described.clone()))?;
        assert_eq!(world.run(&[args, CALL].concat())?.code, Some(0), "with iss");
        let world = World::new(None, Some(silent()))?;
        let outcome = world.run(&[args, CALL].concat())?;
        assert!(outcome.code == Some(4) && outcome.stderr.contains("name it with --issuer"), "{outcome:?}");
        assert_eq!(world.authorization.hits("/token"), 0);
        let issuer = world.authorization.url.clone();
        let outcome = world.run(&[args, &["--issuer", &issuer, "trace", "echo", "message=hi"]].concat())?;
        assert!(outcome.code == Some(0) && outcome.stdout.contains("you named this server"), "{outcome:?}");
    }
    Ok(())
}

#[test]
fn the_trace_names_only_what_was_compared() -> Result<()> {
    const WITH: &str = "`iss` is the server that was asked";
    let trace = &["trace", "echo", "message=hi"];
    let outcome = World::new(None, None)?.run(trace)?;
    assert!(outcome.code == Some(0) && outcome.stdout.contains(WITH), "{outcome:?}");
    let outcome = World::new(None, Some(without_iss()))?.run(trace)?;
    assert!(outcome.code == Some(0) && !outcome.stdout.contains(WITH), "{outcome:?}");
    assert!(outcome.stdout.contains("there is no `iss`"), "{outcome:?}");
    // Without a challenge, nothing says where to learn more, and no place is tried after the last one.
    let bare: Twist = Arc::new(|request, _| match request.path() {
        "/mcp" if request.header("authorization").is_none() => Some(unauthorized("Bearer".into())),
        PRM => Some(Reply::status(404)),
        _ => None,
    });
    let outcome = World::new(Some(bare), None)?.run(trace)?;
    assert!(outcome.code == Some(4) && outcome.stdout.contains("It does not say where to learn more"), "{outcome:?}");
    assert_eq!(outcome.stdout.matches("Not here").count(), 4, "{outcome:?}");
    assert_eq!(outcome.stdout.matches("There are other places to look").count(), 2, "{outcome:?}");
    Ok(())
}

#[test]
fn each_parameter_is_sent_once_and_the_rest_of_an_endpoints_query_stays() -> Result<()> {
    let twist: Twist = Arc::new(|request, urls| {
        let mut document = asm(urls);
        for (endpoint, path) in [("authorization_endpoint", "authorize"), ("token_endpoint", "token")] {
            let query = "tenant=a%20b&resource=https://x.example&%63lient_id=other&state=x&redirect_uri=y&code=z";
            document[endpoint] = json!(format!("{}/{path}?{query}", urls.authorization));
        }
        (request.path() == ASM).then(|| Reply::json(200, &document))
    });
    let world = World::new(None, Some(twist))?;
    let outcome = world.run(CALL)?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let seen = world.authorization.seen();
    for path in ["/authorize", "/token"] {
        let request = seen.iter().find(|request| request.path() == path).context("not asked")?;
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        assert!(query.starts_with("tenant=a%20b"), "{request:?}");
        let sent: Vec<(String, String)> = [query, &request.body]
            .into_iter()
            .flat_map(|text| url::form_urlencoded::parse(text.as_bytes()).into_owned())
            .collect();
        let values = |name: &str| -> Vec<&str> {
            sent.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(values("resource"), [format!("{}/mcp", world.mcp.url)], "{request:?}");
        assert_eq!(values("client_id"), ["client"], "{request:?}");
        assert_eq!(values("redirect_uri").len(), 1, "{request:?}");
    }
    Ok(())
}

#[test]
fn the_issuer_of_an_old_server_may_end_in_a_slash_as_nobody_named_it() -> Result<()> {
    // As in 2025-03-26: no RFC 9728, and metadata at the origin. The endpoints are elsewhere, for the test's sake.
    let twist = |slash: &'static str| -> Twist {
        Arc::new(move |request, urls| {
            let mut document = asm(urls);
            document["issuer"] = json!(format!("{}{slash}", urls.mcp));
            document["authorization_response_iss_parameter_supported"] = json!(false);
            match request.path() {
                ASM => Some(Reply::json(200, &document)),
                "/mcp" if request.header("authorization").is_none() => Some(unauthorized("Bearer".into())),
                PRM => Some(Reply::status(404)),
                _ => None,
            }
        })
    };
    let silent = || -> Twist {
        Arc::new(|request, urls| {
            let pairs = answer(request, urls).into_iter().filter(|(name, _)| *name != "iss").collect();
            (request.path() == "/authorize").then(|| come_back(request, &pairs))
        })
    };
    for (slash, code) in [("", 0), ("/", 0), ("//", 4), ("/x", 4), ("?", 4)] {
        let world = World::new(Some(twist(slash)), Some(silent()))?;
        let outcome = world.run(CALL)?;
        assert_eq!(outcome.code, Some(code), "{slash} {outcome:?}");
        if code == 0 {
            assert_eq!(stored_grant(&world)?["issuer"], format!("{}{slash}", world.mcp.url));
        } else {
            assert!(outcome.stderr.contains("another issuer"), "{outcome:?}");
        }
    }
    // The issuer that the person names is compared exactly.
    let world = World::new(Some(twist("/")), Some(silent()))?;
    let outcome = world.run(&[&["--issuer", &world.mcp.url][..], CALL].concat())?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("not the one of --issuer"), "{outcome:?}");
    assert_eq!(world.authorization.seen().len(), 0);
    let outcome = world.run(&[&["--issuer", &format!("{}/", world.mcp.url)][..], CALL].concat())?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    Ok(())
}
