//! Tools that know who calls: `whoami`, notes that are each person's own, and an admin's overview.
//!
//! Notes belong to (`iss`, `sub`), never to a name, which somebody else may have at another issuer.
//! They are in SQLite, where a note that was acknowledged is on disk.

use std::{path::PathBuf, time::Duration};

use actix_web::{
    http::header::{HeaderMap, HeaderName, HeaderValue},
    web,
};
use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{SecondsFormat, Utc};
use clap::Args;
use common::{
    claims::Claims,
    files,
    jsonrpc::{ErrorObject, present, written},
    mcp::{CallToolParams, CallToolResult, Tool, ToolAnnotations},
    params::Integer,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::rpc::Call;

/// The longest note, in bytes.
const MAX_NOTE: usize = 4096;
/// How many notes a user may keep.
const MAX_NOTES: i64 = 1000;

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
        sqlx::query("CREATE INDEX IF NOT EXISTS notes_in_order ON notes (iss, sub, created_at, id)")
            .execute(&pool)
            .await
            .with_context(cannot)?;
        Ok(Notes(pool))
    }

    /// Whether notes can be written, for `/health`.
    pub async fn check(&self) -> anyhow::Result<()> {
        Ok(self.0.begin_with("BEGIN IMMEDIATE").await?.rollback().await?)
    }

    /// `None`: this user has too many already. One statement, so that two at once cannot pass the limit.
    async fn save(&self, owner: &Claims, text: &str) -> sqlx::Result<Option<Value>> {
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
        .bind(text)
        .bind(&created_at)
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(MAX_NOTES)
        .execute(&self.0)
        .await?;
        Ok((saved.rows_affected() == 1).then(|| json!({ "id": id, "text": text, "created_at": created_at })))
    }

    /// The notes after a position, oldest first, and one more than fits the page if there are more.
    async fn list(&self, owner: &Claims, after: &Position, limit: u16) -> sqlx::Result<Vec<(Position, Value)>> {
        let rows = sqlx::query(
            "SELECT created_at, id, text FROM notes WHERE iss = ? AND sub = ? AND (created_at, id) > (?, ?)
             ORDER BY created_at, id LIMIT ?",
        )
        .bind(&owner.iss)
        .bind(&owner.sub)
        .bind(&after.0)
        .bind(&after.1)
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.0)
        .await?;
        let note = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<(Position, Value)> {
            let (created_at, id, text): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let note = json!({ "id": id, "text": text, "created_at": created_at });
            Ok(((created_at, id), note))
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

    /// Those who keep notes, by the name of their newest note; otherwise as [`list`](Self::list).
    async fn users(&self, after: &Position, limit: u16) -> sqlx::Result<Vec<(Position, Value)>> {
        let rows = sqlx::query(
            "SELECT iss, sub, username, count(*), max(seq) FROM notes WHERE (iss, sub) > (?, ?)
             GROUP BY iss, sub ORDER BY iss, sub LIMIT ?",
        )
        .bind(&after.0)
        .bind(&after.1)
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.0)
        .await?;
        let user = |row: &sqlx::sqlite::SqliteRow| -> sqlx::Result<(Position, Value)> {
            let (iss, sub, username): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let user = json!({ "iss": iss, "sub": sub, "username": username, "notes": row.try_get::<i64, _>(3)? });
            Ok(((iss, sub), user))
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

/// Which part of a list is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default = "fifty")]
    limit: Integer<1, 100>,
    #[serde(default, deserialize_with = "present")]
    cursor: Option<String>,
}

fn fifty() -> Integer<1, 100> {
    Integer(50)
}

/// Where a page ended: the values of the two columns by which its list is sorted. The default is before everything.
type Position = (String, String);

impl Page {
    /// The position after which the page of a tool's list begins.
    fn after(&self, tool: &str) -> Result<Position, CallToolResult> {
        let Some(cursor) = &self.cursor else { return Ok(Position::default()) };
        let json = URL_SAFE_NO_PAD.decode(cursor).ok();
        match json.and_then(|json| serde_json::from_slice::<(String, String, String)>(&json).ok()) {
            Some((of, first, second)) if of == tool => Ok((first, second)),
            _ => Err(CallToolResult::error(format!("cursor must be a next_cursor of {tool}."))),
        }
    }

    /// The result of a tool whose list has these rows, one more than the limit if there are more. What a cursor says is
    /// our business (MCP "Pagination"); it names its tool, since in another list it would lead anywhere.
    fn result(&self, tool: &str, list: &str, mut rows: Vec<(Position, Value)>) -> Value {
        let limit = usize::from(self.limit.0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|((first, second), _)| json!([tool, first, second]).to_string());
        let mut page = json!({ list: rows.into_iter().map(|(_, item)| item).collect::<Vec<_>>() });
        if let Some(next) = next {
            page["next_cursor"] = URL_SAFE_NO_PAD.encode(next).into();
        }
        page
    }
}

/// Why a tool has no result: what the model can mend, and everything else.
enum Fault {
    Tool(CallToolResult),
    Protocol(ErrorObject),
}

impl From<CallToolResult> for Fault {
    fn from(error: CallToolResult) -> Self {
        Fault::Tool(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Fault::Protocol(ErrorObject::internal(&error))
    }
}

/// Runs the tool that the params name, on behalf of the caller.
pub async fn call(call: &Call<'_>, params: &CallToolParams<'_>) -> Result<CallToolResult, ErrorObject> {
    let notes = call.http.app_data::<web::Data<Notes>>();
    let notes = notes.ok_or_else(|| ErrorObject::internal(&"no notes were opened"))?;
    match run(call.user, notes, params).await {
        Ok(answer) => Ok(CallToolResult::json(&answer)),
        Err(Fault::Tool(error)) => Ok(error),
        Err(Fault::Protocol(error)) => Err(error),
    }
}

async fn run(claims: &Claims, notes: &Notes, params: &CallToolParams<'_>) -> Result<Value, Fault> {
    Ok(match &*params.name {
        "whoami" => {
            let Nothing {} = params.arguments()?;
            json!({
                "iss": claims.iss, "sub": claims.sub, "username": claims.username(), "client_id": claims.client_id,
                "scopes": claims.scope.iter().collect::<Vec<_>>(), "roles": claims.roles(),
                "expires_at": expires_at(claims),
            })
        }
        "save_note" => {
            let SaveNote { text } = params.arguments()?;
            if text.len() > MAX_NOTE {
                let error = format!("text must be at most {MAX_NOTE} bytes long; it has {}.", text.len());
                return Err(CallToolResult::error(error).into());
            }
            let too_many = || CallToolResult::error(format!("You have {MAX_NOTES} notes already: delete some first."));
            notes.save(claims, &text).await?.ok_or_else(too_many)?
        }
        "list_notes" => {
            let page: Page = params.arguments()?;
            let rows = notes.list(claims, &page.after("list_notes")?, page.limit.0).await?;
            page.result("list_notes", "notes", rows)
        }
        "delete_note" => {
            let DeleteNote { id } = params.arguments()?;
            json!({ "deleted": notes.delete(claims, &id).await? })
        }
        "list_users" => {
            let page: Page = params.arguments()?;
            let rows = notes.users(&page.after("list_users")?, page.limit.0).await?;
            page.result("list_users", "users", rows)
        }
        name => return Err(Fault::Protocol(ErrorObject::invalid_params(format!("Unknown tool: {name}")))),
    })
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

/// The definitions of this file's tools.
pub fn definitions() -> Vec<Tool> {
    let changes = |destructive_hint, idempotent_hint| ToolAnnotations {
        read_only_hint: false,
        destructive_hint,
        idempotent_hint,
        open_world_hint: false,
    };
    let text = json!({ "type": "string" });
    let note = object(json!({ "id": text, "text": text, "created_at": { "type": "string", "format": "date-time" } }));
    let user = object(json!({ "iss": text, "sub": text, "username": text, "notes": { "type": "integer" } }));
    let page = json!({
        "limit": {
            "type": "integer", "minimum": 1, "maximum": 100, "default": 50,
            "description": "How many a page has at most"
        },
        "cursor": { "type": "string", "description": "The next_cursor of the page before; leave it out for the first page" }
    });
    let next =
        json!({ "next_cursor": { "type": "string", "description": "There is more: the cursor of the next page" } });
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
            description: "Shows the notes you have saved, oldest first, a page at a time.",
            input_schema: with_optional(object(json!({})), &page),
            output_schema: with_optional(object(json!({ "notes": { "type": "array", "items": note } })), &next),
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
            description: "Shows who keeps notes, and how many; not what they say. A page at a time.",
            input_schema: with_optional(object(json!({})), &page),
            output_schema: with_optional(object(json!({ "users": { "type": "array", "items": user } })), &next),
            annotations: ToolAnnotations::read_only(),
        },
    ]
}

/// The schema of an object that has all of these properties and no other.
fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// The same schema with properties that may be missing.
fn with_optional(mut schema: Value, properties: &Value) -> Value {
    for (name, property) in properties.as_object().into_iter().flatten() {
        schema["properties"][name] = property.clone();
    }
    schema
}
