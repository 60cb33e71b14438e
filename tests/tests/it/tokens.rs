//! Each step from 6 on against hostile tokens, and against unusual ones that are good.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use auth_check::{
    hostile::{Forge, TABLE},
    jose::{self, RsaKey},
    tokens::read_key,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{
    Reply, Server, gen_token, rpc,
    signer::{changed, now},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, crypto,
    jwk::{Jwk, ThumbprintHash},
};
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};

/// Each has an `auth.rs` of its own.
const STEPS: [&str; 5] = ["step6", "step7", "step8", "step9", "step10"];
const MAX_TOKEN: usize = 16 * 1024;

/// One pair for all of them, because making a pair takes longest.
const KEYS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/tokens-keys");

async fn at_each_step(check: impl AsyncFn(Trust)) {
    for step in STEPS {
        eprintln!("{step}:"); // which one it was, if the check fails
        check(Trust::of(step)).await;
    }
}

/// A server, a good token's header and claims, and the key that it trusts.
struct Trust {
    step: &'static str,
    server: Server,
    key: RsaKey,
    header: Value,
    claims: Value,
}

impl Trust {
    fn of(step: &'static str) -> Self {
        let server = Server::start_with(step, &["--keys", KEYS]).unwrap();
        let keys = Path::new(KEYS);
        let key = read_key(&keys.join("mcp_private_key.pem")).unwrap();
        // An HMAC with the public key is an attack only if it is the very bytes.
        assert_eq!(fs::read_to_string(keys.join("mcp_public_key.pem")).unwrap(), key.public_pem());
        let token = gen_token(keys, server.url(), &["--username", "alice"]).unwrap();
        let (header, claims) = jose::taken_apart(&token).unwrap();
        Trust { step, server, key, header, claims }
    }

    /// A token with this header and these claims, signed by the key that the server trusts.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.key.sign(header, claims.to_string().as_bytes(), jose::Algorithm::Rs256)
    }

    /// A good token but for one claim. `None` takes the claim away.
    fn with_claim(&self, name: &str, value: Option<Value>) -> String {
        self.sign(&self.header, &changed(&self.claims, name, value))
    }

    /// A good token but for one member of its header.
    fn with_header(&self, name: &str, value: Option<Value>) -> String {
        self.sign(&changed(&self.header, name, value), &self.claims)
    }

    fn good(&self) -> String {
        self.sign(&self.header, &self.claims)
    }

    /// A request that is answered with 200 if it is let in: it needs no scope.
    fn request(&self) -> RequestBuilder {
        self.server.legacy("ping", json!({}))
    }

    /// What each challenge of this step begins with.
    fn challenge(&self) -> String {
        let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", self.server.url());
        match self.step {
            "step6" => "Bearer".to_owned(),
            "step7" => format!("Bearer {metadata}"),
            _ => format!("Bearer {metadata}, scope=\"mcp:read mcp:tools\""),
        }
    }

    /// 401 `invalid_token` or 400 `invalid_request`, said alike in the challenge and in the body.
    fn assert_refused(&self, reply: &Reply, status: u16, error: &str, case: &str) -> String {
        assert_eq!(reply.status.as_u16(), status, "{case}: {reply:?}");
        let said = reply.refusal(&Value::Null);
        assert_eq!(said["error"], error, "{case}: {reply:?}");
        let description = said["error_description"].as_str().unwrap().to_owned();
        let between = if self.step == "step6" { "" } else { "," };
        let challenge = format!("{}{between} error=\"{error}\", error_description=\"{description}\"", self.challenge());
        assert_eq!(reply.header("www-authenticate"), challenge, "{case}: {reply:?}");
        description
    }

    /// 401 without an `error`: nobody tried to authenticate.
    fn assert_anonymous(&self, reply: &Reply, case: &str) {
        assert_eq!(reply.status, 401, "{case}: {reply:?}");
        assert_eq!(reply.header("www-authenticate"), self.challenge(), "{case}: {reply:?}");
        assert_eq!(reply.refusal(&Value::Null)["error"], "unauthorized", "{case}: {reply:?}");
    }

    async fn send(&self, token: &str) -> Reply {
        Reply::of(self.request().header("Authorization", format!("Bearer {token}"))).await.unwrap()
    }

    /// Neither the answer nor the log contains the token, or a usable part of it.
    fn assert_unspoken(&self, reply: &Reply, token: &str, case: &str) {
        let log = self.server.stderr().unwrap();
        assert!(log.contains("request"), "{case}: there is no log: {log:?}");
        let whole = (token.len() > 10).then_some(token);
        for secret in token.split('.').filter(|part| part.len() > 30).chain(whole) {
            assert!(!format!("{:?}{}", reply.headers, reply.text).contains(secret), "{case}: the answer has the token");
            assert!(!log.contains(secret), "{case}: the log has the token");
        }
    }
}

// What steps 6 to 9 say to several tokens.
const SIGNATURE: &str = "The token's signature is wrong.";
const KEY: &str = "The token was signed with an unknown key (kid).";
const JWT: &str = "The token is not a JWT signed with RS256.";
const ALGORITHM: &str = "The token is not signed with RS256.";
const TYPE: &str = "The token is malformed, or a claim has the wrong type.";
const EXPIRED: &str = "The token has expired (exp).";
const LACKS: &str = "The token lacks one of iss, aud, exp, sub.";

/// What the servers say to the hostile tokens of the table: the status, the whole sentence of steps 6 to 9, a part of what
/// step 10 says, and the tokens.
const REFUSALS: &[(u16, &str, &str, &[&str])] = &[
    (
        401,
        SIGNATURE,
        "signature is wrong",
        &[
            "signed by an unknown key under the good token's kid",
            "signed by an unknown key, without a kid",
            "an HMAC with the public key's PEM under a header that says RS256",
            "another sub under the good token's signature",
            "an empty signature",
            "the signature's first half",
            "a signature with more behind it",
            "signed by the key in its own header (jwk), under the good token's kid",
            "signed with RS384 under a header that says RS256",
            "signed with PS256 under a header that says RS256",
        ],
    ),
    (
        401,
        KEY,
        "unknown key (kid)",
        &[
            "signed by an unknown key under its own kid",
            "signed by the key in its own header (jwk)",
            "signed by a key that its header leads to (jku)",
            "signed by a key that its header leads to (x5u)",
            "signed by a key whose kid is an address",
            "kid is of no key",
            "kid is an empty string",
            "kid is a path",
        ],
    ),
    (
        401,
        JWT,
        "not a JWT",
        &[
            "alg none without a signature",
            "alg None",
            "alg NONE",
            "alg none with the good token's signature",
            "typ is a number",
            "typ is a list",
            "typ is null",
            "kid is a number",
            "kid is a list",
            "kid is an object",
            "kid is null",
            "three empty parts",
            "one part",
            "three parts that are no JSON",
            "alg in small letters (rs256)",
            "no alg",
            "alg is null",
            "alg is a list",
        ],
    ),
    (
        401,
        ALGORITHM,
        "(alg) that its key is for",
        &[
            "HS256 with the public key's PEM as the secret",
            "HS256 with the public key's PEM, without its last line break",
            "HS512 with the public key's PEM as the secret",
            "HS256 with an empty secret",
            "HS256 with the secret `secret`",
            "signed with RS384 where the key is for RS256",
            "signed with RS512 where the key is for RS256",
            "signed with PS256 where the key is for RS256",
        ],
    ),
    (
        401,
        EXPIRED,
        "has expired (exp)",
        &["expired an hour ago", "expired ten minutes ago", "exp is 0", "expired 45 seconds ago"],
    ),
    (401, TYPE, "claim exp has", &["exp is negative", "exp is null", "exp is a text", "exp is a list", "exp is true"]),
    (401, LACKS, "lacks one of", &["no exp", "no sub"]),
    (
        401,
        "The token is not valid yet (nbf).",
        "not valid yet (nbf)",
        &["not valid before an hour from now", "not valid before 45 seconds from now"],
    ),
    (
        401,
        "The token is for another audience (aud).",
        "another audience (aud)",
        &[
            "for another server",
            "for one other server, in a list",
            "for several other servers",
            "aud is an empty string",
            "aud is an empty list",
            "aud is the right one with more behind it",
            "aud has the right one inside",
            "aud is the beginning of the right one",
            "aud is the right one with a slash behind it",
            "aud is the issuer",
        ],
    ),
    (401, LACKS, "no audience (aud)", &["no aud"]),
    (
        401,
        TYPE,
        "claim aud has",
        &["aud is null", "aud is a number", "aud is an object", "aud is a list with the right one and a number"],
    ),
    (401, LACKS, "lacks iss", &["no claims at all", "no iss"]),
    (
        401,
        "The token is from another issuer (iss).",
        "another issuer (iss)",
        &[
            "from another issuer",
            "iss is the right one with more behind it",
            "iss is the right one with a slash behind it",
            "iss is an empty string",
        ],
    ),
    (401, TYPE, "claim iss has", &["iss is null", "iss is a number", "iss is a list"]),
    (401, "The token's subject (sub) is empty.", "subject (sub) is empty", &["sub is an empty string"]),
    (401, TYPE, "claim sub has", &["sub is null", "sub is a number", "sub is a list", "sub is an object"]),
    (
        401,
        "The token is not an access token: its typ is another.",
        "by its typ",
        &[
            "typ of a proof of possession (dpop+jwt)",
            "typ of a log-out token (logout+jwt)",
            "typ of an event (secevent+jwt)",
            "typ that nobody knows (id_token+jwt)",
            "typ is an empty string",
        ],
    ),
    (
        401,
        "The token has critical headers (crit) that are not understood.",
        "(crit)",
        &[
            "crit names an extension that nobody knows",
            "crit names a claim",
            "crit names an extension that is not there (b64)",
            "crit is an empty list",
            "crit is null",
            "crit is a text",
        ],
    ),
    (401, KEY, "(alg) that its key is for", &["kid leads to an empty file", "kid is SQL that gives a known secret"]),
    (
        401,
        TYPE,
        "claim nbf has",
        &["nbf is a word", "nbf is a number in a text", "nbf is true", "nbf is a list", "nbf is null"],
    ),
    (401, TYPE, "lacks iss", &["the claims are a list", "the claims are null", "the claims are a text"]),
    (
        401,
        TYPE,
        "payload cannot be read",
        &[
            "the claims are nothing",
            "the claims are the beginning of an object",
            "the claims are not UTF-8",
            "sub is there twice",
            "padding behind a good token",
        ],
    ),
    (401, TYPE, "claim scope has", &["scope is null", "scope is a list", "scope is a number"]),
    (401, TYPE, "claim roles has", &["roles are null", "roles are a text", "roles are numbers"]),
    (401, TYPE, "claim iat has", &["iat is a text"]),
    (401, TYPE, "claim jti has", &["jti is a number"]),
    (401, TYPE, "claim client_id has", &["client_id is a number"]),
    (401, TYPE, "claim preferred_username has", &["preferred_username is a list"]),
    (
        401,
        "The token is bound to a key of its client (cnf), and this server takes bearer tokens only.",
        "(cnf",
        &[
            "bound to a client's key (cnf jkt), sent without a proof",
            "bound to a client's certificate (cnf x5t#S256), sent without it",
            "bound to a key that is only named (cnf kid), sent without a proof",
            "cnf is an empty object",
            "cnf is null",
            "cnf is a text",
        ],
    ),
    (401, TYPE, "not a JWT", &["a fourth part behind a good token", "a good token's first two parts"]),
    (
        400,
        "What comes after Bearer is not one token.",
        "not one token",
        &["a good token, twice", "a good token in quotes"],
    ),
];

#[test]
fn each_hostile_token_of_the_table_has_a_refusal_and_each_refusal_a_token() {
    let expected: Vec<_> = REFUSALS.iter().flat_map(|(.., names)| names.iter().copied()).collect();
    let table: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(expected.iter().copied().collect::<BTreeSet<_>>(), table);
    assert_eq!((expected.len(), TABLE.len()), (table.len(), table.len()), "one is there twice");
}

#[tokio::test]
async fn each_hostile_token_of_the_table_is_refused_and_the_challenge_says_why() {
    let foreign = RsaKey::generate().unwrap();
    let foreign = &foreign;
    at_each_step(async move |trust| {
        let (good, bait) = (trust.good(), Url::parse("http://localhost:9/bait").unwrap());
        let (header, claims) = (trust.header.clone(), trust.claims.clone());
        let forge = Forge { good: &good, header, claims, trusted: Some(&trust.key), foreign, bait: &bait };
        for row in TABLE {
            let (status, sentence, word, _) = REFUSALS.iter().find(|(.., names)| names.contains(&row.name)).unwrap();
            let error = if *status == 400 { "invalid_request" } else { "invalid_token" };
            let token = (row.make)(&forge).unwrap();
            let reply = trust.send(&token).await;
            let said = trust.assert_refused(&reply, *status, error, row.name);
            trust.assert_unspoken(&reply, &token, row.name);
            if trust.step == "step10" {
                assert!(said.contains(word), "{}: {said}", row.name);
            } else {
                assert_eq!(said, *sentence, "{}", row.name);
            }
        }
        assert_eq!(trust.send(&good).await.status, 200, "the server goes on");
    })
    .await;
}

/// `gen-token` makes them for the lessons.
#[tokio::test]
async fn the_challenge_says_what_is_wrong_with_a_token_of_gen_token() {
    at_each_step(async |trust| {
        for (args, sentence, word) in [
            (["--username=bob", "--expires-in=-5m"], EXPIRED, "(exp)"),
            (["--username=admin", "--attack=none"], JWT, "not a JWT"),
            (["--username=admin", "--attack=hs256"], ALGORITHM, "alg"),
            (["--username=admin", "--attack=kid"], KEY, "(kid)"),
        ] {
            let token = gen_token(Path::new(KEYS), trust.server.url(), &args).unwrap();
            let reply = trust.send(&token).await;
            let said = trust.assert_refused(&reply, 401, "invalid_token", sentence);
            if trust.step == "step10" {
                assert!(said.contains(word), "{word}: {said}");
            } else {
                assert_eq!(said, sentence);
            }
        }
    })
    .await;
}

/// They are refused for what they claim to be, and for nothing else.
#[test]
fn each_attack_of_gen_token_is_what_it_says() {
    let url = "http://localhost:9000";
    let made = |attack: &[&str]| {
        let token = gen_token(Path::new(KEYS), url, &[&["--username", "admin"], attack].concat()).unwrap();
        let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let part = |number: usize| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[number]).unwrap()).unwrap()
        };
        (part(0), part(1), format!("{}.{}", parts[0], parts[1]), parts[2..].join("."))
    };
    let (good, claims, ..) = made(&[]);
    let public_pem = fs::read(Path::new(KEYS).join("mcp_public_key.pem")).unwrap();
    let with_alg = |alg: &str| changed(&good, "alg", Some(json!(alg)));
    let hs256 = |message: &str| {
        crypto::sign(message.as_bytes(), &EncodingKey::from_secret(&public_pem), Algorithm::HS256).unwrap()
    };
    let same = ["iat", "exp", "jti"].iter().fold(claims, |claims, name| changed(&claims, name, None));
    for attack in ["none", "hs256", "kid"] {
        let (header, claims, message, signature) = made(&["--attack", attack]);
        let claims = ["iat", "exp", "jti"].iter().fold(claims, |claims, name| changed(&claims, name, None));
        assert_eq!(claims, same, "{attack}: its claims are an admin's");
        match attack {
            "none" => assert_eq!((header, &*signature), (with_alg("none"), "")),
            "hs256" => assert_eq!((header, &signature), (with_alg("HS256"), &hs256(&message))),
            _ => {
                let jwk: Jwk = serde_json::from_value(header["jwk"].clone()).unwrap();
                let kid = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
                assert_ne!(header["kid"], good["kid"], "the key is another's");
                assert_eq!(header, changed(&changed(&good, "kid", Some(json!(kid))), "jwk", Some(json!(jwk))));
                let key = DecodingKey::from_jwk(&jwk).unwrap();
                assert!(crypto::verify(&signature, message.as_bytes(), &key, Algorithm::RS256).unwrap());
                assert!(header["jwk"].get("d").is_none(), "the private half stays at home");
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_more_than_16_kib_is_refused_even_if_it_is_good() {
    at_each_step(async |trust| {
        // A good token of exactly so many bytes, so that the bound is where it is said to be.
        let of_length = |bytes: usize| {
            let tokens = (0..3).flat_map(|more| {
                let header = changed(&trust.header, "padding", Some(json!("x".repeat(more))));
                let rest = (bytes - trust.sign(&header, &trust.claims).len()) * 3 / 4;
                let trust = &trust;
                (rest.saturating_sub(30)..rest).map(move |padding| {
                    trust.sign(&header, &changed(&trust.claims, "padding", Some(json!("x".repeat(padding)))))
                })
            });
            tokens.into_iter().find(|token| token.len() == bytes).unwrap()
        };
        assert_eq!(trust.send(&of_length(MAX_TOKEN)).await.status, 200);
        for bytes in [MAX_TOKEN + 1, MAX_TOKEN + 1000, 40 * 1024] {
            let token = of_length(bytes);
            let reply = trust.send(&token).await;
            let said = trust.assert_refused(&reply, 401, "invalid_token", "more than 16 KiB");
            assert!(said.contains("16 KiB"), "{said}");
            trust.assert_unspoken(&reply, &token, "more than 16 KiB");
        }
    })
    .await;
}

#[tokio::test]
async fn two_authorization_headers_are_an_invalid_request() {
    at_each_step(async |trust| {
        let good = trust.good();
        let bearer = format!("Bearer {good}");
        for (first, second) in
            [(&*bearer, &*bearer), (&*bearer, "Basic YTpi"), ("Basic YTpi", &*bearer), (&*bearer, "")]
        {
            let request = trust.request().header("Authorization", first).header("Authorization", second);
            let reply = Reply::of(request).await.unwrap();
            trust.assert_refused(&reply, 400, "invalid_request", second);
            trust.assert_unspoken(&reply, &good, second);
        }
    })
    .await;
}

#[tokio::test]
async fn bearer_with_nothing_usable_after_it_is_an_invalid_request() {
    at_each_step(async |trust| {
        let good = trust.good();
        for value in [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "bearer    ".to_owned(),
            format!("Bearer {good} {good}"),
            format!("Bearer {good}, Bearer {good}"),
            format!("Bearer \"{good}\""),
            format!("Bearer token={good};"),
        ] {
            let reply = Reply::of(trust.request().header("Authorization", &value)).await.unwrap();
            trust.assert_refused(&reply, 400, "invalid_request", &value);
            trust.assert_unspoken(&reply, &good, &value);
        }
    })
    .await;
}

#[tokio::test]
async fn no_token_or_another_scheme_is_challenged_without_an_error() {
    at_each_step(async |trust| {
        let good = trust.good();
        trust.assert_anonymous(&Reply::of(trust.request()).await.unwrap(), "no header");
        for value in ["", "Basic YTpi", "Token abc", "BearerX abc", "Digest a=b"] {
            let reply = Reply::of(trust.request().header("Authorization", value)).await.unwrap();
            trust.assert_anonymous(&reply, value);
        }
        for value in [good.clone(), format!("DPoP {good}"), format!("Bearer:{good}")] {
            let reply = Reply::of(trust.request().header("Authorization", &value)).await.unwrap();
            trust.assert_anonymous(&reply, &value);
            trust.assert_unspoken(&reply, &good, &value);
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_in_the_query_the_body_or_a_cookie_does_not_count() {
    at_each_step(async |trust| {
        let good = trust.good();
        let list = rpc("tools/list", json!({})).to_string();
        let post = |path: &str, kind: &str, body: String| {
            trust.server.request(Method::POST, path).header("Content-Type", kind.to_owned()).body(body)
        };
        let mut with_token = rpc("tools/list", json!({ "access_token": good }));
        with_token["access_token"] = json!(good);
        let cases = [
            ("query", post(&format!("/mcp?access_token={good}"), "application/json", list.clone())),
            ("body", post("/mcp", "application/json", with_token.to_string())),
            ("form", post("/mcp", "application/x-www-form-urlencoded", format!("access_token={good}"))),
            ("cookie", trust.request().header("Cookie", format!("access_token={good}; Authorization=Bearer {good}"))),
            ("another header", trust.request().header("X-Access-Token", &good)),
            ("a proxy's header", trust.request().header("Proxy-Authorization", format!("Bearer {good}"))),
        ];
        for (case, request) in cases {
            let reply = Reply::of(request).await.unwrap();
            trust.assert_anonymous(&reply, case);
            trust.assert_unspoken(&reply, &good, case);
        }
    })
    .await;
}

#[tokio::test]
async fn authentication_comes_before_method_type_size_and_body() {
    at_each_step(async |trust| {
        let good = format!("Bearer {}", trust.good());
        let request = |method: Method| trust.server.request(method, "/mcp");
        let html = request(Method::POST).header("Content-Type", "application/json").header("Accept", "text/html");
        let cases: [(&str, RequestBuilder, u16); 7] = [
            ("GET", request(Method::GET), 405),
            ("DELETE", request(Method::DELETE), 405),
            ("a text", request(Method::POST).header("Content-Type", "text/plain").body("hi"), 415),
            ("no JSON", trust.server.post_text("{"), 400),
            ("too large", trust.server.post_text(" ".repeat((1 << 20) + 1)), 413),
            ("not acceptable", html.body("{}"), 406),
            ("a notification", trust.server.post(&json!({ "jsonrpc": "2.0", "method": "x" })), 202),
        ];
        for (case, request, status) in cases {
            let again = request.try_clone().unwrap();
            trust.assert_anonymous(&Reply::of(request).await.unwrap(), case);
            let reply = Reply::of(again.header("Authorization", &good)).await.unwrap();
            assert_eq!(reply.status.as_u16(), status, "{case}: {reply:?}");
            if status == 405 {
                assert_eq!(reply.header("allow"), "POST", "{case}: {reply:?}");
            }
        }
        let foreign = trust.request().header("Origin", "https://evil.example");
        assert_eq!(Reply::of(foreign).await.unwrap().status, 403, "but after the Origin guard");
        assert_eq!(Reply::of(trust.server.get("/health")).await.unwrap().status, 200, "health is public");
    })
    .await;
}

#[tokio::test]
async fn an_unusual_token_that_is_good_is_let_in() {
    at_each_step(async |trust| {
        let audience = format!("{}/mcp", trust.server.url());
        let now = now();
        let cases = [
            ("as gen-token makes it", gen_token(Path::new(KEYS), trust.server.url(), &["--username", "bob"]).unwrap()),
            ("signed here", trust.good()),
            ("typ JWT", trust.with_header("typ", Some(json!("JWT")))),
            ("typ jwt", trust.with_header("typ", Some(json!("jwt")))),
            ("typ application/at+jwt", trust.with_header("typ", Some(json!("application/at+jwt")))),
            ("no typ", trust.with_header("typ", None)),
            ("no kid", trust.with_header("kid", None)),
            ("jku", trust.with_header("jku", Some(json!("https://evil.example/jwks.json")))),
            ("an unknown member", trust.with_header("x", Some(json!(1)))),
            ("aud an array", trust.with_claim("aud", Some(json!([audience])))),
            ("aud an array of several", trust.with_claim("aud", Some(json!(["https://other.example", audience])))),
            ("exp within the leeway", trust.with_claim("exp", Some(json!(now - 10)))),
            ("exp with a fraction", trust.with_claim("exp", Some(json!(1e9_f64.mul_add(4.0, 0.5))))),
            ("nbf now", trust.with_claim("nbf", Some(json!(now)))),
            ("nbf within the leeway", trust.with_claim("nbf", Some(json!(now + 20)))),
            ("an unknown claim", trust.with_claim("x", Some(json!({ "y": 1 })))),
            ("no optional claims", {
                let required = ["preferred_username", "client_id", "scope", "roles", "iat", "jti"];
                trust.sign(
                    &trust.header,
                    &required.iter().fold(trust.claims.clone(), |all, name| changed(&all, name, None)),
                )
            }),
        ];
        for (case, token) in cases {
            let reply = trust.send(&token).await;
            assert_eq!(reply.outcome(), (200, 0), "{case}: {reply:?}");
            assert_eq!(reply.header("www-authenticate"), "", "{case}: {reply:?}");
            trust.assert_unspoken(&reply, &token, case);
        }
    })
    .await;
}

#[tokio::test]
async fn the_scheme_may_be_in_any_case() {
    at_each_step(async |trust| {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer   "] {
            let value = format!("{scheme} {}", trust.good());
            let request = trust.server.modern("tools/list", json!({})).header("Authorization", value);
            let reply = Reply::of(request).await.unwrap();
            assert_eq!(reply.outcome(), (200, 0), "{scheme}: {reply:?}");
        }
    })
    .await;
}
