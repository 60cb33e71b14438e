//! People at the authorization server: who is kept out and who is not, and what the log says about it.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{Browser, CALLBACK, PASSWORD, VERIFIER, parameters, redemption, start},
    command,
    instead::Instead,
};
use serde_json::json;
use tokio::task::JoinSet;

/// Logs alice in, and forgets the session. This leaves a browser that she has used.
async fn use_once(browser: &Browser<'_>, path: &str) -> Result<()> {
    let reply = browser.log_in(path, "alice", PASSWORD).await?;
    ensure!(reply.status == 303, "{reply:?}");
    let device = reply.headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
    let device = device.filter(|cookie| cookie.starts_with("mcp_device_")).collect::<Vec<_>>();
    let [device] = device[..] else { anyhow::bail!("{device:?}") };
    ensure!(device.contains("; HttpOnly") && device.contains("; SameSite=Lax"), "{device}");
    let mut cookies = browser.cookies.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
    cookies.retain(|name, _| !name.starts_with("mcp_session_"));
    Ok(())
}

#[tokio::test]
async fn strangers_do_not_lock_alice_out_of_a_browser_that_she_has_used() -> Result<()> {
    let server = start("step9")?;
    let known = Browser::new(&server)?;
    let client = known.register(&["http://localhost/callback"]).await?;
    let path = known.request(&client, &[]);
    use_once(&known, &path).await?;
    let mut tries = 0;
    // On a busy computer the wait may be over when she comes, and her log-in starts the count anew.
    let reply = loop {
        let unknown = Browser::new(&server)?;
        while unknown.log_in(&path, "alice", "wrong").await?.status != 429 {
            tries += 1;
            ensure!(tries < 50, "strangers may guess without end");
        }
        let reply = unknown.log_in(&path, "alice", PASSWORD).await?;
        if reply.status == 429 {
            break reply;
        }
        ensure!(tries < 40, "all browsers in which she never logged in count together: {reply:?}");
    };
    assert!(!reply.header("retry-after").is_empty());
    assert_eq!(known.log_in(&path, "alice", PASSWORD).await?.status, 303);
    use_once(&known, &path).await.unwrap_err(); // she is logged in

    // The known browser is limited as well, and is known for her alone.
    let cookies = known.cookies.lock().unwrap().clone();
    let device: BTreeMap<_, _> = cookies.into_iter().filter(|(name, _)| name.starts_with("mcp_device_")).collect();
    *known.cookies.lock().unwrap() = device;
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(known.log_in(&path, "alice", "wrong").await?.status.as_u16());
    }
    assert_eq!(seen[..5], [401; 5]);
    assert!(seen[5..].contains(&429), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn names_that_are_made_up_neither_reset_a_counter_nor_keep_a_known_browser_out() -> Result<()> {
    let server = start("step9")?;
    let known = Browser::new(&server)?;
    let client = known.register(&["http://localhost/callback"]).await?;
    let path = known.request(&client, &[]);
    use_once(&known, &path).await?;
    let login = known.open(&path).await?;

    // The form's token belongs to the browser's cookie, so the flood sends that one.
    let cookies = known.cookies.lock().unwrap().clone();
    let cookie = cookies.iter().find(|(name, _)| name.starts_with("mcp_login_")).context("no cookie")?;
    let cookie = format!("{}={}", cookie.0, cookie.1);
    let attempt = |name: &str| {
        let form = [("username", name), ("password", "wrong"), ("csrf", &login.csrf)];
        known.post(&login.action, &form).header("Cookie", &cookie)
    };
    for _ in 0..12 {
        Reply::of(attempt("alice")).await?;
    }
    let refused = Arc::new(AtomicUsize::new(0));
    let mut flood = JoinSet::new();
    for task in 0..40 {
        let requests: Vec<_> = (0..1000).map(|number| attempt(&format!("nobody {task} {number}"))).collect();
        let refused = Arc::clone(&refused);
        flood.spawn(async move {
            for request in requests {
                let reply = Reply::of(request).await;
                refused.fetch_add(usize::from(reply.is_ok_and(|reply| reply.status == 429)), Ordering::SeqCst);
            }
        });
    }
    while refused.load(Ordering::SeqCst) < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await; // until the queue is full
    }
    let mut tries = Vec::new();
    for _ in 0..4 {
        let form = [("username", "alice"), ("password", PASSWORD), ("csrf", login.csrf.as_str())];
        tries.push(known.send(known.post(&login.action, &form)).await?.status.as_u16());
        if tries.contains(&303) {
            break;
        }
    }
    assert!(tries.contains(&303) && !flood.is_empty(), "{tries:?}");
    flood.shutdown().await;
    // Five guesses were free. After that, each makes her wait, however many other names were tried in between.
    let again = [Reply::of(attempt("alice")).await?.status, Reply::of(attempt("alice")).await?.status];
    assert!(again.iter().any(|status| *status == 429), "{again:?}");
    Ok(())
}

fn run(program: &mut Command, input: &str) -> Result<Output> {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

#[tokio::test]
async fn a_password_that_comes_too_late_is_said_with_the_command_that_changes_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("auth.db");
    let start = |password| {
        let args = ["--auth-database", text(&database)?];
        Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", password)])
    };
    let said = "MCP_DEV_PASSWORD has no effect: the users are there already";
    let first = start(PASSWORD)?;
    assert!(!first.stderr()?.contains(said), "{}", first.stderr()?);
    drop(first);
    let second = start("another password")?;
    let hint = format!(
        "To change one: cargo run -p auth-server -- --auth-database '{}' user passwd alice\n",
        text(&database)?
    );
    assert!(second.stderr()?.contains(said) && second.stderr()?.contains(&hint), "{}", second.stderr()?);

    // If cargo did not start the server, the hint names the program. The printed command works.
    let args = ["--auth-database", text(&database)?];
    let third = Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", PASSWORD), ("CARGO_MANIFEST_DIR", "")])?;
    let log = third.stderr()?;
    let (_, hint) = log.split_once("To change one: ").with_context(|| log.clone())?;
    let hint = hint.lines().next().context("no command")?;
    assert!(hint.contains("/auth-server --auth-database ") && hint.ends_with(" user passwd alice"), "{hint}");
    let changed = run(Command::new("sh").args(["-c", hint]), "a new password\n")?;
    assert!(changed.status.success(), "{changed:?}");
    let browser = Browser::new(&second)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    assert_eq!(browser.log_in(&browser.request(&client, &[]), "alice", "a new password").await?.status, 303);
    Ok(())
}

/// Each line of the log about an event, by the event's name.
fn events(log: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in log.lines() {
        if let Some(event) = line.split_once("event=\"").and_then(|(_, rest)| rest.split('"').next()) {
            events.entry(event).or_default().push(line);
        }
    }
    events
}

#[allow(clippy::too_many_lines)] // one log, with everything in it
#[tokio::test]
async fn each_security_event_is_one_line_of_the_log_without_a_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("auth.db");
    let args = ["--auth-database", text(&database)?];
    let server = Server::start_in_env("step9", &args, &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let path = browser.request(&client, &[]);
    // Texts that must not be in any line. People type their password into the field for the name.
    let typed = "my password\u{1b}[31m\r\nevent=\"log_in\" \u{202e}";
    let mut secrets = vec![PASSWORD.to_owned(), "a guess of mine".to_owned(), "my password".to_owned()];

    for (name, password) in [("alice", "a guess of mine"), (typed, "a guess of mine"), ("alice", PASSWORD)] {
        browser.log_in(&path, name, password).await?;
    }
    let decide = async |decision: &str| {
        let consent = browser.open(&path).await?;
        let form = [("csrf", consent.csrf.as_str()), ("decision", decision), ("scope", "mcp:read")];
        let reply = browser.send(browser.post(&consent.action, &form)).await?;
        anyhow::Ok((consent.csrf, parameters(reply.header("location"))?))
    };
    let (csrf, _) = decide("deny").await?;
    let (_, answer) = decide("allow").await?;
    let foreign = browser.send(browser.post(&path, &[("csrf", "x"), ("decision", "allow")])).await?;
    assert_eq!(foreign.status, 403);
    let code = answer["code"].as_str();
    let redemption = redemption(&client, code);
    let granted = browser.token(&redemption).await?.json();
    let refresh = async |token: &str| {
        browser.token(&[("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", token)]).await
    };
    let first = granted["refresh_token"].as_str().with_context(|| granted.to_string())?;
    let refreshed = refresh(first).await?.json();
    assert_eq!(refresh(first).await?.status, 400);
    assert_eq!(browser.token(&redemption).await?.status, 400);
    let (_, answer) = decide("allow").await?;
    let again = [&redemption[..2], &[("code", answer["code"].as_str())], &redemption[3..]].concat();
    let last = browser.token(&again).await?.json();
    let revoked = last["refresh_token"].as_str().context("no refresh token")?;
    // Another client ends nothing, and no line says that it did.
    let another = browser.register(&["http://localhost/callback"]).await?;
    let foreign = [("client_id", another.as_str()), ("token", revoked)];
    assert_eq!(Reply::of(browser.post("/revoke", &foreign)).await?.status, 200);
    let revocation = [("client_id", client.as_str()), ("token", revoked)];
    assert_eq!(Reply::of(browser.post("/revoke", &revocation)).await?.status, 200);
    let imposter = browser.post("/token", &redemption).basic_auth(&client, Some("a wrong secret"));
    let imposter = Reply::of(imposter).await?;
    assert_eq!(imposter.status, 401);
    // Requests that are refused or throttled before it is known who sends them.
    let nobody = [("client_id", typed), ("grant_type", "refresh_token"), ("refresh_token", "the token of a stranger")];
    assert_eq!(browser.token(&nobody).await?.status, 401);
    assert_eq!(browser.token(&nobody[1..]).await?.status, 401);
    let theirs = [("client_id", client.as_str()), nobody[1], nobody[2]];
    assert_eq!(browser.token(&theirs).await?.status, 400);
    let (_, answer_of_another) = decide("allow").await?;
    let mut stolen = redemption;
    stolen[2].1 = answer_of_another["code"].as_str();
    stolen[4].1 = "the-verifier-of-a-stranger-who-has-only-the-code";
    assert_eq!(browser.token(&stolen).await?.status, 400);
    for path in [browser.request(typed, &[]), browser.request(&client, &[("redirect_uri", "https://evil.example/")])] {
        assert_eq!(browser.send(browser.get(&path)).await?.status, 400);
    }
    assert_eq!(browser.register_as(&json!({ "client_name": typed })).await?.status, 400);
    let enough = json!({ "redirect_uris": [CALLBACK], "client_name": "one of many" });
    let mut registered = 2;
    while browser.register_as(&enough).await?.status == 201 {
        registered += 1;
    }
    let stranger = Browser::new(&server)?;
    let mut guesses = 0;
    while stranger.log_in(&path, "bob", "a guess of mine").await?.status == 401 {
        guesses += 1; // five; more if a second passes after them
        ensure!(guesses < 20, "strangers may guess without end");
    }
    let passwd = ["--auth-database", text(&database)?, "user", "passwd", "alice"];
    let Instead { package, args, env } = Instead::of("auth-server", &passwd, folder.path())?;
    let changed = run(command(package)?.args(args).envs(env), "a new password\n")?;
    assert!(changed.status.success(), "{changed:?}");

    for reply in [&granted, &refreshed, &last] {
        for token in ["access_token", "refresh_token"] {
            secrets.push(reply[token].as_str().context("no token")?.to_owned());
        }
    }
    secrets.extend([code, &answer["code"], &csrf, VERIFIER, "a wrong secret", "a new password"].map(str::to_owned));
    secrets.extend([stolen[2].1, stolen[4].1, "the token of a stranger"].map(str::to_owned));
    secrets.extend(browser.cookies.lock().unwrap().values().cloned());
    let log = format!("{}{}", server.stderr()?, String::from_utf8(changed.stderr)?);
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "{secret:?} is in the log");
    }
    let control = log.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
    assert_eq!(control, None);

    let events = events(&log);
    let (known, alice) = (format!("client=\"{client}\""), "user=\"user_alice\"");
    for (event, times, level, says) in [
        ("client_registered", registered, "INFO", vec![]),
        ("registration_refused", 1, "WARN", vec!["error=\"invalid_redirect_uri\"", "why="]),
        ("registration_throttled", 1, "WARN", vec!["why="]),
        ("authorization_refused", 2, "WARN", vec!["why="]),
        ("code_refused", 1, "WARN", vec![&known, alice, "why=\"code_verifier"]),
        ("refresh_refused", 1, "WARN", vec![&known]),
        ("log_in_failed", guesses + 2, "WARN", vec![&known]),
        ("log_in_throttled", 1, "WARN", vec![&known, "user=\"user_bob\""]),
        ("log_in", 1, "INFO", vec![&known, alice]),
        ("consent_refused", 1, "INFO", vec![&known, alice]),
        ("consent", 3, "INFO", vec![&known, alice, "scope=\"mcp:read\""]),
        ("foreign_form", 1, "WARN", vec![&known]),
        ("token_issued", 3, "INFO", vec![&known, alice, "scope=mcp:read"]),
        ("refresh_token_reused", 1, "WARN", vec![&known, alice]),
        ("code_replayed", 1, "WARN", vec![&known, alice]),
        ("revoked", 1, "INFO", vec![&known]),
        ("client_refused", 3, "WARN", vec!["why="]),
        ("password_changed", 1, "INFO", vec![alice]),
    ] {
        let lines = events.get(event).map_or(&[][..], Vec::as_slice);
        assert_eq!(lines.len(), times, "{event}: {lines:#?}\n{log}");
        for line in lines {
            let requests = event != "password_changed"; // that one is a command
            let by = ["correlation_id=", "peer=127.0.0.1"].iter().filter(|_| requests);
            for part in says.iter().chain(by).chain([&level]) {
                assert!(line.contains(part), "{event}: {part} is missing in {line}");
            }
        }
    }
    assert_eq!(events["client_registered"].iter().filter(|line| line.contains(&known)).count(), 1);
    let failed = &events["log_in_failed"];
    assert_eq!(failed.iter().filter(|line| line.contains(alice)).count(), 1, "{failed:#?}");
    assert_eq!(failed.iter().filter(|line| line.contains("user=\"user_bob\"")).count(), guesses, "{failed:#?}");
    let id = imposter.header("x-correlation-id");
    assert!(
        !id.is_empty() && events["client_refused"].iter().any(|line| line.contains(id) && line.contains(&known)),
        "the client can name the line: {id:?}"
    );
    Ok(())
}

/// Cookies are for a host, whatever the port (RFC 6265 §8.5), and a browser may be several people's.
#[tokio::test]
async fn two_servers_on_one_host_and_two_people_at_one_browser_keep_their_cookies() -> Result<()> {
    let (ours, other) = (start("step9")?, start("step9")?);
    let (here, there) = (Browser::new(&ours)?, Browser::new(&other)?);
    let mut paths = Vec::new();
    for browser in [&here, &there] {
        paths.push(browser.request(&browser.register(&["http://localhost/callback"]).await?, &[]));
    }
    let moved = |from: &Browser<'_>, to: &Browser<'_>| {
        let cookies = from.cookies.lock().unwrap().clone();
        *to.cookies.lock().unwrap() = cookies;
    };
    assert_eq!(here.log_in(&paths[0], "alice", PASSWORD).await?.status, 303);
    moved(&here, &there);
    assert_eq!(there.log_in(&paths[1], "alice", PASSWORD).await?.status, 303);
    moved(&there, &here);
    let page = here.open(&paths[0]).await?;
    assert!(page.reply.text.contains("name=\"decision\""), "she is still logged in: {page:?}");

    here.cookies.lock().unwrap().retain(|name, _| !name.starts_with("mcp_session_"));
    assert_eq!(here.log_in(&paths[0], "bob", PASSWORD).await?.status, 303);
    let cookies = here.cookies.lock().unwrap().clone();
    let devices = cookies.keys().filter(|name| name.starts_with("mcp_device_"));
    assert_eq!(devices.count(), 3, "hers at each server, and his: {cookies:?}");
    Ok(())
}
