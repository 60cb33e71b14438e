//! Step 10 and its providers' metadata: where step 10 looks for it, and which parts it trusts.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use integration_tests::{
    Reply, Server,
    provider::{
        Answer, NOT_JSON, Provider, QUICK, SOON, call, endless, forged, has_problem, health, json_of, nothing, ok,
        ping, raw, reason, start, until,
    },
    signer::{Signer, claims, with},
};
use serde_json::{Value, json};

/// A name, the metadata, and what `/health` says about it.
type MetadataRow = (&'static str, Box<dyn Fn(&Provider) -> Answer>, &'static str);

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_metadata_is_believed() {
    let (good, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let trap = Provider::good(&[&evil]);
    let location = format!("Location: {}/.well-known/oauth-authorization-server\r\n", trap.url);
    let but =
        |name: &'static str, value: Value| move |mock: &Provider| json_of(with(&mock.metadata(), name, value.clone()));
    let fixed = |answer: Answer| move |_: &Provider| answer.clone();
    let rows: Vec<MetadataRow> = vec![
        ("another issuer", Box::new(but("issuer", json!(trap.url))), "another issuer"),
        (
            "a slash more",
            Box::new(|mock| json_of(with(&mock.metadata(), "issuer", json!(format!("{}/", mock.url))))),
            "another issuer",
        ),
        (
            "localhost",
            Box::new(|mock| {
                json_of(with(&mock.metadata(), "issuer", json!(mock.url.replace("127.0.0.1", "localhost"))))
            }),
            "another issuer",
        ),
        ("no issuer", Box::new(but("issuer", Value::Null)), NOT_JSON),
        ("issuer an array", Box::new(|mock| json_of(with(&mock.metadata(), "issuer", json!([mock.url])))), NOT_JSON),
        (
            "issuer twice",
            Box::new(|mock| ok(&mock.metadata().to_string().replacen('{', "{\"issuer\":\"https://a.example\",", 1))),
            NOT_JSON,
        ),
        ("no jwks_uri", Box::new(but("jwks_uri", Value::Null)), "no jwks_uri"),
        ("jwks_uri a number", Box::new(but("jwks_uri", json!(1))), NOT_JSON),
        ("jwks_uri over http", Box::new(but("jwks_uri", json!("http://example.com/jwks"))), "not an https URL"),
        ("jwks_uri a file", Box::new(but("jwks_uri", json!("file:///etc/passwd"))), "not an https URL"),
        ("jwks_uri with a user", Box::new(but("jwks_uri", json!("https://a:b@example.com/jwks"))), "not an https URL"),
        ("jwks_uri relative", Box::new(but("jwks_uri", json!("/jwks"))), "not an https URL"),
        ("no JSON", Box::new(fixed(ok("nonsense"))), NOT_JSON),
        ("a redirect", Box::new(fixed(raw("302 Found", &location, "{}"))), "redirects"),
        ("giant", Box::new(fixed(endless())), "larger than"),
        ("404 everywhere", Box::new(fixed(raw("404 Not Found", "", "{}"))), "no metadata"),
    ];
    let mocks: Vec<_> = rows.iter().map(|_| Provider::good(&[&good])).collect();
    for (mock, (_, hostile, _)) in mocks.iter().zip(&rows) {
        mock.put("/.well-known/oauth-authorization-server", hostile(mock));
    }
    let server = start(&mocks.iter().collect::<Vec<_>>(), &QUICK);
    for (mock, (name, _, problem)) in mocks.iter().zip(&rows) {
        until(name, SOON, || has_problem(&server, mock, problem)).await;
        for token in forged(&mock.url, &evil).into_iter().chain([good.sign(&claims(&mock.url))]) {
            assert!(matches!(ping(&server, &token).await.status.as_u16(), 401 | 503), "{name}");
        }
        mock.become_good(&[&good]);
        until(name, SOON, || async { ping(&server, &good.sign(&claims(&mock.url))).await.status == 200 }).await;
    }
    assert_eq!(trap.hits("/.well-known/oauth-authorization-server"), 0, "a redirect was followed");
}

#[tokio::test]
async fn metadata_that_goes_bad_is_seen_and_not_relied_on_for_ever() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let server = start(&[&mock], &[&QUICK[..], &["--max-stale", "4s"]].concat());
    let seen = key.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    let moved = with(&mock.metadata(), "issuer", json!("https://other.example"));
    mock.put("/.well-known/oauth-authorization-server", json_of(moved));
    until("it is seen", SOON, || has_problem(&server, &mock, "another issuer")).await;
    assert_eq!(health(&server).await["issuers"][&mock.url]["state"], "stale");
    assert_eq!(ping(&server, &seen).await.status, 200, "it is no reason to take keys away at once");
    until("it is too old", SOON, || async { reason(&ping(&server, &seen).await) == "503 keys_missing" }).await;
    mock.become_good(&[&key]);
    until("back again", SOON, || async { ping(&server, &seen).await.status == 200 }).await;
}

#[tokio::test]
async fn the_metadata_is_looked_for_where_the_specification_says_in_its_order() {
    let key = Signer::rsa(0, "k1");
    let mock = Provider::good(&[&key]);
    let issuer = format!("{}/realms/r", mock.url);
    let metadata = json_of(with(&mock.metadata(), "issuer", json!(issuer)));
    mock.put("/realms/r/.well-known/openid-configuration", metadata);
    let args = [&["--issuer", issuer.as_str()][..], &QUICK].concat();
    let server = Server::start_with("step10", &args).unwrap();
    let admin = with(&claims(&issuer), "realm_access", json!({ "roles": ["admin"] }));
    assert_eq!(call(&server, &key.sign(&admin), "list_users", json!({})).await.status, 200, "the profile is guessed");
    for path in ["/.well-known/oauth-authorization-server/realms/r", "/.well-known/openid-configuration/realms/r"] {
        assert_eq!(mock.hits(path), 1, "{path}");
    }
    let document = Reply::of(server.get("/.well-known/oauth-protected-resource/mcp")).await.unwrap().json();
    assert_eq!(document["authorization_servers"], json!([issuer]));
    // A place that ends the connection does not end the search, nor does a member that nobody needs.
    mock.put("/.well-known/oauth-authorization-server/realms/r", nothing());
    let odd = with(&with(&mock.metadata(), "issuer", json!(issuer)), "introspection_endpoint", json!({}));
    mock.put("/realms/r/.well-known/openid-configuration", json_of(odd));
    let another = Server::start_with("step10", &args).unwrap();
    assert_eq!(call(&another, &key.sign(&admin), "list_users", json!({})).await.status, 200);
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/authorize", "/token"] {
        assert_eq!(Reply::of(server.get(path)).await.unwrap().status, 404, "{path}: nothing is embedded");
    }
    assert!(!server.keys().exists(), "a key pair was made");
    let said = health(&server).await;
    assert_eq!(said["oauth"].as_object().unwrap().len(), 1, "{said}");
}

#[tokio::test]
async fn the_same_person_s_notes_at_two_issuers_are_two_persons() {
    let (key_a, key_b) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let (a, b) = (Provider::good(&[&key_a]), Provider::good(&[&key_b]));
    let both = format!("{} {}", a.url, b.url);
    let server = Server::start_in_env("step10", &QUICK, &[("MCP_ISSUER", &both)]).unwrap();
    let (at_a, at_b) = (key_a.sign(&claims(&a.url)), key_b.sign(&claims(&b.url)));
    assert_eq!(call(&server, &at_a, "save_note", json!({ "text": "mine" })).await.status, 200);
    for (token, count) in [(&at_a, 1), (&at_b, 0), (&at_a, 1)] {
        let reply = call(&server, token, "list_notes", json!({})).await.json();
        assert_eq!(reply["result"]["structuredContent"]["notes"].as_array().unwrap().len(), count, "{reply}");
    }
    // If one issuer's keys are missing, people of the other issuer are not affected.
    b.down(true);
    b.put_keys(&[]);
    assert_eq!(ping(&server, &key_a.sign(&claims(&a.url))).await.status, 200);
    let document = Reply::of(server.get("/.well-known/oauth-protected-resource")).await.unwrap().json();
    assert_eq!(document["authorization_servers"], json!([a.url, b.url]));
}
