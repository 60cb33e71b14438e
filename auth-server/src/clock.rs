//! The time, in one place: whatever expires or has to wait asks this clock. In this crate's own tests it can
//! be moved; a program has no way to do that.

use std::time::Instant;

/// The system's clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// By how many seconds a test has moved it.
    #[cfg(test)]
    ahead: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Clock {
    /// Seconds since 1970, for what is kept in the database.
    pub fn now(&self) -> i64 {
        let system = chrono::Utc::now().timestamp();
        #[cfg(test)]
        let system = system + i64::from(self.ahead());
        system
    }

    /// The same for what is kept in memory: it never goes back.
    pub fn instant(&self) -> Instant {
        let system = Instant::now();
        #[cfg(test)]
        let system = system + std::time::Duration::from_secs(self.ahead().into());
        system
    }

    #[cfg(test)]
    fn ahead(&self) -> u32 {
        self.ahead.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Lets this many seconds pass, for all copies of this clock.
    #[cfg(test)]
    pub(crate) fn advance(&self, seconds: i64) {
        let seconds = u32::try_from(seconds).expect("time does not go back");
        self.ahead.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    }
}

impl governor::clock::Clock for Clock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.instant()
    }
}
