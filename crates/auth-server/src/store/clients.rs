//! Clients that registered themselves (`clients`).

use anyhow::Result;
use oauth::{client_metadata::ClientMetadata, identifiers::ClientId, secret::Digest};

use super::{FAMILY_LIFETIME, Store};

/// The most clients that may register themselves. Beyond that, clients that were never used are deleted.
const MAX_CLIENTS: i64 = 1000;
/// How long a new client is kept before anybody lets it in, in seconds.
const PROTECTED: i64 = 3600;

/// A client that registered itself.
pub(crate) struct Registered {
    pub secret_digest: Option<Digest>,
    pub metadata: ClientMetadata,
}

impl Store {
    /// The client of this id.
    pub async fn registered(&self, id: &str) -> Result<Option<Registered>> {
        let select = sqlx::query_as("SELECT secret_digest, metadata FROM clients WHERE id = ?").bind(id);
        let row: Option<(Option<String>, String)> = select.fetch_optional(&self.pool).await?;
        let Some((secret_digest, metadata)) = row else { return Ok(None) };
        let metadata = serde_json::from_str(&metadata)?;
        Ok(Some(Registered { secret_digest: secret_digest.map(Digest::kept), metadata }))
    }

    /// Makes room for one more client if needed, and returns whether there is room. It deletes only clients that are
    /// older than an hour and that nobody let in for as long as a consent lasts, so they will not come back.
    pub async fn make_room_for_client(&self) -> Result<bool> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM clients").fetch_one(&self.pool).await?;
        if count < MAX_CLIENTS {
            return Ok(true);
        }
        let unused = sqlx::query("DELETE FROM clients WHERE created_at < ? AND used_at < ?")
            .bind(self.now() - PROTECTED)
            .bind(self.now() - FAMILY_LIFETIME);
        Ok(unused.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// One more client. Says when it was added.
    pub async fn add_client(&self, id: &ClientId, secret: Option<&Digest>, metadata: &ClientMetadata) -> Result<i64> {
        let at = self.now();
        sqlx::query("INSERT INTO clients (id, secret_digest, metadata, created_at, used_at) VALUES (?, ?, ?, ?, ?)")
            .bind(id.as_str())
            .bind(secret.map(Digest::as_str))
            .bind(serde_json::to_string(metadata)?)
            .bind(at)
            .bind(0) // not used yet
            .execute(&self.pool)
            .await?;
        Ok(at)
    }
}
