//! People (`users`) and the browsers in which they have logged in (`devices`).
//!
//! Whatever begins something for a person changes their row first, and so does whatever ends it all. So each waits for the
//! other, and nothing begins for a person who was disabled or removed meanwhile, or by a password that has been changed.

use anyhow::Result;
use oauth::{identifiers::Subject, secret::Digest};

use super::Store;
use crate::database::{self, Transaction, query};

/// A person.
pub(crate) struct Person {
    pub sub: Subject,
    pub name: String,
    /// With spaces between them.
    pub roles: String,
    /// Whether they are kept from logging in.
    pub disabled: bool,
    /// In seconds since 1970.
    pub last_log_in: Option<i64>,
}

/// Who has proved a moment ago to be this person, by the password with this hash.
pub(crate) struct Proof<'a> {
    pub sub: &'a Subject,
    pub hash: &'a str,
}

impl Proof<'_> {
    /// Whether it still holds: the person has that password, and is not disabled. It waits for whoever changes that.
    pub(super) async fn holds(&self, change: &mut Transaction) -> database::Result<bool> {
        let same = query("UPDATE users SET disabled = FALSE WHERE sub = $1 AND hash = $2 AND NOT disabled");
        Ok(same.bind(self.sub.as_str()).bind(self.hash).execute(change).await? > 0)
    }
}

/// A row of `users`.
type Row = (String, String, String, bool, Option<i64>);

impl From<Row> for Person {
    fn from((sub, name, roles, disabled, last_log_in): Row) -> Self {
        Person { sub: Subject::new(sub), name, roles, disabled, last_log_in }
    }
}

/// Ends a person's log-ins, and all tokens that follow from them.
async fn end_log_ins(change: &mut Transaction, sub: &str) -> database::Result<()> {
    for statement in
        [r#"DELETE FROM sessions WHERE "user" = $1"#, r#"UPDATE families SET revoked = TRUE WHERE "user" = $1"#]
    {
        query(statement).bind(sub).execute(&mut *change).await?;
    }
    Ok(())
}

impl Store {
    /// Adds these people (name, hash, roles) if there is nobody yet: all or none, even if the program is killed or two
    /// start at once. Returns whether they were added.
    pub async fn add_first_people(&self, people: &[(&str, String, &str); 4]) -> Result<bool> {
        const STATEMENT: &str = "INSERT INTO users (sub, name, hash, roles)
            SELECT 'user_' || column1, column1, column2, column3
            FROM (VALUES ($1, $2, $3), ($4, $5, $6), ($7, $8, $9), ($10, $11, $12)) AS first
            WHERE NOT EXISTS (SELECT 1 FROM users) ON CONFLICT DO NOTHING";
        let mut statement = query(STATEMENT);
        for (name, hash, roles) in people {
            statement = statement.bind(*name).bind(hash).bind(*roles);
        }
        Ok(statement.execute(&self.database).await? > 0)
    }

    /// One more person. Says whether the name was free.
    pub async fn add_person(&self, sub: &Subject, name: &str, hash: &str, roles: &str) -> Result<bool> {
        let added = query("INSERT INTO users (sub, name, hash, roles) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
            .bind(sub.as_str())
            .bind(name)
            .bind(hash)
            .bind(roles)
            .execute(&self.database)
            .await?;
        Ok(added > 0)
    }

    /// The person with this `sub` in tokens and sessions, if they are not disabled.
    pub async fn person(&self, sub: &Subject) -> Result<Option<Person>> {
        let select = "SELECT sub, name, roles, disabled, last_log_in FROM users WHERE sub = $1 AND NOT disabled";
        let found = query(select).bind(sub.as_str()).fetch_optional(&self.database).await?;
        Ok(found.map(|row: Row| row.into()))
    }

    /// Everybody, by name.
    pub async fn people(&self) -> Result<Vec<Person>> {
        let select = query("SELECT sub, name, roles, disabled, last_log_in FROM users ORDER BY name");
        Ok(select.fetch_all(&self.database).await?.into_iter().map(|row: Row| row.into()).collect())
    }

    /// The person of this name, and the hash of their password.
    pub async fn person_named(&self, name: &str) -> Result<Option<(Person, String)>> {
        let select =
            query("SELECT sub, name, roles, disabled, last_log_in, hash FROM users WHERE name = $1").bind(name);
        let found: Option<(String, String, String, bool, Option<i64>, String)> =
            select.fetch_optional(&self.database).await?;
        Ok(found.map(|(sub, name, roles, disabled, last, hash)| ((sub, name, roles, disabled, last).into(), hash)))
    }

    /// The person of this name, and whether this browser is one of theirs.
    pub async fn browser_of(&self, name: &str, device: Option<&Digest>) -> Result<Option<(Subject, bool)>> {
        let select =
            "SELECT sub, EXISTS (SELECT 1 FROM devices WHERE sub = users.sub AND digest = $1 AND expires_at > $2)
            FROM users WHERE name = $3";
        let found: Option<(String, bool)> = query(select)
            .bind(device.map(Digest::as_str))
            .bind(self.now())
            .bind(name)
            .fetch_optional(&self.database)
            .await?;
        Ok(found.map(|(sub, known)| (Subject::new(sub), known)))
    }

    /// Adds a browser of a person, in place of the `old` one. If there are more than `most`, the least recently used
    /// are deleted. Says whether the person may still log in so.
    pub async fn remember_browser(
        &self,
        proof: &Proof<'_>,
        old: Option<&Digest>,
        new: &Digest,
        until: i64,
        most: i64,
    ) -> Result<bool> {
        let sub = proof.sub;
        let remember = self.database.transaction(None, async |change| {
            if !proof.holds(change).await? {
                return Ok(false);
            }
            query("DELETE FROM devices WHERE sub = $1 AND digest = $2")
                .bind(sub.as_str())
                .bind(old.map(Digest::as_str))
                .execute(&mut *change)
                .await?;
            query("INSERT INTO devices (digest, sub, expires_at) VALUES ($1, $2, $3)")
                .bind(new.as_str())
                .bind(sub.as_str())
                .bind(until)
                .execute(&mut *change)
                .await?;
            let surplus = "DELETE FROM devices WHERE sub = $1 AND rowid NOT IN
                (SELECT rowid FROM devices WHERE sub = $1 ORDER BY expires_at DESC, rowid DESC LIMIT $2)";
            query(surplus).bind(sub.as_str()).bind(most).execute(&mut *change).await?;
            Ok(true)
        });
        Ok(remember.await?)
    }

    /// Sets a new password, and ends all sessions and tokens that began with the old one. `None`: nobody has the name.
    pub async fn change_password(&self, name: &str, hash: &str) -> Result<Option<Subject>> {
        let change = self.database.transaction(None, async |change| {
            let changed = query("UPDATE users SET hash = $1 WHERE name = $2 RETURNING sub").bind(hash).bind(name);
            let Some((sub,)): Option<(String,)> = changed.fetch_optional(&mut *change).await? else { return Ok(None) };
            end_log_ins(change, &sub).await?;
            query("DELETE FROM devices WHERE sub = $1").bind(&sub).execute(&mut *change).await?;
            Ok(Some(Subject::new(sub)))
        });
        Ok(change.await?)
    }

    /// Keeps a person from logging in, and ends all that they began; or lets them log in again. `None`: nobody has the name.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<Option<Subject>> {
        let set = if disabled {
            "UPDATE users SET disabled = TRUE WHERE name = $1 RETURNING sub"
        } else {
            "UPDATE users SET disabled = FALSE WHERE name = $1 RETURNING sub"
        };
        let change = self.database.transaction(None, async |change| {
            let changed = query(set).bind(name).fetch_optional(&mut *change).await?;
            let Some((sub,)): Option<(String,)> = changed else { return Ok(None) };
            if disabled {
                end_log_ins(change, &sub).await?;
            }
            Ok(Some(Subject::new(sub)))
        });
        Ok(change.await?)
    }

    /// Gives a person these roles. `None`: nobody has the name.
    pub async fn set_roles(&self, name: &str, roles: &str) -> Result<Option<Subject>> {
        let set = query("UPDATE users SET roles = $1 WHERE name = $2 RETURNING sub").bind(roles).bind(name);
        let changed: Option<(String,)> = set.fetch_optional(&self.database).await?;
        Ok(changed.map(|(sub,)| Subject::new(sub)))
    }

    /// Deletes a person with everything that is theirs. `None`: nobody has the name, or nobody else is there: the next start
    /// would make the first people again, and their `sub`s would come back.
    pub async fn remove_person(&self, name: &str) -> Result<Option<Subject>> {
        let delete =
            "DELETE FROM users WHERE name = $1 AND EXISTS (SELECT 1 FROM users WHERE name <> $1) RETURNING sub";
        let removal = self.database.transaction(Some("people"), async |removal| {
            let deleted = query(delete).bind(name).fetch_optional(&mut *removal).await?;
            let Some((sub,)): Option<(String,)> = deleted else { return Ok(None) };
            for statement in [
                r#"DELETE FROM sessions WHERE "user" = $1"#,
                "DELETE FROM devices WHERE sub = $1",
                r#"DELETE FROM codes WHERE family IN (SELECT id FROM families WHERE "user" = $1)"#,
                r#"DELETE FROM families WHERE "user" = $1"#,
                r#"DELETE FROM consents WHERE "user" = $1"#,
            ] {
                query(statement).bind(&sub).execute(&mut *removal).await?;
            }
            Ok(Some(Subject::new(sub)))
        });
        Ok(removal.await?)
    }
}
