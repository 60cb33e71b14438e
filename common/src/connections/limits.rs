//! What all connections of a process share: how many there may be, and how many bytes of answers may wait for their
//! peers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bytes of all answers that wait for their peers.
const UNREAD: usize = 32 * 1024 * 1024;
/// Connections, unless `--max-connections` says otherwise. An idle one costs some 18 kB.
const CONNECTIONS: usize = 12_000;
/// Open files besides connections: databases, what is fetched, the runtime's.
const OTHER_FILES: usize = 128;

/// What all connections of a process share.
pub(crate) struct Limits {
    connections: usize,
    open: AtomicUsize,
    unread: Mutex<Unread>,
}

/// Answers that wait for their peers, the one that has waited longest first.
#[derive(Default)]
pub(super) struct Unread {
    bytes: usize,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    bytes: usize,
    dropped: Arc<AtomicBool>,
    connection: Waker,
}

impl Limits {
    /// As many connections as asked for, or [`CONNECTIONS`], or what this machine allows. Raises the process's own limit
    /// of open files for them.
    ///
    /// # Errors
    /// If the machine does not allow as many as asked for.
    pub(crate) fn new(asked: Option<usize>) -> Result<Arc<Self>> {
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let possible = most.saturating_sub(OTHER_FILES) / 9 * 8;
        let connections = asked.unwrap_or(CONNECTIONS.min(possible).max(1));
        ensure!(
            connections <= possible || asked.is_none(),
            "--max-connections: this machine allows a process {most} open files (ulimit -Hn), which is enough for {possible} connections"
        );
        let files = (connections + connections / 8 + OTHER_FILES) as u64;
        if limit.current.is_some_and(|current| current < files) {
            let current = Some(limit.maximum.map_or(files, |maximum| maximum.min(files)));
            setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum })
                .context("cannot raise the limit of open files")?;
        }
        Ok(Arc::new(Limits { connections, open: AtomicUsize::new(0), unread: Mutex::default() }))
    }

    /// A place for one more connection, if there is room for it at all.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let before = self.open.fetch_add(1, Relaxed);
        let place = Place { limits: Arc::clone(self), refused: before >= self.connections };
        if before == self.connections {
            tracing::warn!(limit = self.connections, "too many connections: further ones are answered with 503");
        }
        (before < self.connections + self.connections.div_ceil(8)).then_some(place)
    }
}

/// A place among the connections.
pub(super) struct Place {
    limits: Arc<Limits>,
    /// It is one too many: requests on it are answered with 503.
    pub refused: bool,
}

impl Place {
    pub fn unread(&self) -> MutexGuard<'_, Unread> {
        self.limits.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Relaxed);
    }
}

impl Unread {
    /// Counts an answer in, and drops others if there are too many bytes.
    pub fn wait(&mut self, number: Option<u64>, bytes: usize, dropped: &Arc<AtomicBool>, connection: &Waker) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.leave(number);
        self.bytes += bytes;
        let waiting = Waiting { bytes, dropped: Arc::clone(dropped), connection: connection.clone() };
        self.waiting.insert(number, waiting);
        while self.bytes > UNREAD
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.bytes -= oldest.bytes;
            oldest.dropped.store(true, Relaxed);
            oldest.connection.wake();
        }
        number
    }

    pub fn leave(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.remove(&number) {
            self.bytes -= waiting.bytes;
        }
    }
}
