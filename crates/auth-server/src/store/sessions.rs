//! Log-ins (`sessions`).

use anyhow::Result;
use oauth::{identifiers::Subject, secret::Digest};

use super::{Proof, Store};
use crate::database::query;

impl Store {
    /// Begins a person's session, which replaces the `old` one. Says whether the person may still log in so.
    pub async fn begin_session(
        &self,
        proof: &Proof<'_>,
        old: Option<&Digest>,
        new: &Digest,
        until: i64,
    ) -> Result<bool> {
        let user = proof.sub;
        let begin = self.database.transaction(None, async |all| {
            if !proof.holds(all).await? {
                return Ok(false);
            }
            let logged_in = query("UPDATE users SET last_log_in = $1 WHERE sub = $2");
            logged_in.bind(self.now()).bind(user.as_str()).execute(&mut *all).await?;
            query("DELETE FROM sessions WHERE digest = $1").bind(old.map(Digest::as_str)).execute(&mut *all).await?;
            query(r#"INSERT INTO sessions (digest, "user", expires_at) VALUES ($1, $2, $3)"#)
                .bind(new.as_str())
                .bind(user.as_str())
                .bind(until)
                .execute(&mut *all)
                .await?;
            Ok(true)
        });
        Ok(begin.await?)
    }

    /// Ends a session.
    pub async fn end_session(&self, session: &Digest) -> Result<()> {
        query("DELETE FROM sessions WHERE digest = $1").bind(session.as_str()).execute(&self.database).await?;
        Ok(())
    }

    /// The person of a session, while it lasts.
    pub async fn session(&self, session: &Digest) -> Result<Option<Subject>> {
        let user: Option<(String,)> = query(r#"SELECT "user" FROM sessions WHERE digest = $1 AND expires_at > $2"#)
            .bind(session.as_str())
            .bind(self.now())
            .fetch_optional(&self.database)
            .await?;
        Ok(user.map(|(user,)| Subject::new(user)))
    }
}
