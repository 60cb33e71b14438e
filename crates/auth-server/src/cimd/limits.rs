//! Limits on how often documents are fetched, from each host and from all together: so one host's clients do not block
//! everybody else, and nobody can use this server to flood a host.

use std::{num::NonZeroU32, time::Instant};

use governor::{
    Quota, RateLimiter,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed, keyed::HashMapStateStore},
};

use crate::clock::Clock;

/// How many hosts are remembered. A host is forgotten only when its count has run out, so inventing names resets no
/// count.
const REMEMBERED: usize = 10_000;

type Limiter<K, S> = RateLimiter<K, S, Clock, NoOpMiddleware<Instant>>;

/// A limit per minute for each host, and one for all together.
pub(super) struct Limits {
    each: Limiter<String, HashMapStateStore<String>>,
    all: Limiter<NotKeyed, InMemoryState>,
}

impl Limits {
    pub fn new(each: NonZeroU32, all: NonZeroU32, clock: &Clock) -> Self {
        Limits {
            each: RateLimiter::hashmap_with_clock(Quota::per_minute(each), clock.clone()),
            all: RateLimiter::direct_with_clock(Quota::per_minute(all), clock.clone()),
        }
    }

    /// Counts one fetch, if it is allowed.
    pub fn allow(&self, host: &String) -> bool {
        if self.each.len() >= REMEMBERED {
            self.each.retain_recent();
            if self.each.len() >= REMEMBERED {
                return false;
            }
        }
        self.each.check_key(host).is_ok() && self.all.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(each: u32, all: u32, clock: &Clock) -> impl Fn(&str) -> bool + use<> {
        let number = |number| NonZeroU32::new(number).unwrap();
        let limits = Limits::new(number(each), number(all), clock);
        move |host| limits.allow(&host.to_owned())
    }

    #[test]
    fn a_host_that_is_asked_often_is_stopped_and_no_other() {
        let clock = Clock::system();
        let allow = limits(3, 100, &clock);
        assert!((0..3).all(|_| allow("often")));
        assert!(!allow("often") && allow("other"));
        clock.advance(19);
        assert!(!allow("often"));
        clock.advance(1);
        assert!(allow("often") && !allow("often"));
    }

    #[test]
    fn all_together_are_limited_too_and_one_that_was_stopped_does_not_count() {
        let allow = limits(3, 10, &Clock::system());
        assert_eq!((0..50).filter(|_| allow("often")).count(), 3);
        assert_eq!((0..50).filter(|host| allow(&host.to_string())).count(), 7);
    }

    #[test]
    fn inventing_names_resets_no_count() {
        let allow = limits(1, u32::MAX, &Clock::system());
        assert!(allow("often"));
        assert_eq!((0..REMEMBERED + 10).filter(|host| !allow(&host.to_string())).count(), 11);
        assert!(!allow("often"));
    }
}
