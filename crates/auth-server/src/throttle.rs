//! How many guesses a password may cost. Failures are counted for each browser in which the person has logged in
//! before, and for all other browsers together: so strangers cannot lock out a person who comes back, and many of
//! them get no more guesses than one (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
//!
//! The counters are in the database (`store/failures.rs`): all replicas count together, and a restart forgets nothing.

use aws_lc_rs::hmac;
use oauth::secret::Digest;

/// How many failures a counter allows before people must wait.
const FREE: i64 = 5;
/// In seconds.
const LONGEST_WAIT: i64 = 60;
/// A counter without a failure for so long starts anew, in seconds.
pub(crate) const MEMORY: i64 = 15 * 60;

/// The counters of failures.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counter {
    /// A known browser, by the digest of its device cookie. A person has at most ten.
    Browser(Digest),
    /// A name, in any other browser. Names share 65,536 counters, by a hash with a secret: nobody can fill the table,
    /// push a counter out of it, or find a name that shares one with somebody's. Names that do not exist are counted
    /// too, so that nobody can tell.
    Name(u16),
}

impl Counter {
    /// The counter of a name in a browser that is not known.
    pub fn of_name(key: &hmac::Key, name: &str) -> Self {
        let hash = hmac::sign(key, name.as_bytes());
        Counter::Name(u16::from_be_bytes([hash.as_ref()[0], hash.as_ref()[1]]))
    }

    /// What it is called in the database.
    pub fn key(&self) -> String {
        match self {
            Counter::Browser(digest) => digest.as_str().to_owned(),
            Counter::Name(number) => format!("name {number}"),
        }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Failures {
    pub times: i64,
    /// When the last one was, in milliseconds since 1970.
    pub last: i64,
}

impl Failures {
    /// How many seconds until the next try is allowed; `None`: it is allowed now.
    pub fn wait(&self, now: i64) -> Option<u64> {
        let delay = self.delay() * 1000;
        // Never more than the delay, also if the last failure was counted by a clock that is ahead of ours.
        let left = u64::try_from((self.last + delay - now).min(delay)).ok()?;
        (self.counts(now) && left > 0).then_some(left.div_ceil(1000))
    }

    /// With one more.
    pub fn and_one(&self, now: i64) -> Self {
        Failures { times: if self.counts(now) { self.times.saturating_add(1) } else { 1 }, last: now }
    }

    /// A failure far in the future does not count either: the clock was set back.
    fn counts(&self, now: i64) -> bool {
        now.abs_diff(self.last) < MEMORY.unsigned_abs() * 1000
    }

    /// 1 s, 2 s, 4 s and so on.
    fn delay(&self) -> i64 {
        match self.times - FREE {
            beyond @ 0.. => (1 << beyond.min(6)).min(LONGEST_WAIT),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_ends() {
        let (mut failures, mut now) = (Failures::default(), 1_800_000_000_000);
        let mut waits = Vec::new();
        for _ in 0..13 {
            failures = failures.and_one(now);
            let wait = failures.wait(now);
            waits.push(wait.unwrap_or(0));
            if let Some(wait) = wait {
                now += wait.cast_signed() * 1000 - 1;
                assert_eq!(failures.wait(now), Some(1), "a millisecond is left");
                now += 1;
            }
            assert_eq!(failures.wait(now), None);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        failures = failures.and_one(now);
        let later = now + 14 * 60_000;
        failures = failures.and_one(later);
        assert_eq!((failures.times, failures.wait(later)), (15, Some(60)), "still remembered");
        failures = failures.and_one(later + MEMORY * 1000);
        assert_eq!((failures.times, failures.wait(failures.last)), (1, None));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out_for_long() {
        let failures = Failures { times: 9, last: 1_800_000_000_000 };
        assert_eq!(failures.wait(failures.last - 60_000), Some(16));
        let once = Failures { times: 1, last: failures.last };
        assert_eq!(once.wait(failures.last - 3000), None, "another replica's clock is ahead");
        assert_eq!(failures.wait(failures.last - MEMORY * 1000), None);
        assert_eq!(failures.and_one(failures.last - MEMORY * 1000).times, 1);
    }

    #[test]
    fn names_that_are_made_up_share_65536_counters_that_only_the_secret_tells() {
        let key = |secret: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, secret);
        let (ours, theirs) = (key(b"our secret"), key(b"another secret"));
        let counters =
            |key| -> Vec<_> { (0..200_000).map(|number| Counter::of_name(key, &format!("name {number}"))).collect() };
        let (all, others) = (counters(&ours), counters(&theirs));
        let distinct: HashSet<_> = all.iter().collect();
        assert!((60_000..=1 << 16).contains(&distinct.len()), "{}", distinct.len());
        let same = all.iter().zip(&others).filter(|(one, other)| one == other).count();
        assert!(same < 50, "{same} names have the same counter with another secret");
        assert_eq!(all, counters(&ours), "another replica with the same secret");
    }
}
