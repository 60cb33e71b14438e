//! The real endpoints in this process, with a clock that the tests move.

mod configured;
mod lifetimes;

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, path::Path, sync::OnceLock};

use actix_http::Request;
use actix_web::{
    App, Error,
    cookie::Cookie,
    dev::{Service, ServiceResponse},
    http::{StatusCode, header},
    test::{TestRequest, init_service, read_body},
};
use jsonwebtoken::EncodingKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{Url, form_urlencoded::Serializer};

use crate::{
    AuthServer,
    database::{Location, query},
    state::State,
};

/// The issuer's URL, where it does not matter.
const ISSUER: &str = "http://localhost:9090";
const PASSWORD: &str = "correct horse battery staple";
const CALLBACK: &str = "http://localhost/callback";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

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
fn key() -> EncodingKey {
    static PEM: OnceLock<String> = OnceLock::new();
    let pem = PEM.get_or_init(|| {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
    });
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

/// A file in a test's own folder; with `TEST_POSTGRES=postgres://…`, a database of that server.
pub(crate) async fn location(folder: &Path) -> Location {
    #[cfg(feature = "postgres")]
    if let Ok(server) = std::env::var("TEST_POSTGRES") {
        use sqlx::Connection;
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        return format!("{}/{name}", server.rsplit_once('/').unwrap().0).into();
    }
    folder.join("auth.db").into()
}

async fn world(issuer: &str) -> World<impl Service<Request, Response = ServiceResponse, Error = Error>> {
    let folder = tempfile::tempdir().unwrap();
    let server = AuthServer::new(issuer, key())
        .resource(format!("{issuer}/mcp"))
        .database(location(folder.path()).await)
        .first_password(PASSWORD.into())
        .open()
        .await
        .unwrap();
    let state = server.state();
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

    /// A person who is logged in lets the client in. Returns the code.
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
        query(statement).execute(self.state.store.database()).await.unwrap();
    }

    async fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}").leak();
        query(count).fetch_one::<(i64,)>(self.state.store.database()).await.unwrap().0
    }
}

fn csrf(page: &Reply) -> String {
    let input = page.text.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("no form: {}", page.text));
    input.split('"').next().unwrap().to_owned()
}

fn refresh_token(granted: &Reply) -> String {
    granted.json()["refresh_token"].as_str().unwrap_or_else(|| panic!("{}", granted.text)).to_owned()
}
