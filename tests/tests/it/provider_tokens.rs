//! Step 10 and tokens: which ones get in, and what clients are told about the others.
#![allow(clippy::unwrap_used, clippy::too_many_lines)]

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use integration_tests::{
    provider::{Provider, call, ping, reason, start},
    signer::{AUDIENCE, Signer, b64, claims, now, signed, with},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

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
    let (a, b) = (Provider::good(&[&rsa, &ec, &ed, &pss, &p384, &p384_2]), Provider::good(&[&other, &only_b]));
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
        // A person who is refused can tell the administrator which line of the log to read, and that line says why.
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
    let mock = Provider::good(&[&key]);
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
    let mock = Provider::good(&[&key]);
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
    // A Keycloak ID token has the same key and header; if a client is named like us, it also has our audience.
    assert_eq!(reason(&ping(&server, &key.sign(&with(&claims(&mock.url), "typ", json!("ID")))).await), "401 typ_other");
    assert_eq!(ping(&server, &key.sign(&with(&claims(&mock.url), "typ", json!("Bearer")))).await.status, 200);
    // A path through something that is not an object is refused too, so that nobody becomes a guest by mistake.
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
