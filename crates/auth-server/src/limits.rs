//! Limits on how often something may be done, by each caller and by all: so a caller who does it often does not block
//! everybody else.

use std::{hash::Hash, num::NonZeroU32, time::Instant};

use governor::{
    NotUntil, Quota, RateLimiter,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed, keyed::HashMapStateStore},
};

use crate::clock::Clock;

/// How many callers are remembered. A caller is forgotten only when its count has run out, so inventing names or
/// addresses resets no count.
const REMEMBERED: usize = 10_000;

type Limiter<K, S> = RateLimiter<K, S, Clock, NoOpMiddleware<Instant>>;

/// Limits for each caller, and a limit per minute for all together.
pub(crate) struct Limits<K: Clone + Eq + Hash> {
    each: Vec<Limiter<K, HashMapStateStore<K>>>,
    all: Limiter<NotKeyed, InMemoryState>,
    clock: Clock,
}

impl<K: Clone + Eq + Hash> Limits<K> {
    pub fn new(each: &[Quota], all: NonZeroU32, clock: &Clock) -> Self {
        let keyed = |quota: &Quota| RateLimiter::hashmap_with_clock(*quota, clock.clone());
        let all = RateLimiter::direct_with_clock(Quota::per_minute(all), clock.clone());
        Limits { each: each.iter().map(keyed).collect(), all, clock: clock.clone() }
    }

    /// Counts one use, or says in how many seconds the next is allowed.
    pub fn check(&self, who: &K) -> Result<(), u64> {
        let wait = |until: NotUntil<Instant>| until.wait_time_from(self.clock.instant()).as_secs() + 1;
        for limiter in &self.each {
            if limiter.len() >= REMEMBERED {
                limiter.retain_recent();
                if limiter.len() >= REMEMBERED {
                    return Err(1);
                }
            }
            limiter.check_key(who).map_err(wait)?;
        }
        self.all.check().map_err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(each: u32, all: u32) -> Limits<String> {
        let number = |number| NonZeroU32::new(number).unwrap();
        Limits::new(&[Quota::per_hour(number(each))], number(all), &Clock::system())
    }

    #[test]
    fn one_who_does_it_often_is_stopped_and_nobody_else() {
        let limits = limits(3, 100);
        let done = |who: &str| limits.check(&who.to_owned());
        assert!((0..3).all(|_| done("often").is_ok()));
        let wait = done("often").unwrap_err();
        assert!((1100..=1201).contains(&wait), "{wait}");
        assert!(done("other").is_ok());
        limits.clock.advance(wait.cast_signed());
        assert!(done("often").is_ok() && done("often").is_err());
    }

    #[test]
    fn all_together_are_limited_too_and_one_who_was_stopped_does_not_count() {
        let limits = limits(3, 10);
        let done = |who: &str| limits.check(&who.to_owned());
        assert_eq!((0..50).filter(|_| done("often").is_ok()).count(), 3);
        assert_eq!((0..50).filter(|who| done(&who.to_string()).is_ok()).count(), 7);
    }

    #[test]
    fn inventing_names_resets_no_count() {
        let limits = limits(1, u32::MAX);
        assert!(limits.check(&"often".to_owned()).is_ok());
        let stopped = (0..REMEMBERED + 10).filter(|who| limits.check(&who.to_string()).is_err()).count();
        assert_eq!(stopped, 11);
        assert!(limits.check(&"often".to_owned()).is_err());
    }
}
