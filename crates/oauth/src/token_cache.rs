//! Remembers verified tokens: checking a signature costs several times as much as the rest of a request.

use std::{ops::Deref, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::{Weighter, sync::Cache};

use crate::claims::Claims;

/// How many bytes the entries of a cache take together, at most: some 5,000 usual tokens.
const CAPACITY: u64 = 16 * 1024 * 1024;
/// What a usual entry takes, in bytes.
const USUAL: u64 = 3 * 1024;

/// The remembered results, by the digest of the whole token. The cache has a limit in bytes, since an issuer may put a
/// lot into a token.
pub type DigestCache<V> = Cache<[u8; 32], Weighed<V>, InBytes>;

/// An empty cache.
pub fn digest_cache<V: Clone>() -> DigestCache<V> {
    #[allow(clippy::cast_possible_truncation)] // a few thousand
    Cache::with_weighter((CAPACITY / USUAL) as usize, CAPACITY, InBytes)
}

/// A value, and about how many bytes of memory its entry takes.
#[derive(Clone)]
pub struct Weighed<V> {
    /// What is remembered.
    pub value: V,
    bytes: u64,
}

impl<V> Weighed<V> {
    /// `token`: what the value was made of. `claims`: those that it holds, if any.
    pub fn new(value: V, token: &str, claims: Option<&Claims>) -> Self {
        // The claims that answers repeat (`sub` twice, and percent-encoded) are shorter than three tokens.
        let bytes = 256 + claims.map_or(0, |claims| claims.bytes() + 3 * token.len());
        Weighed { value, bytes: bytes as u64 }
    }
}

/// Weighs entries.
#[derive(Clone)]
pub struct InBytes;

impl<V> Weighter<[u8; 32], Weighed<V>> for InBytes {
    fn weight(&self, _: &[u8; 32], entry: &Weighed<V>) -> u64 {
        entry.bytes
    }
}

/// The caller for each token, by the digest of the whole token. So a changed byte makes another token, and no token is
/// stored. Only verified tokens get in: a flood of invalid tokens changes nothing.
#[derive(Clone)]
pub struct TokenCache<V> {
    cache: Arc<DigestCache<V>>,
    /// Seconds for which a token is still good after `exp`.
    leeway: i64,
}

impl<V: Clone + Deref<Target = Claims>> TokenCache<V> {
    /// `leeway`: the same as the verification's, in seconds.
    pub fn new(leeway: u64) -> Self {
        let leeway = leeway.try_into().unwrap_or(0);
        TokenCache { cache: Arc::new(digest_cache()), leeway }
    }

    /// The result of `verify` for the token: the remembered one if it has not expired since, or else a new one. No lock
    /// is held meanwhile.
    ///
    /// # Errors
    /// Those of `verify`.
    pub fn get_or_verify<E>(&self, token: &str, verify: impl FnOnce(&str) -> Result<V, E>) -> Result<V, E> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(i64::MAX, |time| time.as_secs().try_into().unwrap_or(i64::MAX));
        match self.cache.get(&key) {
            Some(known) if known.value.exp.seconds().saturating_add(self.leeway) > now => return Ok(known.value),
            Some(_) => drop(self.cache.remove(&key)),
            None => {}
        }
        let verified = verify(token)?;
        self.cache.insert(key, Weighed::new(verified.clone(), token, Some(&verified)));
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn claims(exp: f64) -> Claims {
        serde_json::from_value(serde_json::json!({ "iss": "", "aud": "", "sub": "user", "exp": exp })).unwrap()
    }

    #[test]
    fn a_good_token_is_verified_once_and_every_other_each_time() {
        let cache = TokenCache::new(30);
        let verified = Cell::new(0);
        let ask = |token: &str, outcome: Result<Claims, ()>| {
            cache.get_or_verify(token, |_| {
                verified.set(verified.get() + 1);
                outcome.map(Arc::new)
            })
        };
        assert!(ask("good", Ok(claims(4e9))).is_ok() && ask("good", Err(())).is_ok());
        assert_eq!(verified.get(), 1);
        assert!(ask("goof", Err(())).is_err() && ask("goof", Err(())).is_err(), "one byte is another token");
        assert_eq!(verified.get(), 3);
        assert!(ask("expired", Ok(claims(1.0))).is_ok() && ask("expired", Err(())).is_err());
        assert_eq!(verified.get(), 5);
    }

    /// Remembers so many tokens of this length, with these roles.
    fn fill(count: usize, length: usize, roles: &[String]) -> TokenCache<Arc<Claims>> {
        let cache = TokenCache::new(30);
        for number in 0..count {
            let claims = Claims { roles: Some(roles.to_vec()), ..claims(4e9) };
            let outcome = cache.get_or_verify(&format!("{number:length$}"), |_| Ok::<_, ()>(Arc::new(claims)));
            assert!(outcome.is_ok());
        }
        cache
    }

    #[test]
    fn it_does_not_grow_beyond_its_bound_whatever_a_token_holds() {
        let usual = fill(20_000, 800, &["user".to_owned()]);
        assert!(usual.cache.weight() <= CAPACITY, "{}", usual.cache.weight());
        assert!(usual.cache.len() >= 4000, "{}", usual.cache.len());
        // Each is a string of its own, which takes ten times its bytes in the token.
        let large = fill(3_000, 16_000, &vec!["r".to_owned(); 2_500]);
        assert!(large.cache.weight() <= CAPACITY, "{}", large.cache.weight());
        let room = usize::try_from(CAPACITY).unwrap() / (2_500 * size_of::<String>());
        assert!(large.cache.len() <= room && large.cache.len() > 10, "{} of {room}", large.cache.len());
    }
}
