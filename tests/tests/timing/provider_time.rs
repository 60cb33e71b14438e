//! Step 10 while time passes: new keys, providers that are slow or down, floods, and what is kept.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use integration_tests::{
    Reply, Server, free_port,
    provider::{
        Answer, Provider, QUICK, SOON, has_problem, health, json_of, nothing, ping, raw, reason, set, start, until,
    },
    signer::{AUDIENCE, Signer, claims, with},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_unknown_keys_cause_one_fetch_in_a_cool_down() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let server = Arc::new(start(&[&mock], &["--audience", AUDIENCE])); // the cool-down is 10 s
    let (before, metadata) = (mock.hits("/jwks"), mock.hits("/.well-known/oauth-authorization-server"));
    assert_eq!(before, 1);
    let started = Instant::now();
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let token = key.sign_as(&with(&key.header(), "kid", json!(format!("unknown {number}"))), &claims(&mock.url));
        let server = Arc::clone(&server);
        flood.spawn(async move { reason(&ping(&server, &token).await) });
    }
    // Meanwhile, requests with a known key are not affected.
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed()); // the cool-down is ten
    }
    while let Some(refused) = flood.join_next().await {
        assert_eq!(refused.unwrap(), "401 key_unknown");
    }
    let fetches = mock.hits("/jwks") - before;
    let allowed = 1 + usize::try_from(started.elapsed().as_secs()).unwrap() / 10;
    assert!(fetches <= allowed, "{fetches} fetches in {:?}", started.elapsed());
    assert_eq!(mock.hits("/.well-known/oauth-authorization-server"), metadata, "the metadata is known");
    // A request during the cool-down is told when to try again.
    let reply = ping(&server, &key.sign_as(&with(&key.header(), "kid", json!("late")), &claims(&mock.url))).await;
    assert!((1..=11).contains(&reply.header("retry-after").parse::<u64>().unwrap()), "{reply:?}");
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
}

#[tokio::test]
async fn a_new_key_is_accepted_within_a_cool_down_and_an_old_one_goes() {
    let (old, new) = (Signer::rsa(0, "old"), Signer::rsa(1, "new"));
    let mock = Provider::good(&[&old]);
    let server = start(&[&mock], &QUICK);
    let seen = old.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1100)).await; // the cool-down after the start: what follows is about it
    mock.put_keys(&[&new, &old]);
    let started = Instant::now();
    until("the new key", Duration::from_secs(8), || async {
        ping(&server, &new.sign(&claims(&mock.url))).await.status == 200
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(ping(&server, &seen).await.status, 200, "both are listed");
    mock.put_keys(&[&new]);
    // Even a token that was verified and remembered: the ceiling is 2 s.
    until("the old key", SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
    assert_eq!(ping(&server, &new.sign(&claims(&mock.url))).await.status, 200);
}

#[tokio::test]
async fn another_key_of_the_same_name_takes_the_old_one_s_place() {
    let (old, new) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let mock = Provider::good(&[&old]);
    let server = start(&[&mock], &QUICK);
    let seen = old.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    mock.put_keys(&[&new]);
    until("the new key", SOON, || async { ping(&server, &new.sign(&claims(&mock.url))).await.status == 200 }).await;
    assert_eq!(reason(&ping(&server, &seen).await), "401 signature_wrong", "though it was remembered");
}

#[tokio::test]
async fn a_new_key_need_not_have_a_new_name() {
    let key = |number| Signer::rsa(number, "k1");
    let nameless = |number| Signer { jwk: with(&key(number).jwk, "kid", Value::Null), ..key(number) };
    let (ec, names_none) = (Signer::ec("k1"), |key: &Signer| with(&key.header(), "kid", Value::Null));
    for (name, old, new) in [
        ("the same name", vec![key(0)], vec![key(1)]),
        ("the same name, another type", vec![key(0)], vec![ec]),
        ("no name", vec![nameless(0)], vec![nameless(1)]),
        ("no name, among several", vec![nameless(0), nameless(2)], vec![nameless(1)]),
    ] {
        let token = |mock: &Provider, key: &Signer| match key.jwk.get("kid") {
            Some(_) => key.sign(&claims(&mock.url)),
            None => key.sign_as(&names_none(key), &claims(&mock.url)),
        };
        let mock = Provider::good(&old.iter().collect::<Vec<_>>());
        // The next fetch by itself would be after a minute.
        let server = start(&[&mock], &["--audience", AUDIENCE, "--jwks-cooldown", "1s"]);
        assert_eq!(ping(&server, &token(&mock, &new[0])).await.status, 401, "{name}");
        mock.put_keys(&new.iter().collect::<Vec<_>>());
        until(name, SOON, || async { ping(&server, &token(&mock, &new[0])).await.status == 200 }).await;
        // Without further requests, there is no further fetch.
        let fetches = mock.hits("/jwks");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(mock.hits("/jwks"), fetches, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_no_request_with_a_known_key_fails() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let server = Arc::new(start(&[&mock], &QUICK));
    let ends = Instant::now() + Duration::from_secs(6);
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (server, url) = (Arc::clone(&server), mock.url.clone());
        load.spawn(async move {
            let (key, mut count) = (Signer::rsa(0, "k1"), 0);
            while Instant::now() < ends {
                let reply = ping(&server, &key.sign(&claims(&url))).await;
                assert_eq!(reply.status, 200, "after {count}: {reply:?}");
                count += 1;
            }
            count
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    mock.down(true);
    until("stale", SOON, || has_problem(&server, &mock, "cannot be reached")).await;
    let unknown = key.sign_as(&with(&key.header(), "kid", json!("x")), &claims(&mock.url));
    assert_eq!(reason(&ping(&server, &unknown).await), "401 key_unknown");
    assert_eq!(health(&server).await["status"], "ok");
    assert_eq!(health(&server).await["issuers"][&mock.url]["state"], "stale");
    tokio::time::sleep(Duration::from_secs(2)).await;
    mock.down(false);
    let mut count = 0;
    while let Some(done) = load.join_next().await {
        count += done.unwrap();
    }
    assert!(count > 100, "{count} requests");
    until("ready", SOON, || async { health(&server).await["issuers"][&mock.url]["state"] == "ready" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provider_delays_nobody_whose_key_is_known() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let server = Arc::new(start(&[&mock], &QUICK));
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
    mock.put("/jwks", Answer::After(Duration::from_secs(30), Box::new(nothing())));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let waiting = {
        let token = key.sign_as(&with(&key.header(), "kid", json!("x")), &claims(&mock.url));
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let started = Instant::now();
            (reason(&ping(&server, &token).await), started.elapsed())
        })
    };
    for _ in 0..50 {
        let started = Instant::now();
        assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed()); // a fetch gives up after five
    }
    let (refused, waited) = waiting.await.unwrap();
    assert_eq!(refused, "401 key_unknown");
    assert!(waited < SOON, "{waited:?}: nobody waits for ever");
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_break_off_the_fetch() {
    let (key, new) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k2"));
    let mock = Provider::good(&[&key]);
    let server = start(&[&mock], &["--audience", AUDIENCE, "--jwks-cooldown", "2s"]);
    let keys = json_of(set(vec![key.jwk.clone(), new.jwk.clone()]));
    mock.put("/jwks", Answer::After(Duration::from_secs(1), Box::new(keys)));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let token = new.sign(&claims(&mock.url));
    let gone = tokio::time::timeout(Duration::from_millis(300), ping(&server, &token)).await;
    assert!(gone.is_err(), "it should have had to wait");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(ping(&server, &token).await.status, 200);
    assert_eq!(mock.hits("/jwks"), 2);
}

#[tokio::test]
async fn keys_that_nobody_confirms_do_not_live_for_ever() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let server = start(&[&mock], &[&QUICK[..], &["--max-stale", "3s"]].concat());
    let seen = key.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    mock.down(true);
    let started = Instant::now();
    until("too old", Duration::from_secs(8), || async { ping(&server, &seen).await.status == 503 }).await;
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}: that was too soon", started.elapsed());
    assert_eq!(health(&server).await["status"], "unavailable");
    mock.down(false);
    until("back again", SOON, || async { ping(&server, &seen).await.status == 200 }).await;
}

#[tokio::test]
async fn it_starts_without_the_provider_and_says_so_until_it_is_there() {
    let key = Signer::rsa(0, "k1");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let server = Server::start_with("step10", &[&["--issuer", url.as_str()][..], &QUICK].concat()).unwrap();
    let token = key.sign(&claims(&url));
    for reply in [ping(&server, &token).await, Reply::of(server.legacy("ping", json!({}))).await.unwrap()] {
        assert_eq!(reason(&reply), "503 keys_missing", "{reply:?}");
        assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
        assert_eq!(reply.header("www-authenticate"), "", "another token would not help");
    }
    let said = health(&server).await;
    assert_eq!((&said["status"], &said["issuers"][&url]["state"]), (&json!("unavailable"), &json!("waiting")));
    assert!(said["issuers"][&url]["problem"].as_str().unwrap().contains("cannot be reached"), "{said}");
    assert!(!said.to_string().contains("os error"), "{said}");
    let mock = Provider::on(TcpListener::bind(("127.0.0.1", port)).unwrap());
    mock.become_good(&[&key]);
    until("recovery", SOON, || async { ping(&server, &token).await.status == 200 }).await;
    assert_eq!(health(&server).await["status"], "ok");
}

#[tokio::test]
async fn keys_are_kept_neither_too_short_nor_too_long_whatever_the_provider_says() {
    let key = Signer::rsa(0, "k1");
    let set = set(vec![key.jwk.clone()]).to_string();
    let mocks = ["no-store", "max-age=0", "max-age=99999999", "max-age=x, public", "immutable"].map(|control| {
        let mock = Provider::good(&[]);
        mock.put("/jwks", raw("200 OK", &format!("Cache-Control: {control}\r\n"), &set));
        mock
    });
    let times = ["--jwks-cooldown", "1s", "--jwks-min-age", "2s", "--jwks-max-age", "3s"];
    let _server = start(&mocks.iter().collect::<Vec<_>>(), &[&["--audience", AUDIENCE][..], &times].concat());
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let most = 1 + usize::try_from(started.elapsed().as_secs()).unwrap() / 2;
    for mock in &mocks {
        let fetches = mock.hits("/jwks");
        assert!((2..=most + 1).contains(&fetches), "{fetches} fetches in {:?}", started.elapsed());
    }
    assert!(mocks[0].hits("/jwks") >= mocks[2].hits("/jwks"), "who says so is asked more often");
}
