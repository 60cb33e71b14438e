//! Tokens that were verified before: a signature costs several times what the rest of a request does.

use std::{ops::Deref, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use crate::claims::Claims;

/// How many tokens are remembered, whatever comes.
const CAPACITY: usize = 10_000;

/// Whom tokens speak for, by the digest of the whole token, so that a changed byte is another token, and no token
/// is kept. Only what passed verification gets in: a flood of invalid tokens changes nothing.
#[derive(Clone)]
pub struct TokenCache<V> {
    cache: Arc<Cache<[u8; 32], V>>,
    /// Seconds for which a token is still good after `exp`.
    leeway: i64,
}

impl<V: Clone + Deref<Target = Claims>> TokenCache<V> {
    /// `leeway`: the same as the verification's, in seconds.
    pub fn new(leeway: u64) -> Self {
        let leeway = leeway.try_into().unwrap_or(0);
        TokenCache { cache: Arc::new(Cache::new(CAPACITY)), leeway }
    }

    /// What `verify` made of the token: remembered, and not expired since; or else made now. No lock is held
    /// meanwhile.
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
            Some(known) if known.exp.seconds().saturating_add(self.leeway) > now => return Ok(known),
            Some(_) => drop(self.cache.remove(&key)),
            None => {}
        }
        let verified = verify(token)?;
        self.cache.insert(key, verified.clone());
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::claims::{Audience, NumericDate, Scopes};

    fn claims(exp: f64) -> Claims {
        Claims {
            iss: String::new(),
            aud: Audience::One(String::new()),
            sub: "user".to_owned(),
            preferred_username: None,
            client_id: None,
            scope: Scopes::default(),
            roles: None,
            iat: None,
            exp: NumericDate(exp),
            nbf: None,
            jti: None,
        }
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

    #[test]
    fn it_does_not_grow_beyond_its_bound() {
        let cache = TokenCache::new(30);
        for number in 0..3 * CAPACITY {
            let outcome = cache.get_or_verify(&number.to_string(), |_| Ok::<_, ()>(Arc::new(claims(4e9))));
            assert!(outcome.is_ok());
        }
        assert!(cache.cache.len() <= CAPACITY, "{}", cache.cache.len());
    }
}
