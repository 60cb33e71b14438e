//! Step 10 and opaque tokens: the issuer is asked, but not too often.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::Engine;
use integration_tests::{
    Server,
    provider::{Answer, Provider, call, endless, health, json_of, nothing, ok, ping, raw, reason, start, until},
    signer::{AUDIENCE, Signer, claims, now, with},
};
use serde_json::{Value, json};

#[tokio::test]
async fn an_opaque_token_is_worth_what_its_issuer_says() {
    const SECRET: &str = "s3cret:with/odd characters";
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("opaque.toml"), folder.path().join("secret"));
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[introspection]\nclient_id = \"https://me\"\nclient_secret_file = \"secret\"\n";
    fs::write(&file, text).unwrap();
    let server = start(&[&mock], &["--audience", AUDIENCE, "--profile", file.to_str().unwrap()]);
    let active = || with(&claims(&mock.url), "active", json!(true));
    let says = |answer: Answer| mock.put("/introspect", answer);

    says(json_of(active()));
    for _ in 0..20 {
        assert_eq!(call(&server, "opaque-1", "whoami", json!({})).await.status, 200);
    }
    assert_eq!(mock.hits("/introspect"), 1, "the answer is remembered");
    let posted = &mock.posted()[0];
    assert_eq!(posted.body, "token=opaque-1&token_type_hint=access_token");
    let basic = base64::engine::general_purpose::STANDARD.encode("https%3A%2F%2Fme:s3cret%3Awith%2Fodd+characters");
    assert_eq!(posted.header("authorization").unwrap_or_default(), format!("Basic {basic}"), "RFC 6749 §2.3.1");
    // A JWT of the same issuer is checked with its keys, and shown to nobody.
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
    assert_eq!(mock.hits("/introspect"), 1);

    let but = |name: &str, value: Value| json_of(with(&active(), name, value));
    let said_null = |names: &[&str]| {
        let mut answer = active();
        for name in names {
            answer[*name] = Value::Null;
        }
        json_of(answer)
    };
    let rows = [
        ("no exp", but("exp", Value::Null), "200"),
        ("no iss", but("iss", Value::Null), "200"),
        ("token_type Bearer", but("token_type", json!("Bearer")), "200"),
        ("inactive", json_of(json!({ "active": false })), "401 token_inactive"),
        ("inactive, with claims", but("active", json!(false)), "401 token_inactive"),
        ("exp a text", but("exp", json!("soon")), "401 introspection_malformed"),
        (
            "a member twice",
            ok(&active().to_string().replacen('{', "{\"sub\":\"bob\",", 1)),
            "401 introspection_malformed",
        ),
        (
            "a nested member twice",
            ok(&active().to_string().replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1)),
            "401 introspection_malformed",
        ),
        ("an ID token's claims", but("at_hash", json!("aGFzaA")), "401 typ_other"),
        (
            "roles of 2,000 names",
            but("roles", Value::Object((0..2000).map(|n| (n.to_string(), json!({}))).collect())),
            "401 claim_malformed",
        ),
        ("active a text", but("active", json!("true")), "401 introspection_malformed"),
        ("active a number", but("active", json!(1)), "401 introspection_malformed"),
        ("no active", but("active", Value::Null), "401 introspection_malformed"),
        ("another issuer", but("iss", json!("https://other.example")), "401 issuer_unknown"),
        ("another audience", but("aud", json!("https://other.example")), "401 audience_other"),
        ("no audience", but("aud", Value::Null), "401 audience_missing"),
        ("expired", but("exp", json!(now() - 100)), "401 expired"),
        ("not yet valid", but("nbf", json!(now() + 100)), "401 not_yet_valid"),
        ("no sub", but("sub", Value::Null), "401 claim_malformed"),
        // A null member counts as absent.
        ("null for what is optional", said_null(&["exp", "nbf", "iss", "scope", "client_id", "cnf", "at_hash"]), "200"),
        ("aud null", said_null(&["aud"]), "401 audience_missing"),
        ("sub null", said_null(&["sub"]), "401 claim_malformed"),
        ("active null", said_null(&["active"]), "401 introspection_malformed"),
        ("token_type DPoP", but("token_type", json!("DPoP")), "401 token_bound"),
        ("bound to a key", but("cnf", json!({ "jkt": "abc" })), "401 token_bound"),
        ("empty sub", but("sub", json!("")), "401 subject_missing"),
        ("scope a number", but("scope", json!(1)), "401 claim_malformed"),
        ("a refresh token", but("token_type", json!("refresh_token")), "401 typ_other"),
        ("no JSON", ok("nonsense"), "401 introspection_malformed"),
        ("a claim of 2 KiB", but("preferred_username", json!("a".repeat(2048))), "401 claim_too_long"),
        ("a client_id of 200 KiB", but("client_id", json!("a".repeat(200_000))), "401 claim_too_long"),
        ("audiences of 200 KiB", but("aud", json!([AUDIENCE, "a".repeat(200_000)])), "401 claim_too_long"),
        ("scopes of 200 KiB", but("scope", json!("a".repeat(200_000))), "401 claim_too_long"),
        ("about to expire", but("exp", json!(now())), "200"),
        ("giant", endless(), "503 introspection_unavailable"),
        ("a redirect", raw("307 Elsewhere", "Location: http://127.0.0.1:1/\r\n", ""), "503 introspection_unavailable"),
        ("our credentials are wrong", raw("401 No", "", "{}"), "503 introspection_unavailable"),
        ("down", nothing(), "503 introspection_unavailable"),
        ("never", Answer::After(Duration::from_secs(30), Box::new(nothing())), "503 introspection_unavailable"),
    ];
    for (number, (name, answer, wanted)) in rows.into_iter().enumerate() {
        says(answer);
        let before = mock.hits("/introspect");
        let token = format!("opaque-row-{number}");
        for _ in 0..2 {
            let reply = ping(&server, &token).await;
            assert_eq!(reason(&reply).trim_end(), wanted, "{name}: {reply:?}");
            assert!(wanted == "200" || reply.header("x-correlation-id").len() == 36, "{name}: {reply:?}");
        }
        let asked = mock.hits("/introspect") - before;
        let may_be_asked_again = wanted.starts_with("503") || name == "about to expire";
        assert!(asked == 1 || may_be_asked_again && asked <= 2, "{name}: asked {asked} times");
    }
    // An issuer without keys: its tokens are opaque to us, whatever they look like.
    mock.put("/.well-known/oauth-authorization-server", json_of(with(&mock.metadata(), "jwks_uri", Value::Null)));
    let without_keys = start(&[&mock], &["--audience", AUDIENCE, "--profile", file.to_str().unwrap()]);
    for (answer, wanted) in [(active(), "200"), (json!({ "active": false }), "401 token_inactive")] {
        says(json_of(answer));
        let reply = ping(&without_keys, &key.sign(&claims(&mock.url))).await;
        assert_eq!(reason(&reply).trim_end(), wanted, "{reply:?}");
    }
    let (log, said) = (server.stderr().unwrap(), health(&server).await.to_string());
    for secret in [SECRET, "s3cret", &basic, "opaque-1", "opaque-row"] {
        assert!(!log.contains(secret) && !said.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_is_bounded_and_goes_nowhere_else() {
    let key = Signer::rsa(0, "k1");
    let (mock, elsewhere) = (Provider::good(&[&key]), Provider::good(&[&key]));
    let profile = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = "[introspection]\nclient_id = \"me\"\nclient_secret_env = \"TEST_SECRET\"\n";
    fs::write(profile.path(), text).unwrap();
    let args = ["--audience", AUDIENCE, "--issuer", &mock.url, "--profile", profile.path().to_str().unwrap()];
    let serve = || Arc::new(Server::start_in_env("step10", &args, &[("TEST_SECRET", "secret")]).unwrap());
    // Many tokens at once, with a slow provider: the server asks about few of them, and no request waits long.
    let server = serve();
    let slow = Box::new(json_of(with(&claims(&mock.url), "active", json!(true))));
    mock.put("/introspect", Answer::After(Duration::from_secs(30), slow));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..100 {
        let server = Arc::clone(&server);
        flood.spawn(async move {
            let started = Instant::now();
            (reason(&ping(&server, &format!("flood-{number}")).await), started.elapsed())
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(mock.hits("/introspect") <= 16, "{}", mock.hits("/introspect"));
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200, "a JWT need not wait");
    while let Some(done) = flood.join_next().await {
        let (refused, waited) = done.unwrap();
        assert_eq!(refused, "503 introspection_unavailable");
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    }
    // A token that was good before is still accepted: it does not queue behind the invented ones.
    let server = serve();
    let answer = |exp: i64| with(&with(&claims(&mock.url), "active", json!(true)), "exp", json!(now() + exp));
    mock.put("/introspect", json_of(answer(1)));
    assert_eq!(ping(&server, "regular").await.status, 200);
    let slow = Box::new(json_of(json!({ "active": false })));
    mock.put("/introspect", Answer::After(Duration::from_secs(30), slow));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..50 {
        let server = Arc::clone(&server);
        flood.spawn(async move { ping(&server, &format!("invented-{number}")).await.status.as_u16() });
    }
    tokio::time::sleep(Duration::from_millis(1500)).await; // the answer about it is not remembered any more
    mock.put("/introspect", json_of(answer(300)));
    let started = Instant::now();
    assert_eq!(ping(&server, "regular").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed()); // the others wait for five
    flood.join_all().await;
    // Credentials stay at the issuer's origin, whatever its metadata says.
    let stolen = with(&mock.metadata(), "introspection_endpoint", json!(format!("{}/introspect", elsewhere.url)));
    mock.put("/.well-known/oauth-authorization-server", json_of(stolen));
    let server = serve();
    assert_eq!(reason(&ping(&server, "opaque").await), "503 introspection_unavailable");
    assert_eq!(elsewhere.hits("/introspect"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_tokens_are_limited_and_good_ones_do_not_notice() {
    let mock = Provider::good(&[&Signer::rsa(0, "k1")]);
    let profile = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(profile.path(), "[introspection]\nclient_id = \"me\"\nclient_secret_env = \"TEST_SECRET\"\n").unwrap();
    let args = ["--audience", AUDIENCE, "--issuer", &mock.url, "--profile", profile.path().to_str().unwrap()];
    let server = Arc::new(Server::start_in_env("step10", &args, &[("TEST_SECRET", "secret")]).unwrap());
    let active = |seconds: i64| with(&with(&claims(&mock.url), "active", json!(true)), "exp", json!(now() + seconds));
    // The server asks about any number of good tokens: after a restart, all of them are new.
    mock.put("/introspect", json_of(active(300)));
    for number in 0..120 {
        assert_eq!(ping(&server, &format!("good-{number}")).await.status, 200, "{number}");
    }
    mock.put("/introspect", json_of(active(2)));
    assert_eq!(ping(&server, "regular").await.status, 200);
    mock.put("/introspect", json_of(json!({ "active": false })));
    let (before, started) = (mock.hits("/introspect"), Instant::now());
    let mut outcomes = HashMap::new();
    for number in 0..400 {
        let reply = ping(&server, &format!("invented-{number}")).await;
        *outcomes.entry(reason(&reply)).or_insert(0_usize) += 1;
        if reply.status == 503 {
            let body = reply.json();
            assert!(body["error"] == "temporarily_unavailable" && body["error_description"].is_string(), "{reply:?}");
            assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
        }
    }
    let (asked, allowed) = (mock.hits("/introspect") - before, 51 + started.elapsed().as_millis() / 100);
    assert!(asked as u128 <= allowed, "{asked} of {allowed} in {:?}: {outcomes:?}", started.elapsed());
    assert_eq!(
        outcomes
            .keys()
            .filter(|reason| !["401 token_inactive", "503 introspection_unavailable"].contains(&reason.as_str()))
            .count(),
        0,
        "{outcomes:?}"
    );
    // A bad token is remembered, so that sending it again costs the issuer nothing.
    let asked = mock.hits("/introspect");
    assert_eq!(reason(&ping(&server, "invented-0").await), "401 token_inactive");
    assert_eq!(mock.hits("/introspect"), asked);
    // A token that was good before is still accepted, although the allowance is used up.
    assert_eq!(ping(&server, "good-7").await.status, 200);
    mock.put("/introspect", json_of(active(300)));
    tokio::time::sleep(Duration::from_millis(2100).saturating_sub(started.elapsed())).await; // "regular" must be asked about again
    let asked = mock.hits("/introspect");
    assert_eq!(ping(&server, "regular").await.status, 200);
    assert_eq!(mock.hits("/introspect"), asked + 1);
}

/// The bound itself has a unit test.
#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
async fn a_revoked_opaque_token_stops_within_a_minute() {
    let mock = Provider::good(&[&Signer::rsa(0, "k1")]);
    let profile = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(profile.path(), "[introspection]\nclient_id = \"me\"\nclient_secret_env = \"TEST_SECRET\"\n").unwrap();
    let args = ["--audience", AUDIENCE, "--issuer", &mock.url, "--profile", profile.path().to_str().unwrap()];
    let server = Server::start_in_env("step10", &args, &[("TEST_SECRET", "secret")]).unwrap();
    let active = with(&with(&claims(&mock.url), "active", json!(true)), "exp", json!(now() + 3600));
    mock.put("/introspect", json_of(active));
    let asked = Instant::now();
    assert_eq!(ping(&server, "opaque").await.status, 200);
    mock.put("/introspect", json_of(json!({ "active": false })));
    tokio::time::sleep(Duration::from_mins(1).saturating_sub(asked.elapsed())).await;
    until("it is revoked", Duration::from_secs(5), || async {
        reason(&ping(&server, "opaque").await) == "401 token_inactive"
    })
    .await;
}
