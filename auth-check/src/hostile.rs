//! The one table of hostile tokens: each is like a good one but for what its name says, and no server may accept it.

use serde_json::{Value, json};
use url::Url;

use crate::jose::{Algorithm, RsaKey, b64, hmac_signed, now, unsigned};

/// A row of [`TABLE`].
pub struct Hostile {
    /// The check that sends it.
    pub check: &'static str,
    /// What is wrong with it.
    pub name: &'static str,
    /// Makes it; `None` if that takes a key which is not there.
    pub make: fn(&Forge<'_>) -> Option<String>,
}

/// What hostile tokens are made of: a good one, and keys.
pub struct Forge<'a> {
    /// A good token.
    pub good: &'a str,
    /// Its header.
    pub header: Value,
    /// Its claims.
    pub claims: Value,
    /// The key that the server trusts.
    pub trusted: Option<&'a RsaKey>,
    /// A key that it does not know.
    pub foreign: &'a RsaKey,
    /// Where the public half of the foreign key can be fetched.
    pub bait: &'a Url,
}

impl Forge<'_> {
    fn sign(&self, header: &Value, claims: &Value) -> Option<String> {
        let sign = |key: &RsaKey| key.sign(header, claims.to_string().as_bytes(), Algorithm::Rs256);
        self.trusted.map(sign)
    }

    /// A good token but for one claim.
    fn claim(&self, name: &str, value: Value) -> Option<String> {
        self.sign(&self.header, &with(&self.claims, name, value))
    }

    /// A good token without a claim.
    fn lacking(&self, name: &str) -> Option<String> {
        self.sign(&self.header, &without(&self.claims, name))
    }

    /// A good token but for one member of its header.
    fn head(&self, name: &str, value: Value) -> Option<String> {
        self.sign(&with(&self.header, name, value), &self.claims)
    }

    /// The claims of a good token under a header that a key which nobody trusts has signed.
    fn foreign(&self, header: &Value) -> String {
        let header = with(header, "alg", json!("RS256"));
        self.foreign.sign(&header, self.claims.to_string().as_bytes(), Algorithm::Rs256)
    }

    fn alg_none(&self, name: &str, signature: &str) -> String {
        let header = with(&self.header, "alg", json!(name));
        format!("{}.{signature}", unsigned(&header, self.claims.to_string().as_bytes()))
    }

    fn hmac(&self, secret: &[u8], alg: &str) -> String {
        let header = with(&self.header, "alg", json!(alg));
        hmac_signed(&header, self.claims.to_string().as_bytes(), secret, alg == "HS512")
    }

    /// The same claims, but for another person, with the good token's signature.
    fn swapped(&self) -> String {
        let parts: Vec<_> = self.good.split('.').collect();
        let claims = with(&self.claims, "sub", json!("admin"));
        format!("{}.{}.{}", parts[0], b64(claims.to_string()), parts.get(2).unwrap_or(&""))
    }

    /// Header and claims of the good token, and its signature.
    fn halves(&self) -> (&str, &str) {
        self.good.rsplit_once('.').unwrap_or((self.good, ""))
    }

    /// The first audience of a good token.
    fn audience(&self) -> String {
        let audience = &self.claims["aud"];
        audience.as_str().or_else(|| audience[0].as_str()).unwrap_or_default().to_owned()
    }

    fn issuer(&self) -> &str {
        self.claims["iss"].as_str().unwrap_or_default()
    }

    /// A good header but for members that lead to the foreign key.
    fn leading(&self, name: &str, value: Value) -> String {
        let named = with(&with(&self.header, name, value), "kid", json!(self.foreign.kid()));
        self.foreign(&named)
    }

    /// Signed by the trusted key with another algorithm than it is for.
    fn algorithm(&self, alg: &str, algorithm: Algorithm) -> Option<String> {
        let header = with(&self.header, "alg", json!(alg));
        self.trusted.map(|key| key.sign(&header, self.claims.to_string().as_bytes(), algorithm))
    }
}

/// The object with another value for a member.
fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[name] = value;
    object
}

/// The object without a member.
fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove(name);
    }
    object
}

const fn row(check: &'static str, name: &'static str, make: fn(&Forge<'_>) -> Option<String>) -> Hostile {
    Hostile { check, name, make }
}

/// All of them, by the check that sends them.
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
    row("TOK-04", "HS256 with the public key's PEM as the secret", |f| {
        f.trusted.map(|key| f.hmac(key.public_pem().as_bytes(), "HS256"))
    }),
    row("TOK-04", "HS256 with the public key's PEM, without its last line break", |f| {
        f.trusted.map(|key| f.hmac(key.public_pem().trim_end().as_bytes(), "HS256"))
    }),
    row("TOK-04", "HS512 with the public key's PEM as the secret", |f| {
        f.trusted.map(|key| f.hmac(key.public_pem().as_bytes(), "HS512"))
    }),
    row("TOK-04", "HS256 with an empty secret", |f| Some(f.hmac(b"", "HS256"))),
    row("TOK-04", "HS256 with the secret `secret`", |f| Some(f.hmac(b"secret", "HS256"))),
    row("TOK-05", "another sub under the good token's signature", |f| Some(f.swapped())),
    row("TOK-05", "an empty signature", |f| Some(format!("{}.", f.halves().0))),
    row("TOK-05", "the signature's first half", |f| {
        let (message, signature) = f.halves();
        Some(format!("{message}.{}", &signature[..signature.len() / 2]))
    }),
    row("TOK-06", "expired an hour ago", |f| f.claim("exp", json!(now() - 3600))),
    row("TOK-06", "expired ten minutes ago", |f| f.claim("exp", json!(now() - 600))),
    row("TOK-06", "exp is 0", |f| f.claim("exp", json!(0))),
    row("TOK-07", "no exp", |f| f.lacking("exp")),
    row("TOK-07", "exp is null", |f| f.claim("exp", Value::Null)),
    row("TOK-08", "not valid before an hour from now", |f| f.claim("nbf", json!(now() + 3600))),
    row("TOK-09", "for another server", |f| f.claim("aud", json!("https://other.example/mcp"))),
    row("TOK-09", "for several other servers", |f| {
        f.claim("aud", json!(["https://other.example/mcp", "https://third.example/mcp"]))
    }),
    row("TOK-10", "no aud", |f| f.lacking("aud")),
    row("TOK-10", "aud is an empty string", |f| f.claim("aud", json!(""))),
    row("TOK-10", "aud is an empty list", |f| f.claim("aud", json!([]))),
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
    row("TOK-12", "from another issuer", |f| f.claim("iss", json!("https://evil.example"))),
    row("TOK-12", "iss is the right one with more behind it", |f| {
        f.claim("iss", json!(format!("{}.evil.example", f.issuer())))
    }),
    row("TOK-13", "no iss", |f| f.lacking("iss")),
    row("TOK-13", "iss is an empty string", |f| f.claim("iss", json!(""))),
    row("TOK-14", "no sub", |f| f.lacking("sub")),
    row("TOK-14", "sub is an empty string", |f| f.claim("sub", json!(""))),
    row("TOK-15", "typ of a proof of possession (dpop+jwt)", |f| f.head("typ", json!("dpop+jwt"))),
    row("TOK-15", "typ of a log-out token (logout+jwt)", |f| f.head("typ", json!("logout+jwt"))),
    row("TOK-15", "typ of an event (secevent+jwt)", |f| f.head("typ", json!("secevent+jwt"))),
    row("TOK-16", "crit names an extension that nobody knows", |f| {
        let header = with(&f.header, "crit", json!(["http://example.invalid/unknown"]));
        f.sign(&with(&header, "http://example.invalid/unknown", json!(true)), &f.claims)
    }),
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
    row("TOK-20", "exp is a text", |f| f.claim("exp", json!((now() + 600).to_string()))),
    row("TOK-20", "exp is a list", |f| f.claim("exp", json!([now() + 600]))),
    row("TOK-20", "aud is a number", |f| f.claim("aud", json!(1))),
    row("TOK-20", "sub is an object", |f| f.claim("sub", json!({ "$ne": null }))),
    row("TOK-20", "nbf is a text", |f| f.claim("nbf", json!("never"))),
    row("TOK-20", "the claims are a list", |f| f.trusted.map(|key| key.sign(&f.header, b"[]", Algorithm::Rs256))),
    row("TOK-20", "the claims are not JSON", |f| {
        f.trusted.map(|key| key.sign(&f.header, b"\xff\xfe", Algorithm::Rs256))
    }),
    row("TOK-21", "bound to a client's key (cnf jkt), sent without a proof", |f| {
        f.claim("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }))
    }),
    row("TOK-21", "bound to a client's certificate (cnf x5t#S256), sent without it", |f| {
        f.claim("cnf", json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }))
    }),
    row("TOK-22", "a fourth part behind a good token", |f| Some(format!("{}.{}", f.good, f.halves().1))),
    row("TOK-22", "padding behind a good token", |f| Some(format!("{}==", f.good))),
    row("TOK-22", "a good token, twice", |f| Some(format!("{0} {0}", f.good))),
    row("TOK-22", "a good token in quotes", |f| Some(format!("\"{}\"", f.good))),
    row("TOK-23", "signed with RS512 where the key is for RS256", |f| f.algorithm("RS512", Algorithm::Rs512)),
    row("TOK-23", "signed with PS256 where the key is for RS256", |f| f.algorithm("PS256", Algorithm::Ps256)),
    row("TOK-23", "signed with RS384 under a header that says RS256", |f| f.algorithm("RS256", Algorithm::Rs384)),
];
