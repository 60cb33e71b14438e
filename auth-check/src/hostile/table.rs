//! The one table of hostile tokens. A new row needs what our own servers say to it, in `tests/tests/it/tokens.rs`.

use serde_json::{Value, json};

use super::{Forge, Hostile, with, without};
use crate::jose::{Algorithm, hmac_signed, now};

/// Makes a token; `None` if that takes a key which is not there.
type Make = fn(&Forge<'_>) -> Option<String>;

/// No good server accepts it.
const fn row(check: &'static str, name: &'static str, make: Make) -> Hostile {
    Hostile { check: Some(check), name, make }
}

/// A good server may accept it: it may ignore a hint or a claim that it does not use, or take more leeway.
const fn ours(name: &'static str, make: Make) -> Hostile {
    Hostile { check: None, name, make }
}

/// All of them.
pub const TABLE: &[Hostile] = &[
    row("TOK-02", "signed by an unknown key under the good token's kid", |f| Some(f.foreign(&f.header))),
    row("TOK-02", "signed by an unknown key, without a kid", |f| Some(f.foreign(&without(&f.header, "kid")))),
    row("TOK-02", "signed by an unknown key under its own kid", |f| {
        Some(f.foreign(&with(&f.header, "kid", json!(f.foreign.kid()))))
    }),
    row("TOK-03", "alg none without a signature", |f| Some(f.alg_none("none", ""))),
    row("TOK-03", "alg None", |f| Some(f.alg_none("None", ""))),
    row("TOK-03", "alg NONE", |f| Some(f.alg_none("NONE", ""))),
    row("TOK-03", "alg none with the good token's signature", |f| Some(f.alg_none("none", f.halves().1))),
    row("TOK-04", "HS256 with the public key's PEM as the secret", |f| Some(f.hmac(&f.public_key()?, "HS256"))),
    row("TOK-04", "HS256 with the public key's PEM, without its last line break", |f| {
        Some(f.hmac(f.public_key()?.trim_ascii_end(), "HS256"))
    }),
    row("TOK-04", "HS512 with the public key's PEM as the secret", |f| Some(f.hmac(&f.public_key()?, "HS512"))),
    row("TOK-04", "an HMAC with the public key's PEM under a header that says RS256", |f| {
        Some(hmac_signed(&f.header, f.claims.to_string().as_bytes(), &f.public_key()?, false))
    }),
    row("TOK-04", "HS256 with an empty secret", |f| Some(f.hmac(b"", "HS256"))),
    row("TOK-04", "HS256 with the secret `secret`", |f| Some(f.hmac(b"secret", "HS256"))),
    row("TOK-05", "another sub under the good token's signature", |f| Some(f.swapped())),
    row("TOK-05", "an empty signature", |f| Some(format!("{}.", f.halves().0))),
    row("TOK-05", "the signature's first half", |f| {
        let (message, signature) = f.halves();
        // Whole bytes, so that it can be decoded.
        Some(format!("{message}.{}", &signature[..signature.len() / 8 * 4]))
    }),
    row("TOK-05", "a signature with more behind it", |f| Some(format!("{}AAAA", f.good))),
    row("TOK-06", "expired an hour ago", |f| f.claim("exp", json!(now() - 3600))),
    row("TOK-06", "expired ten minutes ago", |f| f.claim("exp", json!(now() - 600))),
    row("TOK-06", "exp is 0", |f| f.claim("exp", json!(0))),
    row("TOK-06", "exp is negative", |f| f.claim("exp", json!(-1))),
    // A leeway of a few minutes is allowed; ours is 30 s.
    ours("expired 45 seconds ago", |f| f.claim("exp", json!(now() - 45))),
    row("TOK-07", "no exp", |f| f.lacking("exp")),
    row("TOK-07", "exp is null", |f| f.claim("exp", Value::Null)),
    row("TOK-08", "not valid before an hour from now", |f| f.claim("nbf", json!(now() + 3600))),
    ours("not valid before 45 seconds from now", |f| f.claim("nbf", json!(now() + 45))),
    row("TOK-09", "for another server", |f| f.claim("aud", json!("https://other.example/mcp"))),
    row("TOK-09", "for one other server, in a list", |f| f.claim("aud", json!(["https://other.example/mcp"]))),
    row("TOK-09", "for several other servers", |f| {
        f.claim("aud", json!(["https://other.example/mcp", "https://third.example/mcp"]))
    }),
    row("TOK-10", "no aud", |f| f.lacking("aud")),
    row("TOK-10", "aud is an empty string", |f| f.claim("aud", json!(""))),
    row("TOK-10", "aud is an empty list", |f| f.claim("aud", json!([]))),
    row("TOK-10", "aud is null", |f| f.claim("aud", Value::Null)),
    row("TOK-10", "no claims at all", |f| f.sign(&f.header, &json!({}))),
    row("TOK-11", "aud is the right one with more behind it", |f| {
        f.claim("aud", json!(format!("{}.evil.example", f.audience())))
    }),
    row("TOK-11", "aud has the right one inside", |f| {
        f.claim("aud", json!(format!("https://evil.example/?{}", f.audience())))
    }),
    row("TOK-11", "aud is the beginning of the right one", |f| {
        let mut audience = f.audience();
        audience.pop();
        f.claim("aud", json!(audience))
    }),
    // Another server may have these names as well.
    ours("aud is the right one with a slash behind it", |f| f.claim("aud", json!(format!("{}/", f.audience())))),
    ours("aud is the issuer", |f| f.claim("aud", json!(f.issuer()))),
    row("TOK-12", "from another issuer", |f| f.claim("iss", json!("https://evil.example"))),
    row("TOK-12", "iss is the right one with more behind it", |f| {
        f.claim("iss", json!(format!("{}.evil.example", f.issuer())))
    }),
    row("TOK-12", "iss is the right one with a slash behind it", |f| f.claim("iss", json!(format!("{}/", f.issuer())))),
    row("TOK-13", "no iss", |f| f.lacking("iss")),
    row("TOK-13", "iss is an empty string", |f| f.claim("iss", json!(""))),
    row("TOK-13", "iss is null", |f| f.claim("iss", Value::Null)),
    row("TOK-14", "no sub", |f| f.lacking("sub")),
    row("TOK-14", "sub is an empty string", |f| f.claim("sub", json!(""))),
    row("TOK-14", "sub is null", |f| f.claim("sub", Value::Null)),
    row("TOK-15", "typ of a proof of possession (dpop+jwt)", |f| f.head("typ", json!("dpop+jwt"))),
    row("TOK-15", "typ of a log-out token (logout+jwt)", |f| f.head("typ", json!("logout+jwt"))),
    row("TOK-15", "typ of an event (secevent+jwt)", |f| f.head("typ", json!("secevent+jwt"))),
    row("TOK-15", "typ that nobody knows (id_token+jwt)", |f| f.head("typ", json!("id_token+jwt"))),
    row("TOK-15", "typ is an empty string", |f| f.head("typ", json!(""))),
    row("TOK-15", "typ is a number", |f| f.head("typ", json!(1))),
    row("TOK-15", "typ is a list", |f| f.head("typ", json!(["at+jwt"]))),
    // To many programs, null is the same as absent.
    ours("typ is null", |f| f.head("typ", Value::Null)),
    row("TOK-16", "crit names an extension that nobody knows", |f| {
        let header = with(&f.header, "crit", json!(["http://example.invalid/unknown"]));
        f.sign(&with(&header, "http://example.invalid/unknown", json!(true)), &f.claims)
    }),
    // Recipients MAY refuse these (RFC 7515 §4.1.11).
    ours("crit names a claim", |f| f.head("crit", json!(["exp"]))),
    ours("crit names an extension that is not there (b64)", |f| f.head("crit", json!(["b64"]))),
    ours("crit is an empty list", |f| f.head("crit", json!([]))),
    ours("crit is null", |f| f.head("crit", Value::Null)),
    ours("crit is a text", |f| f.head("crit", json!("exp"))),
    row("TOK-17", "signed by the key in its own header (jwk)", |f| Some(f.leading("jwk", f.foreign.jwk()))),
    row("TOK-17", "signed by the key in its own header (jwk), under the good token's kid", |f| {
        Some(f.foreign(&with(&f.header, "jwk", f.foreign.jwk())))
    }),
    row("TOK-18", "signed by a key that its header leads to (jku)", |f| Some(f.leading("jku", json!(f.bait.as_str())))),
    row("TOK-18", "signed by a key that its header leads to (x5u)", |f| Some(f.leading("x5u", json!(f.bait.as_str())))),
    row("TOK-18", "signed by a key whose kid is an address", |f| {
        Some(f.foreign(&with(&f.header, "kid", json!(f.bait.as_str()))))
    }),
    row("TOK-19", "kid leads to an empty file", |f| {
        let header = with(&with(&f.header, "kid", json!("../../../../../../dev/null")), "alg", json!("HS256"));
        Some(hmac_signed(&header, f.claims.to_string().as_bytes(), b"", false))
    }),
    row("TOK-19", "kid is SQL that gives a known secret", |f| {
        let header = with(&with(&f.header, "kid", json!("' UNION SELECT 'secret' -- ")), "alg", json!("HS256"));
        Some(hmac_signed(&header, f.claims.to_string().as_bytes(), b"secret", false))
    }),
    row("TOK-19", "kid is a number", |f| f.head("kid", json!(1))),
    row("TOK-19", "kid is a list", |f| f.head("kid", json!(["a"]))),
    row("TOK-19", "kid is an object", |f| f.head("kid", json!({}))),
    // `kid` is a hint (RFC 7515 §4.1.4): whoever has one key may try that.
    ours("kid is of no key", |f| f.head("kid", json!("unknown"))),
    ours("kid is an empty string", |f| f.head("kid", json!(""))),
    ours("kid is a path", |f| f.head("kid", json!("../../../dev/null"))),
    ours("kid is null", |f| f.head("kid", Value::Null)),
    row("TOK-20", "exp is a text", |f| f.claim("exp", json!((now() + 600).to_string()))),
    row("TOK-20", "exp is a list", |f| f.claim("exp", json!([now() + 600]))),
    row("TOK-20", "exp is true", |f| f.claim("exp", json!(true))),
    row("TOK-20", "iss is a number", |f| f.claim("iss", json!(1))),
    row("TOK-20", "iss is a list", |f| f.claim("iss", json!([f.issuer()]))),
    row("TOK-20", "aud is a number", |f| f.claim("aud", json!(1))),
    row("TOK-20", "aud is an object", |f| f.claim("aud", json!({ "0": f.audience() }))),
    row("TOK-20", "sub is a number", |f| f.claim("sub", json!(1))),
    row("TOK-20", "sub is a list", |f| f.claim("sub", json!(["alice"]))),
    row("TOK-20", "sub is an object", |f| f.claim("sub", json!({ "$ne": null }))),
    row("TOK-20", "nbf is a word", |f| f.claim("nbf", json!("never"))),
    row("TOK-20", "nbf is a number in a text", |f| f.claim("nbf", json!((now() - 60).to_string()))),
    row("TOK-20", "nbf is true", |f| f.claim("nbf", json!(true))),
    row("TOK-20", "nbf is a list", |f| f.claim("nbf", json!([]))),
    row("TOK-20", "the claims are a list", |f| f.payload(&f.header, b"[]")),
    row("TOK-20", "the claims are null", |f| f.payload(&f.header, b"null")),
    row("TOK-20", "the claims are a text", |f| f.payload(&f.header, b"\"x\"")),
    row("TOK-20", "the claims are nothing", |f| f.payload(&f.header, b"")),
    row("TOK-20", "the claims are the beginning of an object", |f| f.payload(&f.header, b"{")),
    row("TOK-20", "the claims are not UTF-8", |f| f.payload(&f.header, b"\xff\xfe")),
    // The last of two may count (RFC 7519 §4).
    ours("sub is there twice", |f| {
        let claims = f.claims.to_string().replacen('{', "{\"sub\":\"user_admin\",", 1);
        f.payload(&f.header, claims.as_bytes())
    }),
    ours("nbf is null", |f| f.claim("nbf", Value::Null)),
    ours("aud is a list with the right one and a number", |f| f.claim("aud", json!([f.audience(), 1]))),
    // A server need not read what it does not use.
    ours("scope is null", |f| f.claim("scope", Value::Null)),
    ours("scope is a list", |f| f.claim("scope", json!(["mcp:read"]))),
    ours("scope is a number", |f| f.claim("scope", json!(1))),
    ours("roles are null", |f| f.claim("roles", Value::Null)),
    ours("roles are a text", |f| f.claim("roles", json!("admin"))),
    ours("roles are numbers", |f| f.claim("roles", json!([1]))),
    ours("iat is a text", |f| f.claim("iat", json!("now"))),
    ours("jti is a number", |f| f.claim("jti", json!(1))),
    ours("client_id is a number", |f| f.claim("client_id", json!(1))),
    ours("preferred_username is a list", |f| f.claim("preferred_username", json!(["alice"]))),
    row("TOK-21", "bound to a client's key (cnf jkt), sent without a proof", |f| {
        f.claim("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }))
    }),
    row("TOK-21", "bound to a client's certificate (cnf x5t#S256), sent without it", |f| {
        f.claim("cnf", json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }))
    }),
    row("TOK-21", "bound to a key that is only named (cnf kid), sent without a proof", |f| {
        f.claim("cnf", json!({ "kid": "other" }))
    }),
    // These name no key that could be proved.
    ours("cnf is an empty object", |f| f.claim("cnf", json!({}))),
    ours("cnf is null", |f| f.claim("cnf", Value::Null)),
    ours("cnf is a text", |f| f.claim("cnf", json!("x"))),
    row("TOK-22", "a fourth part behind a good token", |f| Some(format!("{}.{}", f.good, f.halves().1))),
    row("TOK-22", "padding behind a good token", |f| Some(format!("{}==", f.good))),
    row("TOK-22", "a good token, twice", |f| Some(format!("{0} {0}", f.good))),
    row("TOK-22", "a good token in quotes", |f| Some(format!("\"{}\"", f.good))),
    row("TOK-22", "a good token's first two parts", |f| Some(f.halves().0.to_owned())),
    row("TOK-22", "three empty parts", |_| Some("..".to_owned())),
    row("TOK-22", "one part", |_| Some("abcdefghijklmnopqrstuvwxyz0123456789".to_owned())),
    row("TOK-22", "three parts that are no JSON", |_| Some("abc.def.ghi".to_owned())),
    row("TOK-23", "signed with RS384 where the key is for RS256", |f| f.algorithm("RS384", Algorithm::Rs384)),
    row("TOK-23", "signed with RS512 where the key is for RS256", |f| f.algorithm("RS512", Algorithm::Rs512)),
    row("TOK-23", "signed with PS256 where the key is for RS256", |f| f.algorithm("PS256", Algorithm::Ps256)),
    row("TOK-23", "signed with RS384 under a header that says RS256", |f| f.algorithm("RS256", Algorithm::Rs384)),
    row("TOK-23", "signed with PS256 under a header that says RS256", |f| f.algorithm("RS256", Algorithm::Ps256)),
    row("TOK-23", "alg in small letters (rs256)", |f| f.algorithm("rs256", Algorithm::Rs256)),
    row("TOK-23", "no alg", |f| f.sign(&without(&f.header, "alg"), &f.claims)),
    row("TOK-23", "alg is null", |f| f.head("alg", Value::Null)),
    row("TOK-23", "alg is a list", |f| f.head("alg", json!(["RS256"]))),
];
