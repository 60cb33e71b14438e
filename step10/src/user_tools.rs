//! Tools that know who calls: `whoami`, notes that are each person's own, and an admin's overview.
//!
//! Notes belong to (`iss`, `sub`), never to a name, which somebody else may have at another issuer.
//! They are in SQLite, where a note that was acknowledged is on disk.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use actix_web::{
    http::header::{HeaderMap, HeaderName, HeaderValue},
    web,
};
use anyhow::Context;
use chrono::{SecondsFormat, Utc};
use clap::Args;
use common::{
    claims::{Claims, Role},
    files,
    jsonrpc::{ErrorObject, written},
    mcp::{CallToolParams, CallToolResult, Tool, ToolAnnotations},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{auth::User, rpc::Call};

/// The longest note, in bytes.
const MAX_NOTE: usize = 4096;
/// How many notes a user may keep.
const MAX_NOTES: i64 = 1000;
/// How many users `list_users` shows.
const MAX_USERS: i64 = 1000;

/// Where the notes are.
#[derive(Args)]
pub struct NotesArgs {
    /// The SQLite file in which users' notes are kept, made on first use
    #[arg(long, env = "MCP_DATABASE", value_name = "FILE", default_value = "data/notes.db")]
    database: PathBuf,
}

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
        // One connection: SQLite writes one at a time anyway, and so nobody finds it locked.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(|error| anyhow::anyhow!("{}: {error}", cannot()))?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS notes (
                seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, iss TEXT NOT NULL, sub TEXT NOT NULL,
                username TEXT NOT NULL, text TEXT NOT NULL, created_at TEXT NOT NULL)",
        )
        .execute(&pool)
        .await
        .with_context(cannot)?;
        sqlx::query("CREATE INDEX IF NOT EXISTS notes_by_user ON notes (iss, sub)")
            .execute(&pool)
            .await
            .with_context(cannot)?;
        Ok(Notes(pool))
    }

    /// `None`: this user has too many already. One statement, so that two at once cannot pass the limit.
    async fn save(&self, owner: &Claims, text: &str) -> sqlx::Result<Option<Value>> {
        let id = uuid::Uuid::new_v4().to_string();
        let created_at = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let saved = sqlx::query(
            "INSERT INTO notes (id, iss, sub, username, text, created_at) SELECT ?, ?, ?, ?, ?, ?
             WHERE (SELECT count(*) FROM notes WHERE iss = ? AND sub = ?) < ?",
        )
        .bind(&id)
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(owner.username())
        .bind(text)
        .bind(&created_at)
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(MAX_NOTES)
        .execute(&self.0)
        .await?;
        Ok((saved.rows_affected() == 1).then(|| json!({ "id": id, "text": text, "created_at": created_at })))
    }

    async fn list(&self, owner: &Claims) -> sqlx::Result<Vec<Value>> {
        let rows = sqlx::query("SELECT id, text, created_at FROM notes WHERE iss = ? AND sub = ? ORDER BY seq")
            .bind(&owner.iss)
            .bind(&owner.sub)
            .fetch_all(&self.0)
            .await?;
        let note = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<Value> {
            let (id, text, created_at): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(json!({ "id": id, "text": text, "created_at": created_at }))
        };
        rows.iter().map(note).collect()
    }

    async fn delete(&self, owner: &Claims, id: &str) -> sqlx::Result<bool> {
        let deleted = sqlx::query("DELETE FROM notes WHERE id = ? AND iss = ? AND sub = ?")
            .bind(id)
            .bind(&owner.iss)
            .bind(&owner.sub)
            .execute(&self.0)
            .await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// Those who keep notes, by the name of their newest note.
    async fn users(&self) -> sqlx::Result<Vec<Value>> {
        let rows = sqlx::query(
            "SELECT iss, sub, username, count(*), max(seq) FROM notes GROUP BY iss, sub ORDER BY iss, sub LIMIT ?",
        )
        .bind(MAX_USERS)
        .fetch_all(&self.0)
        .await?;
        let user = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<Value> {
            let (iss, sub, username): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(json!({ "iss": iss, "sub": sub, "username": username, "notes": row.try_get::<i64, _>(3)? }))
        };
        rows.iter().map(user).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveNote {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteNote {
    id: String,
}

/// Runs the tool that the params name, on behalf of the caller.
pub async fn call(call: &Call<'_>, params: &CallToolParams<'_>) -> Result<CallToolResult, ErrorObject> {
    let claims: &Claims = call.user;
    let notes = call.http.app_data::<web::Data<Notes>>();
    let notes = notes.ok_or_else(|| ErrorObject::internal(&"no notes were opened"))?;
    let failed = |error: sqlx::Error| ErrorObject::internal(&error);
    macro_rules! arguments {
        ($type:ty) => {
            match params.arguments::<$type>() {
                Ok(arguments) => arguments,
                Err(error) => return Ok(error),
            }
        };
    }
    let answer = match &*params.name {
        "whoami" => {
            let Nothing {} = arguments!(Nothing);
            json!({
                "iss": claims.iss, "sub": claims.sub, "username": claims.username(), "client_id": claims.client_id,
                "scopes": claims.scope.iter().collect::<Vec<_>>(), "roles": claims.roles(),
                "expires_at": expires_at(claims),
            })
        }
        "save_note" => {
            let SaveNote { text } = arguments!(SaveNote);
            if text.len() > MAX_NOTE {
                return Ok(CallToolResult::error(format!(
                    "A note has at most {MAX_NOTE} bytes; this one has {}.",
                    text.len()
                )));
            }
            match notes.save(claims, &text).await.map_err(failed)? {
                Some(note) => note,
                None => {
                    return Ok(CallToolResult::error(format!(
                        "You have {MAX_NOTES} notes already: delete some first."
                    )));
                }
            }
        }
        "list_notes" => {
            let Nothing {} = arguments!(Nothing);
            json!({ "notes": notes.list(claims).await.map_err(failed)? })
        }
        "delete_note" => {
            let DeleteNote { id } = arguments!(DeleteNote);
            json!({ "deleted": notes.delete(claims, &id).await.map_err(failed)? })
        }
        "list_users" => {
            let Nothing {} = arguments!(Nothing);
            json!({ "users": notes.users().await.map_err(failed)? })
        }
        name => return Err(ErrorObject::invalid_params(format!("Unknown tool: {name}"))),
    };
    Ok(CallToolResult::json(&answer))
}

fn expires_at(claims: &Claims) -> Option<String> {
    let time = chrono::DateTime::from_timestamp(claims.exp.seconds(), 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// How every answer tells the caller whom the server took them for: written once for each token.
pub struct Caller {
    /// For the `_meta` of results.
    pub meta: Box<RawValue>,
    /// The name may be in any script, so it is percent-encoded UTF-8.
    name: HeaderValue,
    scopes: HeaderValue,
}

impl Caller {
    pub fn new(claims: &Claims) -> Self {
        let name = utf8_percent_encode(claims.username(), NON_ALPHANUMERIC).to_string();
        let value = |text: String| text.try_into().expect("the text is ASCII"); // so are scopes (RFC 6749 §3.3)
        Caller {
            meta: written(&json!({
                "sub": claims.sub, "username": claims.username(), "scopes": claims.scope.iter().collect::<Vec<_>>(),
                "roles": claims.roles(),
            })),
            name: value(name),
            scopes: value(claims.scope.to_string()),
        }
    }

    /// Puts the caller's name and scopes into a response's headers.
    pub fn name_in(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("x-mcp-user"), self.name.clone());
        headers.insert(HeaderName::from_static("x-mcp-scopes"), self.scopes.clone());
    }
}

/// The definitions of this file's tools, written once; only admins see the last one.
static TOOLS: LazyLock<Vec<Box<RawValue>>> = LazyLock::new(|| definitions().iter().map(written).collect());

/// The tools of this file, without those that the caller's role forbids.
pub fn visible_to(user: &User) -> impl Iterator<Item = &'static RawValue> {
    let hidden = usize::from(!user.roles().contains(&Role::Admin));
    TOOLS[..TOOLS.len() - hidden].iter().map(AsRef::as_ref)
}

fn definitions() -> Vec<Tool> {
    let changes = |destructive_hint, idempotent_hint| ToolAnnotations {
        read_only_hint: false,
        destructive_hint,
        idempotent_hint,
        open_world_hint: false,
    };
    let text = json!({ "type": "string" });
    let note = object(json!({ "id": text, "text": text, "created_at": { "type": "string", "format": "date-time" } }));
    let user = object(json!({ "iss": text, "sub": text, "username": text, "notes": { "type": "integer" } }));
    vec![
        Tool {
            name: "whoami",
            title: "Who am I?",
            description: "Tells who is calling, through which client, and what they may do.",
            input_schema: object(json!({})),
            output_schema: object(json!({
                "iss": text, "sub": text, "username": text, "client_id": { "type": ["string", "null"] },
                "scopes": { "type": "array", "items": text }, "roles": { "type": "array", "items": text },
                "expires_at": { "type": ["string", "null"], "format": "date-time" }
            })),
            annotations: ToolAnnotations::read_only(),
        },
        Tool {
            name: "save_note",
            title: "Save a note",
            description: "Keeps a note that only you can see. At most 4 KiB a note and 1,000 notes.",
            input_schema: object(
                json!({ "text": { "type": "string", "description": "The note, at most 4096 bytes" } }),
            ),
            output_schema: note.clone(),
            annotations: changes(false, false),
        },
        Tool {
            name: "list_notes",
            title: "List my notes",
            description: "Shows the notes you have saved, oldest first.",
            input_schema: object(json!({})),
            output_schema: object(json!({ "notes": { "type": "array", "items": note } })),
            annotations: ToolAnnotations::read_only(),
        },
        Tool {
            name: "delete_note",
            title: "Delete a note",
            description: "Deletes one of your notes.",
            input_schema: object(json!({ "id": { "type": "string", "description": "The note's id" } })),
            output_schema: object(
                json!({ "deleted": { "type": "boolean", "description": "false: you have no such note" } }),
            ),
            annotations: changes(true, true),
        },
        Tool {
            name: "list_users",
            title: "List users",
            description: "Shows who keeps notes, and how many; not what they say. At most 1,000 users.",
            input_schema: object(json!({})),
            output_schema: object(json!({ "users": { "type": "array", "items": user } })),
            annotations: ToolAnnotations::read_only(),
        },
    ]
}

/// The schema of an object that has all of these properties and no other.
fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
