//! How often keys are fetched, and for how long they are trusted.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws_lc_rs::rand;

/// How long the metadata is kept: it hardly ever changes.
const METADATA_AGE: Duration = Duration::from_hours(1);

/// The longest of all times: it can be added to any point in time.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// How an issuer's keys are renewed. The default is sensible for production; tests make the times shorter.
#[derive(Clone, Debug)]
pub struct Times {
    /// How long after a fetch an unknown key (`kid`) causes no other. Default: 10 s.
    pub cooldown: Duration,
    /// The shortest time for which fetched keys are kept, even if the issuer says less. Default: 1 min.
    pub min_age: Duration,
    /// The longest: a key that the issuer has withdrawn is refused after this time at the latest. Default: 10 min.
    pub max_age: Duration,
    /// How long known keys stay good while the issuer cannot be asked. Default: 24 h.
    pub max_stale: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            cooldown: Duration::from_secs(10),
            min_age: Duration::from_mins(1),
            max_age: Duration::from_mins(10),
            max_stale: Duration::from_hours(24),
        }
    }
}

impl Times {
    /// # Errors
    /// If they do not go together.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.cooldown.is_zero(), "the times for keys: cooldown is zero");
        ensure!(self.min_age <= self.max_age, "the times for keys: min_age is longer than max_age");
        ensure!(self.cooldown <= self.max_age, "the times for keys: cooldown is longer than max_age");
        ensure!(self.max_age <= self.max_stale, "the times for keys: max_stale is shorter than max_age");
        ensure!(self.max_stale <= LONGEST, "the times for keys: max_stale is longer than a year");
        Ok(())
    }

    /// How long the metadata is good without looking again.
    pub(crate) fn metadata_age(&self) -> Duration {
        METADATA_AGE.min(self.max_stale / 2)
    }

    /// How long keys are kept if the issuer says that they are fresh for so long.
    pub(crate) fn keep(&self, fresh: Duration) -> Duration {
        let (least, most) = (self.min_age, self.max_age);
        let keep = fresh.clamp(least, most);
        somewhere((keep * 9 / 10).max(least), (keep * 11 / 10).min(most))
    }

    /// After how long to try again when so many fetches have failed, one at least.
    pub(crate) fn retry_after(&self, failures: u32) -> Duration {
        let pause = self.cooldown * 2_u32.pow(failures.clamp(1, 7) - 1);
        let pause = pause.min(self.min_age).max(self.cooldown);
        somewhere(pause, pause + pause / 2)
    }
}

/// A random time between these: replicas that started together, or lost their provider together, do not ask it together
/// for ever.
fn somewhere(least: Duration, most: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness there is no TLS either, and a fetch fails anyway.
    let _ = rand::fill(&mut random);
    least + most.saturating_sub(least).mul_f64(f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_do_not_ask_together() {
        let seconds = Duration::from_secs;
        let times =
            Times { cooldown: seconds(10), min_age: seconds(100), max_age: seconds(1000), max_stale: seconds(10_000) };
        // Each wait must stay within these bounds, and random waits must come near both.
        let spread = |name: &str, wait: &dyn Fn() -> Duration, from: Duration, to: Duration| {
            let waits: Vec<_> = (0..200).map(|_| wait()).collect();
            assert!(waits.iter().all(|wait| (from..=to).contains(wait)), "{name}: {waits:?}");
            let third = to.abs_diff(from) / 3;
            assert!(waits.iter().any(|wait| *wait < from + third), "{name}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait + third > to), "{name}: {waits:?}");
        };
        spread("the shortest", &|| times.keep(Duration::ZERO), seconds(100), seconds(110));
        spread("usual", &|| times.keep(seconds(300)), seconds(270), seconds(330));
        spread("the longest", &|| times.keep(Duration::MAX), seconds(900), seconds(1000));
        spread("one failure", &|| times.retry_after(1), seconds(10), seconds(15));
        spread("two", &|| times.retry_after(2), seconds(20), seconds(30));
        spread("many", &|| times.retry_after(u32::MAX), seconds(100), seconds(150));
    }

    #[test]
    fn no_time_is_so_long_that_it_cannot_be_added_to_now() {
        assert!(Times::default().check().is_ok());
        assert!(Times { max_stale: Duration::MAX, ..Times::default() }.check().is_err());
    }

    #[test]
    fn the_metadata_is_read_again_within_the_hour() {
        let second = Duration::from_secs(1);
        let times = |max_stale| Times { cooldown: second, min_age: second, max_age: second, max_stale };
        assert_eq!(times(Duration::from_hours(24)).metadata_age(), Duration::from_hours(1));
        assert_eq!(times(second * 4).metadata_age(), second * 2);
    }
}
