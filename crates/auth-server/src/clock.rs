//! The time, in one place: everything that expires or has to wait asks this clock. A program has the system's, and no way to
//! move it. In this crate's own tests it stands still until they move it.

use std::time::Instant;

#[cfg(test)]
pub use moved::Clock;

/// Seconds since 1970 as a date and a time (RFC 3339).
pub(crate) fn date(seconds: i64) -> String {
    let date = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    date.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The system's clock.
#[cfg(not(test))]
#[derive(Clone, Debug)]
pub struct Clock;

#[cfg(not(test))]
#[allow(clippy::unused_self, reason = "the one that tests move needs it")]
impl Clock {
    pub(crate) fn system() -> Self {
        Clock
    }

    /// Seconds since 1970, for what is kept in the database.
    pub fn now(&self) -> i64 {
        chrono::Utc::now().timestamp()
    }

    /// The same in milliseconds.
    pub(crate) fn millis(&self) -> i64 {
        chrono::Utc::now().timestamp_millis()
    }

    /// The same for what is kept in memory: it never goes back.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }
}

impl governor::clock::Clock for Clock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.instant()
    }
}

#[cfg(test)]
mod moved {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::{Duration, Instant},
    };

    /// A clock that stands still; all its copies show the same.
    #[derive(Clone, Debug)]
    pub struct Clock {
        started: (i64, Instant),
        ahead: Arc<AtomicU32>,
    }

    impl Clock {
        /// It starts with the system's time.
        pub(crate) fn system() -> Self {
            Clock { started: (chrono::Utc::now().timestamp(), Instant::now()), ahead: Arc::default() }
        }

        pub fn now(&self) -> i64 {
            self.started.0 + i64::from(self.ahead.load(Ordering::SeqCst))
        }

        pub(crate) fn millis(&self) -> i64 {
            self.now() * 1000
        }

        pub fn instant(&self) -> Instant {
            self.started.1 + Duration::from_secs(self.ahead.load(Ordering::SeqCst).into())
        }

        /// Lets this many seconds pass.
        pub(crate) fn advance(&self, seconds: i64) {
            let seconds = u32::try_from(seconds).expect("time does not go back");
            self.ahead.fetch_add(seconds, Ordering::SeqCst);
        }
    }
}
