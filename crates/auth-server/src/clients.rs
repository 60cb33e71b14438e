//! What an operator does with clients that have registered themselves.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{clock, database::Location, store::Store};

/// The clients that have registered themselves, for managing them.
pub struct Clients(Store);

/// One of them, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegisteredClient {
    /// Its `client_id`.
    pub client_id: String,
    /// The name that it gives itself. Nobody has checked it.
    pub client_name: Option<String>,
    /// When it registered (RFC 3339).
    pub registered: String,
    /// When somebody last let it in (RFC 3339), if anybody has.
    pub last_consent: Option<String>,
}

impl Clients {
    /// Those in this database; see `Builder::database`.
    ///
    /// # Errors
    /// If the database is not there, or cannot be used.
    pub async fn open(database: &Location) -> Result<Self> {
        Ok(Clients(Store::existing(database).await?))
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn list(&self) -> Result<Vec<RegisteredClient>> {
        let clients = self.0.clients().await?.into_iter().map(|(client_id, metadata, registered, used)| {
            let (registered, last_consent) = (clock::date(registered), (used > 0).then(|| clock::date(used)));
            RegisteredClient { client_id, client_name: metadata.client_name, registered, last_consent }
        });
        Ok(clients.collect())
    }

    /// Deletes one with its codes, refresh families and consents.
    ///
    /// # Errors
    /// If no client with this id has registered itself, or the database cannot be written.
    pub async fn remove(&self, client_id: &str) -> Result<()> {
        let removed = self.0.remove_client(client_id).await?;
        ensure!(removed, "no client has registered itself as {client_id:?}");
        tracing::info!(event = "client_removed", client = client_id, "with all that people let it do");
        Ok(())
    }
}
