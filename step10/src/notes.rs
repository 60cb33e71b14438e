//! Notes: each person's own data. A note belongs to (`iss`, `sub`), never to a name, which somebody else may have at
//! another issuer; every statement below compares both. Notes are in SQLite, so an acknowledged note is on disk.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use chrono::{SecondsFormat, Utc};
use clap::Args;
use common::{claims::Claims, files};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{
    AssertSqlSafe, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// How many notes a user may keep.
pub const MAX_NOTES: i64 = 1000;

/// The migrations: each file turns a database of the version before into the next (`PRAGMA user_version`). A released
/// file never changes; a change comes in a new file.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_notes.sql")];

/// Where the notes are.
#[derive(Args)]
pub struct NotesArgs {
    /// The SQLite file in which users' notes are kept, made on first use
    #[arg(long, env = "MCP_DATABASE", value_name = "FILE", default_value = "data/notes.db")]
    database: PathBuf,
}

#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub id: String,
    pub text: String,
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
}

/// Somebody who keeps notes, and how many.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Keeper {
    pub iss: String,
    pub sub: String,
    pub username: String,
    pub notes: i64,
}

/// Where a page of a list ended: the values of the two columns by which the list is sorted. The default is before
/// everything.
pub type Position = (String, String);

/// All users' notes.
#[derive(Clone)]
pub struct Notes(SqlitePool);

impl Notes {
    /// Opens the file, and makes it (mode 0600) and its folder where they are missing.
    pub async fn open(args: &NotesArgs) -> anyhow::Result<Self> {
        let file = &args.database;
        let cannot = || format!("cannot open the database {}", file.display());
        // Before SQLite opens it: closing any handle of a file drops all of the process's locks on it (POSIX).
        files::database(file).with_context(cannot)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full) // "saved" means on disk
            .busy_timeout(Duration::from_secs(5));
        // One connection: SQLite writes one at a time anyway, and this way no request finds it locked.
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
        let opening = async {
            let notes = Notes(pool.await?);
            notes.migrate().await?;
            Ok(notes)
        };
        opening.await.map_err(|error: anyhow::Error| anyhow::anyhow!("{}: {error}", cannot()))
    }

    /// Brings the tables to this program's version: all files or none, and one program at a time.
    async fn migrate(&self) -> anyhow::Result<()> {
        let mut all = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *all).await?;
        let missing = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..));
        let Some(missing) = missing else { bail!("a newer version of this program made it") };
        for migration in missing {
            sqlx::raw_sql(*migration).execute(&mut *all).await?;
        }
        let version = format!("PRAGMA user_version = {}", MIGRATIONS.len());
        sqlx::raw_sql(AssertSqlSafe(version)).execute(&mut *all).await?;
        Ok(all.commit().await?)
    }

    /// Whether notes can be written, for `/health`.
    pub async fn check(&self) -> anyhow::Result<()> {
        Ok(self.0.begin_with("BEGIN IMMEDIATE").await?.rollback().await?)
    }

    /// `None`: this user has too many already. A single statement, so that two requests at once cannot exceed the
    /// limit.
    pub async fn save(&self, owner: &Claims, text: String) -> sqlx::Result<Option<Note>> {
        let id = uuid::Uuid::now_v7().to_string(); // in the order in which they are made, for notes of one millisecond
        let created_at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let saved = sqlx::query(
            "INSERT INTO notes (id, iss, sub, username, text, created_at) SELECT ?, ?, ?, ?, ?, ?
             WHERE (SELECT count(*) FROM notes WHERE iss = ? AND sub = ?) < ?",
        )
        .bind(&id)
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(owner.username())
        .bind(&text)
        .bind(&created_at)
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(MAX_NOTES)
        .execute(&self.0)
        .await?;
        Ok((saved.rows_affected() == 1).then_some(Note { id, text, created_at }))
    }

    /// At most `limit` notes after a position, oldest first.
    pub async fn list(&self, owner: &Claims, after: &Position, limit: i64) -> sqlx::Result<Vec<Note>> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT id, text, created_at FROM notes WHERE iss = ? AND sub = ? AND (created_at, id) > (?, ?)
             ORDER BY created_at, id LIMIT ?",
        )
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(&after.0)
        .bind(&after.1)
        .bind(limit)
        .fetch_all(&self.0)
        .await?;
        Ok(rows.into_iter().map(|(id, text, created_at)| Note { id, text, created_at }).collect())
    }

    /// False: this user has no such note.
    pub async fn delete(&self, owner: &Claims, id: &str) -> sqlx::Result<bool> {
        let deleted = sqlx::query("DELETE FROM notes WHERE id = ? AND iss = ? AND sub = ?")
            .bind(id)
            .bind(&owner.iss)
            .bind(&owner.sub)
            .execute(&self.0)
            .await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// At most `limit` users who keep notes, after a position, by the name of their newest note.
    pub async fn keepers(&self, after: &Position, limit: i64) -> sqlx::Result<Vec<Keeper>> {
        // SQLite takes `username` from the row that max() found.
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT iss, sub, username, count(*), max(seq) FROM notes WHERE (iss, sub) > (?, ?)
             GROUP BY iss, sub ORDER BY iss, sub LIMIT ?",
        )
        .bind(&after.0)
        .bind(&after.1)
        .bind(limit)
        .fetch_all(&self.0)
        .await?;
        Ok(rows.into_iter().map(|(iss, sub, username, notes)| Keeper { iss, sub, username, notes }).collect())
    }
}
