//! The assertions that clients have used (`assertions`). Each is good once (RFC 7523 §3).

use anyhow::Result;
use oauth::secret::Digest;

use super::Store;

impl Store {
    /// Remembers an assertion until this time, in seconds since 1970. Returns whether it is new.
    pub async fn is_first_use(&self, assertion: &Digest, until: i64) -> Result<bool> {
        let first = sqlx::query("INSERT OR IGNORE INTO assertions (digest, expires_at) VALUES (?, ?)")
            .bind(assertion.as_str())
            .bind(until)
            .execute(&self.pool)
            .await?;
        Ok(first.rows_affected() == 1)
    }
}
