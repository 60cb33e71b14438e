//! Step 11's tokens: renewed once, kept for their owner, shown to nobody else; and the grants that need no person.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use integration_tests::{
    client::{Outcome, follow},
    mock::{Mock, Reply, Request},
    world::{
        ASM, CALL, PRM, Twist, Urls, World, asm, challenge, expire, honest_authorization, logged_in, prm, stored_grant,
        tokens, unauthorized,
    },
};
use serde_json::{Value, json};

#[test]
fn processes_that_refresh_at_once_use_the_refresh_token_once() -> Result<()> {
    // A server that treats the second use of a refresh token as a theft, as it should (OAuth 2.1 §4.3.1).
    let used: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, stolen) = (used.clone(), Arc::new(AtomicUsize::new(0)));
    let thefts = stolen.clone();
    let rotation: Twist = Arc::new(move |request, _| {
        let refresh = request.param("refresh_token").filter(|_| request.path() == "/token")?;
        thread::sleep(std::time::Duration::from_millis(300)); // long enough for all to want the same
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&refresh) {
            thefts.fetch_add(1, Ordering::SeqCst);
            return Some(Reply::json(400, &json!({ "error": "invalid_grant" })));
        }
        seen.push(refresh);
        Some(Reply::json(200, &tokens(100 + seen.len())))
    });
    let world = logged_in(None, Some(rotation))?;
    expire(&world)?;
    let children: Vec<_> = (0..6).map(|_| Ok(world.client.command(CALL)?.spawn()?)).collect::<Result<_>>()?;
    for child in children {
        let outcome = world.client.wait(child, follow)?;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    }
    assert_eq!(used.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    assert_eq!(stolen.load(Ordering::SeqCst), 0);
    assert_eq!(world.authorization.hits("/authorize"), 1);
    Ok(())
}

#[test]
fn a_refresh_token_is_kept_when_none_is_returned() -> Result<()> {
    let once: Twist = Arc::new(|request, _| {
        request.param("refresh_token").filter(|_| request.path() == "/token")?;
        Some(Reply::json(
            200,
            &json!({ "access_token": "s3cr3t-access-new", "token_type": "bearer", "expires_in": 60 }),
        ))
    });
    let world = logged_in(None, Some(once))?;
    let before = stored_grant(&world)?;
    expire(&world)?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    let after = stored_grant(&world)?;
    assert_eq!(after["access_token"], "s3cr3t-access-new");
    assert_eq!(after["refresh_token"], before["refresh_token"]);
    assert_eq!(after["scope"], before["scope"]);
    Ok(())
}

#[test]
fn a_refresh_that_fails_loses_nothing_and_one_that_is_refused_leads_to_the_log_in() -> Result<()> {
    for (reply, code, log_ins) in [
        (Reply::status(503), 3, 1),
        (Reply::Http { status: 200, headers: vec![], body: "<html>".into() }, 4, 1),
        (Reply::json(429, &json!({ "error": "slow_down" })), 4, 1),
        (Reply::json(400, &json!({ "error": "temporarily_unavailable" })), 4, 1),
        (Reply::json(200, &json!({ "error": "bad_refresh_token" })), 4, 1),
        (Reply::json(201, &tokens(7)), 0, 1),
        (Reply::status(404), 0, 2),
        (Reply::json(400, &json!({ "error": "invalid_grant" })), 0, 2),
        (Reply::json(401, &json!({ "error": "invalid_client" })), 0, 2),
    ] {
        let answer = reply.clone();
        let twist: Twist = Arc::new(move |request, _| {
            request.param("refresh_token").filter(|_| request.path() == "/token").map(|_| answer.clone())
        });
        let world = logged_in(None, Some(twist))?;
        let before = stored_grant(&world)?;
        expire(&world)?;
        let outcome = world.run(CALL)?;
        assert_eq!(outcome.code, Some(code), "{reply:?} {outcome:?}");
        assert_eq!(world.authorization.hits("/authorize"), log_ins, "{reply:?} {outcome:?}");
        if log_ins == 1 && code != 0 {
            assert!(outcome.stderr.contains("step11 login"), "{outcome:?}");
            assert_eq!(stored_grant(&world)?["refresh_token"], before["refresh_token"], "{reply:?}");
        }
        let refreshes =
            world.authorization.seen().iter().filter(|request| request.param("refresh_token").is_some()).count();
        assert_eq!(refreshes, 1, "{reply:?}");
    }
    Ok(())
}

#[test]
fn an_empty_refresh_token_is_none() -> Result<()> {
    let twist: Twist = Arc::new(|request, _| {
        let mut response = tokens(0);
        response["refresh_token"] = json!("");
        (request.path() == "/token").then(|| Reply::json(200, &response))
    });
    let world = logged_in(None, Some(twist))?;
    assert_eq!(stored_grant(&world)?["refresh_token"], Value::Null);
    expire(&world)?;
    // The server may still accept the token.
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    // A token that an earlier version stored.
    let path = world.client.stored()?;
    let mut stored: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    stored["grant"]["refresh_token"] = json!("");
    std::fs::write(&path, stored.to_string())?;
    let outcome = world.run(&["status"])?;
    assert!(!outcome.stdout.contains("can be renewed"), "{outcome:?}");
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!((world.authorization.hits("/token"), world.authorization.hits("/authorize")), (1, 1));
    Ok(())
}

#[test]
fn a_token_that_is_at_hand_is_used_as_it_is_and_nothing_is_kept() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const TOKEN: &str = "s3cr3t-access-at-hand";
    let world = World::new(None, None)?;
    let (file, path) = secret_file(&format!("{TOKEN}\n"))?;
    let with = |args: &[&str], token: &str| -> Result<Outcome> {
        let mut command = world.client.command(args)?;
        world.client.wait(command.env("MCP_TOKEN", token).spawn()?, |url| panic!("a log-in: {url}"))
    };
    let by_file = [&["--token-file", &path][..], CALL].concat();
    // The file counts where there are both, as for the client's secret.
    for (args, token) in
        [(&by_file[..], ""), (CALL, TOKEN), (&by_file, "s3cr3t-other"), (&["trace", "echo", "message=hi"], TOKEN)]
    {
        let outcome = with(args, token)?;
        assert!(outcome.code == Some(0) && outcome.stdout.ends_with("hi\n"), "{outcome:?}");
        assert!(!outcome.visible().contains("s3cr3t") && outcome.opened.is_empty(), "{outcome:?}");
    }
    let authorized = |request: &Request| request.header("authorization") == Some(&format!("Bearer {TOKEN}"));
    assert!(world.mcp.seen().iter().all(authorized), "{:?}", world.mcp.seen());
    assert!(!world.client.credentials().exists() && world.authorization.seen().is_empty());

    // Refused, in the server's words.
    let refuse: Twist = Arc::new(|request, urls| {
        let error = json!({ "code": 401, "message": "It has expired.", "data": { "error": "invalid_token" } });
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
        let reply = Reply::json(401, &body).with("WWW-Authenticate", &challenge(urls, ""));
        (request.path() == "/mcp").then_some(reply)
    });
    let narrow: Twist = Arc::new(|request, urls| {
        let value = challenge(urls, ", error=\"insufficient_scope\", scope=\"admin\", error_description=\"More.\"");
        (request.json()["method"] == "tools/call").then(|| Reply::status(403).with("WWW-Authenticate", &value))
    });
    for (twist, says) in [
        (refuse, "the MCP server refuses the token: invalid_token, It has expired."),
        (narrow, "the token is not enough: insufficient_scope, More; it wants the scopes: admin"),
    ] {
        let world = World::new(Some(twist), None)?;
        let outcome = world.client.run(&by_file, |url| panic!("a log-in: {url}"))?;
        assert!(outcome.code == Some(4) && outcome.stderr.contains(says), "{outcome:?}");
        assert!(outcome.stderr.contains("--token-file or MCP_TOKEN"), "{outcome:?}");
        assert!(!outcome.visible().contains("s3cr3t"), "{outcome:?}");
        assert!(world.authorization.seen().is_empty() && world.mcp.hits(PRM) == 0);
    }

    // Options that make no sense, and files that others may read.
    let seen = world.mcp.seen().len();
    for (args, token, code, says) in [
        (&["login"][..], TOKEN, 2, "leave one out"),
        (&[&["--dpop"][..], CALL].concat(), TOKEN, 2, "--dpop"),
        (CALL, "s3cr3t two", 1, "MCP_TOKEN does not hold an access token"),
        (&[&["--token-file", "/nowhere/token"][..], CALL].concat(), "", 1, "cannot use /nowhere/token"),
        (&[&["--token-file", "/"][..], CALL].concat(), "", 1, "it is a folder"),
    ] {
        let outcome = with(args, token)?;
        assert!(outcome.code == Some(code) && outcome.stderr.contains(says), "{args:?} {outcome:?}");
        assert!(!outcome.visible().contains("s3cr3t"), "{outcome:?}");
    }
    for mode in [0o640, 0o604, 0o620, 0o660] {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode))?;
        let outcome = with(&by_file, "")?;
        let says = format!("others may read or change it (mode {mode:o})");
        assert!(outcome.code == Some(1) && outcome.stderr.contains(&says), "{outcome:?}");
    }
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600))?;
    for text in [String::new(), "s3cr3t two".into(), "s3cr3t\r\nX: y".into(), "x".repeat(70_000)] {
        std::fs::write(file.path(), &text)?;
        let outcome = with(&by_file, "")?;
        assert!(outcome.code == Some(1) && !outcome.visible().contains("s3cr3t"), "{outcome:?}");
    }
    assert_eq!(world.mcp.seen().len(), seen);
    Ok(())
}

#[test]
fn a_token_with_a_short_life_is_used_and_not_renewed_all_the_time() -> Result<()> {
    let twist: Twist = Arc::new(|request, _| {
        let mut short = tokens(request.body.len());
        short["expires_in"] = json!(5);
        (request.path() == "/token").then(|| Reply::json(200, &short))
    });
    let world = World::new(None, Some(twist))?;
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!(world.authorization.hits("/token"), 1);
    assert_eq!(world.run(CALL)?.code, Some(0));
    assert_eq!(world.authorization.hits("/token"), 2);
    Ok(())
}

#[test]
fn who_closes_the_pipe_has_seen_enough() -> Result<()> {
    let world = logged_in(None, None)?;
    let mut child = world.client.command(&["trace", "echo", "message=hi"])?.spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

#[test]
fn a_token_that_the_server_no_longer_takes_is_renewed_once() -> Result<()> {
    let twist: Twist = Arc::new(|request, urls| {
        let first = request.header("authorization")? == "Bearer s3cr3t-access-0";
        (first && request.json()["method"] == "tools/call")
            .then(|| unauthorized(challenge(urls, ", error=\"invalid_token\"")))
    });
    let world = logged_in(Some(twist), None)?;
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    assert_eq!(world.authorization.hits("/authorize"), 1);
    assert_eq!(stored_grant(&world)?["access_token"], "s3cr3t-access-1");
    Ok(())
}

#[test]
fn a_server_that_changes_its_authorization_server_gets_no_old_credentials_there() -> Result<()> {
    let second: Arc<OnceLock<String>> = Arc::default();
    let moved = second.clone();
    // The MCP server changes to another authorization server, and accepts only its tokens.
    let twist: Twist = Arc::new(move |request, urls| {
        let second = moved.get()?;
        if request.path() == PRM {
            let mut document = prm(urls);
            document["authorization_servers"] = json!([second]);
            return Some(Reply::json(200, &document));
        }
        let old = request.header("authorization").is_none_or(|value| !value.contains("second"));
        (request.path() == "/mcp" && old).then(|| unauthorized(challenge(urls, ", error=\"invalid_token\"")))
    });
    let world = logged_in(Some(twist), None)?;
    let other = Mock::start(move |request, url| {
        let urls = Urls { mcp: String::new(), authorization: url.to_owned(), evil: String::new() };
        match request.path() {
            "/register" => Reply::json(201, &json!({ "client_id": "client-of-the-second" })),
            "/token" => Reply::json(200, &json!({ "access_token": "s3cr3t-access-second", "token_type": "Bearer" })),
            _ => honest_authorization(request, &urls, &AtomicUsize::new(0)),
        }
    })?;
    second.set(other.url.clone()).map_err(|_| anyhow::anyhow!("set twice"))?;
    let outcome = world.run(CALL)?;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hi\n"), "{outcome:?}");
    let seen = other.seen();
    assert!(seen.iter().any(|request| request.path() == "/register"), "{seen:?}");
    for request in seen {
        let known = ["refresh_token", "client_id"].map(|name| request.param(name).unwrap_or_default());
        assert!(known[0].is_empty() && known[1] != "client", "{request:?}");
    }
    assert_eq!(stored_grant(&world)?["issuer"], other.url);
    Ok(())
}

#[test]
fn what_is_kept_is_for_the_owner_and_one_server_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let world = logged_in(None, None)?;
    let path = world.client.stored()?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(world.client.credentials())?.permissions().mode() & 0o777, 0o700);
    let outcome = world.run(&["status"])?;
    assert!(outcome.code == Some(0) && outcome.stdout.contains("can be renewed"), "{outcome:?}");
    assert!(!outcome.visible().contains("s3cr3t"), "{outcome:?}");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("others may read"), "{outcome:?}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;

    let whole = std::fs::read_to_string(&path)?;
    std::fs::write(&path, &whole[..whole.len() / 2])?;
    let outcome = world.run(CALL)?;
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("damaged") && !outcome.visible().contains("s3cr3t"),
        "{outcome:?}"
    );
    std::fs::write(&path, whole.replace("/mcp\"", "/other\""))?;
    let outcome = world.run(CALL)?;
    assert!(outcome.code == Some(1) && outcome.stderr.contains("another server"), "{outcome:?}");
    std::fs::write(&path, whole)?;

    let outcome = world.run(&["logout"])?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let revoked =
        world.authorization.seen().into_iter().find(|request| request.path() == "/revoke").context("not revoked")?;
    assert_eq!(revoked.param("token").as_deref(), Some("s3cr3t-refresh-0"));
    assert!(world.client.stored().is_err());
    assert_eq!(world.run(&["status"])?.code, Some(4));
    Ok(())
}

#[test]
fn a_secret_is_shown_to_the_issuer_that_it_is_for_and_to_no_other() -> Result<()> {
    let world = World::new(None, None)?;
    let with = |issuer: &str| -> Result<Outcome> {
        let args = ["--grant", "client-credentials", "--client-id", "machine", "--issuer", issuer, "tools"];
        let mut command = world.client.command(&args)?;
        command.env("MCP_CLIENT_SECRET", "s3cr3t-of-the-machine");
        world.client.wait(command.spawn()?, follow)
    };
    let outcome = with(&world.evil.url)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("not the one of --issuer"), "{outcome:?}");
    assert_eq!(world.authorization.hits("/token"), 0);
    // This server knows no way to take a secret.
    let outcome = with(&world.authorization.url)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("does not take"), "{outcome:?}");
    assert!(world.evil.seen().is_empty());
    Ok(())
}

/// The authorization server's metadata with these members more.
fn offers(more: Value) -> impl Fn(&Request, &Urls) -> Option<Reply> {
    move |request, urls| {
        let mut document = asm(urls);
        document.as_object_mut()?.extend(more.as_object()?.clone());
        (request.path() == ASM).then(|| Reply::json(200, &document))
    }
}

/// A file with something secret in it.
fn secret_file(text: &str) -> Result<(tempfile::NamedTempFile, String)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    let path = file.path().to_str().context("not UTF-8")?.to_owned();
    Ok((file, path))
}

#[test]
fn a_workloads_assertion_is_shown_once_and_a_refusal_is_final() -> Result<()> {
    let twist: Twist = Arc::new(|request, _| {
        let refused = request.path() == "/token" && request.param("assertion").as_deref() != Some("s3cr3t-workload");
        refused.then(|| Reply::json(400, &json!({ "error": "invalid_grant", "error_description": "no" })))
    });
    for (assertion, code) in [("s3cr3t-workload\n", 0), ("s3cr3t-expired", 4)] {
        let world = World::new(None, Some(twist.clone()))?;
        let (_file, path) = secret_file(assertion)?;
        let args = ["--grant", "jwt-bearer", "--assertion-file", &path, "--issuer", &world.authorization.url];
        let outcome = world.run(&[&args[..], CALL].concat())?;
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(!outcome.visible().contains("s3cr3t"), "{outcome:?}");
        let asked =
            world.authorization.seen().into_iter().filter(|request| request.path() == "/token").collect::<Vec<_>>();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(asked[0].param("grant_type").as_deref(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
        assert_eq!(asked[0].param("resource"), Some(format!("{}/mcp", world.mcp.url)));
    }
    Ok(())
}

#[test]
fn a_company_vouches_for_a_person_and_only_an_id_jag_is_passed_on() -> Result<()> {
    for (issued, code) in
        [("urn:ietf:params:oauth:token-type:id-jag", 0), ("urn:ietf:params:oauth:token-type:access_token", 4)]
    {
        let world = World::new(
            None,
            Some(Arc::new(offers(json!({ "token_endpoint_auth_methods_supported": ["client_secret_basic"] })))),
        )?;
        let idp = Mock::start(move |_, _| {
            Reply::json(200, &json!({ "access_token": "s3cr3t-jag", "issued_token_type": issued, "token_type": "N_A" }))
        })?;
        let (_file, path) = secret_file("s3cr3t-id-token")?;
        let endpoint = format!("{}/token", idp.url);
        let mut command = world.client.command(
            &[
                &["--grant", "identity-assertion", "--id-token-file", &path, "--idp-token-endpoint", &endpoint][..],
                &["--idp-client-id", "at-the-idp", "--client-id", "us", "--issuer", &world.authorization.url],
                CALL,
            ]
            .concat(),
        )?;
        let child = command.env("MCP_CLIENT_SECRET", "s3cr3t-of-ours").spawn()?;
        let outcome = world.client.wait(child, follow)?;
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        let exchange = idp.seen().into_iter().next().context("the identity provider was not asked")?;
        for (name, value) in [
            ("subject_token", "s3cr3t-id-token"),
            ("audience", &world.authorization.url),
            ("resource", &format!("{}/mcp", world.mcp.url)),
            ("client_id", "at-the-idp"),
        ] {
            assert_eq!(exchange.param(name).as_deref(), Some(value), "{exchange:?}");
        }
        assert!(exchange.header("authorization").is_none() && !exchange.body.contains("of-ours"), "{exchange:?}");
        let redeemed: Vec<_> =
            world.authorization.seen().into_iter().filter(|request| request.path() == "/token").collect();
        assert_eq!(redeemed.len(), usize::from(code == 0), "{redeemed:?}");
        for request in redeemed {
            assert_eq!(request.param("assertion").as_deref(), Some("s3cr3t-jag"));
            assert!(request.header("authorization").is_some() && !request.body.contains("id-token"), "{request:?}");
        }
    }
    Ok(())
}

#[test]
fn a_registration_is_used_again_unless_the_redirect_uri_is_another() -> Result<()> {
    let world = logged_in(None, None)?;
    let redirects = || -> Vec<String> {
        let asked = world.authorization.seen().into_iter().filter(|request| request.path() == "/authorize");
        asked.filter_map(|request| request.param("redirect_uri")).collect()
    };
    assert_eq!(world.run(&["login"])?.code, Some(0));
    assert_eq!(world.authorization.hits("/register"), 1);
    assert_eq!(redirects()[0], redirects()[1], "with the port that was registered");
    assert_eq!(world.run(&["--redirect-uri", "http://localhost/back", "login"])?.code, Some(0));
    assert_eq!(world.authorization.hits("/register"), 2);
    assert!(redirects()[2].starts_with("http://localhost:") && redirects()[2].ends_with("/back"), "{:?}", redirects());
    Ok(())
}

#[test]
fn a_client_at_a_url_neither_registers_nor_is_forgotten() -> Result<()> {
    const DOCUMENT: &str = "https://client.example/metadata.json";
    let world = World::new(None, Some(Arc::new(offers(json!({ "client_id_metadata_document_supported": true })))))?;
    let args = [&["--client-metadata", DOCUMENT][..], CALL].concat();
    assert_eq!(world.run(&args)?.code, Some(0));
    expire(&world)?;
    assert_eq!(world.run(&args)?.code, Some(0));
    let asked: Vec<_> = world.authorization.seen().into_iter().filter(|request| request.path() == "/token").collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|request| request.param("client_id").as_deref() == Some(DOCUMENT)), "{asked:?}");
    assert_eq!((world.authorization.hits("/register"), world.authorization.hits("/authorize")), (0, 1));
    Ok(())
}

#[test]
fn a_token_bound_to_a_key_is_presented_and_renewed_with_that_key() -> Result<()> {
    let keys: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = keys.clone();
    let dpop = offers(json!({ "dpop_signing_alg_values_supported": ["ES256"] }));
    let authorization: Twist = Arc::new(move |request, urls| {
        if request.path() != "/token" {
            return dpop(request, urls);
        }
        let header = jsonwebtoken::decode_header(request.header("dpop")?).ok()?;
        let mut keys = seen.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(serde_json::to_value(header.jwk?).ok()?);
        let mut bound = tokens(keys.len());
        bound["token_type"] = json!("DPoP");
        Some(Reply::json(200, &bound))
    });
    // The honest server knows bearer tokens only.
    let mcp: Twist = Arc::new(|request, urls| {
        let (scheme, token) = request.header("authorization")?.split_once(' ')?;
        let proven = scheme == "DPoP" && request.header("dpop").is_some();
        let mut as_bearer = request.clone();
        as_bearer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        as_bearer.headers.push(("Authorization".into(), format!("Bearer {token}")));
        Some(if proven { integration_tests::world::honest_mcp(&as_bearer, urls) } else { Reply::status(401) })
    });
    let world = World::new(Some(mcp), Some(authorization))?;
    let args = [&["--dpop"][..], CALL].concat();
    let outcome = world.run(&args)?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    expire(&world)?;
    assert_eq!(world.run(&args)?.code, Some(0));
    let keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    let asked =
        world.authorization.seen().into_iter().find(|request| request.path() == "/authorize").context("no log-in")?;
    assert_eq!(asked.param("dpop_jkt").map(|thumbprint| thumbprint.len()), Some(43));

    // If a server promises this and gives a bearer token, the client refuses it.
    let world = World::new(None, Some(Arc::new(offers(json!({ "dpop_signing_alg_values_supported": ["ES256"] })))))?;
    let outcome = world.run(&args)?;
    assert!(outcome.code == Some(4) && outcome.stderr.contains("instead of DPoP"), "{outcome:?}");
    Ok(())
}
