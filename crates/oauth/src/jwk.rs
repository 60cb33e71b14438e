//! A JWK as a key to check signatures with (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). It comes from somebody else, so it
//! is read strictly: an RSA modulus of 2048 to 8192 bits with an odd exponent from 65537 to 2³², a point that is on its
//! curve, and nothing that is private.

use std::{collections::HashMap, fmt};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// The algorithms that a signature may be made with. Each goes with one type of key, and none is symmetric.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
/// The longest name (`kid`), in bytes.
pub(crate) const MAX_KID: usize = 256;
/// RSA: what RFC 7518 §3.3 asks for, and what a verification may cost.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The numbers that a key is made of: `n` and `e`, or `x` and `y`, without zeros in front.
type Material = [Vec<u8>; 2];
/// The result of reading a JWK: the algorithms that go with its type, and the key.
type Parts = (&'static [Algorithm], Material, DecodingKey);

/// A key that signatures are checked with.
#[derive(Clone)]
pub struct Key {
    /// The name that a token's header calls it by.
    pub kid: Option<String>,
    /// Those of [`ALGORITHMS`] that go with the key's own type, or the one that its `alg` names.
    pub algorithms: Vec<Algorithm>,
    /// The key, as jsonwebtoken takes it.
    pub decoding: DecodingKey,
    /// The key itself, to tell whether a `kid` still stands for the same one.
    pub(crate) material: Material,
}

impl Key {
    /// A key that does not come from a JWK, such as our own.
    pub fn own(kid: String, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        Key { kid: Some(kid), algorithms: vec![algorithm], decoding, material: Material::default() }
    }

    /// Reads one JWK.
    ///
    /// # Errors
    /// Says why it cannot be used: it is malformed, private, symmetric, weak, or for something else than checking signatures.
    pub fn read(json: &str) -> Result<Self, &'static str> {
        if is_private(json) {
            return Err("its private half is published: everybody who reads it can sign");
        }
        let jwk = Jwk::read(json).ok_or("it is malformed")?;
        if jwk.has_bad_kid() {
            return Err("its kid is empty or longer than 256 bytes");
        }
        jwk.key()
    }

    /// Whether the other is the same key, under any name.
    pub fn is_same(&self, other: &Key) -> bool {
        self.material == other.material
    }
}

/// The same key, by the same name, for the same algorithms.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.is_same(other) && self.algorithms == other.algorithms
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// Whether a JWK has a member that no public key has.
pub(crate) fn is_private(json: &str) -> bool {
    Members::of(json).is_private()
}

/// The members of an entry of any kind; of several with one name, the last.
pub(crate) struct Members<'a>(HashMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Anything but an object has none.
    pub fn of(json: &'a str) -> Self {
        Members(serde_json::from_str(json).unwrap_or_default())
    }

    /// A member's value, if that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// Whether a member is there that no public key has.
    pub fn is_private(&self) -> bool {
        PRIVATE.iter().any(|name| self.0.get(*name).is_some_and(|value| value.get() != "null"))
    }
}

/// The members of a JWK that say what it is (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). One that appears twice, or is
/// of the wrong type, makes the entry unusable.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    pub kid: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    k: Option<IgnoredAny>,
}

/// What a JWK's `alg` may be for a key that we use (RFC 9864 gives EdDSA with Ed25519 a name of its own).
pub(crate) const NAMES: [&str; 6] = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"];

/// The members that no public key has (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

impl Jwk {
    /// `None`: it is not an object with members of the right types. An array would do for serde, which takes it for the
    /// members in their order.
    pub fn read(json: &str) -> Option<Self> {
        let json = json.trim_ascii_start();
        if json.starts_with('{') { serde_json::from_str(json).ok() } else { None }
    }

    pub fn has_bad_kid(&self) -> bool {
        self.kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID)
    }

    /// A whole key of a type that we do not use: its name now stands for that key, and no longer for one that we know.
    pub fn is_of_another_type(&self) -> bool {
        let length = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-521")) => 66,
            ("EC", Some("secp256k1")) => 32,
            ("OKP", Some("Ed448")) => 57,
            _ => return false,
        };
        let whole = |text: &Option<String>| octets(text.as_deref()).is_ok_and(|bytes| bytes.len() == length);
        whole(&self.x) && (self.kty == "OKP" || whole(&self.y))
    }

    pub fn key(&self) -> Result<Key, &'static str> {
        if self.k.is_some() || self.kty == "oct" {
            return Err("it is symmetric: everybody who can verify with it can also sign");
        }
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("its use is not sig");
        }
        if self.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err("its key_ops have no verify");
        }
        let (fitting, material, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => self.rsa()?,
            ("EC", Some("P-256")) => self.ec(32, &ECDSA_P256_SHA256_FIXED, &[Algorithm::ES256])?,
            ("EC", Some("P-384")) => self.ec(48, &ECDSA_P384_SHA384_FIXED, &[Algorithm::ES384])?,
            ("OKP", Some("Ed25519")) => self.ed25519()?,
            ("RSA" | "EC" | "OKP", _) => return Err("its curve is not one that we use"),
            _ => return Err("its kty is not one that we use"),
        };
        let algorithms = match self.alg.as_deref() {
            None => fitting.to_vec(),
            // RFC 9864 gives EdDSA with Ed25519 a name of its own.
            Some("Ed25519") if fitting == [Algorithm::EdDSA] => fitting.to_vec(),
            Some(name) => {
                let named = name.parse::<Algorithm>().ok().filter(|algorithm| fitting.contains(algorithm));
                vec![named.ok_or("its alg is not one that we use with its kty")?]
            }
        };
        Ok(Key { kid: self.kid.clone(), algorithms, decoding, material })
    }

    fn rsa(&self) -> Result<Parts, &'static str> {
        let (n, e) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) || n.last().is_none_or(|byte| byte % 2 == 0) {
            return Err("its modulus is not one of 2048 to 8192 bits");
        }
        let exponent = e.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if e.len() > 4 || exponent < 65_537 || exponent % 2 == 0 {
            return Err("its exponent is not an odd number from 65537 to 2^32");
        }
        let decoding_key = DecodingKey::from_rsa_raw_components(&n, &e);
        Ok((&[Algorithm::RS256, Algorithm::PS256], [n, e], decoding_key))
    }

    /// A point whose coordinates have so many bytes (RFC 7518 §6.2.1.2).
    fn ec(
        &self,
        length: usize,
        curve: &'static EcdsaVerificationAlgorithm,
        algorithms: &'static [Algorithm],
    ) -> Result<Parts, &'static str> {
        let (x, y) = (octets(self.x.as_deref())?, octets(self.y.as_deref())?);
        let point = [&[4], &x[..], &y].concat();
        if x.len() != length || y.len() != length || ParsedPublicKey::new(curve, &point).is_err() {
            return Err("it is not a point on its curve");
        }
        let material = [number(self.x.as_deref())?, number(self.y.as_deref())?];
        Ok((algorithms, material, DecodingKey::from_ec_der(&point)))
    }

    fn ed25519(&self) -> Result<Parts, &'static str> {
        let x = octets(self.x.as_deref())?;
        if x.len() != 32 || ParsedPublicKey::new(&ED25519, &x).is_err() {
            return Err("it is not a point on its curve");
        }
        Ok((&[Algorithm::EdDSA], [number(self.x.as_deref())?, Vec::new()], DecodingKey::from_ed_der(&x)))
    }
}

/// base64url without padding (RFC 7515 §2).
fn octets(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("a member that its kty needs is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member is not base64url")
}

/// The same, as a number without leading zeros.
pub(crate) fn number(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    Ok(octets(text)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn a_private_half_is_refused_whatever_else_is_wrong() {
        for json in [
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","d":"AA"}}"#),
            r#"{"d":1}"#.to_owned(),
            r#" {"kty":"RSA","p":"AQ"}"#.to_owned(),
        ] {
            let why = Key::read(&json).unwrap_err();
            assert!(why.contains("private half"), "{json}: {why}");
        }
        let public = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","d":null}}"#);
        assert_eq!(Key::read(&public).unwrap().algorithms, [Algorithm::EdDSA]);
    }

    #[test]
    fn what_is_weak_or_no_point_on_its_curve_is_refused() {
        let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode([&[0x80], &vec![1; bytes - 1][..]].concat());
        let rsa = |bytes, e| format!(r#"{{"kty":"RSA","n":"{}","e":"{e}"}}"#, modulus(bytes));
        assert_eq!(Key::read(&rsa(256, "AQAB")).unwrap().algorithms, [Algorithm::RS256, Algorithm::PS256]);
        let even = URL_SAFE_NO_PAD.encode([0x80; 256]);
        for (json, why) in [
            (rsa(255, "AQAB"), "modulus"),
            (rsa(1025, "AQAB"), "modulus"),
            (format!(r#"{{"kty":"RSA","n":"{even}","e":"AQAB"}}"#), "modulus"),
            (rsa(256, "Aw"), "exponent"),
            (rsa(256, "AQAA"), "exponent"),
            (rsa(256, "AQAAAAE"), "exponent"),
            (rsa(256, "AQAB="), "base64url"),
            (r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(), "missing"),
            (r#"{"kty":"oct","k":"AA"}"#.to_owned(), "symmetric"),
            (format!(r#"{{"kty":"EC","crv":"P-256","x":"{ED25519_X}","y":"{ED25519_X}"}}"#), "curve"),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned(), "curve"),
            (format!(r#"{{"kty":"OKP","crv":"X25519","x":"{ED25519_X}"}}"#), "curve"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","use":"enc"}}"#), "use"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","key_ops":["sign"]}}"#), "key_ops"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","alg":"HS256"}}"#), "alg"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED25519_X}","kid":""}}"#), "kid"),
            (format!(r#"{{"kty":"OKP","kty":"OKP","crv":"Ed25519","x":"{ED25519_X}"}}"#), "malformed"),
            ("[]".to_owned(), "malformed"),
            (String::new(), "malformed"),
        ] {
            let refused = Key::read(&json).unwrap_err();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }
}
