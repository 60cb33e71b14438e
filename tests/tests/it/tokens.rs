//! Each step from 6 on against hostile tokens, and against unusual ones that are good.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{
    Reply, Server, gen_token, rpc,
    signer::{changed, encoding_key, now, rsa_key, signed},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, crypto,
    jwk::{Jwk, ThumbprintHash},
};
use reqwest::{Method, RequestBuilder};
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
    key: EncodingKey,
    public_pem: Vec<u8>,
    header: Value,
    claims: Value,
}

impl Trust {
    fn of(step: &'static str) -> Self {
        let server = Server::start_with(step, &["--keys", KEYS]).unwrap();
        let keys = Path::new(KEYS);
        let key = EncodingKey::from_rsa_pem(&fs::read(keys.join("mcp_private_key.pem")).unwrap()).unwrap();
        let public_pem = fs::read(keys.join("mcp_public_key.pem")).unwrap();
        let token = gen_token(keys, server.url(), &["--username", "alice"]).unwrap();
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut part = || serde_json::from_slice::<Value>(&parts.next().unwrap()).unwrap();
        let (header, claims) = (part(), part());
        Trust { step, server, key, public_pem, header, claims }
    }

    /// A token with this header and these claims, signed by the key that the server trusts.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims.to_string().as_bytes(), &self.key, Algorithm::RS256)
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

#[tokio::test]
async fn a_token_that_the_trusted_key_did_not_sign_is_refused() {
    at_each_step(try_foreign_signatures).await;
}

async fn try_foreign_signatures(trust: Trust) {
    let claims = trust.claims.to_string();
    let alg = |name: &str| changed(&trust.header, "alg", Some(json!(name)));
    let good = trust.good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(changed(&trust.claims, "sub", Some(json!("user_admin"))).to_string());
    let foreign = encoding_key(rsa_key(0));
    let unsigned =
        |name: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(alg(name).to_string()), URL_SAFE_NO_PAD.encode(&claims));
    let hmac = |secret: &[u8], name: &str, algorithm| {
        signed(&alg(name), claims.as_bytes(), &EncodingKey::from_secret(secret), algorithm)
    };
    let text = String::from_utf8(trust.public_pem.clone()).unwrap();
    let no_kid = changed(&trust.header, "kid", None);
    let cases = [
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg none with a signature", format!("{}{signature}", unsigned("none"))),
        ("RS256 without a signature", format!("{message}.")),
        ("HS256 with the public key as the secret", hmac(&trust.public_pem, "HS256", Algorithm::HS256)),
        ("HS256 with the trimmed public key", hmac(text.trim().as_bytes(), "HS256", Algorithm::HS256)),
        ("HS512 with the public key as the secret", hmac(&trust.public_pem, "HS512", Algorithm::HS512)),
        ("HS256 that says RS256", hmac(&trust.public_pem, "RS256", Algorithm::HS256)),
        ("HS256 with an empty secret", hmac(b"", "HS256", Algorithm::HS256)),
        ("RS384", signed(&alg("RS384"), claims.as_bytes(), &trust.key, Algorithm::RS384)),
        ("RS512", signed(&alg("RS512"), claims.as_bytes(), &trust.key, Algorithm::RS512)),
        ("PS256", signed(&alg("PS256"), claims.as_bytes(), &trust.key, Algorithm::PS256)),
        ("PS256 that says RS256", signed(&alg("RS256"), claims.as_bytes(), &trust.key, Algorithm::PS256)),
        ("rs256", signed(&alg("rs256"), claims.as_bytes(), &trust.key, Algorithm::RS256)),
        ("no alg", trust.with_header("alg", None)),
        ("a foreign key", signed(&trust.header, claims.as_bytes(), &foreign, Algorithm::RS256)),
        ("a foreign key without a kid", signed(&no_kid, claims.as_bytes(), &foreign, Algorithm::RS256)),
        ("other claims under the signature", format!("{header}.{admin}.{signature}")),
        ("the end cut off", good[..good.len() - 4].to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("two parts", message.to_owned()),
        ("no parts", "abcdefghijklmnopqrstuvwxyz0123456789".to_owned()),
        ("dots", "..".to_owned()),
        ("padding", format!("{good}==")),
    ];
    for (case, token) in cases {
        let reply = trust.send(&token).await;
        trust.assert_refused(&reply, 401, "invalid_token", case);
        trust.assert_unspoken(&reply, &token, case);
    }
    assert_eq!(trust.send(&good).await.status, 200, "the server goes on");
}

#[tokio::test]
async fn a_token_whose_header_asks_for_more_than_we_know_is_refused() {
    at_each_step(try_headers).await;
}

async fn try_headers(trust: Trust) {
    for (name, value) in [
        ("kid", json!("unknown")),
        ("kid", json!("")),
        ("kid", json!("../../../dev/null")),
        ("kid", json!(1)),
        ("kid", json!(null)),
        ("kid", json!(["unknown"])),
        ("kid", json!({})),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("crit", json!("exp")),
        ("typ", json!("id_token+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!(1)),
        ("typ", json!(null)),
        ("typ", json!("")),
        ("typ", json!(["at+jwt"])),
        ("alg", json!(null)),
        ("alg", json!(["RS256"])),
    ] {
        let token = trust.with_header(name, Some(value.clone()));
        let reply = trust.send(&token).await;
        trust.assert_refused(&reply, 401, "invalid_token", &format!("{name} {value}"));
        trust.assert_unspoken(&reply, &token, name);
    }
}

#[tokio::test]
async fn a_claim_that_is_missing_or_wrong_or_of_the_wrong_type_makes_the_token_invalid() {
    at_each_step(try_claims).await;
}

async fn try_claims(trust: Trust) {
    let (url, now) = (trust.server.url(), now());
    let audience = format!("{url}/mcp");
    for (name, value) in [
        ("iss", None),
        ("iss", Some(json!("https://evil.example"))),
        ("iss", Some(json!(format!("{url}/")))),
        ("iss", Some(json!(""))),
        ("iss", Some(json!(1))),
        ("iss", Some(json!(null))),
        ("iss", Some(json!([url]))),
        ("aud", None),
        ("aud", Some(json!("https://other.example/mcp"))),
        ("aud", Some(json!(url))),
        ("aud", Some(json!(format!("{audience}/")))),
        ("aud", Some(json!(""))),
        ("aud", Some(json!(1))),
        ("aud", Some(json!(null))),
        ("aud", Some(json!([]))),
        ("aud", Some(json!(["https://other.example/mcp"]))),
        ("aud", Some(json!([audience, 1]))),
        ("aud", Some(json!({ "0": audience }))),
        ("exp", None),
        ("exp", Some(json!(now - 60))),
        ("exp", Some(json!(now - 45))), // the leeway is 30 s, not the 60 s that the library takes by itself
        ("exp", Some(json!(0))),
        ("exp", Some(json!(-1))),
        ("exp", Some(json!((now + 3600).to_string()))),
        ("exp", Some(json!(null))),
        ("exp", Some(json!(true))),
        ("exp", Some(json!([now + 3600]))),
        ("nbf", Some(json!(now + 120))),
        ("nbf", Some(json!(now + 45))),
        ("nbf", Some(json!((now - 60).to_string()))),
        ("nbf", Some(json!(true))),
        ("nbf", Some(json!([]))),
        ("nbf", Some(json!(null))),
        ("roles", Some(json!(null))),
        ("scope", Some(json!(null))),
        ("sub", None),
        ("sub", Some(json!(""))),
        ("sub", Some(json!(1))),
        ("sub", Some(json!(null))),
        ("sub", Some(json!(["user_alice"]))),
        ("scope", Some(json!(["mcp:read"]))),
        ("scope", Some(json!(1))),
        ("roles", Some(json!("admin"))),
        ("roles", Some(json!([1]))),
        ("iat", Some(json!("now"))),
        ("jti", Some(json!(1))),
        ("client_id", Some(json!(1))),
        ("preferred_username", Some(json!(["alice"]))),
        // Bound to a key of its client: it is worthless without a proof, which these servers do not check.
        ("cnf", Some(json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }))),
        ("cnf", Some(json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }))),
        ("cnf", Some(json!({ "kid": "other" }))),
        ("cnf", Some(json!({}))),
        ("cnf", Some(json!(null))),
        ("cnf", Some(json!("x"))),
    ] {
        let case = format!("{name} {value:?}");
        let token = trust.with_claim(name, value);
        let reply = trust.send(&token).await;
        trust.assert_refused(&reply, 401, "invalid_token", &case);
        trust.assert_unspoken(&reply, &token, &case);
    }
}

#[tokio::test]
async fn a_signed_token_whose_claims_are_no_object_is_refused() {
    at_each_step(async |trust| {
        let twice = trust.claims.to_string().replacen('{', "{\"sub\":\"user_admin\",", 1);
        for claims in ["", "null", "[]", "\"x\"", "{", "{}", &twice] {
            let token = signed(&trust.header, claims.as_bytes(), &trust.key, Algorithm::RS256);
            let reply = trust.send(&token).await;
            trust.assert_refused(&reply, 401, "invalid_token", claims);
            trust.assert_unspoken(&reply, &token, claims);
        }
    })
    .await;
}

#[tokio::test]
async fn the_challenge_says_which_check_failed() {
    const TYPE: &str = "The token is malformed, or a claim has the wrong type.";
    const LACKS: &str = "The token lacks one of iss, aud, exp, sub.";
    const JWT: &str = "The token is not a JWT signed with RS256.";
    at_each_step(async |trust| {
        let claims = trust.claims.to_string();
        let alg = |name: &str, algorithm| {
            let header = changed(&trust.header, "alg", Some(json!(name)));
            signed(&header, claims.as_bytes(), &trust.key, algorithm)
        };
        let made = |args: &[&str]| gen_token(Path::new(KEYS), trust.server.url(), args).unwrap();
        let claim = |name: &str, value: Value| trust.with_claim(name, Some(value));
        let header = |name: &str, value: Value| trust.with_header(name, Some(value));
        // The exact sentence of steps 6 to 9, and a word that step 10 uses as well.
        for (token, sentence, word) in [
            (claim("exp", json!(now() - 60)), "The token has expired (exp).", "(exp)"),
            (made(&["--username", "bob", "--expires-in=-5m"]), "The token has expired (exp).", "(exp)"),
            (claim("nbf", json!(now() + 120)), "The token is not valid yet (nbf).", "(nbf)"),
            (claim("aud", json!("https://x.example/mcp")), "The token is for another audience (aud).", "(aud)"),
            (claim("iss", json!("https://x.example")), "The token is from another issuer (iss).", "(iss)"),
            (claim("sub", json!("")), "The token's subject (sub) is empty.", "sub"),
            (format!("{}AAAA", trust.good()), "The token's signature is wrong.", "signature"),
            (alg("RS256", Algorithm::PS256), "The token's signature is wrong.", "signature"),
            (alg("RS384", Algorithm::RS384), "The token is not signed with RS256.", "alg"),
            (alg("PS256", Algorithm::PS256), "The token is not signed with RS256.", ""),
            (alg("none", Algorithm::RS256), JWT, "not a JWT"),
            (made(&["--username", "admin", "--attack", "none"]), JWT, "not a JWT"),
            (made(&["--username", "admin", "--attack", "hs256"]), "The token is not signed with RS256.", "alg"),
            (
                made(&["--username", "admin", "--attack", "kid"]),
                "The token was signed with an unknown key (kid).",
                "(kid)",
            ),
            ("abc.def.ghi".to_owned(), JWT, "not a JWT"),
            (header("kid", json!(null)), JWT, "not a JWT"),
            (header("typ", json!(null)), JWT, "not a JWT"),
            (header("kid", json!("unknown")), "The token was signed with an unknown key (kid).", "(kid)"),
            (header("typ", json!("id_token+jwt")), "The token is not an access token: its typ is another.", "typ"),
            (
                header("crit", json!(["exp"])),
                "The token has critical headers (crit) that are not understood.",
                "(crit)",
            ),
            (
                claim("cnf", json!({ "jkt": "abc" })),
                "The token is bound to a key of its client (cnf), and this server takes bearer tokens only.",
                "(cnf",
            ),
            (trust.with_claim("iss", None), LACKS, "lacks"),
            (trust.with_claim("aud", None), LACKS, "aud"),
            (trust.with_claim("exp", None), LACKS, "lacks"),
            (trust.with_claim("sub", None), LACKS, "lacks"),
            (claim("exp", json!(null)), TYPE, ""),
            (claim("exp", json!("4000000000")), TYPE, ""),
            (claim("aud", json!(1)), TYPE, ""),
            (claim("roles", json!("admin")), TYPE, ""),
        ] {
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
