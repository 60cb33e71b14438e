//! Step 10 and its identity providers: good ones, hostile ones, slow ones, and several at once.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{Reply, Server, command};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rsa::{
    RsaPrivateKey,
    pkcs8::{EncodePrivateKey, LineEnding},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://mcp.test/mcp";
/// Quick enough for a test.
const QUICK: [&str; 8] =
    ["--audience", AUDIENCE, "--jwks-cooldown", "1s", "--jwks-min-age", "1s", "--jwks-max-age", "2s"];

// --- a provider that does what the test says ----------------------------------------------------

/// What is at a path.
#[derive(Clone)]
enum Answer {
    Json(Value),
    /// Status line and headers, and the body.
    Raw(String, Vec<u8>),
    /// Headers that promise more than comes, then spaces, one now and then, until the other side has enough.
    Trickle(String),
    /// As much as the other side takes.
    Endless,
    /// Nothing for so long, then the other answer.
    After(Duration, Box<Answer>),
    /// The connection ends at once.
    Nothing,
}

#[derive(Default)]
struct Script {
    paths: HashMap<String, Answer>,
    hits: HashMap<String, usize>,
    /// The bodies of what was posted, with the `Authorization` header.
    posted: Vec<(String, String)>,
    down: bool,
}

#[derive(Clone)]
struct Mock {
    url: String,
    script: Arc<Mutex<Script>>,
}

impl Mock {
    fn start() -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let script = Arc::new(Mutex::new(Script::default()));
        let mock = Mock { url, script };
        let served = mock.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mock = served.clone();
                std::thread::spawn(move || drop(mock.serve(stream)));
            }
        });
        mock
    }

    /// A provider as it should be, with these keys.
    fn good(keys: &[&Signer]) -> Self {
        let mock = Self::start();
        mock.become_good(keys);
        mock
    }

    fn become_good(&self, keys: &[&Signer]) {
        self.put("/.well-known/oauth-authorization-server", Answer::Json(self.metadata()));
        self.put_keys(keys);
    }

    fn metadata(&self) -> Value {
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

    fn put(&self, path: &str, answer: Answer) {
        self.script.lock().unwrap().paths.insert(path.to_owned(), answer);
    }

    fn put_keys(&self, keys: &[&Signer]) {
        self.put("/jwks", Answer::Json(set(keys.iter().map(|key| key.jwk.clone()).collect())));
    }

    fn down(&self, down: bool) {
        self.script.lock().unwrap().down = down;
    }

    fn hits(&self, path: &str) -> usize {
        self.script.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut line, mut length, mut credentials) = (String::new(), 0, String::new());
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => value.clone_into(&mut credentials),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut answer = {
            let mut script = self.script.lock().unwrap();
            if script.down {
                return Ok(());
            }
            *script.hits.entry(path.clone()).or_default() += 1;
            if length > 0 {
                script.posted.push((String::from_utf8(body).unwrap(), credentials));
            }
            script.paths.get(&path).cloned().unwrap_or_else(|| raw("404 Not Found", "", "{}"))
        };
        while let Answer::After(time, then) = answer {
            std::thread::sleep(time);
            answer = *then;
        }
        match answer {
            Answer::Json(json) => {
                let body = json.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-cache\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes())?;
                stream.write_all(body.as_bytes())
            }
            Answer::Raw(head, body) => {
                stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())?;
                stream.write_all(&body)
            }
            Answer::Trickle(head) => {
                stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes())?;
                loop {
                    stream.write_all(b" ")?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            Answer::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")?;
                loop {
                    stream.write_all(&[b' '; 8192])?;
                }
            }
            Answer::After(..) | Answer::Nothing => Ok(()),
        }
    }
}

fn raw(status: &str, headers: &str, body: &str) -> Answer {
    Answer::Raw(format!("{status}\r\n{headers}Content-Length: {}", body.len()), body.as_bytes().to_vec())
}

fn ok(body: &str) -> Answer {
    raw("200 OK", "", body)
}

fn set(keys: Vec<Value>) -> Value {
    json!({ "keys": keys })
}

// --- keys and tokens ----------------------------------------------------------------------------

struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    kid: String,
    jwk: Value,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    match value {
        Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
        value => object[name] = value,
    }
    object
}

impl Signer {
    /// One of a few RSA keys, which take a while to make.
    fn rsa(number: usize, kid: &str) -> Self {
        static KEYS: [OnceLock<RsaPrivateKey>; 3] = [const { OnceLock::new() }; 3];
        let key = KEYS[number].get_or_init(|| RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap());
        Self::of_rsa(key, kid)
    }

    fn of_rsa(key: &RsaPrivateKey, kid: &str) -> Self {
        let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        let jwk = json!({
            "kty": "RSA", "kid": kid, "use": "sig",
            "n": b64(key.n().to_bytes_be()), "e": b64(key.e().to_bytes_be()),
        });
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        Signer { key, algorithm: Algorithm::RS256, kid: kid.to_owned(), jwk }
    }

    fn ec(kid: &str) -> Self {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap();
        Self::of_ec(der.as_ref(), &pair, "P-256", Algorithm::ES256, kid)
    }

    fn ec384(kid: &str) -> Self {
        let signing = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap();
        Self::of_ec(der.as_ref(), &pair, "P-384", Algorithm::ES384, kid)
    }

    fn of_ec(der: &[u8], pair: &EcdsaKeyPair, curve: &str, algorithm: Algorithm, kid: &str) -> Self {
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let jwk = json!({ "kty": "EC", "crv": curve, "kid": kid, "x": b64(x), "y": b64(y) });
        Signer { key: EncodingKey::from_ec_der(der), algorithm, kid: kid.to_owned(), jwk }
    }

    fn ed(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key()) });
        Signer { key: EncodingKey::from_ed_der(der.as_ref()), algorithm: Algorithm::EdDSA, kid: kid.to_owned(), jwk }
    }

    fn header(&self) -> Value {
        json!({ "alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": self.kid })
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims.to_string().as_bytes(), &self.key, self.algorithm)
    }
}

fn signed(header: &Value, payload: &[u8], key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(payload));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// What alice's tokens say at this issuer; each token is another.
fn claims(issuer: &str) -> Value {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let jti = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice", "preferred_username": "alice", "client_id": "client",
        "scope": "mcp:read mcp:tools", "roles": ["user"], "iat": now(), "exp": now() + 300, "jti": jti.to_string(),
    })
}

// --- asking -------------------------------------------------------------------------------------

fn start(issuers: &[&Mock], args: &[&str]) -> Server {
    let issuers: Vec<_> = issuers.iter().flat_map(|mock| ["--issuer", mock.url.as_str()]).collect();
    Server::start_with("step10", &[&issuers[..], args].concat()).unwrap()
}

async fn ping(server: &Server, token: &str) -> Reply {
    Reply::of(server.legacy("ping", json!({})).header("Authorization", format!("Bearer {token}"))).await.unwrap()
}

async fn call(server: &Server, token: &str, tool: &str, arguments: Value) -> Reply {
    let request = server.legacy("tools/call", json!({ "name": tool, "arguments": arguments }));
    Reply::of(request.header("Authorization", format!("Bearer {token}"))).await.unwrap()
}

async fn health(server: &Server) -> Value {
    let reply = Reply::of(server.get("/health")).await.unwrap();
    let said = reply.json();
    // What probes look at is the status.
    assert_eq!(reply.status, if said["status"] == "unavailable" { 503 } else { 200 }, "{reply:?}");
    said
}

fn reason(reply: &Reply) -> String {
    let body = reply.json();
    let reason = body["error"]["data"]["reason"].as_str().or(body["reason"].as_str());
    format!("{} {}", reply.status.as_u16(), reason.unwrap_or_default())
}

/// Asks until it is so, which must be soon.
async fn until<F: Future<Output = bool>>(what: &str, limit: Duration, mut so: impl FnMut() -> F) {
    let started = Instant::now();
    while !so().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const SOON: Duration = Duration::from_secs(20);

// --- hostile providers --------------------------------------------------------------------------

const REFUSED: &str = "is refused";
const UNFIT: &str = "no key that is fit";
const NOT_JSON: &str = "not the JSON document";

/// What comes in the place of a key set, and what `/health` calls it. `trap` is a host that must never be asked.
fn hostile_sets(good: &Signer, evil: &Signer, trap: &Mock) -> Vec<(&'static str, Answer, &'static str)> {
    let evil_jwk = &evil.jwk;
    let of = |jwk: Value| Answer::Json(set(vec![jwk]));
    let but = |name: &str, value: Value| of(with(evil_jwk, name, value));
    let number = |bytes: &[u8]| json!(b64(bytes));
    let text = set(vec![evil_jwk.clone()]).to_string();
    let mut even = URL_SAFE_NO_PAD.decode(evil_jwk["n"].as_str().unwrap()).unwrap();
    *even.last_mut().unwrap() &= 0xfe;
    let weak = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
    let huge = [&[0xff; 1025][..], &[1]].concat();
    let ec = Signer::ec("k1").jwk;
    let ed = Signer::ed("k1").jwk;
    let location = format!("Location: {}/jwks\r\n", trap.url);
    vec![
        ("no JSON", ok("nonsense"), NOT_JSON),
        ("HTML", raw("200 OK", "Content-Type: text/html\r\n", "<html></html>"), NOT_JSON),
        ("nothing", ok(""), NOT_JSON),
        ("an array", Answer::Json(json!([evil_jwk])), NOT_JSON),
        ("an array of arrays", Answer::Json(json!([[evil_jwk]])), NOT_JSON),
        ("a key as an array", of(json!(["RSA", "sig", null, "RS256", "k1", null, evil_jwk["n"], "AQAB"])), UNFIT),
        ("keys is an object", Answer::Json(json!({ "keys": evil_jwk })), NOT_JSON),
        ("no keys member", Answer::Json(json!({ "key": [] })), NOT_JSON),
        ("two keys members", ok(&format!("{{\"keys\":[],{}", &text[1..])), NOT_JSON),
        ("something behind", ok(&format!("{text} {text}")), NOT_JSON),
        ("not UTF-8", Answer::Raw("200 OK".to_owned(), [text.as_bytes(), &[0xff]].concat()), NOT_JSON),
        ("nested very deeply", ok(&format!("{{\"keys\":{}", "[".repeat(100_000))), NOT_JSON),
        ("compressed", raw("200 OK", "Content-Encoding: gzip\r\n", "\u{1f}\u{8b}"), NOT_JSON),
        ("an empty set", Answer::Json(set(vec![])), UNFIT),
        ("too many keys", Answer::Json(set(vec![evil_jwk.clone(); 101])), REFUSED),
        ("giant, announced", Answer::Trickle("200 OK\r\nContent-Length: 1073741824".to_owned()), "larger than"),
        ("giant, unannounced", Answer::Endless, "larger than"),
        ("giant, but valid", ok(&format!("{text}{}", " ".repeat(300 * 1024))), "larger than"),
        ("ever so slowly", Answer::Trickle("200 OK".to_owned()), "too long"),
        ("never", Answer::After(Duration::from_secs(30), Box::new(ok(&text))), "too long"),
        ("cut off", Answer::Raw("200 OK\r\nContent-Length: 5000".to_owned(), text.clone().into_bytes()), "cannot be"),
        ("no answer", Answer::Nothing, "cannot be reached"),
        ("redirect to another host", raw("302 Found", &location, &text), "redirects"),
        ("lasting redirect", raw("308 Permanent", &location, &text), "redirects"),
        ("redirect to itself", raw("307 Temporary", "Location: /jwks\r\n", &text), "redirects"),
        ("404", raw("404 Not Found", "", &text), "status 404"),
        ("500", raw("500 Oops", "", &text), "status 500"),
        ("401", raw("401 No", "", &text), "status 401"),
        ("partial", raw("206 Partial", "", &text), "status 206"),
        ("use enc", but("use", json!("enc")), UNFIT),
        ("use of another type", but("use", json!(["sig"])), UNFIT),
        ("key_ops sign", but("key_ops", json!(["sign"])), UNFIT),
        ("alg HS256", but("alg", json!("HS256")), UNFIT),
        ("alg RS512", but("alg", json!("RS512")), UNFIT),
        ("alg none", but("alg", json!("none")), UNFIT),
        ("alg of another kty", but("alg", json!("ES256")), UNFIT),
        ("alg for encryption", but("alg", json!("RSA-OAEP")), UNFIT),
        ("kty oct", of(json!({ "kty": "oct", "kid": "k1", "k": b64("secret") })), UNFIT),
        ("kty oct with alg HS256", of(json!({ "kty": "oct", "kid": "k1", "alg": "HS256", "k": b64("secret") })), UNFIT),
        ("kty rsa", but("kty", json!("rsa")), UNFIT),
        ("kty unknown", but("kty", json!("AKP")), UNFIT),
        ("RSA with a secret", but("k", json!(b64("secret"))), UNFIT),
        ("RSA with a curve", but("crv", json!("P-256")), UNFIT),
        ("1024 bits", of(Signer::of_rsa(&weak, "k1").jwk), UNFIT),
        ("8200 bits", but("n", number(&huge)), UNFIT),
        ("an even modulus", but("n", number(&even)), UNFIT),
        ("no modulus", but("n", Value::Null), UNFIT),
        ("modulus with padding", but("n", json!(format!("{}==", evil_jwk["n"].as_str().unwrap()))), UNFIT),
        ("exponent 1", but("e", number(&[1])), UNFIT),
        ("exponent 3", but("e", number(&[3])), UNFIT),
        ("exponent 65536", but("e", number(&[1, 0, 0])), UNFIT),
        ("exponent of 5 bytes", but("e", number(&[1, 0, 0, 0, 1])), UNFIT),
        ("a member twice", ok(&text.replacen("\"kid\"", "\"n\":\"AQAB\",\"kid\"", 1)), UNFIT),
        ("kid a number", but("kid", json!(1)), UNFIT),
        ("kid twice, one malformed", Answer::Json(set(vec![with(evil_jwk, "alg", json!(1)), evil_jwk.clone()])), UNFIT),
        ("kid very long", but("kid", json!("k".repeat(1000))), UNFIT),
        ("kid twice", Answer::Json(set(vec![good.jwk.clone(), evil_jwk.clone()])), UNFIT),
        ("not on the curve", of(with(&ec, "x", json!(b64([7; 32])))), UNFIT),
        ("a curve that is not the point's", of(with(&ec, "crv", json!("P-384"))), UNFIT),
        (
            "P-384, not on the curve",
            of(with(&with(&with(&ec, "crv", json!("P-384")), "x", json!(b64([7; 48]))), "y", json!(b64([7; 48])))),
            UNFIT,
        ),
        ("a point too short", of(with(&ec, "y", json!(b64([7; 31])))), UNFIT),
        ("Ed25519 too short", of(with(&ed, "x", json!(b64([7; 31])))), UNFIT),
        ("Ed448", of(with(&ed, "crv", json!("Ed448"))), UNFIT),
        ("X25519", of(with(&ed, "crv", json!("X25519"))), UNFIT),
    ]
}

/// Tokens that whoever controls the key set would make, or guess at.
fn forged(issuer: &str, evil: &Signer) -> Vec<String> {
    let secret = |secret: &[u8]| {
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": "k1" });
        let key = EncodingKey::from_secret(secret);
        signed(&header, claims(issuer).to_string().as_bytes(), &key, Algorithm::HS256)
    };
    vec![evil.sign(&claims(issuer)), secret(b"secret"), secret(evil.jwk["n"].as_str().unwrap().as_bytes())]
}

async fn has_problem(server: &Server, mock: &Mock, problem: &str) -> bool {
    health(server).await["issuers"][&mock.url]["problem"].as_str().is_some_and(|said| said.contains(problem))
}

/// First the provider is hostile: nobody gets in. Then it is good: who has a good token does, soon. Then it is hostile
/// again: they still do, and nobody else.
async fn survive(server: Arc<Server>, mock: Mock, name: &'static str, hostile: Answer, problem: &'static str) {
    let (good, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let alice = || good.sign(&claims(&mock.url));
    let nobody_else = async || {
        for token in forged(&mock.url, &evil) {
            let reply = ping(&server, &token).await;
            assert!(matches!(reply.status.as_u16(), 401 | 503), "{name}: {reply:?}");
        }
    };
    until(name, SOON, || has_problem(&server, &mock, problem)).await;
    nobody_else().await;
    let refused = ping(&server, &alice()).await;
    let wanted = if name.starts_with("kid twice") { "503 key_ambiguous" } else { "503 keys_missing" };
    assert_eq!(reason(&refused), wanted, "{name}");
    // Nobody is told to wait for what takes a change.
    let passing = ["too long", "cannot be", "status 500"].iter().any(|passing| problem.contains(passing));
    assert_eq!(refused.text.contains("Try again"), passing, "{name}: {refused:?}");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{name}: {refused:?}");
    mock.put_keys(&[&good]);
    until(name, SOON, || async { ping(&server, &alice()).await.status == 200 }).await;
    nobody_else().await;
    mock.put("/jwks", hostile);
    until(name, SOON, || has_problem(&server, &mock, problem)).await;
    let started = Instant::now();
    assert_eq!(ping(&server, &alice()).await.status, 200, "{name}: a good key was taken away");
    assert!(started.elapsed() < Duration::from_secs(2), "{name}: a known key had to wait");
    nobody_else().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_key_set_lets_anybody_in_or_takes_good_keys_away() {
    let (good, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let trap = Mock::good(&[&evil]);
    let rows = hostile_sets(&good, &evil, &trap);
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for rows in rows.chunks(16) {
        let mocks: Vec<_> = rows.iter().map(|_| Mock::good(&[])).collect();
        for (mock, (_, hostile, _)) in mocks.iter().zip(rows) {
            mock.put("/jwks", hostile.clone());
        }
        let server = Arc::new(start(&mocks.iter().collect::<Vec<_>>(), &QUICK));
        let mut all = tokio::task::JoinSet::new();
        for (mock, (name, hostile, problem)) in mocks.into_iter().zip(rows) {
            all.spawn(survive(Arc::clone(&server), mock, name, hostile.clone(), problem));
        }
        while let Some(outcome) = all.join_next().await {
            outcome.unwrap();
        }
        let log = server.stderr().unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
    assert_eq!(trap.hits("/jwks"), 0, "a redirect was followed");
}

/// Key sets as providers publish them: an entry that no token could mean takes nothing away, and what fits is looked for
/// before it is said that several keys would.
#[tokio::test]
async fn an_entry_that_is_no_candidate_takes_no_key_away() {
    // The entries, whose tokens get in, and whose are refused and why.
    type Row<'a> = (&'a str, Vec<Value>, Vec<&'a Signer>, Vec<(&'a Signer, &'a str)>);
    let (rsa, other, ec, p384, ed) =
        (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"), Signer::ec("k1"), Signer::ec384("k1"), Signer::ed("k1"));
    let of = |key: &Signer, name: &str, value: Value| with(&key.jwk, name, value);
    let ps = |number| Signer { algorithm: Algorithm::PS256, ..Signer::rsa(number, "k1") };
    let nameless = |key: Signer| Signer { jwk: with(&key.jwk, "kid", Value::Null), kid: String::new(), ..key };
    let encryption = |key: &Signer| with(&of(key, "use", json!("enc")), "alg", json!("RSA-OAEP"));
    // JSON that says the same in another order of its members.
    let reordered = || {
        let jwk = rsa.jwk.as_object().unwrap();
        let members = jwk.iter().rev().map(|(name, value)| (name.clone(), value.clone()));
        Value::Object(members.chain([("x5t".to_owned(), json!("abc"))]).collect())
    };
    let (rsa_ps, other_ps) = (ps(0), ps(1));
    let (nameless_rsa, nameless_other) = (nameless(Signer::rsa(0, "")), nameless(Signer::rsa(1, "")));
    let second_name = Signer::rsa(0, "k2");
    let rows: Vec<Row> = vec![
        ("use enc", vec![rsa.jwk.clone(), encryption(&other)], vec![&rsa, &rsa_ps], vec![(&other, "signature_wrong")]),
        ("use enc first", vec![encryption(&other), rsa.jwk.clone()], vec![&rsa], vec![(&other, "signature_wrong")]),
        ("alg of encryption", vec![of(&other, "alg", json!("RSA-OAEP-256")), rsa.jwk.clone()], vec![&rsa], vec![]),
        ("alg that we do not use", vec![of(&other, "alg", json!("RS512")), rsa.jwk.clone()], vec![&rsa], vec![]),
        ("key_ops", vec![of(&other, "key_ops", json!(["wrapKey"])), rsa.jwk.clone()], vec![&rsa], vec![]),
        ("the encryption half of the same key", vec![encryption(&rsa), rsa.jwk.clone()], vec![&rsa], vec![]),
        (
            "a secret",
            vec![json!({ "kty": "oct", "kid": "k1", "k": b64("secret") }), rsa.jwk.clone()],
            vec![&rsa],
            vec![],
        ),
        (
            "another kty",
            vec![json!({ "kty": "AKP", "kid": "k1", "alg": "ML-DSA-65", "pub": "AA" }), rsa.jwk.clone()],
            vec![&rsa],
            vec![],
        ),
        (
            "another kty, malformed",
            vec![json!({ "kty": "AKP", "kid": "k1", "x": { "a": 1 } }), rsa.jwk.clone()],
            vec![&rsa],
            vec![],
        ),
        (
            "enc, malformed",
            vec![json!({ "kty": "RSA", "kid": "k1", "use": "enc", "n": 1 }), rsa.jwk.clone()],
            vec![&rsa],
            vec![],
        ),
        (
            "a curve for key agreement",
            vec![of(&ed, "crv", json!("X25519")), rsa.jwk.clone(), ed.jwk.clone()],
            vec![&rsa, &ed],
            vec![],
        ),
        ("a curve that we do not use", vec![of(&ec, "crv", json!("secp256k1")), rsa.jwk.clone()], vec![&rsa], vec![]),
        ("too short", vec![of(&other, "n", json!(b64([0xff; 128]))), rsa.jwk.clone()], vec![&rsa], vec![]),
        ("the same again", vec![rsa.jwk.clone(), rsa.jwk.clone()], vec![&rsa, &rsa_ps], vec![]),
        ("the same, written otherwise", vec![rsa.jwk.clone(), reordered()], vec![&rsa], vec![]),
        (
            "the same without a name",
            vec![nameless_rsa.jwk.clone(), nameless_rsa.jwk.clone()],
            vec![&nameless_rsa],
            vec![],
        ),
        (
            "the same by two names",
            vec![rsa.jwk.clone(), second_name.jwk.clone()],
            vec![&rsa, &second_name, &nameless_rsa],
            vec![],
        ),
        (
            "one entry for each alg",
            vec![of(&rsa, "alg", json!("RS256")), of(&rsa, "alg", json!("PS256"))],
            vec![&rsa, &rsa_ps],
            vec![],
        ),
        (
            "a key for each alg",
            vec![of(&rsa, "alg", json!("RS256")), of(&other, "alg", json!("PS256"))],
            vec![&rsa, &other_ps],
            vec![(&rsa_ps, "signature_wrong"), (&other, "signature_wrong")],
        ),
        ("RSA and EC", vec![rsa.jwk.clone(), ec.jwk.clone()], vec![&rsa, &ec], vec![]),
        (
            "all types",
            vec![rsa.jwk.clone(), ec.jwk.clone(), p384.jwk.clone(), ed.jwk.clone()],
            vec![&rsa, &ec, &p384, &ed],
            vec![],
        ),
        (
            "the private half of another",
            vec![with(&of(&other, "use", json!("enc")), "d", json!("AQAB")), rsa.jwk.clone()],
            vec![&rsa],
            vec![(&other, "signature_wrong")],
        ),
        // Two different candidates: nobody can say which is meant, so neither is used.
        (
            "different keys",
            vec![rsa.jwk.clone(), other.jwk.clone(), ec.jwk.clone()],
            vec![&ec],
            vec![(&rsa, "key_ambiguous"), (&other, "key_ambiguous")],
        ),
        (
            "different keys, and one again",
            vec![rsa.jwk.clone(), other.jwk.clone(), rsa.jwk.clone(), ec.jwk.clone()],
            vec![&ec],
            vec![(&rsa, "key_ambiguous")],
        ),
        (
            "different keys for PS256 only",
            vec![rsa.jwk.clone(), of(&other, "alg", json!("PS256"))],
            vec![&rsa],
            vec![(&rsa_ps, "key_ambiguous"), (&other_ps, "key_ambiguous")],
        ),
        (
            "different keys without a name",
            vec![nameless_rsa.jwk.clone(), nameless_other.jwk.clone()],
            vec![],
            vec![(&nameless_rsa, "key_ambiguous")],
        ),
        (
            "the private half of the same",
            vec![with(&encryption(&rsa), "d", json!("AQAB")), rsa.jwk.clone(), ec.jwk.clone()],
            vec![&ec],
            vec![(&rsa, "algorithm_other")],
        ),
    ];
    for rows in rows.chunks(16) {
        let mocks: Vec<_> = rows.iter().map(|_| Mock::good(&[])).collect();
        for (mock, (_, entries, ..)) in mocks.iter().zip(rows) {
            mock.put("/jwks", Answer::Json(set(entries.clone())));
        }
        let server = start(&mocks.iter().collect::<Vec<_>>(), &["--audience", AUDIENCE]);
        for (mock, (name, _, good, bad)) in mocks.iter().zip(rows) {
            let token = |key: &Signer| {
                let kid = if key.kid.is_empty() { Value::Null } else { json!(key.kid) };
                key.sign_as(&with(&key.header(), "kid", kid), &claims(&mock.url))
            };
            for key in good {
                let reply = ping(&server, &token(key)).await;
                assert_eq!(reply.outcome(), (200, 0), "{name}, {:?}: {reply:?}", key.algorithm);
            }
            for (key, wanted) in bad {
                let reply = ping(&server, &token(key)).await;
                assert_eq!(reason(&reply), format!("401 {wanted}"), "{name}: {reply:?}");
                assert!(!reply.text.to_lowercase().contains("again"), "{name}: {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn where_waiting_does_not_help_nobody_is_told_to_wait() {
    let (one, two) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let mock = Mock::good(&[]);
    let server = start(&[&mock], &QUICK);
    let ask = async || ping(&server, &one.sign(&claims(&mock.url))).await;
    for (keys, wanted, says) in [
        (vec![], "503 keys_missing", "No key of the set that the identity provider publishes can be used"),
        (vec![with(&one.jwk, "use", json!("enc"))], "503 keys_missing", "No key of the set"),
        (vec![one.jwk.clone(), two.jwk.clone()], "503 key_ambiguous", "several different keys by the name (kid)"),
    ] {
        mock.put("/jwks", Answer::Json(set(keys)));
        until(wanted, SOON, || async { reason(&ask().await) == wanted && ask().await.text.contains(says) }).await;
        let reply = ask().await;
        assert!(!reply.text.contains("not here yet") && !reply.text.contains("Try again"), "{reply:?}");
        assert_eq!(reply.header("retry-after"), "60", "{reply:?}");
        assert_eq!(reply.header("www-authenticate"), "", "another token would not help");
        let body = reply.json();
        assert_eq!(body["error"], "temporarily_unavailable", "{reply:?}");
        assert!(body["error_description"].is_string() && body["correlation_id"].is_string(), "{reply:?}");
    }
    // A stranger without a token learns as much.
    let reply = Reply::of(server.legacy("ping", json!({}))).await.unwrap();
    assert!(reply.status == 503 && reply.text.contains("No key of the set"), "{reply:?}");
}

/// A name, what the metadata is then, and what `/health` calls it.
type MetadataRow = (&'static str, Box<dyn Fn(&Mock) -> Answer>, &'static str);

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_metadata_is_believed() {
    let (good, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let trap = Mock::good(&[&evil]);
    let location = format!("Location: {}/.well-known/oauth-authorization-server\r\n", trap.url);
    let but =
        |name: &'static str, value: Value| move |mock: &Mock| Answer::Json(with(&mock.metadata(), name, value.clone()));
    let fixed = |answer: Answer| move |_: &Mock| answer.clone();
    let rows: Vec<MetadataRow> = vec![
        ("another issuer", Box::new(but("issuer", json!(trap.url))), "another issuer"),
        (
            "a slash more",
            Box::new(|mock| Answer::Json(with(&mock.metadata(), "issuer", json!(format!("{}/", mock.url))))),
            "another issuer",
        ),
        (
            "localhost",
            Box::new(|mock| {
                Answer::Json(with(&mock.metadata(), "issuer", json!(mock.url.replace("127.0.0.1", "localhost"))))
            }),
            "another issuer",
        ),
        ("no issuer", Box::new(but("issuer", Value::Null)), NOT_JSON),
        (
            "issuer an array",
            Box::new(|mock| Answer::Json(with(&mock.metadata(), "issuer", json!([mock.url])))),
            NOT_JSON,
        ),
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
        ("giant", Box::new(fixed(Answer::Endless)), "larger than"),
        ("404 everywhere", Box::new(fixed(raw("404 Not Found", "", "{}"))), "no metadata"),
    ];
    let mocks: Vec<_> = rows.iter().map(|_| Mock::good(&[&good])).collect();
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
async fn a_spoilt_key_does_not_spoil_the_others() {
    let (one, two, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k2"), Signer::rsa(2, "k1"));
    let mock = Mock::good(&[&one]);
    let server = start(&[&mock], &QUICK);
    assert_eq!(ping(&server, &one.sign(&claims(&mock.url))).await.status, 200);
    // Its name stands for two keys now, while a new one is as it should be.
    mock.put_keys(&[&one, &evil, &two]);
    until("the new key", SOON, || async { ping(&server, &two.sign(&claims(&mock.url))).await.status == 200 }).await;
    assert_eq!(ping(&server, &one.sign(&claims(&mock.url))).await.status, 200);
    assert_eq!(reason(&ping(&server, &evil.sign(&claims(&mock.url))).await), "401 signature_wrong");
    // A key whose private half is there for all to read is nobody's any more, whoever signed.
    let seen = one.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    mock.put("/jwks", Answer::Json(set(vec![with(&one.jwk, "d", json!("AQAB")), two.jwk.clone()])));
    until("the leaked key", SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
    assert_eq!(ping(&server, &two.sign(&claims(&mock.url))).await.status, 200);
    // By whatever name the half goes, whatever part of it is there, and whatever else is wrong with it.
    for (name, half) in [
        ("d", with(&with(&one.jwk, "kid", json!("x")), "d", json!("AQAB"))),
        ("no kid", with(&with(&one.jwk, "kid", Value::Null), "p", json!("AQAB"))),
        ("dp", with(&with(&one.jwk, "kid", json!("k3")), "dp", json!("AQAB"))),
        ("oth", with(&with(&one.jwk, "kid", json!("k3")), "oth", json!([]))),
        ("malformed", with(&with(&one.jwk, "alg", json!(1)), "qi", json!(1))),
    ] {
        mock.put_keys(&[&one, &two]);
        until(name, SOON, || async { ping(&server, &seen).await.status == 200 }).await;
        mock.put("/jwks", Answer::Json(set(vec![half, one.jwk.clone(), two.jwk.clone()])));
        until(name, SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
        assert_eq!(ping(&server, &two.sign(&claims(&mock.url))).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_listed_goes_even_if_no_key_is_left() {
    let (one, two) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k2"));
    let mock = Mock::good(&[&one]);
    let server = start(&[&mock], &QUICK);
    let seen = one.sign(&claims(&mock.url));
    let other = |kid: &str| json!({ "kty": "EC", "crv": "P-521", "kid": kid, "alg": "ES512", "x": b64([7; 66]), "y": b64([8; 66]) });
    assert_eq!(ping(&server, &seen).await.status, 200);
    mock.put("/jwks", Answer::Json(set(vec![other("k3")])));
    until("the withdrawn key", SOON, || async { reason(&ping(&server, &seen).await) == "503 keys_missing" }).await;
    assert!(has_problem(&server, &mock, UNFIT).await);
    // Its name stands for another key now, though for one that is not used here.
    mock.put_keys(&[&one]);
    until("back again", SOON, || async { ping(&server, &seen).await.status == 200 }).await;
    mock.put("/jwks", Answer::Json(set(vec![other("k1"), two.jwk.clone()])));
    until("the replaced key", SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
}

#[tokio::test]
async fn metadata_that_goes_bad_is_seen_and_not_relied_on_for_ever() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let server = start(&[&mock], &[&QUICK[..], &["--max-stale", "4s"]].concat());
    let seen = key.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    let moved = with(&mock.metadata(), "issuer", json!("https://other.example"));
    mock.put("/.well-known/oauth-authorization-server", Answer::Json(moved));
    until("it is seen", SOON, || has_problem(&server, &mock, "another issuer")).await;
    assert_eq!(health(&server).await["issuers"][&mock.url]["state"], "stale");
    assert_eq!(ping(&server, &seen).await.status, 200, "it is no reason to take keys away at once");
    until("it is too old", SOON, || async { reason(&ping(&server, &seen).await) == "503 keys_missing" }).await;
    mock.become_good(&[&key]);
    until("back again", SOON, || async { ping(&server, &seen).await.status == 200 }).await;
}

// --- hostile tokens -----------------------------------------------------------------------------

#[tokio::test]
async fn a_token_gets_in_by_its_own_issuer_s_keys_or_not_at_all() {
    let rsa = Signer::rsa(0, "k1");
    let (ec, ed, other) = (Signer::ec("ec"), Signer::ed("ed"), Signer::rsa(1, "k1"));
    let only_b = Signer::rsa(2, "only-b");
    let pss = Signer {
        jwk: with(&Signer::rsa(2, "pss").jwk, "alg", json!("PS256")),
        algorithm: Algorithm::PS256,
        ..Signer::rsa(2, "pss")
    };
    let (p384, p384_2) = (Signer::ec384("p384"), Signer::ec384("p384-2"));
    let (a, b) = (Mock::good(&[&rsa, &ec, &ed, &pss, &p384, &p384_2]), Mock::good(&[&other, &only_b]));
    let server = start(&[&a, &b], &["--audience", AUDIENCE]);
    let good = || claims(&a.url);
    let but = |name: &str, value: Value| rsa.sign(&with(&good(), name, value));
    let header = |name: &str, value: Value| rsa.sign_as(&with(&rsa.header(), name, value), &good());
    let with_null = |name: &str| {
        let mut claims = good();
        claims[name] = Value::Null;
        rsa.sign(&claims)
    };
    let hs = |secret: &[u8]| {
        let header = with(&rsa.header(), "alg", json!("HS256"));
        signed(&header, good().to_string().as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256)
    };
    let n = URL_SAFE_NO_PAD.decode(rsa.jwk["n"].as_str().unwrap()).unwrap();
    let whole = rsa.sign(&good());
    let (message, signature) = whole.rsplit_once('.').unwrap();
    let payload = |payload: &str| signed(&rsa.header(), payload.as_bytes(), &rsa.key, Algorithm::RS256);
    let nested = |members: &str| payload(&good().to_string().replacen('{', &format!("{{{members},"), 1));
    let rows: Vec<(&str, String, &str)> = vec![
        ("RS256", whole.clone(), ""),
        ("ES256", ec.sign(&good()), ""),
        ("EdDSA", ed.sign(&good()), ""),
        ("ES384", p384.sign(&good()), ""),
        ("ES384 with a P-256 key", ec.sign_as(&with(&ec.header(), "alg", json!("ES384")), &good()), "algorithm_other"),
        (
            "ES256 with a P-384 key",
            p384.sign_as(&with(&p384.header(), "alg", json!("ES256")), &good()),
            "algorithm_other",
        ),
        (
            "ES384, another's signature",
            p384.sign_as(&with(&p384.header(), "kid", json!("p384-2")), &good()),
            "signature_wrong",
        ),
        ("alg PS384", header("alg", json!("PS384")), "algorithm_other"),
        ("nonce, which some access tokens have", but("nonce", json!("n")), ""),
        ("an ID token by at_hash", but("at_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng")), "typ_other"),
        ("an ID token by c_hash", but("c_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng")), "typ_other"),
        ("an ID token, at_hash null", with_null("at_hash"), "typ_other"),
        ("PS256", pss.sign(&good()), ""),
        ("PS256 with a key for both", Signer { algorithm: Algorithm::PS256, ..Signer::rsa(0, "k1") }.sign(&good()), ""),
        ("no kid, one key fits", ec.sign_as(&with(&ec.header(), "kid", Value::Null), &good()), ""),
        ("aud among others", but("aud", json!(["https://x.example", AUDIENCE])), ""),
        ("typ JWT", header("typ", json!("JWT")), ""),
        ("of the other issuer", other.sign(&claims(&b.url)), ""),
        ("HS256, the modulus as secret", hs(&n), "algorithm_other"),
        ("HS256, the JWK as secret", hs(rsa.jwk.to_string().as_bytes()), "algorithm_other"),
        ("HS256, no secret", hs(b""), "algorithm_other"),
        (
            "alg none",
            format!("{}.{}.", b64(json!({ "alg": "none", "kid": "k1" }).to_string()), b64(good().to_string())),
            "token_malformed",
        ),
        ("alg RS512", header("alg", json!("RS512")), "algorithm_other"),
        ("alg RS384", header("alg", json!("RS384")), "algorithm_other"),
        ("alg ES256 with an RSA key", header("alg", json!("ES256")), "algorithm_other"),
        ("alg EdDSA with an RSA key", header("alg", json!("EdDSA")), "algorithm_other"),
        ("alg PS256, signed as RS256", header("alg", json!("PS256")), "signature_wrong"),
        (
            "alg RS256 with a key for PS256",
            Signer { algorithm: Algorithm::RS256, ..Signer::rsa(2, "pss") }.sign(&good()),
            "algorithm_other",
        ),
        ("alg RS256, kid of an EC key", header("kid", json!("ec")), "algorithm_other"),
        ("alg in small letters", header("alg", json!("rs256")), "token_malformed"),
        ("signed by the other issuer, same kid", other.sign(&good()), "signature_wrong"),
        ("said to be of the other issuer, same kid", rsa.sign(&claims(&b.url)), "signature_wrong"),
        ("kid of the other issuer", only_b.sign(&good()), "key_unknown"),
        ("kid of another key", header("kid", json!("pss")), "algorithm_other"),
        ("no kid, several keys fit", pss.sign_as(&with(&pss.header(), "kid", Value::Null), &good()), "key_ambiguous"),
        ("kid empty", header("kid", json!("")), "key_unknown"),
        ("kid a path", header("kid", json!("../../dev/null")), "key_unknown"),
        ("kid in other letters", header("kid", json!("K1")), "key_unknown"),
        ("kid a number", header("kid", json!(1)), "token_malformed"),
        (
            "jwk in the header",
            other.sign_as(&with(&rsa.header(), "jwk", other.jwk.clone()), &good()),
            "signature_wrong",
        ),
        (
            "jku in the header",
            other.sign_as(&with(&rsa.header(), "jku", json!(format!("{}/jwks", b.url))), &good()),
            "signature_wrong",
        ),
        ("crit", header("crit", json!(["exp"])), "crit_unknown"),
        ("an ID token by its typ", header("typ", json!("id_token+jwt")), "typ_other"),
        ("a logout token", header("typ", json!("logout+jwt")), "typ_other"),
        ("iss unknown", but("iss", json!("https://evil.example")), "issuer_unknown"),
        ("iss with a slash", but("iss", json!(format!("{}/", a.url))), "issuer_unknown"),
        ("iss in capitals", but("iss", json!(a.url.to_uppercase())), "issuer_unknown"),
        ("iss missing", but("iss", Value::Null), "issuer_missing"),
        ("iss an array", but("iss", json!([a.url])), "claim_malformed"),
        (
            "iss twice",
            payload(&good().to_string().replacen('{', &format!("{{\"iss\":\"{}\",", b.url), 1)),
            "claim_malformed",
        ),
        ("sub twice", payload(&good().to_string().replacen('{', "{\"sub\":\"bob\",", 1)), "claim_malformed"),
        ("a role twice", nested(r#""realm_access":{"roles":["guest"],"roles":["admin"]}"#), "claim_malformed"),
        ("twice, deep within", nested(r#""x":[{"y":{"z":1,"z":1}}]"#), "claim_malformed"),
        ("twice, once escaped", nested(r#""x":{"y":1,"\u0079":2}"#), "claim_malformed"),
        ("the same name in two objects", nested(r#""x":{"y":{"y":1}},"y":[{"y":1},{"y":1}]"#), ""),
        ("nested too deeply", nested(&format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200))), "claim_malformed"),
        ("aud missing", but("aud", Value::Null), "audience_missing"),
        ("aud another", but("aud", json!("https://other.example/mcp")), "audience_other"),
        ("aud with a slash", but("aud", json!(format!("{AUDIENCE}/"))), "audience_other"),
        ("aud others", but("aud", json!(["account", "x"])), "audience_other"),
        ("aud empty", but("aud", json!([])), "audience_other"),
        ("aud a number", but("aud", json!(1)), "claim_malformed"),
        ("sub a number", but("sub", json!(5)), "claim_malformed"),
        ("exp absurd", but("exp", json!(1e30)), "claim_malformed"),
        ("bound by DPoP", but("cnf", json!({ "jkt": "abc" })), "token_bound"),
        ("bound by mutual TLS", but("cnf", json!({ "x5t#S256": "abc" })), "token_bound"),
        ("expired", but("exp", json!(now() - 100)), "expired"),
        ("exp missing", but("exp", Value::Null), "claim_missing"),
        ("exp a text", but("exp", json!("tomorrow")), "claim_malformed"),
        ("not yet valid", but("nbf", json!(now() + 100)), "not_yet_valid"),
        ("sub missing", but("sub", Value::Null), "claim_missing"),
        ("sub empty", but("sub", json!("")), "subject_missing"),
        ("sub of 2 KiB", but("sub", json!("a".repeat(2048))), "claim_too_long"),
        ("scope a number", but("scope", json!(1)), "claim_malformed"),
        ("two scopes in one", but("scope", json!(["mcp:read mcp:tools"])), "claim_malformed"),
        ("roles null", with_null("roles"), "claim_malformed"),
        ("roles a number", but("roles", json!(1)), "claim_malformed"),
        ("roles with a number", but("roles", json!(["admin", 1])), "claim_malformed"),
        ("preferred_username a number", but("preferred_username", json!(1)), "claim_malformed"),
        ("no signature", format!("{message}."), "signature_wrong"),
        ("half a signature", format!("{message}.{}", &signature[..100]), "signature_wrong"),
        (
            "another's signature",
            format!("{message}.{}", but("sub", json!("bob")).rsplit('.').next().unwrap()),
            "signature_wrong",
        ),
        ("the payload is no object", payload("[]"), "issuer_missing"),
        ("the payload is no JSON", payload("nonsense"), "claim_malformed"),
        ("two parts", message.to_owned(), "token_malformed"),
        ("opaque", "0123456789abcdef".to_owned(), "token_malformed"),
        ("too long", but("x", json!("x".repeat(20_000))), "token_too_long"),
    ];
    for (name, token, wanted) in rows {
        let reply = ping(&server, &token).await;
        if wanted.is_empty() {
            assert_eq!(reply.outcome(), (200, 0), "{name}: {reply:?}");
            continue;
        }
        assert_eq!(reason(&reply), format!("401 {wanted}"), "{name}: {reply:?}");
        let challenge = reply.header("www-authenticate");
        assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains("resource_metadata="), "{name}");
        // Whoever is refused can tell the administrator which line of the log it was, and that line says why.
        let id = reply.header("x-correlation-id");
        assert_eq!(reply.refusal(&Value::Null)["correlation_id"], id, "{name}");
        let log = server.stderr().unwrap();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(id)).collect();
        let [line] = lines[..] else { panic!("{name}: not one line: {lines:?}") };
        for part in [wanted, "peer=127.0.0.1", "status=401", "route=\"/mcp\""] {
            assert!(line.contains(part), "{name}: no {part} in {line}");
        }
        for part in token.split('.').filter(|part| part.len() > 30) {
            assert!(!log.contains(part) && !reply.text.contains(part), "{name}: part of the token");
        }
    }
    assert!(a.hits("/jwks") <= 2, "{}: one at the start, one for all the unknown keys", a.hits("/jwks"));
}

#[tokio::test]
async fn a_claim_of_the_wrong_type_is_named_and_its_value_is_not() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, "extends = \"keycloak\"\n[claims]\nroles = [\"realm_access.roles\", \"urn:example:roles\"]\n")
        .unwrap();
    let server = start(&[&mock], &["--audience", AUDIENCE, "--profile", file.to_str().unwrap()]);
    let secret = "hunter2-hunter2";
    for (claim, value, named) in [
        ("preferred_username", Value::Null, "preferred_username"),
        ("preferred_username", json!([secret]), "preferred_username"),
        ("exp", json!("1795694005"), "exp"),
        ("exp", json!(1e30), "exp"),
        ("nbf", json!([secret]), "nbf"),
        ("iat", json!(secret), "iat"),
        ("jti", json!(1), "jti"),
        ("sub", json!({ secret: 1 }), "sub"),
        ("sub", Value::Null, "sub"),
        ("aud", json!([AUDIENCE, 1]), "aud"),
        ("iss", json!([secret]), "iss"),
        ("azp", json!(5), "azp"),
        ("scope", json!({ secret: {} }), "scope"),
        ("scope", json!("a\u{7f}b"), "scope"),
        ("urn:example:roles", json!(5), "urn:example:roles"),
        ("urn:example:roles", json!({ "admin": true }), "urn:example:roles"),
        ("realm_access", json!({ "roles": [1] }), "realm_access.roles"),
        ("realm_access", json!(secret), "realm_access.roles"),
    ] {
        let mut token = claims(&mock.url);
        token[claim] = value.clone();
        let reply = ping(&server, &key.sign(&token)).await;
        assert_eq!(reason(&reply), "401 claim_malformed", "{claim} {value}: {reply:?}");
        let says = format!("The token's claim {named} has the wrong type.");
        assert!(reply.header("www-authenticate").contains(&says), "{claim} {value}: {reply:?}");
        assert!(reply.text.contains(&says) && !reply.text.contains(secret), "{claim} {value}: {reply:?}");
    }
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let server = start(&[&mock], &["--audience", AUDIENCE, "--profile", "keycloak"]);
    let skewed = |name: &str, by: i64| with(&claims(&mock.url), name, json!(now() + by));
    for (claims, says) in [
        (with(&claims(&mock.url), "aud", Value::Null), &["audience mapper", "mcp:tools", AUDIENCE][..]),
        (with(&claims(&mock.url), "iss", json!("http://x.example")), &["another issuer", &mock.url, "to the letter"]),
        (skewed("exp", -100), &["expired", "s ago", "clocks differ"]),
        (skewed("nbf", 100), &["not valid yet", "clocks"]),
    ] {
        let reply = ping(&server, &key.sign(&claims)).await;
        let description = reply.refusal(&Value::Null)["error_description"].as_str().unwrap().to_owned();
        assert_eq!(reply.status, 401);
        assert!(says.iter().all(|part| description.contains(part)), "{says:?} {description}");
        assert!(reply.header("www-authenticate").contains(&description), "{reply:?}");
    }
    // An ID token of Keycloak's has the same keys and header, and a client that is named like us its audience.
    assert_eq!(reason(&ping(&server, &key.sign(&with(&claims(&mock.url), "typ", json!("ID")))).await), "401 typ_other");
    assert_eq!(ping(&server, &key.sign(&with(&claims(&mock.url), "typ", json!("Bearer")))).await.status, 200);
    // Nor does a path count that leads through what is no object: nobody becomes a guest by a mistake.
    for odd in [json!("admin"), json!(["admin"]), json!({ "roles": { "admin": true } })] {
        let token = key.sign(&with(&claims(&mock.url), "realm_access", odd));
        assert_eq!(reason(&ping(&server, &token).await), "401 claim_malformed");
    }
    // A person without any role of ours is a guest, and is told where roles come from.
    let reply = call(&server, &key.sign(&claims(&mock.url)), "whoami", json!({})).await;
    assert_eq!(reason(&reply), "403 roles_missing");
    assert!(reply.text.contains("realm_access.roles"), "{reply:?}");
    let admin = with(&claims(&mock.url), "realm_access", json!({ "roles": ["admin"] }));
    let reply = call(&server, &key.sign(&with(&admin, "scope", json!("mcp:read"))), "whoami", json!({})).await;
    assert_eq!(reason(&reply), "403 scope_missing");
    assert!(reply.header("www-authenticate").contains("scope=\"mcp:tools\""), "{reply:?}");
    let log = server.stderr().unwrap();
    for reason in ["audience_missing", "issuer_unknown", "expired", "not_yet_valid", "roles_missing", "scope_missing"] {
        assert!(log.contains(&format!("reason=\"{reason}\"")), "{reason}: {log}");
    }
}

// --- time, load and floods ----------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_unknown_keys_cause_one_fetch_in_a_cool_down() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
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
    // Meanwhile nobody whose key is known notices.
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
    while let Some(refused) = flood.join_next().await {
        assert_eq!(refused.unwrap(), "401 key_unknown");
    }
    let fetches = mock.hits("/jwks") - before;
    let allowed = 1 + usize::try_from(started.elapsed().as_secs()).unwrap() / 10;
    assert!(fetches <= allowed, "{fetches} fetches in {:?}", started.elapsed());
    assert_eq!(mock.hits("/.well-known/oauth-authorization-server"), metadata, "the metadata is known");
    // Who comes during the cool-down learns when to come again.
    let reply = ping(&server, &key.sign_as(&with(&key.header(), "kid", json!("late")), &claims(&mock.url))).await;
    assert!((1..=11).contains(&reply.header("retry-after").parse::<u64>().unwrap()), "{reply:?}");
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
}

#[tokio::test]
async fn a_new_key_is_accepted_within_a_cool_down_and_an_old_one_goes() {
    let (old, new) = (Signer::rsa(0, "old"), Signer::rsa(1, "new"));
    let mock = Mock::good(&[&old]);
    let server = start(&[&mock], &QUICK);
    let seen = old.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1100)).await; // the cool-down after the start: what follows is about it
    mock.put_keys(&[&new, &old]);
    let started = Instant::now();
    until("the new key", Duration::from_secs(3), || async {
        ping(&server, &new.sign(&claims(&mock.url))).await.status == 200
    })
    .await;
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    assert_eq!(ping(&server, &seen).await.status, 200, "both are listed");
    mock.put_keys(&[&new]);
    // Even a token that was verified and remembered: the ceiling is 2 s.
    until("the old key", Duration::from_secs(5), || async { reason(&ping(&server, &seen).await) == "401 key_unknown" })
        .await;
    assert_eq!(ping(&server, &new.sign(&claims(&mock.url))).await.status, 200);
}

#[tokio::test]
async fn another_key_of_the_same_name_takes_the_old_one_s_place() {
    let (old, new) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let mock = Mock::good(&[&old]);
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
        let token = |mock: &Mock, key: &Signer| match key.jwk.get("kid") {
            Some(_) => key.sign(&claims(&mock.url)),
            None => key.sign_as(&names_none(key), &claims(&mock.url)),
        };
        let mock = Mock::good(&old.iter().collect::<Vec<_>>());
        // The next fetch by itself would be after a minute.
        let server = start(&[&mock], &["--audience", AUDIENCE, "--jwks-cooldown", "1s"]);
        assert_eq!(ping(&server, &token(&mock, &new[0])).await.status, 401, "{name}");
        mock.put_keys(&new.iter().collect::<Vec<_>>());
        until(name, Duration::from_secs(5), || async { ping(&server, &token(&mock, &new[0])).await.status == 200 })
            .await;
        // Nobody asks any more, and there is no fetch more.
        let fetches = mock.hits("/jwks");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(mock.hits("/jwks"), fetches, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_no_request_with_a_known_key_fails() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
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
    let mock = Mock::good(&[&key]);
    let server = Arc::new(start(&[&mock], &QUICK));
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
    mock.put("/jwks", Answer::After(Duration::from_secs(30), Box::new(Answer::Nothing)));
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
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    let (refused, waited) = waiting.await.unwrap();
    assert_eq!(refused, "401 key_unknown");
    assert!(waited < Duration::from_secs(8), "{waited:?}: nobody waits for ever");
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_break_off_the_fetch() {
    let (key, new) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k2"));
    let mock = Mock::good(&[&key]);
    let server = start(&[&mock], &["--audience", AUDIENCE, "--jwks-cooldown", "2s"]);
    let keys = Answer::Json(set(vec![key.jwk.clone(), new.jwk.clone()]));
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
    let mock = Mock::good(&[&key]);
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
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    drop(listener);
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
    let mock = Mock::on(TcpListener::bind(("127.0.0.1", port)).unwrap());
    mock.become_good(&[&key]);
    until("recovery", Duration::from_secs(5), || async { ping(&server, &token).await.status == 200 }).await;
    assert_eq!(health(&server).await["status"], "ok");
}

#[tokio::test]
async fn keys_are_kept_neither_too_short_nor_too_long_whatever_the_provider_says() {
    let key = Signer::rsa(0, "k1");
    let set = set(vec![key.jwk.clone()]).to_string();
    let mocks = ["no-store", "max-age=0", "max-age=99999999", "max-age=x, public", "immutable"].map(|control| {
        let mock = Mock::good(&[]);
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

/// Resident memory, in KiB.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends requests with so many tokens, each another and good, many at a time, and looks at the answers.
fn send_tokens(server: &str, issuer: &str, key: &Signer, count: usize) {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let stream = TcpStream::connect(server.trim_start_matches("http://")).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut stream = BufWriter::new(stream);
    for _ in 0..count / 50 {
        for _ in 0..50 {
            let token = key.sign(&claims(issuer));
            let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json");
            let length = body.len();
            write!(stream, "POST /mcp HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
        stream.flush().unwrap();
        for _ in 0..50 {
            let (mut line, mut length) = (String::new(), 0);
            answers.read_line(&mut line).unwrap();
            assert!(line.starts_with("HTTP/1.1 200"), "{line}");
            while line != "\r\n" {
                line.clear();
                answers.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            answers.read_exact(&mut vec![0; length]).unwrap();
        }
    }
}

#[test]
fn nothing_grows_with_the_number_of_tokens() {
    let key = Arc::new(Signer::ed("k1"));
    let mock = Mock::good(&[&key]);
    let started = Instant::now();
    let server = start(&[&mock], &["--audience", AUDIENCE]);
    let send = |count: usize| {
        let threads = [(); 2].map(|()| {
            let (server, issuer, key) = (server.url().to_owned(), mock.url.clone(), Arc::clone(&key));
            std::thread::spawn(move || send_tokens(&server, &issuer, &key, count / 2))
        });
        for thread in threads {
            thread.join().unwrap();
        }
    };
    send(25_000); // more than are remembered
    let before = resident(&server);
    send(75_000);
    let after = resident(&server);
    println!("{before} KiB after 25,000 tokens, {after} KiB after 100,000");
    assert!(after <= before + 4096, "{before} KiB after 25,000 tokens, {after} KiB after 100,000");
    let allowed = 2 + usize::try_from(started.elapsed().as_secs()).unwrap() / 60;
    assert!(mock.hits("/jwks") <= allowed, "{} fetches: they follow requests", mock.hits("/jwks"));
}

#[tokio::test]
async fn the_metadata_is_looked_for_where_the_specification_says_in_its_order() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let issuer = format!("{}/realms/r", mock.url);
    let metadata = Answer::Json(with(&mock.metadata(), "issuer", json!(issuer)));
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
    mock.put("/.well-known/oauth-authorization-server/realms/r", Answer::Nothing);
    let odd = with(&with(&mock.metadata(), "issuer", json!(issuer)), "introspection_endpoint", json!({}));
    mock.put("/realms/r/.well-known/openid-configuration", Answer::Json(odd));
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
    let (a, b) = (Mock::good(&[&key_a]), Mock::good(&[&key_b]));
    let both = format!("{} {}", a.url, b.url);
    let server = Server::start_in_env("step10", &QUICK, &[("MCP_ISSUER", &both)]).unwrap();
    let (at_a, at_b) = (key_a.sign(&claims(&a.url)), key_b.sign(&claims(&b.url)));
    assert_eq!(call(&server, &at_a, "save_note", json!({ "text": "mine" })).await.status, 200);
    for (token, count) in [(&at_a, 1), (&at_b, 0), (&at_a, 1)] {
        let reply = call(&server, token, "list_notes", json!({})).await.json();
        assert_eq!(reply["result"]["structuredContent"]["notes"].as_array().unwrap().len(), count, "{reply}");
    }
    // That one issuer's keys are not there is no matter for the other's people.
    b.down(true);
    b.put_keys(&[]);
    assert_eq!(ping(&server, &key_a.sign(&claims(&a.url))).await.status, 200);
    let document = Reply::of(server.get("/.well-known/oauth-protected-resource")).await.unwrap().json();
    assert_eq!(document["authorization_servers"], json!([a.url, b.url]));
}

// --- profiles -----------------------------------------------------------------------------------

#[tokio::test]
async fn each_profile_reads_its_provider_s_tokens() {
    let key = Signer::rsa(0, "k1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(
        &file,
        "extends = \"auth0\"\naudience = [\"api://mine\", \"https://mcp.test/mcp\"]\n\
         [claims]\nroles = [\"https://mcp.example/roles\"]\n\
         [roles]\nchef = \"admin\"\ndefault = \"user\"\n[scopes]\n\"call.tools\" = \"mcp:tools\"\n",
    )
    .unwrap();
    let mine = file.to_str().unwrap();
    let dotted = folder.path().join("dotted.toml");
    fs::write(&dotted, "[claims]\nroles = [\"my.roles\"]\n").unwrap();
    let dotted = dotted.to_str().unwrap();
    let both = json!(["mcp:read", "mcp:tools"]);
    // The profile, the claims that are its own, and what whoami makes of them: username, client_id, scopes, roles.
    let rows = [
        (
            "generic",
            json!({ "scope": "mcp:read mcp:tools", "roles": ["admin", "x"], "preferred_username": "al", "client_id": "c" }),
            json!(["al", "c", both, ["admin"]]),
        ),
        (
            "generic",
            json!({ "scp": ["mcp:tools"], "roles": "user", "azp": "c" }),
            json!(["alice", "c", ["mcp:tools"], ["user"]]),
        ),
        // What is not a role of ours by name makes nobody an admin.
        (
            "generic",
            json!({ "scope": "mcp:tools", "groups": ["admin"], "roles": ["user"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "generic",
            json!({ "scope": "mcp:tools", "groups": ["admin"], "roles": ["user", "not admin", "default"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "auth0",
            json!({ "scope": "mcp:tools", "permissions": ["admin", "mcp:user"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "okta",
            json!({ "scp": ["mcp:tools"], "groups": ["admin", "mcp-user"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            mine,
            json!({ "scope": "mcp:tools", "https://mcp.example/roles": ["admin", "mcp:admin"] }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            mine,
            json!({ "scope": "mcp:tools", "https://mcp.example/roles": "not chef" }),
            json!(["alice", null, ["mcp:tools"], ["user"]]),
        ),
        (
            dotted,
            json!({ "scope": "mcp:tools", "my.roles": ["admin"], "my": { "roles": ["guest"] } }),
            json!(["alice", null, ["mcp:tools"], ["admin"]]),
        ),
        (
            "keycloak",
            json!({ "scope": "profile mcp:read mcp:tools", "realm_access": { "roles": ["offline_access", "user"] }, "roles": ["admin"], "preferred_username": "al", "azp": "c" }),
            json!(["al", "c", ["profile", "mcp:read", "mcp:tools"], ["user"]]),
        ),
        (
            "auth0",
            json!({ "scope": "mcp:tools", "permissions": ["mcp:tools", "mcp:admin"], "azp": "c" }),
            json!(["alice", "c", ["mcp:tools"], ["admin"]]),
        ),
        (
            "entra",
            json!({ "scp": "mcp:read mcp:tools", "roles": ["user"], "preferred_username": "al@example.com", "appid": "c" }),
            json!(["al@example.com", "c", both, ["user"]]),
        ),
        (
            "okta",
            json!({ "scp": ["mcp:read", "mcp:tools"], "groups": ["Everyone", "mcp-user"], "cid": "c" }),
            json!(["alice", "c", both, ["user"]]),
        ),
        (
            mine,
            json!({ "scope": "call.tools", "https://mcp.example/roles": ["chef"], "permissions": ["mcp:guest"], "nickname": "al", "azp": "c" }),
            json!(["al", "c", ["mcp:tools"], ["admin"]]),
        ),
        (mine, json!({ "scope": "call.tools", "azp": "c" }), json!(["alice", "c", ["mcp:tools"], ["user"]])),
    ];
    for (profile, own, wanted) in rows {
        let mock = Mock::good(&[&key]);
        let audience = if profile == mine { &[][..] } else { &["--audience", AUDIENCE] };
        let server = start(&[&mock], &[&["--profile", profile][..], audience].concat());
        let mut token = json!({ "iss": mock.url, "aud": AUDIENCE, "sub": "alice", "exp": now() + 300, "iat": now() });
        token.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let reply = call(&server, &key.sign(&token), "whoami", json!({})).await;
        let said = &reply.json()["result"]["structuredContent"];
        let seen = json!([said["username"], said["client_id"], said["scopes"], said["roles"]]);
        assert_eq!(seen, wanted, "{profile}: {reply:?}");
        if profile == mine {
            // What the profile says of its issuer counts for more than what is said of all.
            let server = start(&[&mock], &["--profile", mine, "--audience", "https://other.example"]);
            assert_eq!(ping(&server, &key.sign(&token)).await.status, 200);
            token["aud"] = json!("api://mine");
            assert_eq!(ping(&server, &key.sign(&token)).await.status, 200);
        }
        // Without any role of ours: the default.
        let stranger = json!({ "iss": mock.url, "aud": AUDIENCE, "sub": "eve", "exp": now() + 300, "scope": "mcp:tools",
            "scp": "mcp:tools" });
        let reply = call(&server, &key.sign(&stranger), "list_notes", json!({})).await;
        if profile != mine {
            assert_eq!(reason(&reply), "403 roles_missing", "{profile}: {reply:?}");
        }
        if profile == dotted {
            assert!(
                reply.text.contains("are read from my.roles: give the person one of admin, guest, user"),
                "{reply:?}"
            );
        }
    }
}

/// Payloads as the providers' documentation shows them, with their own headers; shortened where nothing is read.
#[tokio::test]
async fn recorded_tokens_are_read_as_their_providers_mean_them() {
    let (rsa, p384) = (Signer::rsa(0, "k1"), Signer::ec384("k1"));
    let keycloak = |name: &str, scope: &str, roles: Value| {
        json!({
            "jti": "onrtro:6dc1938a-0810-48d1-b904-a3cc25bb428b", "aud": "echo-mcp-server",
            "sub": "b6046365-9438-4975-8957-e6b50352a2b9", "typ": "Bearer", "azp": "mcp-test-client",
            "sid": "5a3a1ea3-de69-425a-b1ae-2b5676ef74a0", "acr": "1", "scope": scope, "email_verified": true,
            "preferred_username": name, "resource_access": { "echo-mcp-server": { "roles": roles } },
        })
    };
    let project = json!({ "user": { "257712562366317695": "example.com" }, "mcp:tools": { "257712562366317695": "example.com" } });
    let zitadel = |roles: Value| {
        json!({
            "aud": ["257714027772314751@mcp", "257713952794870157"], "client_id": "257714027772314751@mcp",
            "jti": "V2_275838472-at_275838473", "nbf": now(), "sub": "257712562366383231",
            "urn:zitadel:iam:org:project:257713952794870157:roles": roles, "urn:zitadel:iam:org:project:roles": roles,
        })
    };
    let authentik = |groups: Value| {
        json!({
            "sub": "8a31c1d4f7", "aud": "EcVTwVpA", "auth_time": now(), "acr": "goauthentik.io/providers/oauth2/default",
            "amr": ["pwd"], "sid": "5c9d", "nonce": "n-0S6", "email": "al@example.com", "email_verified": true,
            "name": "Al", "preferred_username": "al", "nickname": "al", "groups": groups, "azp": "EcVTwVpA",
            "uid": "3Zk0", "scope": "openid profile mcp:read mcp:tools",
        })
    };
    let logto = |roles: Value| {
        json!({
            "jti": "7Zr0y", "sub": "foo", "scope": "mcp:read mcp:tools", "client_id": "bar", "aud": AUDIENCE,
            "roles": roles,
        })
    };
    let (jwt, at_jwt) = ("JWT", "at+jwt");
    // The profile, the audience, the header's typ, the payload, and what comes of whoami: name, client, scopes, roles.
    let rows = [
        (
            "keycloak-tutorial",
            "",
            jwt,
            keycloak("mcp-user", "openid mcp:tools echo-mcp-server-audience", json!(["user"])),
            json!(["mcp-user", "mcp-test-client", ["openid", "mcp:tools", "echo-mcp-server-audience"], ["user"]]),
        ),
        (
            "keycloak-tutorial",
            "",
            jwt,
            keycloak("mcp-admin", "mcp:tools", json!(["admin", "user"])),
            json!(["mcp-admin", "mcp-test-client", ["mcp:tools"], ["admin", "user"]]),
        ),
        ("keycloak-tutorial", "", jwt, keycloak("mcp-readonly", "mcp:read", json!([])), json!("403 roles_missing")),
        (
            "keycloak-tutorial",
            "",
            jwt,
            with(&keycloak("x", "mcp:tools", json!(["user"])), "aud", json!("account")),
            json!("401 audience_other"),
        ),
        (
            "keycloak-tutorial",
            "",
            jwt,
            with(&keycloak("x", "mcp:tools", json!(["user"])), "typ", json!("ID")),
            json!("401 typ_other"),
        ),
        // Another client's roles are nobody's here.
        (
            "keycloak-tutorial",
            "",
            jwt,
            with(
                &keycloak("x", "mcp:tools", json!([])),
                "resource_access",
                json!({ "account": { "roles": ["admin"] } }),
            ),
            json!("403 roles_missing"),
        ),
        ("keycloak", "echo-mcp-server", jwt, keycloak("x", "mcp:tools", json!(["user"])), json!("403 roles_missing")),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            zitadel(project.clone()),
            json!(["257712562366383231", "257714027772314751@mcp", ["mcp:tools"], ["user"]]),
        ),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            zitadel(json!({ "user": { "1": "example.com" } })),
            json!("403 scope_missing"),
        ),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            zitadel(json!({ "mcp:tools": { "1": "example.com" } })),
            json!("403 roles_missing"),
        ),
        ("zitadel", "257713952794870157", jwt, zitadel(json!({ "admin": true })), json!("401 claim_malformed")),
        (
            "zitadel",
            "257713952794870157",
            jwt,
            with(&zitadel(project), "at_hash", json!("aGFzaA")),
            json!("401 typ_other"),
        ),
        // Nowhere else are a role's and a scope's names the same thing.
        (
            "generic",
            AUDIENCE,
            jwt,
            json!({ "aud": AUDIENCE, "sub": "s", "roles": ["user", "mcp:tools"] }),
            json!("403 scope_missing"),
        ),
        (
            "generic",
            AUDIENCE,
            jwt,
            json!({ "aud": AUDIENCE, "sub": "s", "scope": "mcp:tools", "roles": { "user": { "1": "org" }, "x": {} } }),
            json!(["s", null, ["mcp:tools"], ["user"]]),
        ),
        (
            "authentik",
            "EcVTwVpA",
            jwt,
            authentik(json!(["authentik Admins", "mcp-user"])),
            json!(["al", "EcVTwVpA", ["openid", "profile", "mcp:read", "mcp:tools"], ["user"]]),
        ),
        ("authentik", "EcVTwVpA", jwt, authentik(json!(["authentik Admins", "admin"])), json!("403 roles_missing")),
        (
            "authentik",
            "EcVTwVpA",
            jwt,
            with(&authentik(json!(["mcp-user"])), "at_hash", json!("aGFzaA")),
            json!("401 typ_other"),
        ),
        ("logto", AUDIENCE, at_jwt, logto(json!(["user"])), json!(["foo", "bar", ["mcp:read", "mcp:tools"], ["user"]])),
        ("logto", AUDIENCE, at_jwt, logto(json!([])), json!("403 roles_missing")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dotted.toml");
    fs::write(&file, "extends = \"keycloak\"\n[claims]\nroles = [\"resource_access.mcp.example.com.roles\"]\n")
        .unwrap();
    let dotted = file.to_str().unwrap();
    let client =
        |access: Value| json!({ "aud": AUDIENCE, "sub": "s", "scope": "mcp:tools", "resource_access": access });
    let dotted_rows = [
        (
            dotted,
            AUDIENCE,
            jwt,
            client(
                json!({ "mcp.example.com": { "roles": ["admin"] }, "mcp": { "example": { "com": { "roles": ["guest"] } } } }),
            ),
            json!(["s", null, ["mcp:tools"], ["admin"]]),
        ),
        (
            dotted,
            AUDIENCE,
            jwt,
            client(json!({ "mcp": { "example.com": { "roles": ["user"] } } })),
            json!(["s", null, ["mcp:tools"], ["user"]]),
        ),
        (dotted, AUDIENCE, jwt, client(json!({ "mcp.example.com": "admin" })), json!("401 claim_malformed")),
        (
            dotted,
            AUDIENCE,
            jwt,
            client(json!({ "other.example.com": { "roles": ["admin"] } })),
            json!("403 roles_missing"),
        ),
    ];
    for (profile, audience, typ, payload, wanted) in rows.into_iter().chain(dotted_rows) {
        let key = if profile == "logto" { &p384 } else { &rsa };
        let mock = Mock::good(&[key]);
        let audience = if audience.is_empty() { vec![] } else { vec!["--audience", audience] };
        let server = start(&[&mock], &[&["--profile", profile][..], &audience].concat());
        let payload = [("iss", json!(mock.url)), ("iat", json!(now())), ("exp", json!(now() + 300))]
            .into_iter()
            .fold(payload, |payload, (name, value)| with(&payload, name, value));
        let token = key.sign_as(&with(&key.header(), "typ", json!(typ)), &payload);
        let reply = call(&server, &token, "whoami", json!({})).await;
        let seen = if reply.status == 200 {
            let said = &reply.json()["result"]["structuredContent"];
            json!([said["username"], said["client_id"], said["scopes"], said["roles"]])
        } else {
            json!(reason(&reply))
        };
        assert_eq!(seen, wanted, "{profile} {payload}: {reply:?}");
    }
}

#[test]
fn what_cannot_be_trusted_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
    };
    file("typo.toml", "role = {}\n");
    file("broken.toml", "= =\n");
    file("hs256.toml", "algorithms = [\"HS256\"]\n");
    file("role.toml", "[roles]\nx = \"root\"\n");
    file("none.toml", "[roles]\nx = \"none\"\n");
    file("cognito.toml", "extends = \"cognito\"\n");
    file("dots.toml", &format!("[claims]\nroles = [\"a{}\"]\n", ".a".repeat(13)));
    file("secret", "secret\n");
    file("open.toml", "[introspection]\nclient_id = \"a\"\nclient_secret_file = \"secret\"\n");
    file("unset.toml", "[introspection]\nclient_id = \"a\"\nclient_secret_env = \"NOT_SET\"\n");
    let a = "https://a.example";
    for (args, says) in [
        (&["--issuer", "http://a.example"][..], "https"),
        (&["--issuer", "nonsense"], "not the URL of an issuer"),
        (&["--issuer", "https://a.example?x"], "not the URL of an issuer"),
        (&["--issuer", "https://u@a.example"], "not the URL of an issuer"),
        (&["--issuer", "https://a.example#x"], "not the URL of an issuer"),
        (&["--issuer", "http://localhost.evil.example"], "not the URL of an issuer"),
        (&["--issuer", a, "--issuer", a], "twice"),
        (&["--issuer", "http://localhost:9000", "--public-url", "http://localhost:9000"], "this server itself"),
        (&["--issuer", a, "--public-key", "key.pem"], "--public-key"),
        (&["--issuer", a, "--profile", "nix"], "keycloak, auth0"),
        (&["--issuer", a, "--profile", "missing.toml"], "missing.toml"),
        (&["--issuer", a, "--profile", "okta", "--profile", "okta"], "--profile"),
        (&["--issuer", a, "--profile", "typo.toml"], "typo.toml"),
        (&["--issuer", a, "--profile", "broken.toml"], "broken.toml"),
        (&["--issuer", a, "--profile", "hs256.toml"], "hs256.toml"),
        (&["--issuer", a, "--profile", "role.toml"], "role.toml"),
        (&["--issuer", a, "--profile", "none.toml"], "default only"),
        (&["--issuer", a, "--profile", "open.toml"], "chmod 600"),
        (&["--issuer", a, "--profile", "unset.toml"], "NOT_SET"),
        (&["--issuer", a, "--jwks-min-age", "1h"], "--jwks-min-age"),
        (&["--issuer", a, "--jwks-cooldown", "0s"], "--jwks-cooldown"),
        (&["--issuer", a, "--max-stale", "30d"], "--max-stale"),
        (&["--issuer", a, "--max-stale", "9m"], "--max-stale is shorter"),
        (
            &["--issuer", a, "--jwks-cooldown", "10m", "--jwks-min-age", "1s", "--jwks-max-age", "5m"],
            "--jwks-cooldown is",
        ),
        (
            &["--issuer", "https://cognito-idp.us-east-2.amazonaws.com/us-east-2_SF2DCPO5Y"],
            "Cognito's access tokens have no aud",
        ),
        (&["--issuer", a, "--profile", "cognito"], "Cognito's access tokens have no aud"),
        (&["--issuer", a, "--profile", "cognito.toml"], "Cognito's access tokens have no aud"),
        (&["--issuer", "https://login.example/{tenantid}/v2.0"], "a template for many tenants"),
        (&["--issuer", "https://login.example/%7Btenantid%7D/v2.0"], "a template for many tenants"),
        (
            &["--issuer", "https://cognito-idp-fips.us-gov-west-1.amazonaws.com/x"],
            "Cognito's access tokens have no aud",
        ),
        (&["--issuer", a, "--profile", "dots.toml"], "over 12 dots"),
        (&["--issuer", ""], "URL is empty"),
        (&["--issuer", "https://a.example  https://b.example"], "there is one space"),
        (&["--profile", "keycloak"], "add --issuer"),
    ] {
        let output =
            command("step10").unwrap().args(["--port", "0"]).args(args).current_dir(folder.path()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {error}");
        assert!(error.contains("error: ") && error.contains(says), "{args:?} should say {says:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

// --- opaque tokens ------------------------------------------------------------------------------

#[tokio::test]
async fn an_opaque_token_is_worth_what_its_issuer_says() {
    const SECRET: &str = "s3cret:with/odd characters";
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("opaque.toml"), folder.path().join("secret"));
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[introspection]\nclient_id = \"https://me\"\nclient_secret_file = \"secret\"\n";
    fs::write(&file, text).unwrap();
    let server = start(&[&mock], &["--audience", AUDIENCE, "--profile", file.to_str().unwrap()]);
    let active = || with(&claims(&mock.url), "active", json!(true));
    let says = |answer: Answer| mock.put("/introspect", answer);

    says(Answer::Json(active()));
    for _ in 0..20 {
        assert_eq!(call(&server, "opaque-1", "whoami", json!({})).await.status, 200);
    }
    assert_eq!(mock.hits("/introspect"), 1, "the answer is remembered");
    let (body, credentials) = mock.script.lock().unwrap().posted[0].clone();
    assert_eq!(body, "token=opaque-1&token_type_hint=access_token");
    let basic = base64::engine::general_purpose::STANDARD.encode("https%3A%2F%2Fme:s3cret%3Awith%2Fodd+characters");
    assert_eq!(credentials, format!("Basic {basic}"), "RFC 6749 §2.3.1");
    // A JWT of the same issuer is checked with its keys, and shown to nobody.
    assert_eq!(ping(&server, &key.sign(&claims(&mock.url))).await.status, 200);
    assert_eq!(mock.hits("/introspect"), 1);

    let but = |name: &str, value: Value| Answer::Json(with(&active(), name, value));
    let said_null = |names: &[&str]| {
        let mut answer = active();
        for name in names {
            answer[*name] = Value::Null;
        }
        Answer::Json(answer)
    };
    let rows = [
        ("no exp", but("exp", Value::Null), "200"),
        ("no iss", but("iss", Value::Null), "200"),
        ("token_type Bearer", but("token_type", json!("Bearer")), "200"),
        ("inactive", Answer::Json(json!({ "active": false })), "401 token_inactive"),
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
        // What is null is not said.
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
        ("giant", Answer::Endless, "503 introspection_unavailable"),
        ("a redirect", raw("307 Elsewhere", "Location: http://127.0.0.1:1/\r\n", ""), "503 introspection_unavailable"),
        ("our credentials are wrong", raw("401 No", "", "{}"), "503 introspection_unavailable"),
        ("down", Answer::Nothing, "503 introspection_unavailable"),
        ("never", Answer::After(Duration::from_secs(30), Box::new(Answer::Nothing)), "503 introspection_unavailable"),
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
        assert!(asked == 1 || wanted.starts_with("503") && asked <= 2, "{name}: asked {asked} times");
    }
    // An issuer without keys: its tokens are opaque to us, whatever they look like.
    mock.put("/.well-known/oauth-authorization-server", Answer::Json(with(&mock.metadata(), "jwks_uri", Value::Null)));
    let without_keys = start(&[&mock], &["--audience", AUDIENCE, "--profile", file.to_str().unwrap()]);
    for (answer, wanted) in [(active(), "200"), (json!({ "active": false }), "401 token_inactive")] {
        says(Answer::Json(answer));
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
    let (mock, elsewhere) = (Mock::good(&[&key]), Mock::good(&[&key]));
    let profile = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = "[introspection]\nclient_id = \"me\"\nclient_secret_env = \"TEST_SECRET\"\n";
    fs::write(profile.path(), text).unwrap();
    let args = ["--audience", AUDIENCE, "--issuer", &mock.url, "--profile", profile.path().to_str().unwrap()];
    let serve = || Arc::new(Server::start_in_env("step10", &args, &[("TEST_SECRET", "secret")]).unwrap());
    // Many tokens at once, at a provider that takes its time: few are asked about, and nobody waits long.
    let server = serve();
    let slow = Box::new(Answer::Json(with(&claims(&mock.url), "active", json!(true))));
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
    // Who was in stays in: a token that was good does not queue behind the invented ones.
    let server = serve();
    let answer = |exp: i64| with(&with(&claims(&mock.url), "active", json!(true)), "exp", json!(now() + exp));
    mock.put("/introspect", Answer::Json(answer(1)));
    assert_eq!(ping(&server, "regular").await.status, 200);
    let slow = Box::new(Answer::Json(json!({ "active": false })));
    mock.put("/introspect", Answer::After(Duration::from_secs(4), slow));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..50 {
        let server = Arc::clone(&server);
        flood.spawn(async move { ping(&server, &format!("invented-{number}")).await.status.as_u16() });
    }
    tokio::time::sleep(Duration::from_millis(1500)).await; // the answer about it is not remembered any more
    mock.put("/introspect", Answer::Json(answer(300)));
    let started = Instant::now();
    assert_eq!(ping(&server, "regular").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    flood.join_all().await;
    // Credentials stay at the issuer's origin, whatever its metadata says.
    let stolen = with(&mock.metadata(), "introspection_endpoint", json!(format!("{}/introspect", elsewhere.url)));
    mock.put("/.well-known/oauth-authorization-server", Answer::Json(stolen));
    let server = serve();
    assert_eq!(reason(&ping(&server, "opaque").await), "503 introspection_unavailable");
    assert_eq!(elsewhere.hits("/introspect"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_tokens_are_limited_and_good_ones_do_not_notice() {
    let mock = Mock::good(&[&Signer::rsa(0, "k1")]);
    let profile = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(profile.path(), "[introspection]\nclient_id = \"me\"\nclient_secret_env = \"TEST_SECRET\"\n").unwrap();
    let args = ["--audience", AUDIENCE, "--issuer", &mock.url, "--profile", profile.path().to_str().unwrap()];
    let server = Arc::new(Server::start_in_env("step10", &args, &[("TEST_SECRET", "secret")]).unwrap());
    let active = |seconds: i64| with(&with(&claims(&mock.url), "active", json!(true)), "exp", json!(now() + seconds));
    // As many good tokens as come are asked about: after a restart they all are new.
    mock.put("/introspect", Answer::Json(active(300)));
    for number in 0..120 {
        assert_eq!(ping(&server, &format!("good-{number}")).await.status, 200, "{number}");
    }
    mock.put("/introspect", Answer::Json(active(2)));
    assert_eq!(ping(&server, "regular").await.status, 200);
    mock.put("/introspect", Answer::Json(json!({ "active": false })));
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
    // What was found bad is remembered, so that asking for it again costs the issuer nothing.
    let asked = mock.hits("/introspect");
    assert_eq!(reason(&ping(&server, "invented-0").await), "401 token_inactive");
    assert_eq!(mock.hits("/introspect"), asked);
    // Who was in stays in, though the allowance is used up.
    assert_eq!(ping(&server, "good-7").await.status, 200);
    mock.put("/introspect", Answer::Json(active(300)));
    tokio::time::sleep(Duration::from_millis(2100).saturating_sub(started.elapsed())).await; // "regular" must be asked about again
    let asked = mock.hits("/introspect");
    assert_eq!(ping(&server, "regular").await.status, 200);
    assert_eq!(mock.hits("/introspect"), asked + 1);
}

/// It takes more than a minute, so only CI does it; the bound itself has a unit test.
#[tokio::test]
async fn a_revoked_opaque_token_stops_within_a_minute() {
    if std::env::var_os("CI").is_none() {
        eprintln!("skipped: CI=true runs it, as it takes more than a minute");
        return;
    }
    let mock = Mock::good(&[&Signer::rsa(0, "k1")]);
    let profile = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(profile.path(), "[introspection]\nclient_id = \"me\"\nclient_secret_env = \"TEST_SECRET\"\n").unwrap();
    let args = ["--audience", AUDIENCE, "--issuer", &mock.url, "--profile", profile.path().to_str().unwrap()];
    let server = Server::start_in_env("step10", &args, &[("TEST_SECRET", "secret")]).unwrap();
    let active = with(&with(&claims(&mock.url), "active", json!(true)), "exp", json!(now() + 3600));
    mock.put("/introspect", Answer::Json(active));
    let asked = Instant::now();
    assert_eq!(ping(&server, "opaque").await.status, 200);
    mock.put("/introspect", Answer::Json(json!({ "active": false })));
    tokio::time::sleep(Duration::from_mins(1).saturating_sub(asked.elapsed())).await;
    until("it is revoked", Duration::from_secs(5), || async {
        reason(&ping(&server, "opaque").await) == "401 token_inactive"
    })
    .await;
}

// --- doctor -------------------------------------------------------------------------------------

/// Its exit code and what it prints; the token goes in by standard input.
fn doctor(args: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let mut command = command("step10").unwrap();
    command.arg("doctor").args(args).env("MCP_AUDIENCE", AUDIENCE);
    if token.is_some() {
        command.args(["--token-file", "-"]);
    }
    let stdio = std::process::Stdio::piped;
    let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(token.unwrap_or_default().as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn doctor_says_what_is_wrong_with_a_provider() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let (code, text) = doctor(&["--issuer", &mock.url], Some(&key.sign(&claims(&mock.url))));
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "✓ metadata",
        "✓ PKCE",
        "✓ keys: \"k1\" for [RS256, PS256]",
        "✓ clients",
        "✓ token: is accepted, as \"alice\"",
        "! CORS",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours in a pipe");
    let document = |name: &str, value: Value| {
        mock.put("/.well-known/oauth-authorization-server", Answer::Json(with(&mock.metadata(), name, value)));
    };
    for (name, value, line) in [
        ("issuer", json!("https://other.example"), "use that as --issuer, if that other host is whom you mean"),
        ("issuer", json!(format!("{}/", mock.url)), "use that as --issuer."),
        ("issuer", json!(format!("{}/{{tenantid}}/v2.0", mock.url)), "is a template for many tenants and no issuer"),
        ("issuer", json!(format!("{}/%7Btenantid%7D/v2.0", mock.url)), "is a template for many tenants and no issuer"),
        ("issuer", json!(format!("{}/<tenant>", mock.url)), "is a template for many tenants and no issuer"),
        ("issuer", json!("urn:example:issuer"), "which is not the URL of an issuer"),
        ("issuer", json!("http://example.com"), "which is not the URL of an issuer"),
        ("code_challenge_methods_supported", json!(["plain"]), "✗ PKCE"),
        ("code_challenge_methods_supported", Value::Null, "✗ PKCE"),
        ("response_types_supported", json!(["token"]), "✗ code"),
        ("token_endpoint", Value::Null, "✗ token_endpoint"),
        ("authorization_endpoint", json!("http://example.com/a"), "✗ authorization_endpoint"),
        ("jwks_uri", Value::Null, "✗ keys"),
        ("jwks_uri", json!("http://example.com/jwks"), "✗ keys"),
    ] {
        document(name, value);
        let (code, text) = doctor(&["--issuer", &mock.url], None);
        assert_eq!(code, Some(1), "{name}: {text}");
        assert!(text.contains(line), "{line}: {text}");
    }
    for (issuer, line) in [
        (format!("{}/{{tenant}}", mock.url), "is a template for many tenants: put one tenant's name into it"),
        (format!("{}?x=1", mock.url), "is not the URL of an issuer"),
        (format!("{}/.well-known/openid-configuration", mock.url), "ends before /.well-known/"),
    ] {
        let (code, text) = doctor(&["--issuer", &issuer], None);
        assert!(code == Some(1) && text.contains(line), "{line}: {text}");
    }
    document("registration_endpoint", Value::Null);
    let (code, text) = doctor(&["--issuer", &mock.url], None);
    assert!(code == Some(0) && text.contains("! clients") && text.contains("Register each client by hand"), "{text}");
    document("client_id_metadata_document_supported", json!(true));
    assert!(doctor(&["--issuer", &mock.url], None).1.contains("✓ clients"));
    // What a browser may do: it asks before it posts JSON, and must be allowed to send that.
    let cors = "Access-Control-Allow-Origin: *\r\n";
    mock.put(
        "/.well-known/oauth-authorization-server",
        raw("200 OK", cors, &with(&mock.metadata(), "x", json!(1)).to_string()),
    );
    mock.put("/token", raw("204 No Content", cors, ""));
    for (headers, line) in [
        ("", "may not use registration_endpoint."),
        (cors, "may not use registration_endpoint."),
        (&format!("{cors}Access-Control-Allow-Headers: accept, Content-Type\r\n"), "✓ CORS"),
    ] {
        mock.put("/register", raw("204 No Content", headers, ""));
        let (_, text) = doctor(&["--issuer", &mock.url], None);
        assert!(text.contains(line), "{line}: {text}");
    }
    mock.put("/token", raw("405 No", cors, ""));
    assert!(doctor(&["--issuer", &mock.url], None).1.contains("may not use token_endpoint."));
    // Keys that the profile does not allow.
    let folder = tempfile::tempdir().unwrap();
    let profile = |text: &str| {
        let file = folder.path().join("mine.toml");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let es256 = profile("algorithms = [\"ES256\"]\n");
    let (code, text) = doctor(&["--issuer", &mock.url, "--profile", &es256], None);
    assert!(code == Some(1) && text.contains("✗ keys") && text.contains("does not allow [RS256, PS256]"), "{text}");
    // An issuer without keys, whose tokens are opaque.
    document("jwks_uri", Value::Null);
    fs::write(folder.path().join("secret"), "secret").unwrap();
    fs::set_permissions(folder.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let opaque = profile("[introspection]\nclient_id = \"me\"\nclient_secret_file = \"secret\"\n");
    for (answer, wanted, line) in [
        (Answer::Json(json!({ "active": false })), 0, "✓ introspection"),
        (Answer::Json(json!({ "active": true })), 1, "✗ introspection: A token that nobody issued is active"),
        (raw("401 No", "", "{}"), 1, "✗ introspection: The provider answers with the status 401. Check client_id"),
    ] {
        mock.put("/introspect", answer);
        let (code, text) = doctor(&["--issuer", &mock.url, "--profile", &opaque], None);
        assert!(code == Some(wanted) && text.contains(line), "{line}: {text}");
        assert!(text.contains("  keys: it has no keys"), "{text}");
    }
    mock.become_good(&[&key]);
    // Keys that cannot be used, or should not be.
    let leaked = with(&key.jwk, "d", json!("AQAB"));
    mock.put("/jwks", Answer::Json(set(vec![Signer::ec("good\u{1b}").jwk, with(&key.jwk, "use", json!("enc"))])));
    let (code, text) = doctor(&["--issuer", &mock.url], None);
    assert!(code == Some(0) && text.contains("\"k1\" is not used: its use is not sig"), "{text}");
    assert!(!text.contains('\u{1b}'), "what the provider writes reaches the terminal: {text}");
    let other = with(&Signer::rsa(1, "k1").jwk, "alg", json!("RS256"));
    mock.put("/jwks", Answer::Json(set(vec![key.jwk.clone(), other])));
    let (_, text) = doctor(&["--issuer", &mock.url], None);
    assert!(text.contains("! key: \"k1\" is the kid of several different keys"), "{text}");
    mock.put("/jwks", Answer::Json(set(vec![leaked])));
    let (code, text) = doctor(&["--issuer", &mock.url], None);
    assert!(code == Some(1) && text.contains("Withdraw the key at once"), "{text}");
}

#[test]
fn doctor_says_what_is_wrong_with_a_token_and_never_the_token() {
    let key = Signer::rsa(0, "k1");
    let mock = Mock::good(&[&key]);
    let args = ["--issuer", mock.url.as_str(), "--profile", "keycloak"];
    for (claims, line) in [
        (with(&claims(&mock.url), "aud", Value::Null), "audience mapper"),
        (with(&claims(&mock.url), "exp", json!(now() - 100)), "(expired)"),
        (with(&claims(&mock.url), "iss", json!("https://other.example")), "iss=\"https://other.example\""),
    ] {
        let token = key.sign(&claims);
        let (code, text) = doctor(&args, Some(&token));
        assert!(code == Some(1) && text.contains("✗ token") && text.contains(line), "{line}: {text}");
        assert!(token.split('.').all(|part| !text.contains(part)), "the token is printed");
    }
    // For which server the token should be, doctor can only guess if nobody says.
    let elsewhere = key.sign(&with(&claims(&mock.url), "aud", json!("https://mcp.example/mcp")));
    let ask = |more: &[&str]| {
        let mut command = command("step10").unwrap();
        command.arg("doctor").args(args).args(more).args(["--token-file", "-"]);
        let stdio = std::process::Stdio::piped;
        let mut child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(elsewhere.as_bytes());
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, text) = ask(&[]);
    assert!(code == Some(1) && text.contains("(audience_other)") && text.contains("Give --public-url"), "{text}");
    for given in [["--public-url", "https://mcp.example"], ["--audience", "https://mcp.example/mcp"]] {
        let (code, text) = ask(&given);
        assert!(code == Some(0) && text.contains("✓ token") && !text.contains("Give --public-url"), "{text}");
    }
    let (_, text) = ask(&["--public-url", "https://other.example"]);
    assert!(text.contains("(audience_other)") && !text.contains("Give --public-url"), "{text}");
    let token = key.sign(&claims(&mock.url));
    let (code, text) = doctor(&[&args[..], &["--token-file", &token]].concat(), None);
    assert!(code == Some(1) && text.contains("--token-file") && !text.contains(&token), "{text}");
    assert_eq!(doctor(&[], None).0, Some(1));
    let (code, text) = doctor(&["--issuer", "http://127.0.0.1:1"], None);
    assert!(code == Some(1) && text.contains("cannot be reached"), "{text}");
}
