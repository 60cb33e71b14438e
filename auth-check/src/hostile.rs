//! Hostile tokens: each is like a good one but for what its name says. There is [one table](TABLE) of them, for the
//! checks and for the tests of this repository's own servers.

use serde_json::{Value, json};
use url::Url;

pub use self::table::TABLE;
use crate::jose::{Algorithm, RsaKey, b64, hmac_signed, unsigned};

mod table;

/// A row of [`TABLE`].
pub struct Hostile {
    /// The check that sends it. `None` if a good server may accept it, and only this repository's servers must not.
    pub check: Option<&'static str>,
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
        self.payload(header, claims.to_string().as_bytes())
    }

    /// These bytes instead of claims.
    fn payload(&self, header: &Value, claims: &[u8]) -> Option<String> {
        self.trusted.map(|key| key.sign(header, claims, Algorithm::Rs256))
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

    /// The public half of the trusted key, as a file has it.
    fn public_key(&self) -> Option<Vec<u8>> {
        self.trusted.map(|key| key.public_pem().into_bytes())
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
