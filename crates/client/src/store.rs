//! Where credentials are kept between runs.

use std::sync::{Mutex, PoisonError};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{credentials::Credentials, failure::Result};

/// The place for the credentials of one MCP server and one kind of client. An implementation keeps secrets.
pub trait Store: Send + Sync {
    /// Reads what is stored; at first, that is [`Credentials::default`].
    ///
    /// # Errors
    /// If it cannot be read, or others may have read it.
    fn load(&self) -> Result<Credentials>;

    /// Waits until nobody else changes what is kept, in this process or another: a refresh token is used once. A server
    /// that rotates them takes the second use for a theft, and withdraws everything (OAuth 2.1 §4.3.1).
    ///
    /// # Errors
    /// If that takes too long.
    fn lock(&self) -> BoxFuture<'_, Result<Box<dyn Held + '_>>>;
}

/// The locked place: nobody else may change it until this is dropped.
pub trait Held: Send + Sync {
    /// Replaces what is kept, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save(&self, credentials: &Credentials) -> Result<()>;

    /// Forgets what is kept, if there is anything.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    fn remove(&self) -> Result<()>;
}

/// Keeps credentials for as long as the program runs.
#[derive(Default)]
pub struct Memory {
    kept: Mutex<Credentials>,
    lock: tokio::sync::Mutex<()>,
}

impl Memory {
    fn set(&self, credentials: Credentials) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }
}

impl Store for Memory {
    fn load(&self) -> Result<Credentials> {
        Ok(self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn lock(&self) -> BoxFuture<'_, Result<Box<dyn Held + '_>>> {
        async { Ok(Box::new(HeldMemory { memory: self, _lock: self.lock.lock().await }) as Box<dyn Held>) }.boxed()
    }
}

struct HeldMemory<'a> {
    memory: &'a Memory,
    _lock: tokio::sync::MutexGuard<'a, ()>,
}

impl Held for HeldMemory<'_> {
    fn save(&self, credentials: &Credentials) -> Result<()> {
        self.memory.set(credentials.clone());
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        self.memory.set(Credentials::default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_changes_what_is_kept() {
        let memory = Memory::default();
        let held = memory.lock().await.unwrap();
        assert!(memory.lock().now_or_never().is_none());
        held.save(&Credentials { server: "https://mcp.example/".to_owned(), ..Credentials::default() }).unwrap();
        drop(held);
        assert_eq!(memory.load().unwrap().server, "https://mcp.example/");
        memory.lock().await.unwrap().remove().unwrap();
        assert_eq!(memory.load().unwrap().server, "");
    }
}
