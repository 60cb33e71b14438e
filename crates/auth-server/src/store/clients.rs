//! Clients that registered themselves (`clients`).

use anyhow::Result;
use oauth::{client_metadata::ClientMetadata, identifiers::ClientId, secret::Digest};

use super::{FAMILY_LIFETIME, Store, registrations};
use crate::database::query;

/// The most clients that may register themselves. Beyond that, clients that were never used are deleted.
const MAX_CLIENTS: i64 = 1000;
/// How long a new client is kept before anybody lets it in, in seconds.
const PROTECTED: i64 = 3600;

/// Whether there was room for one more client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// In seconds since 1970.
    At(i64),
    /// Too many have registered, from the address or from all; the next may after so many seconds.
    Wait(u64),
    /// The table is full.
    Full,
}

/// A client that registered itself.
pub(crate) struct Registered {
    pub secret_digest: Option<Digest>,
    pub metadata: ClientMetadata,
}

impl Store {
    /// The client of this id.
    pub async fn registered(&self, id: &str) -> Result<Option<Registered>> {
        let select = query("SELECT secret_digest, metadata FROM clients WHERE id = $1").bind(id);
        let row: Option<(Option<String>, String)> = select.fetch_optional(&self.database).await?;
        let Some((secret_digest, metadata)) = row else { return Ok(None) };
        let metadata = serde_json::from_str(&metadata)?;
        Ok(Some(Registered { secret_digest: secret_digest.map(Digest::kept), metadata }))
    }

    /// All of them, the oldest first: id, metadata, when it registered, and when somebody last let it in (0: never).
    pub async fn clients(&self) -> Result<Vec<(String, ClientMetadata, i64, i64)>> {
        let select = query("SELECT id, metadata, created_at, used_at FROM clients ORDER BY created_at, id");
        let rows: Vec<(String, String, i64, i64)> = select.fetch_all(&self.database).await?;
        let read = |(id, metadata, created_at, used_at): (String, String, i64, i64)| {
            Ok((id, serde_json::from_str(&metadata)?, created_at, used_at))
        };
        rows.into_iter().map(read).collect()
    }

    /// Deletes a client with all that people let it do. Says whether it was there.
    pub async fn remove_client(&self, id: &str) -> Result<bool> {
        let removal = self.database.transaction(Some("clients"), async |all| {
            if query("DELETE FROM clients WHERE id = $1").bind(id).execute(&mut *all).await? == 0 {
                return Ok(false);
            }
            for statement in [
                "DELETE FROM codes WHERE family IN (SELECT id FROM families WHERE client_id = $1)",
                "DELETE FROM families WHERE client_id = $1",
                "DELETE FROM consents WHERE client_id = $1",
            ] {
                query(statement).bind(id).execute(&mut *all).await?;
            }
            Ok(true)
        });
        Ok(removal.await?)
    }

    /// One more client, from this address. To make room it deletes only clients that are older than an hour and that nobody
    /// let in for as long as a consent lasts, so they will not come back.
    pub async fn add_client(
        &self,
        id: &ClientId,
        secret: Option<&Digest>,
        metadata: &ClientMetadata,
        address: &str,
    ) -> Result<Added> {
        let metadata = serde_json::to_string(metadata)?;
        let add = self.database.transaction(Some("clients"), async |all| {
            let at = self.now();
            let earlier = registrations::earlier(address, at).fetch_one(&mut *all).await?;
            if let Some(seconds) = registrations::wait(earlier, at) {
                return Ok(Added::Wait(seconds));
            }
            let (count,): (i64,) = query("SELECT count(*) FROM clients").fetch_one(&mut *all).await?;
            if count >= MAX_CLIENTS {
                let unused = query("DELETE FROM clients WHERE created_at < $1 AND used_at < $2");
                if unused.bind(at - PROTECTED).bind(at - FAMILY_LIFETIME).execute(&mut *all).await? == 0 {
                    return Ok(Added::Full);
                }
            }
            query("INSERT INTO clients (id, secret_digest, metadata, created_at, used_at) VALUES ($1, $2, $3, $4, 0)")
                .bind(id.as_str())
                .bind(secret.map(Digest::as_str))
                .bind(&metadata)
                .bind(at)
                .execute(&mut *all)
                .await?;
            query("INSERT INTO registrations (address, registered_at) VALUES ($1, $2)")
                .bind(address)
                .bind(at)
                .execute(&mut *all)
                .await?;
            Ok(Added::At(at))
        });
        Ok(add.await?)
    }
}
