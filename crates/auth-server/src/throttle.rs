//! How many guesses a password may cost. Failures are counted for each browser in which the person has logged in
//! before, and for all other browsers together: so strangers cannot lock out a person who comes back, and many of
//! them get no more guesses than one (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    time::{Duration, Instant},
};

use oauth::secret::Digest;

/// How many failures a counter allows before people must wait.
const FREE: u32 = 5;
const LONGEST_WAIT: u64 = 60;
/// A counter without a failure for so long starts anew.
const MEMORY: Duration = Duration::from_mins(15);

/// The counters of failures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counter {
    /// A known browser, by the digest of its device cookie. A person has at most ten.
    Browser(Digest),
    /// A name, in any other browser. Names share 65,536 counters, by a secret hash: nobody can fill the table, push
    /// a counter out of it, or find a name that shares one with somebody's. Names that do not exist are counted too,
    /// so that nobody can tell.
    Name(u16),
}

/// Recent failures to log in.
#[derive(Default)]
pub(crate) struct Failures {
    counters: HashMap<Counter, Failed>,
    names: RandomState,
}

/// Failures in a row.
struct Failed {
    times: u32,
    last: Instant,
}

impl Failures {
    /// The counter of a name in a browser that is not known.
    pub fn counter(&self, name: &str) -> Counter {
        #[allow(clippy::cast_possible_truncation)] // only 16 bits are wanted
        Counter::Name(self.names.hash_one(name) as u16)
    }

    /// How many seconds until the next try is allowed; `None`: it is allowed now.
    pub fn wait(&self, counter: &Counter, now: Instant) -> Option<u64> {
        let failed = self.counters.get(counter).filter(|failed| failed.counts(now))?;
        let left = (failed.last + failed.delay()).duration_since(now);
        (!left.is_zero()).then(|| left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    /// Says how many failures in a row there are now.
    pub fn add(&mut self, counter: Counter, now: Instant) -> u32 {
        self.counters.retain(|_, failed| failed.counts(now));
        let failed = self.counters.entry(counter).or_insert(Failed { times: 0, last: now });
        failed.times = failed.times.saturating_add(1);
        failed.last = now;
        failed.times
    }

    pub fn forget(&mut self, counter: &Counter) {
        self.counters.remove(counter);
    }
}

impl Failed {
    fn counts(&self, now: Instant) -> bool {
        now.duration_since(self.last) < MEMORY
    }

    /// 1 s, 2 s, 4 s and so on.
    fn delay(&self) -> Duration {
        let beyond = self.times.checked_sub(FREE);
        Duration::from_secs(beyond.map_or(0, |n| (1 << n.min(6)).min(LONGEST_WAIT)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_ends() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        let (x, y) = (Counter::Browser(Digest::of("x")), Counter::Browser(Digest::of("y")));
        let mut waits = Vec::new();
        for _ in 0..13 {
            failures.add(x.clone(), now);
            let wait = failures.wait(&x, now);
            assert_eq!(failures.wait(&y, now), None);
            waits.push(wait.unwrap_or(0));
            now += Duration::from_secs(wait.unwrap_or(0));
            assert_eq!(failures.wait(&x, now), None);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        failures.add(x.clone(), now);
        let later = now + Duration::from_mins(14);
        assert_eq!(failures.add(x.clone(), later), 15, "still remembered");
        assert_eq!(failures.wait(&x, later), Some(60));
        assert_eq!(failures.add(x.clone(), later + MEMORY), 1);
        assert_eq!(failures.wait(&x, later + MEMORY), None);
    }

    #[test]
    fn names_that_are_made_up_neither_reset_a_counter_nor_grow_the_table() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let alice = failures.counter("alice");
        for _ in 0..8 {
            failures.add(alice.clone(), now);
        }
        let wait = failures.wait(&alice, now).unwrap();
        for number in 0..2_000 {
            failures.add(failures.counter(&format!("name {number}")), now);
        }
        assert!(failures.wait(&alice, now).unwrap() >= wait);
        let all: HashSet<_> = (0..200_000).map(|number| failures.counter(&format!("name {number}"))).collect();
        assert!((60_000..=1 << 16).contains(&all.len()), "{}", all.len());
    }
}
