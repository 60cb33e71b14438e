//! That everything ends when it should, and not before: the real endpoints in this process, and a clock that is moved.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use actix_http::Request;
use actix_web::{
    App, Error,
    cookie::Cookie,
    dev::{Service, ServiceResponse},
    http::{StatusCode, header},
    test::{TestRequest, init_service, read_body},
};
use clap::Parser;
use common::config::{KeyArgs, ServerArgs};
use jsonwebtoken::{Algorithm, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{Url, form_urlencoded::Serializer};

use crate::{
    AuthArgs, AuthServer, State, authorize::FAMILY_LIFETIME, store::CONSENT_LIFETIME, users::BROWSER_LIFETIME,
};

const PASSWORD: &str = "correct horse battery staple";
const CALLBACK: &str = "http://localhost/callback";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    auth_server: AuthArgs,
}

/// An authorization server, and the browser of somebody who uses it.
struct World<S> {
    app: S,
    state: actix_web::web::Data<State>,
    cookies: RefCell<BTreeMap<String, Cookie<'static>>>,
    _folder: TempDir,
}

struct Reply {
    status: StatusCode,
    location: String,
    retry_after: String,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The error of a token request; empty if it went well.
    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    fn is_consent_page(&self) -> bool {
        self.text.contains("Allow access?")
    }
}

/// The key that all these servers sign with: making one takes a second.
fn keys() -> &'static Path {
    static KEYS: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, keys) = KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        (folder, keys)
    });
    keys
}

async fn world(more: &[&str]) -> World<impl Service<Request, Response = ServiceResponse, Error = Error>> {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("auth.db");
    let fixed = ["", "--port", "0", "--keys", keys().to_str().unwrap(), "--auth-database", database.to_str().unwrap()];
    let args = Args::parse_from([&fixed, more].concat());
    let listener = args.server.bind().unwrap();
    let issuer = listener.public_url.as_str().to_owned();
    let resources = vec![format!("{issuer}/mcp")];
    let server = AuthServer::open(&args.auth_server, &listener, &args.keys, &issuer, resources).await.unwrap();
    let state = server.state.clone().unwrap();
    state.users.set_password("alice", PASSWORD).await.unwrap();
    let app = init_service(App::new().configure(|app| server.configure(app))).await;
    World { app, state, cookies: RefCell::default(), _folder: folder }
}

impl<S: Service<Request, Response = ServiceResponse, Error = Error>> World<S> {
    fn advance(&self, seconds: i64) {
        self.state.store.clock().advance(seconds);
    }

    async fn send(&self, mut request: TestRequest) -> Reply {
        for cookie in self.cookies.borrow().values() {
            request = request.cookie(cookie.clone());
        }
        let peer: SocketAddr = "192.0.2.1:1234".parse().unwrap();
        let response = self.app.call(request.peer_addr(peer).to_request()).await.unwrap();
        for cookie in response.response().cookies() {
            self.cookies.borrow_mut().insert(cookie.name().to_owned(), cookie.into_owned());
        }
        let value = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (location, retry_after) = (value(header::LOCATION), value(header::RETRY_AFTER));
        let status = response.status();
        let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        Reply { status, location, retry_after, text }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(TestRequest::get().uri(path)).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let form = "application/x-www-form-urlencoded";
        self.send(TestRequest::post().uri(path).insert_header((header::CONTENT_TYPE, form)).set_payload(body)).await
    }

    async fn register(&self) -> Reply {
        let metadata = json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        self.send(TestRequest::post().uri("/register").set_json(metadata)).await
    }

    async fn client(&self) -> String {
        self.register().await.json()["client_id"].as_str().unwrap().to_owned()
    }

    fn request(&self, client: &str) -> String {
        let resource = format!("{}/mcp", self.state.issuer);
        let query = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        format!("/authorize?{}", Serializer::new(String::new()).extend_pairs(query).finish())
    }

    async fn log_in(&self, client: &str, password: &str) -> Reply {
        let path = self.request(client);
        let page = self.get(&path).await;
        assert!(!page.is_consent_page(), "logged in already");
        let form = [("username", "alice"), ("password", password), ("csrf", &csrf(&page))];
        self.post(&path.replace("/authorize", "/login"), &form).await
    }

    /// Somebody who is logged in lets the client in: the code.
    async fn consent(&self, client: &str) -> String {
        let path = self.request(client);
        let page = self.get(&path).await;
        let csrf = csrf(&page);
        let form = [("csrf", csrf.as_str()), ("decision", "allow"), ("scope", "mcp:read")];
        let reply = self.post(&path, &form).await;
        let query: BTreeMap<_, _> = Url::parse(&reply.location).unwrap().query_pairs().into_owned().collect();
        query["code"].clone()
    }

    async fn code(&self, client: &str) -> String {
        assert_eq!(self.log_in(client, PASSWORD).await.status, 303);
        self.consent(client).await
    }

    async fn redeem(&self, client: &str, code: &str) -> Reply {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", &form).await
    }

    async fn refresh(&self, client: &str, token: &str) -> Reply {
        let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        self.post("/token", &form).await
    }

    /// Changes the database, or counts in it.
    async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.state.store.0).await.unwrap();
    }

    async fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        sqlx::query_as::<_, (i64,)>(sqlx::AssertSqlSafe(count)).fetch_one(&self.state.store.0).await.unwrap().0
    }
}

fn csrf(page: &Reply) -> String {
    let input = page.text.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("no form: {}", page.text));
    input.split('"').next().unwrap().to_owned()
}

fn refresh_token(granted: &Reply) -> String {
    granted.json()["refresh_token"].as_str().unwrap_or_else(|| panic!("{}", granted.text)).to_owned()
}

#[actix_web::test]
async fn a_code_is_good_for_a_minute() {
    let world = world(&[]).await;
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
    let keys = &world.state.keys;
    let metadata = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": keys.public.jwks(),
    });
    let registered = world.send(TestRequest::post().uri("/register").set_json(metadata)).await;
    let client = registered.json()["client_id"].as_str().unwrap().to_owned();
    let start = world.state.store.now();
    let try_it = async |jti: &str, exp: Value, nbf: Value| {
        let claims = json!({
            "iss": client, "sub": client, "aud": world.state.issuer, "jti": jti, "exp": exp, "nbf": nbf,
        });
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(keys.public.kid.clone());
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "nonsense"),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &encode(&header, &claims, &keys.encoding_key).unwrap()),
        ];
        world.post("/token", &form).await.error() == "invalid_grant" // that of the nonsense, so the client is proven
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
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
    let world = world(&[]).await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let first = refresh_token(&world.redeem(&client, &code).await);
    let rows = async || {
        let mut rows = Vec::new();
        let names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
        let names: Vec<(String,)> = sqlx::query_as(names).fetch_all(&world.state.store.0).await.unwrap();
        for (name,) in names {
            rows.push((world.count(&name).await, name));
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
    let world = world(&[]).await;
    let client = world.client().await;
    let path = world.request(&client);
    let held = world.state.store.0.acquire().await.unwrap();
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
    let world = world(&[]).await;
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
    for (more, secure) in [(&["--public-url", "https://mcp.example"][..], true), (&[], false)] {
        let world = world(more).await;
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
