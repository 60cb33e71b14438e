//! The keys that access tokens are signed with. The public halves of all are published (RFC 7517 §5), and one signs at a
//! time. They are replaced as a whole: what is published and what signs never come from different sets.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Result, bail, ensure};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use oauth::claims::Claims;

/// The keys; they may be replaced at any time.
pub(crate) struct Keys(RwLock<Arc<[Key]>>);

struct Key {
    /// The Unix time from which on it signs.
    from: i64,
    signing: EncodingKey,
    public: Jwk,
}

impl Keys {
    pub fn new(keys: impl IntoIterator<Item = (i64, EncodingKey)>) -> Result<Self> {
        Ok(Keys(RwLock::new(read(keys)?)))
    }

    pub fn replace(&self, keys: impl IntoIterator<Item = (i64, EncodingKey)>) -> Result<()> {
        let keys = read(keys)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// An access token (RFC 9068 §2.1), signed with the newest key whose time has come at this Unix time.
    pub fn sign(&self, claims: &Claims, now: i64) -> Result<String> {
        let keys = self.now();
        let key = &keys[keys.iter().rposition(|key| key.from <= now).unwrap_or_default()];
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid.clone_from(&key.public.common.key_id);
        Ok(encode(&header, claims, &key.signing)?)
    }

    /// The public halves, the newest first.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.now().iter().rev().map(|key| key.public.clone()).collect() }
    }

    fn now(&self) -> Arc<[Key]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The keys, the oldest first.
fn read(keys: impl IntoIterator<Item = (i64, EncodingKey)>) -> Result<Arc<[Key]>> {
    let mut all = Vec::<Key>::new();
    for (from, signing) in keys {
        let mut public = Jwk::from_encoding_key(&signing, Algorithm::RS256)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        if all.iter().any(|key| key.public.common.key_id == public.common.key_id) {
            bail!("a key to sign with is given twice");
        }
        all.push(Key { from, signing, public });
    }
    ensure!(!all.is_empty(), "there is no key to sign with");
    all.sort_by_key(|key| key.from);
    Ok(all.into())
}
