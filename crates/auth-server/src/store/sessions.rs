//! Log-ins (`sessions`).

use anyhow::Result;
use oauth::{identifiers::Subject, secret::Digest};

use super::Store;

impl Store {
    /// Begins a person's session, which replaces the `old` one.
    pub async fn begin_session(&self, user: &Subject, old: Option<&Digest>, new: &Digest, until: i64) -> Result<()> {
        if let Some(old) = old {
            sqlx::query("DELETE FROM sessions WHERE digest = ?").bind(old.as_str()).execute(&self.pool).await?;
        }
        sqlx::query("INSERT INTO sessions (digest, user, expires_at) VALUES (?, ?, ?)")
            .bind(new.as_str())
            .bind(user.as_str())
            .bind(until)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The person of a session, while it lasts.
    pub async fn session(&self, session: &Digest) -> Result<Option<Subject>> {
        let user: Option<(String,)> = sqlx::query_as("SELECT user FROM sessions WHERE digest = ? AND expires_at > ?")
            .bind(session.as_str())
            .bind(self.now())
            .fetch_optional(&self.pool)
            .await?;
        Ok(user.map(|(user,)| Subject::new(user)))
    }
}
