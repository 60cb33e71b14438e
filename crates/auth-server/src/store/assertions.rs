//! The assertions that clients have used (`assertions`). Each is good once (RFC 7523 §3).

use anyhow::Result;
use oauth::secret::Digest;

use super::Store;
use crate::database::query;

impl Store {
    /// Remembers an assertion until this time, in seconds since 1970. Returns whether it is new.
    pub async fn is_first_use(&self, assertion: &Digest, until: i64) -> Result<bool> {
        let first = query("INSERT INTO assertions (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(assertion.as_str())
            .bind(until)
            .execute(&self.database)
            .await?;
        Ok(first == 1)
    }
}
