//! An identity provider that does what the test says, and helpers to ask a step 10 that trusts it.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic is a test's failure")]

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

pub use crate::mock::Reply as Answer;
use crate::{
    Reply, Server,
    mock::{Mock, Request},
    signer::{AUDIENCE, Signer, claims, signed},
};

/// Quick enough for a test.
pub const QUICK: [&str; 8] =
    ["--audience", AUDIENCE, "--jwks-cooldown", "1s", "--jwks-min-age", "1s", "--jwks-max-age", "2s"];
/// What a test waits for must happen within this time.
pub const SOON: Duration = Duration::from_secs(20);

/// What `/health` says about a key set without any usable key.
pub const UNFIT: &str = "no key that is fit";
/// What `/health` says about a document that cannot be read.
pub const NOT_JSON: &str = "not the JSON document";

#[derive(Default)]
struct Script {
    paths: HashMap<String, Answer>,
    hits: HashMap<String, usize>,
    down: bool,
}

impl Script {
    fn answer(&mut self, request: &Request) -> Answer {
        if self.down {
            return nothing();
        }
        *self.hits.entry(request.target.clone()).or_default() += 1;
        self.paths.get(&request.target).cloned().unwrap_or_else(|| raw("404 Not Found", "", "{}"))
    }
}

/// It answers what was put at a path, and 404 elsewhere.
#[derive(Clone)]
pub struct Provider {
    pub url: String,
    mock: Mock,
    script: Arc<Mutex<Script>>,
}

impl Provider {
    pub fn start() -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).unwrap())
    }

    /// One whose port is known beforehand.
    pub fn on(listener: TcpListener) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let there = script.clone();
        let mock = Mock::on(listener, move |request, _| there.lock().unwrap().answer(request)).unwrap();
        Provider { url: mock.url.clone(), mock, script }
    }

    /// A provider as it should be, with these keys.
    pub fn good(keys: &[&Signer]) -> Self {
        let provider = Self::start();
        provider.become_good(keys);
        provider
    }

    pub fn become_good(&self, keys: &[&Signer]) {
        self.put("/.well-known/oauth-authorization-server", json_of(self.metadata()));
        self.put_keys(keys);
    }

    pub fn metadata(&self) -> Value {
        json!({
            "issuer": self.url, "jwks_uri": format!("{}/jwks", self.url),
            "authorization_endpoint": format!("{}/authorize", self.url),
            "token_endpoint": format!("{}/token", self.url),
            "introspection_endpoint": format!("{}/introspect", self.url),
            "registration_endpoint": format!("{}/register", self.url),
            "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["mcp:read", "mcp:tools", "mcp:prompts"],
        })
    }

    pub fn put(&self, path: &str, answer: Answer) {
        self.script.lock().unwrap().paths.insert(path.to_owned(), answer);
    }

    pub fn put_keys(&self, keys: &[&Signer]) {
        self.put("/jwks", json_of(set(keys.iter().map(|key| key.jwk.clone()).collect())));
    }

    /// While it is down, connections end without an answer.
    pub fn down(&self, down: bool) {
        self.script.lock().unwrap().down = down;
    }

    /// How many requests for a path there were while it was not down.
    pub fn hits(&self, path: &str) -> usize {
        self.script.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }

    /// The requests that had a body.
    pub fn posted(&self) -> Vec<Request> {
        self.mock.seen().into_iter().filter(|request| !request.body.is_empty()).collect()
    }
}

/// A document.
pub fn json_of(json: Value) -> Answer {
    Answer::json(200, &json).with("Cache-Control", "no-cache")
}

/// Status line, further headers and body, which need not fit together.
pub fn raw(status: &str, headers: &str, body: &str) -> Answer {
    bytes(&format!("{status}\r\n{headers}Content-Length: {}", body.len()), body.as_bytes())
}

/// Status line and headers, and the body.
pub fn bytes(head: &str, body: &[u8]) -> Answer {
    Answer::Raw([format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat())
}

pub fn ok(body: &str) -> Answer {
    raw("200 OK", "", body)
}

/// Status line and headers, then a space now and then, without end.
pub fn trickle(head: &str) -> Answer {
    Answer::Drip(format!("HTTP/1.1 {head}\r\n\r\n"))
}

/// As much as the other side takes.
pub fn endless() -> Answer {
    Answer::Flood("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_owned())
}

/// The connection ends at once.
pub fn nothing() -> Answer {
    Answer::Raw(Vec::new())
}

pub fn set(keys: Vec<Value>) -> Value {
    json!({ "keys": keys })
}

/// A step 10 that trusts these.
pub fn start(issuers: &[&Provider], args: &[&str]) -> Server {
    let issuers: Vec<_> = issuers.iter().flat_map(|issuer| ["--issuer", issuer.url.as_str()]).collect();
    Server::start_with("step10", &[&issuers[..], args].concat()).unwrap()
}

pub async fn ping(server: &Server, token: &str) -> Reply {
    Reply::of(server.legacy("ping", json!({})).header("Authorization", format!("Bearer {token}"))).await.unwrap()
}

pub async fn call(server: &Server, token: &str, tool: &str, arguments: Value) -> Reply {
    let request = server.legacy("tools/call", json!({ "name": tool, "arguments": arguments }));
    Reply::of(request.header("Authorization", format!("Bearer {token}"))).await.unwrap()
}

pub async fn health(server: &Server) -> Value {
    let reply = Reply::of(server.get("/health")).await.unwrap();
    let said = reply.json();
    // What probes look at is the status.
    assert_eq!(reply.status, if said["status"] == "unavailable" { 503 } else { 200 }, "{reply:?}");
    said
}

/// Whether `/health` says this of the provider.
pub async fn has_problem(server: &Server, provider: &Provider, problem: &str) -> bool {
    health(server).await["issuers"][&provider.url]["problem"].as_str().is_some_and(|said| said.contains(problem))
}

/// The status and, after a space, the reason for a refusal.
pub fn reason(reply: &Reply) -> String {
    let body = reply.json();
    let reason = body["error"]["data"]["reason"].as_str().or(body["reason"].as_str());
    format!("{} {}", reply.status.as_u16(), reason.unwrap_or_default())
}

/// Asks until it is true, which must be soon.
pub async fn until<F: Future<Output = bool>>(what: &str, limit: Duration, mut so: impl FnMut() -> F) {
    let started = Instant::now();
    while !so().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tokens that an attacker in control of the key set would make, or guess at.
pub fn forged(issuer: &str, evil: &Signer) -> Vec<String> {
    let secret = |secret: &[u8]| {
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": "k1" });
        let key = EncodingKey::from_secret(secret);
        signed(&header, claims(issuer).to_string().as_bytes(), &key, Algorithm::HS256)
    };
    vec![evil.sign(&claims(issuer)), secret(b"secret"), secret(evil.jwk["n"].as_str().unwrap().as_bytes())]
}
