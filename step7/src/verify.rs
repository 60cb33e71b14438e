//! What makes a token good (RFC 9068 §4): a JWT that our issuer signed for us, and that is still valid.

use common::claims::{Claims, JoseHeader, lacks_a_claim};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};

use crate::jwks::Jwk;

/// The longest token we look at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// How far, in seconds, the issuer's clock may be from ours.
pub const LEEWAY: u64 = 30;

/// Whose tokens are accepted.
pub struct Verifier {
    key: DecodingKey,
    kid: String,
    validation: Validation,
}

impl Verifier {
    /// Accepts what `issuer` signed with `key` for `audience`.
    ///
    /// # Errors
    /// If the key cannot be read.
    pub fn new(key: &Jwk, issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let mut validation = Validation::new(Algorithm::RS256); // not what the token says in `alg`
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let decoding_key = DecodingKey::from_rsa_components(&key.n, &key.e)?;
        Ok(Verifier { key: decoding_key, kid: key.kid.clone(), validation })
    }

    /// The token's claims, if every check passes; else which one did not.
    pub fn verify(&self, token: &str) -> Result<Claims, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("The token is longer than 16 KiB.");
        }
        // Until the signature is checked, the header is only the sender's claim: it may only narrow the choice of keys.
        let header = JoseHeader::of(token).ok_or("The token is not a JWT signed with RS256.")?;
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(typ.as_str(), "jwt" | "at+jwt" | "application/at+jwt") {
            return Err("The token is not an access token: its typ is another.");
        }
        if header.crit.is_some() {
            return Err("The token has critical headers (crit) that are not understood.");
        }
        if header.kid.is_some_and(|kid| kid != self.kid) {
            return Err("The token was signed with an unknown key (kid).");
        }
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => "The token has expired (exp).",
                ErrorKind::ImmatureSignature => "The token is not valid yet (nbf).",
                ErrorKind::InvalidIssuer => "The token is from another issuer (iss).",
                ErrorKind::InvalidAudience => "The token is for another audience (aud).",
                ErrorKind::InvalidSignature => "The token's signature is wrong.",
                ErrorKind::InvalidAlgorithm => "The token is not signed with RS256.",
                ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) if lacks_a_claim(token) => {
                    "The token lacks one of iss, aud, exp, sub."
                }
                _ => "The token is malformed, or a claim has the wrong type.",
            })?
            .claims;
        if claims.sub.is_empty() {
            return Err("The token's subject (sub) is empty.");
        }
        if claims.cnf.is_some() {
            return Err("The token is bound to a key of its client (cnf), and this server takes bearer tokens only.");
        }
        Ok(claims)
    }
}
