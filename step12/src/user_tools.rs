//! Tools that know who calls: `whoami`, notes that are each person's own, and an admin's overview.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    claims::Role,
    jsonrpc::present,
    mcp::{Tool, ToolError, ToolResult},
    params::Integer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    caller::Identity,
    methods::Call,
    notes::{self, Keeper, MAX_NOTES, Note, Notes, Position},
    permissions::{CALL_TOOLS, Requirement},
    tools::Tools,
};

/// The longest note, in bytes.
const MAX_NOTE: usize = 4096;
/// Nobody else may see who keeps notes.
const ADMINS: Requirement = Requirement { roles: &[Role::Admin], ..CALL_TOOLS };

/// Adds these tools to others.
pub fn add(tools: Tools, notes: &Notes) -> Tools {
    let [saving, listing, deleting, counting] = std::array::from_fn(|_| notes.clone());
    tools
        .on(
            Tool::reads("whoami", "Who am I?")
                .says("Tells who is calling, through which client, and what they may do."),
            CALL_TOOLS,
            whoami,
        )
        .on(
            Tool::adds("save_note", "Save a note")
                .says("Keeps a note that only you can see. At most 4 KiB a note and 1,000 notes."),
            CALL_TOOLS,
            async move |call: &Call<'_>, note: SaveNote| save_note(&saving, call, note).await,
        )
        .on(
            Tool::reads("list_notes", "List my notes")
                .says("Shows the notes you have saved, oldest first, a page at a time."),
            CALL_TOOLS,
            async move |call: &Call<'_>, page: Page| list_notes(&listing, call, page).await,
        )
        .on(
            Tool::deletes("delete_note", "Delete a note").says("Deletes one of your notes."),
            CALL_TOOLS,
            async move |call: &Call<'_>, note: DeleteNote| delete_note(&deleting, call, note).await,
        )
        .on(
            Tool::reads("list_users", "List users")
                .says("Shows who keeps notes, and how many; not what they say. A page at a time."),
            ADMINS,
            async move |call: &Call<'_>, page: Page| list_users(&counting, call, page).await,
        )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn whoami(call: &Call<'_>, Nothing {}: Nothing) -> Result<Identity, ToolError> {
    Ok(Identity::new(call.caller))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SaveNote {
    /// The note, at most 4096 bytes
    text: String,
}

impl ToolResult for Note {}

async fn save_note(notes: &Notes, call: &Call<'_>, SaveNote { text }: SaveNote) -> Result<Note, ToolError> {
    if text.len() > MAX_NOTE {
        return Err(ToolError::Mend(format!("text must be at most {MAX_NOTE} bytes long; it has {}.", text.len())));
    }
    let saved = notes.save(call.caller, text).await.map_err(notes::failed)?;
    saved.ok_or_else(|| ToolError::Mend(format!("You have {MAX_NOTES} notes already: delete some first.")))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteNote {
    /// The note's id
    id: String,
}

#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    /// false: you have no such note
    deleted: bool,
}

impl ToolResult for Deleted {}

async fn delete_note(notes: &Notes, call: &Call<'_>, DeleteNote { id }: DeleteNote) -> Result<Deleted, ToolError> {
    Ok(Deleted { deleted: notes.delete(call.caller, &id).await.map_err(notes::failed)? })
}

#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct NotesPage {
    notes: Vec<Note>,
    /// There is more: the cursor of the next page
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    next_cursor: Option<String>,
}

impl ToolResult for NotesPage {}

async fn list_notes(notes: &Notes, call: &Call<'_>, page: Page) -> Result<NotesPage, ToolError> {
    let rows = notes.list(call.caller, &page.after(call)?, page.rows()).await.map_err(notes::failed)?;
    let (notes, next_cursor) = page.cut(call, rows, |note| (&note.created_at, &note.id));
    Ok(NotesPage { notes, next_cursor })
}

#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct UsersPage {
    users: Vec<Keeper>,
    /// There is more: the cursor of the next page
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    next_cursor: Option<String>,
}

impl ToolResult for UsersPage {}

async fn list_users(notes: &Notes, call: &Call<'_>, page: Page) -> Result<UsersPage, ToolError> {
    let rows = notes.keepers(&page.after(call)?, page.rows()).await.map_err(notes::failed)?;
    let (users, next_cursor) = page.cut(call, rows, |keeper| (&keeper.iss, &keeper.sub));
    Ok(UsersPage { users, next_cursor })
}

/// Which part of a list is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Page {
    /// How many a page has at most
    #[serde(default = "fifty")]
    limit: Integer<1, 100>,
    /// The next_cursor of the page before; leave it out for the first page
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    cursor: Option<String>,
}

fn fifty() -> Integer<1, 100> {
    Integer(50)
}

impl Page {
    /// The position after which the page begins.
    fn after(&self, call: &Call<'_>) -> Result<Position, ToolError> {
        let Some(cursor) = &self.cursor else { return Ok(Position::default()) };
        let tool = call.name().unwrap_or_default();
        position(&tool, cursor).ok_or_else(|| ToolError::Mend(format!("cursor must be a next_cursor of {tool}.")))
    }

    /// How many rows to look for: one more than the page has, to see whether there is another.
    fn rows(&self) -> i64 {
        i64::from(self.limit.0) + 1
    }

    /// The rows of the page, and the cursor of the next one.
    fn cut<T>(&self, call: &Call<'_>, mut rows: Vec<T>, at: fn(&T) -> (&String, &String)) -> (Vec<T>, Option<String>) {
        let limit = usize::from(self.limit.0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| cursor(call, at(row)));
        (rows, next)
    }
}

/// Clients must not interpret a cursor (MCP "Pagination"). It names its tool, and no other tool accepts it.
fn cursor(call: &Call<'_>, (first, second): (&String, &String)) -> String {
    URL_SAFE_NO_PAD.encode(json!([call.name(), first, second]).to_string())
}

/// The position that a cursor of this tool says.
fn position(tool: &str, cursor: &str) -> Option<Position> {
    let json = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (of, first, second) = serde_json::from_slice::<(String, String, String)>(&json).ok()?;
    (of == tool).then_some((first, second))
}
