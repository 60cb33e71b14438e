//! The tests whose time limits are short, which therefore run when the others have ended:
//! `cargo test --workspace --test timing peers::` runs those of `peers.rs`.

mod client_hostile;
mod database_away;
mod peers;
mod provider_time;
mod registration;
mod roll;
mod rotation;

use std::{
    sync::{Condvar, Mutex, PoisonError},
    thread::available_parallelism,
};

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// One of as many tests as there are processors.
struct Turn;

/// Waits until a processor is free, for a test that needs one all the time.
fn turn() -> Turn {
    let processors = available_parallelism().map_or(1, Into::into);
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let free = ENDED.wait_while(running, |running| *running >= processors);
    *free.unwrap_or_else(PoisonError::into_inner) += 1;
    Turn
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
