//! Step 10 and its providers' key sets: hostile ones, odd ones, and keys that come and go.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{
    Reply, Server,
    provider::{
        Answer, NOT_JSON, Provider, QUICK, SOON, UNFIT, bytes, endless, forged, has_problem, json_of, nothing, ok,
        ping, raw, reason, set, start, trickle, until,
    },
    signer::{AUDIENCE, Signer, b64, claims, with},
};
use jsonwebtoken::Algorithm;
use rsa::RsaPrivateKey;
use serde_json::{Value, json};

const REFUSED: &str = "is refused";

/// What the provider sends in place of a key set, and what `/health` says about it. `trap` is a host that must never be
/// asked.
fn hostile_sets(good: &Signer, evil: &Signer, trap: &Provider) -> Vec<(&'static str, Answer, &'static str)> {
    let evil_jwk = &evil.jwk;
    let of = |jwk: Value| json_of(set(vec![jwk]));
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
        ("an array", json_of(json!([evil_jwk])), NOT_JSON),
        ("an array of arrays", json_of(json!([[evil_jwk]])), NOT_JSON),
        ("a key as an array", of(json!(["RSA", "sig", null, "RS256", "k1", null, evil_jwk["n"], "AQAB"])), UNFIT),
        ("keys is an object", json_of(json!({ "keys": evil_jwk })), NOT_JSON),
        ("no keys member", json_of(json!({ "key": [] })), NOT_JSON),
        ("two keys members", ok(&format!("{{\"keys\":[],{}", &text[1..])), NOT_JSON),
        ("something behind", ok(&format!("{text} {text}")), NOT_JSON),
        ("not UTF-8", bytes("200 OK", &[text.as_bytes(), &[0xff]].concat()), NOT_JSON),
        ("nested very deeply", ok(&format!("{{\"keys\":{}", "[".repeat(100_000))), NOT_JSON),
        ("compressed", raw("200 OK", "Content-Encoding: gzip\r\n", "\u{1f}\u{8b}"), NOT_JSON),
        ("an empty set", json_of(set(vec![])), UNFIT),
        ("too many keys", json_of(set(vec![evil_jwk.clone(); 101])), REFUSED),
        ("giant, announced", trickle("200 OK\r\nContent-Length: 1073741824"), "larger than"),
        ("giant, unannounced", endless(), "larger than"),
        ("giant, but valid", ok(&format!("{text}{}", " ".repeat(300 * 1024))), "larger than"),
        ("ever so slowly", trickle("200 OK"), "too long"),
        ("never", Answer::After(Duration::from_secs(30), Box::new(ok(&text))), "too long"),
        ("cut off", bytes("200 OK\r\nContent-Length: 5000", text.as_bytes()), "cannot be"),
        ("no answer", nothing(), "cannot be reached"),
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
        ("kid twice, one malformed", json_of(set(vec![with(evil_jwk, "alg", json!(1)), evil_jwk.clone()])), UNFIT),
        ("kid very long", but("kid", json!("k".repeat(1000))), UNFIT),
        ("kid twice", json_of(set(vec![good.jwk.clone(), evil_jwk.clone()])), UNFIT),
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

/// First the provider is hostile: nobody gets in. Then it is good: soon, good tokens get in. Then it is hostile again:
/// good tokens still get in, and no others.
async fn survive(server: Arc<Server>, mock: Provider, name: &'static str, hostile: Answer, problem: &'static str) {
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
    // If waiting cannot help, no client is told to try again soon.
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
    assert!(started.elapsed() < Duration::from_secs(4), "{name}: a known key had to wait");
    nobody_else().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_key_set_lets_anybody_in_or_takes_good_keys_away() {
    let (good, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k1"));
    let trap = Provider::good(&[&evil]);
    let rows = hostile_sets(&good, &evil, &trap);
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for rows in rows.chunks(16) {
        let mocks: Vec<_> = rows.iter().map(|_| Provider::good(&[])).collect();
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

/// Key sets as providers publish them: an entry that no token could mean does no harm, and a fitting key is looked for
/// before several keys are called ambiguous.
#[tokio::test]
async fn an_entry_that_is_no_candidate_takes_no_key_away() {
    // The entries, the keys whose tokens get in, and the keys whose tokens are refused, with the reason.
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
        // Two different candidates: it is unclear which one is meant, so neither is used.
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
        let mocks: Vec<_> = rows.iter().map(|_| Provider::good(&[])).collect();
        for (mock, (_, entries, ..)) in mocks.iter().zip(rows) {
            mock.put("/jwks", json_of(set(entries.clone())));
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
    let mock = Provider::good(&[]);
    let server = start(&[&mock], &QUICK);
    let ask = async || ping(&server, &one.sign(&claims(&mock.url))).await;
    for (keys, wanted, says) in [
        (vec![], "503 keys_missing", "No key of the set that the identity provider publishes can be used"),
        (vec![with(&one.jwk, "use", json!("enc"))], "503 keys_missing", "No key of the set"),
        (vec![one.jwk.clone(), two.jwk.clone()], "503 key_ambiguous", "several different keys by the name (kid)"),
    ] {
        mock.put("/jwks", json_of(set(keys)));
        until(wanted, SOON, || async { reason(&ask().await) == wanted && ask().await.text.contains(says) }).await;
        let reply = ask().await;
        assert!(!reply.text.contains("not here yet") && !reply.text.contains("Try again"), "{reply:?}");
        assert_eq!(reply.header("retry-after"), "60", "{reply:?}");
        assert_eq!(reply.header("www-authenticate"), "", "another token would not help");
        let body = reply.json();
        assert_eq!(body["error"], "temporarily_unavailable", "{reply:?}");
        assert!(body["error_description"].is_string() && body["correlation_id"].is_string(), "{reply:?}");
    }
    // A stranger without a token is told the same.
    let reply = Reply::of(server.legacy("ping", json!({}))).await.unwrap();
    assert!(reply.status == 503 && reply.text.contains("No key of the set"), "{reply:?}");
}

#[tokio::test]
async fn a_spoilt_key_does_not_spoil_the_others() {
    let (one, two, evil) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k2"), Signer::rsa(2, "k1"));
    let mock = Provider::good(&[&one]);
    let server = start(&[&mock], &QUICK);
    assert_eq!(ping(&server, &one.sign(&claims(&mock.url))).await.status, 200);
    // Its name stands for two keys now; a new key is as it should be.
    mock.put_keys(&[&one, &evil, &two]);
    until("the new key", SOON, || async { ping(&server, &two.sign(&claims(&mock.url))).await.status == 200 }).await;
    assert_eq!(ping(&server, &one.sign(&claims(&mock.url))).await.status, 200);
    assert_eq!(reason(&ping(&server, &evil.sign(&claims(&mock.url))).await), "401 signature_wrong");
    // A key whose private half is public is no longer trusted, whoever signed with it.
    let seen = one.sign(&claims(&mock.url));
    assert_eq!(ping(&server, &seen).await.status, 200);
    mock.put("/jwks", json_of(set(vec![with(&one.jwk, "d", json!("AQAB")), two.jwk.clone()])));
    until("the leaked key", SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
    assert_eq!(ping(&server, &two.sign(&claims(&mock.url))).await.status, 200);
    // This holds for any name of the private half, any part of it, and anything else that is wrong with it.
    for (name, half) in [
        ("d", with(&with(&one.jwk, "kid", json!("x")), "d", json!("AQAB"))),
        ("no kid", with(&with(&one.jwk, "kid", Value::Null), "p", json!("AQAB"))),
        ("dp", with(&with(&one.jwk, "kid", json!("k3")), "dp", json!("AQAB"))),
        ("oth", with(&with(&one.jwk, "kid", json!("k3")), "oth", json!([]))),
        ("malformed", with(&with(&one.jwk, "alg", json!(1)), "qi", json!(1))),
    ] {
        mock.put_keys(&[&one, &two]);
        until(name, SOON, || async { ping(&server, &seen).await.status == 200 }).await;
        mock.put("/jwks", json_of(set(vec![half, one.jwk.clone(), two.jwk.clone()])));
        until(name, SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
        assert_eq!(ping(&server, &two.sign(&claims(&mock.url))).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_listed_goes_even_if_no_key_is_left() {
    let (one, two) = (Signer::rsa(0, "k1"), Signer::rsa(1, "k2"));
    let mock = Provider::good(&[&one]);
    let server = start(&[&mock], &QUICK);
    let seen = one.sign(&claims(&mock.url));
    let other = |kid: &str| json!({ "kty": "EC", "crv": "P-521", "kid": kid, "alg": "ES512", "x": b64([7; 66]), "y": b64([8; 66]) });
    assert_eq!(ping(&server, &seen).await.status, 200);
    mock.put("/jwks", json_of(set(vec![other("k3")])));
    until("the withdrawn key", SOON, || async { reason(&ping(&server, &seen).await) == "503 keys_missing" }).await;
    assert!(has_problem(&server, &mock, UNFIT).await);
    // Its name stands for another key now, though for one that is not used here.
    mock.put_keys(&[&one]);
    until("back again", SOON, || async { ping(&server, &seen).await.status == 200 }).await;
    mock.put("/jwks", json_of(set(vec![other("k1"), two.jwk.clone()])));
    until("the replaced key", SOON, || async { reason(&ping(&server, &seen).await) == "401 key_unknown" }).await;
}
