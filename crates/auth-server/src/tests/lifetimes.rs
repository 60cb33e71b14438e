//! Everything expires when it should, and not before.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, Header, encode, jwk::Jwk};

use super::*;
use crate::{
    store::{CONSENT_LIFETIME, FAMILY_LIFETIME},
    users::BROWSER_LIFETIME,
};

#[actix_web::test]
async fn a_code_is_good_for_a_minute() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    for (seconds, error) in [(59, ""), (60, "invalid_grant")] {
        world.cookies.borrow_mut().clear();
        let code = world.code(&client).await;
        world.advance(seconds);
        assert_eq!(world.redeem(&client, &code).await.error(), error, "after {seconds} s");
    }
}

#[actix_web::test]
async fn a_log_in_lasts_eight_hours() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    assert_eq!(world.log_in(&client, PASSWORD).await.status, 303);
    world.advance(8 * HOUR - 1);
    assert!(world.get(&world.request(&client)).await.is_consent_page());
    world.advance(1);
    let page = world.get(&world.request(&client)).await;
    assert!(page.text.contains("action=\"/login?"), "{}", page.text);
}

#[actix_web::test]
async fn what_a_consent_gives_ends_after_thirty_days_however_often_it_is_refreshed() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let mut token = refresh_token(&world.redeem(&client, &code).await);
    for _ in 0..29 {
        world.advance(DAY);
        token = refresh_token(&world.refresh(&client, &token).await);
    }
    world.advance(DAY - 1);
    token = refresh_token(&world.refresh(&client, &token).await);
    world.advance(1);
    assert_eq!(world.refresh(&client, &token).await.error(), "invalid_grant");
    assert_eq!(FAMILY_LIFETIME, 30 * DAY);
}

#[actix_web::test]
async fn a_consent_is_remembered_for_thirty_days() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    world.code(&client).await;
    assert_eq!(CONSENT_LIFETIME, 30 * DAY);
    for (seconds, remembered) in [(CONSENT_LIFETIME - 1, true), (1, false)] {
        world.advance(seconds);
        world.cookies.borrow_mut().clear();
        assert_eq!(world.log_in(&client, PASSWORD).await.status, 303);
        let page = world.get(&world.request(&client)).await;
        assert!(page.is_consent_page());
        assert_eq!(page.text.contains("You have let it in before."), remembered, "{}", page.text);
    }
}

#[actix_web::test]
async fn a_device_cookie_is_set_at_a_log_in_and_keeps_strangers_failures_away_for_half_a_year() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    assert_eq!(world.log_in(&client, "a guess").await.status, 401);
    assert!(!world.cookies.borrow().keys().any(|name| name.starts_with("mcp_device_")), "nobody logged in");
    assert_eq!(world.log_in(&client, PASSWORD).await.status, 303);
    let (name, device) = {
        let cookies = world.cookies.borrow();
        let (name, cookie) = cookies.iter().find(|(name, _)| name.starts_with("mcp_device_")).unwrap();
        (name.clone(), cookie.clone())
    };
    assert_eq!(device.http_only(), Some(true));
    assert_eq!(device.same_site(), Some(actix_web::cookie::SameSite::Lax));
    assert_eq!(device.max_age().unwrap().whole_seconds(), BROWSER_LIFETIME);
    assert_eq!(BROWSER_LIFETIME, 180 * DAY);
    for (seconds, status) in [(180 * DAY - 1, 303), (180 * DAY, 429)] {
        world.advance(HOUR); // the failures so far are forgotten
        world.cookies.borrow_mut().clear();
        assert_eq!(world.log_in(&client, PASSWORD).await.status, 303);
        let device = world.cookies.borrow()[&name].clone();
        world.advance(seconds);
        world.cookies.borrow_mut().clear();
        for _ in 0..6 {
            world.log_in(&client, "a guess").await;
        }
        *world.cookies.borrow_mut() = BTreeMap::from([(name.clone(), device)]);
        // This also shows that a device cookie is not a log-in.
        assert_eq!(world.log_in(&client, PASSWORD).await.status, status, "after {seconds} s");
    }
}

#[actix_web::test]
async fn a_password_that_has_changed_ends_sessions_and_what_clients_were_given() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let token = refresh_token(&world.redeem(&client, &code).await);
    let unused = world.consent(&client).await;
    world.state.users.set_password("alice", "another password").await.unwrap();
    assert!(!world.get(&world.request(&client)).await.is_consent_page());
    assert_eq!(world.refresh(&client, &token).await.error(), "invalid_grant");
    assert_eq!(world.redeem(&client, &unused).await.error(), "invalid_grant");
}

#[actix_web::test]
async fn an_assertion_is_good_once_until_it_expires_and_is_remembered_as_long() {
    let world = world(ISSUER).await;
    let jwk = Jwk::from_encoding_key(&key(), Algorithm::RS256).unwrap();
    let metadata = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk] },
    });
    let registered = world.send(TestRequest::post().uri("/register").set_json(metadata)).await;
    let client = registered.json()["client_id"].as_str().unwrap().to_owned();
    let start = world.state.store.now();
    let try_it = async |jti: &str, exp: Value, nbf: Value| {
        let claims = json!({
            "iss": client, "sub": client, "aud": world.state.issuer, "jti": jti, "exp": exp, "nbf": nbf,
        });
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "nonsense"),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &encode(&Header::new(Algorithm::RS256), &claims, &key()).unwrap()),
        ];
        world.post("/token", &form).await.error() == "invalid_grant" // the code is nonsense, but the client is accepted
    };
    for (jti, exp, nbf, good) in [
        ("1", json!(start + 60), Value::Null, true),
        ("1", json!(start + 60), Value::Null, false),
        ("2", json!(start + 3600), json!(start + 30), true),
        ("3", json!(start + 60), json!(start + 31), false),
        ("4", json!(start + 3601), Value::Null, false),
        ("5", json!(1e300), Value::Null, false),
        ("6", json!(-1e300), Value::Null, false),
        ("7", json!(start - 29), Value::Null, true),
        ("8", json!(start - 30), Value::Null, false),
    ] {
        assert_eq!(try_it(jti, exp, nbf).await, good, "{jti}");
    }
    world.advance(89);
    assert!(!try_it("1", json!(start + 60), Value::Null).await, "it is still good, so it is still remembered");
    assert!(try_it("9", json!(start + 60), Value::Null).await, "our clocks may differ by half a minute");
    world.advance(1);
    assert!(!try_it("10", json!(start + 60), Value::Null).await, "expired");
    world.advance(HOUR);
    assert!(world.count("assertions").await > 0);
    world.state.store.remove_expired().await.unwrap();
    assert_eq!(world.count("assertions").await, 0);
}

#[actix_web::test]
async fn what_has_expired_is_removed() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    let code = world.code(&client).await;
    world.redeem(&client, &code).await;
    world.consent(&client).await; // a code that nobody redeems
    world.sql("INSERT INTO assertions VALUES ('x', 0)").await;
    let tables = ["sessions", "devices", "families", "codes", "consents", "assertions"];
    for table in tables {
        assert!(world.count(table).await > 0, "{table}");
    }
    world.advance(HOUR + 59);
    world.state.store.remove_expired().await.unwrap();
    assert_eq!(world.count("codes").await, 2);
    world.advance(62);
    world.state.store.remove_expired().await.unwrap();
    assert_eq!(world.count("codes").await, 1, "a code that was used is remembered as long as what it gave");
    assert_eq!(world.count("families").await, 1, "what nobody fetched gave nothing");
    world.advance(180 * DAY);
    world.state.store.remove_expired().await.unwrap();
    for table in tables {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
}

#[actix_web::test]
async fn what_has_expired_is_removed_while_the_server_runs_without_a_new_consent() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let token = refresh_token(&world.redeem(&client, &code).await);
    for request in ["a refresh", "a registration"] {
        world.sql("INSERT INTO assertions VALUES ('x', 0)").await;
        world.advance(61);
        if request == "a refresh" {
            world.refresh(&client, &token).await;
        } else {
            world.register().await;
        }
        assert_eq!(world.count("assertions").await, 0, "{request}");
    }
}

#[actix_web::test]
async fn a_family_has_as_many_rows_after_many_refreshes_as_after_few() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let first = refresh_token(&world.redeem(&client, &code).await);
    let tables = ["assertions", "clients", "codes", "consents", "devices", "families", "secrets", "sessions", "users"];
    let rows = async || {
        let mut rows = Vec::new();
        for table in tables {
            rows.push((world.count(table).await, table));
        }
        rows
    };
    let mut token = first.clone();
    let mut few = Vec::new();
    for number in 0..300 {
        token = refresh_token(&world.refresh(&client, &token).await);
        if number == 10 {
            few = rows().await;
        }
    }
    assert_eq!(rows().await, few);
    // The first of them still shows a theft.
    assert_eq!(world.refresh(&client, &first).await.error(), "invalid_grant");
    assert_eq!(world.refresh(&client, &token).await.error(), "invalid_grant");
}

#[actix_web::test]
async fn who_comes_while_the_database_is_in_use_is_told_soon_to_come_again() {
    let world = world(ISSUER).await;
    let client = world.client().await;
    let path = world.request(&client);
    let held = world.state.store.pool().acquire().await.unwrap();
    let started = Instant::now();
    for (what, reply) in [
        ("/token", world.refresh(&client, "nonsense").await),
        ("/register", world.register().await),
        ("/authorize", world.get(&path).await),
    ] {
        assert_eq!((reply.status.as_u16(), reply.retry_after.as_str()), (503, "2"), "{what}: {}", reply.text);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    drop(held);
    assert_eq!(world.get(&path).await.status, 200);
}

#[actix_web::test]
async fn a_full_table_of_clients_makes_room_for_nobody_within_the_hour() {
    let world = world(ISSUER).await;
    let (used, unused) = (world.client().await, world.client().await);
    world.code(&used).await;
    world
        .sql(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 998)
         INSERT INTO clients (id, metadata, created_at, used_at)
         SELECT 'client ' || n, '{}', (SELECT max(created_at) FROM clients), 0 FROM numbers",
        )
        .await;
    assert_eq!(world.count("clients").await, 1000);
    assert_eq!(world.register().await.status, 429);
    world.advance(HOUR - 60);
    assert_eq!(world.register().await.status, 429, "within the hour");
    world.advance(120);
    assert_eq!(world.register().await.status, 201);
    assert_eq!(world.count("clients").await, 2, "the one that is used, and the new one");
    assert_eq!(world.get(&world.request(&unused)).await.status, 400);
    assert_eq!(world.get(&world.request(&used)).await.status, 200);
}

#[actix_web::test]
async fn cookies_of_an_https_server_are_bound_to_its_host_and_to_https() {
    for (issuer, secure) in [("https://mcp.example", true), (ISSUER, false)] {
        let world = world(issuer).await;
        let client = world.client().await;
        world.code(&client).await;
        let cookies = world.cookies.borrow();
        assert_eq!(cookies.len(), 3, "of the form, the session and the browser");
        for (name, cookie) in cookies.iter() {
            assert_eq!(name.starts_with("__Host-mcp_"), secure, "{cookie}");
            assert_eq!(cookie.secure(), Some(secure).filter(|secure| *secure), "{cookie}");
            assert_eq!(cookie.path(), Some("/"), "{cookie}");
            assert_eq!(cookie.domain(), None, "{cookie}");
            assert_eq!(cookie.http_only(), Some(true), "{cookie}");
            assert_eq!(cookie.same_site(), Some(actix_web::cookie::SameSite::Lax), "{cookie}");
        }
    }
}
