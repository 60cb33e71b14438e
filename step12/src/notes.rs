//! Notes: each person's own data. A note belongs to (`iss`, `sub`), never to a name, which somebody else may have at
//! another issuer; every statement below compares both. An acknowledged note is on disk: in a file of SQLite, or in
//! PostgreSQL, which all replicas share. One text of SQL does for both.

use anyhow::Result;
use auth_server::database::{self, Database, Location, Tables, is_unavailable, query};
use chrono::{SecondsFormat, Utc};
use clap::Args;
use common::{claims::Claims, jsonrpc::ErrorObject};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

/// How many notes a user may keep.
pub const MAX_NOTES: i64 = 1000;
/// The code of the error that says that the database cannot be used now: the HTTP status.
pub const UNAVAILABLE: i32 = 503;

const TABLES: Tables = Tables {
    part: "notes",
    sqlite: &[include_str!("../migrations/0001_notes.sql")],
    postgres: &[include_str!("../migrations/postgres/0001_notes.sql")],
};

/// Where the notes are.
#[derive(Args)]
pub struct NotesArgs {
    /// The SQLite file in which users' notes are kept, made on first use (or postgres://…, where many machines share them)
    #[arg(long, env = "MCP_DATABASE", hide_env_values = true, value_name = "FILE", default_value = "data/notes.db")]
    database: Location,
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
pub struct Notes(Database);

impl Notes {
    /// Opens the database, and makes what is missing.
    pub async fn open(args: &NotesArgs) -> Result<Self> {
        Ok(Notes(Database::open(&args.database, TABLES).await?))
    }

    /// Whether notes can be written, for `/ready`.
    pub async fn check(&self) -> Result<()> {
        self.0.check().await
    }

    /// `None`: this user has too many already. Who saves waits for others who save for the same user, at whichever replica, so
    /// that two at once cannot pass the limit.
    pub async fn save(&self, owner: &Claims, text: String) -> database::Result<Option<Note>> {
        let id = uuid::Uuid::now_v7().to_string(); // in the order in which they are made, for notes of one millisecond
        let created_at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let lock = json!(["notes", owner.iss, owner.sub]).to_string();
        let saving = self.0.transaction(Some(&lock), async |all| {
            query(
                "INSERT INTO notes (id, iss, sub, username, text, created_at) SELECT $1, $2, $3, $4, $5, $6
                 WHERE (SELECT count(*) FROM notes WHERE iss = $2 AND sub = $3) < $7",
            )
            .bind(&id)
            .bind(&owner.iss)
            .bind(&owner.sub)
            .bind(owner.username())
            .bind(&text)
            .bind(&created_at)
            .bind(MAX_NOTES)
            .execute(all)
            .await
        });
        let saved = saving.await? == 1;
        Ok(saved.then_some(Note { id, text, created_at }))
    }

    /// At most `limit` notes after a position, oldest first.
    pub async fn list(&self, owner: &Claims, after: &Position, limit: i64) -> database::Result<Vec<Note>> {
        let rows: Vec<(String, String, String)> = query(
            "SELECT id, text, created_at FROM notes WHERE iss = $1 AND sub = $2 AND (created_at, id) > ($3, $4)
             ORDER BY created_at, id LIMIT $5",
        )
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(&after.0)
        .bind(&after.1)
        .bind(limit)
        .fetch_all(&self.0)
        .await?;
        let note = |(id, text, created_at)| Note { id, text: self.0.text(text), created_at };
        Ok(rows.into_iter().map(note).collect())
    }

    /// False: this user has no such note.
    pub async fn delete(&self, owner: &Claims, id: &str) -> database::Result<bool> {
        let delete = query("DELETE FROM notes WHERE id = $1 AND iss = $2 AND sub = $3");
        let deleted = delete.bind(id).bind(&owner.iss).bind(&owner.sub).execute(&self.0).await?;
        Ok(deleted == 1)
    }

    /// At most `limit` users who keep notes, after a position, by the name of their newest note.
    pub async fn keepers(&self, after: &Position, limit: i64) -> database::Result<Vec<Keeper>> {
        let rows: Vec<(String, String, String, i64)> = query(
            "SELECT iss, sub, (SELECT username FROM notes AS newest WHERE newest.iss = notes.iss AND newest.sub = notes.sub
                               ORDER BY created_at DESC, id DESC LIMIT 1), count(*)
             FROM notes WHERE (iss, sub) > ($1, $2) GROUP BY iss, sub ORDER BY iss, sub LIMIT $3",
        )
        .bind(&after.0)
        .bind(&after.1)
        .bind(limit)
        .fetch_all(&self.0)
        .await?;
        let keeper = |(iss, sub, username, notes)| {
            let [iss, sub, username] = [iss, sub, username].map(|text| self.0.text(text));
            Keeper { iss, sub, username, notes }
        };
        Ok(rows.into_iter().map(keeper).collect())
    }
}

/// What a client is told when the database has not done it. If it cannot be reached, the request may work a little later.
pub fn failed(cause: database::Error) -> ErrorObject {
    if !is_unavailable(&cause) {
        return ErrorObject::internal(cause);
    }
    tracing::warn!(%cause, "the database of the notes is busy");
    let error = ErrorObject::new(UNAVAILABLE, "The server is busy. Try again in a moment.");
    ErrorObject { data: Some(json!({ "error": "temporarily_unavailable" })), ..error }
}
