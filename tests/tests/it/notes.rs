//! Notes are each person's own, and acknowledged notes stay.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use integration_tests::{Reply, Server, gen_token};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

struct Person<'a> {
    server: &'a Server,
    token: String,
}

impl<'a> Person<'a> {
    fn new(server: &'a Server, args: &[&str]) -> Result<Self> {
        Ok(Person { server, token: gen_token(&server.keys(), server.url(), args)? })
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let request = self.server.legacy("tools/call", json!({ "name": tool, "arguments": arguments }));
        let reply = Reply::of(request.bearer_auth(&self.token)).await?;
        let body: Value = reply.json();
        body.get("result").cloned().with_context(|| format!("{tool}: {} {body}", reply.status))
    }

    /// One page of a list, as its items and the cursor of the next one.
    async fn page(&self, tool: &str, arguments: Value) -> Result<(Vec<Value>, Option<Value>)> {
        let result = self.call(tool, arguments).await?;
        let page = result["structuredContent"].as_object().with_context(|| result.to_string())?;
        let list = page[tool.trim_start_matches("list_")].as_array().context("no list")?;
        Ok((list.clone(), page.get("next_cursor").cloned()))
    }

    async fn texts(&self) -> Result<Vec<String>> {
        let (mut notes, mut next) = self.page("list_notes", json!({ "limit": 100 })).await?;
        while let Some(cursor) = next {
            let (more, after) = self.page("list_notes", json!({ "limit": 100, "cursor": cursor })).await?;
            notes.extend(more);
            next = after;
        }
        notes.iter().map(text).collect()
    }
}

fn text(note: &Value) -> Result<String> {
    note["text"].as_str().map(str::to_owned).context("a note without text")
}

#[tokio::test]
async fn nobody_sees_or_deletes_the_notes_of_others() -> Result<()> {
    let server = Server::start("step9")?;
    let alice = Person::new(&server, &["--username", "alice"])?;
    let bob = Person::new(&server, &["--username", "bob"])?;
    let saved = alice.call("save_note", json!({ "text": "mine" })).await?;
    let id = &saved["structuredContent"]["id"];
    assert_eq!(bob.texts().await?, Vec::<String>::new());
    assert_eq!(bob.call("delete_note", json!({ "id": id })).await?["structuredContent"], json!({ "deleted": false }));
    assert_eq!(alice.texts().await?, ["mine"]);
    assert_eq!(alice.call("delete_note", json!({ "id": id })).await?["structuredContent"], json!({ "deleted": true }));
    assert_eq!(alice.texts().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn the_same_subject_of_two_issuers_is_two_people() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("notes.db");
    let database = database.to_str().context("a path that is not UTF-8")?;
    let one = Server::start_with("step9", &["--database", database, "--issuer", "https://one.example"])?;
    let two = Server::start_with("step9", &["--database", database, "--issuer", "https://two.example"])?;
    let first = Person::new(&one, &["--username", "alice", "--issuer", "https://one.example"])?;
    let second = Person::new(&two, &["--username", "alice", "--issuer", "https://two.example"])?;
    first.call("save_note", json!({ "text": "of one" })).await?;
    assert_eq!(second.texts().await?, Vec::<String>::new());
    assert_eq!(first.texts().await?, ["of one"]);
    Ok(())
}

#[tokio::test]
async fn names_and_texts_are_data_and_nothing_else() -> Result<()> {
    let server = Server::start("step9")?;
    let texts = ["'; DROP TABLE notes; --", "\" OR 1=1", "%_\\", "\u{0}nul", "日本語 🦀", ""];
    let mallory = Person::new(&server, &["--username", "x' OR '1'='1"])?;
    for text in texts {
        mallory.call("save_note", json!({ "text": text })).await?;
    }
    assert_eq!(mallory.texts().await?, texts);
    let alice = Person::new(&server, &["--username", "alice"])?;
    assert_eq!(alice.texts().await?, Vec::<String>::new());
    let admin = Person::new(&server, &["--username", "admin"])?;
    let users = admin.call("list_users", json!({})).await?["structuredContent"]["users"].clone();
    assert_eq!(
        users,
        json!([{ "iss": server.url(), "sub": "user_x' OR '1'='1", "username": "x' OR '1'='1", "notes": texts.len() }])
    );
    Ok(())
}

#[tokio::test]
async fn a_note_that_is_too_long_is_an_error_the_model_can_mend() -> Result<()> {
    let server = Server::start("step9")?;
    let alice = Person::new(&server, &["--username", "alice"])?;
    assert_eq!(alice.call("save_note", json!({ "text": "x".repeat(4096) })).await?["isError"], false);
    assert_eq!(alice.call("save_note", json!({ "text": "x".repeat(4097) })).await?["isError"], true);
    assert_eq!(alice.texts().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_user_keeps_at_most_1000_notes_and_others_are_not_in_the_way() -> Result<()> {
    let server = Server::start("step9")?;
    let alice = Person::new(&server, &["--username", "alice"])?;
    for number in 1..=1000 {
        assert_eq!(alice.call("save_note", json!({ "text": "x" })).await?["isError"], false, "{number}");
    }
    assert_eq!(alice.call("save_note", json!({ "text": "x" })).await?["isError"], true);
    let bob = Person::new(&server, &["--username", "bob"])?;
    assert_eq!(bob.call("save_note", json!({ "text": "x" })).await?["isError"], false);
    assert_eq!(alice.texts().await?.len(), 1000);
    Ok(())
}

#[tokio::test]
async fn list_notes_has_pages_oldest_first_and_nothing_is_lost_or_twice() -> Result<()> {
    for step in ["step9", "step10"] {
        let server = Server::start(step)?;
        let alice = Person::new(&server, &["--username", "alice"])?;
        let bob = Person::new(&server, &["--username", "bob"])?;
        let mut saved = Vec::new();
        for number in 0..120 {
            let note = alice.call("save_note", json!({ "text": format!("note {number}") })).await?;
            saved.push(note["structuredContent"].clone());
            bob.call("save_note", json!({ "text": "not alice's" })).await?;
        }
        // (limit, the lengths of the pages)
        for (limit, lengths) in [
            (None, vec![50, 50, 20]),
            (Some(json!(100)), vec![100, 20]),
            (Some(json!(60.0)), vec![60, 60]), // the last page is full, and says that it is the last
            (Some(json!(1)), vec![1; 120]),
        ] {
            let (mut seen, mut next) = (Vec::new(), None);
            for (number, length) in lengths.iter().enumerate() {
                let mut arguments = json!({});
                arguments.as_object_mut().context("no object")?.extend(
                    [("limit", limit.clone()), ("cursor", next)]
                        .into_iter()
                        .filter_map(|(name, value)| Some((name.to_owned(), value?))),
                );
                let (page, after) = alice.page("list_notes", arguments).await?;
                assert_eq!(page.len(), *length, "{step} {limit:?} page {number}");
                seen.extend(page);
                next = after;
                assert_eq!(next.is_some(), number + 1 < lengths.len(), "{step} {limit:?} page {number}");
            }
            assert_eq!(seen, saved, "{step} {limit:?}");
        }
        // A cursor goes on where its page ended, even if the notes of that page are gone and others came.
        let (first, next) = alice.page("list_notes", json!({ "limit": 50 })).await?;
        for note in &first {
            alice.call("delete_note", json!({ "id": note["id"] })).await?;
        }
        alice.call("save_note", json!({ "text": "new" })).await?;
        let (second, _) = alice.page("list_notes", json!({ "limit": 100, "cursor": next })).await?;
        let texts: Vec<_> = second.iter().map(text).collect::<Result<_>>()?;
        let rest = (50..120).map(|number| format!("note {number}")).chain(["new".to_owned()]);
        assert_eq!(texts, rest.collect::<Vec<_>>(), "{step}");
        // A cursor is a position, and belongs to nobody: with alice's cursor, bob sees his own notes.
        let (bobs, _) = bob.page("list_notes", json!({ "limit": 100, "cursor": next })).await?;
        assert!(bobs.iter().all(|note| note["text"] == "not alice's"), "{step}: {bobs:?}");
    }
    Ok(())
}

#[tokio::test]
async fn list_users_has_pages_too() -> Result<()> {
    let server = Server::start("step9")?;
    for number in 0..7 {
        let person = Person::new(&server, &["--username", &format!("person{number}")])?;
        for _ in 0..=number {
            person.call("save_note", json!({ "text": "x" })).await?;
        }
    }
    let admin = Person::new(&server, &["--username", "admin"])?;
    let (all, next) = admin.page("list_users", json!({})).await?;
    assert_eq!((all.len(), next), (7, None));
    let (first, next) = admin.page("list_users", json!({ "limit": 4 })).await?;
    let (second, end) = admin.page("list_users", json!({ "limit": 4, "cursor": next })).await?;
    assert_eq!((first.len(), second.len(), end), (4, 3, None));
    assert_eq!([first, second].concat(), all);
    assert_eq!(
        all.iter().map(|user| user["notes"].as_u64()).collect::<Vec<_>>(),
        (1..=7).map(Some).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test]
async fn a_wrong_limit_or_cursor_is_an_error_the_model_can_mend() -> Result<()> {
    let server = Server::start("step9")?;
    let admin = Person::new(&server, &["--username", "admin"])?;
    for person in ["admin", "bob"] {
        let person = Person::new(&server, &["--username", person])?;
        for _ in 0..2 {
            person.call("save_note", json!({ "text": "x" })).await?;
        }
    }
    for (tool, other) in [("list_notes", "list_users"), ("list_users", "list_notes")] {
        let (_, of_other) = admin.page(other, json!({ "limit": 1 })).await?;
        let of_other = of_other.context("no cursor")?;
        let (_, good) = admin.page(tool, json!({ "limit": 1 })).await?;
        let good = good.context("no cursor")?.as_str().context("no string")?.to_owned();
        let wrong = format!("cursor must be a next_cursor of {tool}");
        let limit = "limit must be an integer from 1 to 100";
        let mut cases = vec![(json!({ "cursor": of_other }), &*wrong)];
        for cursor in
            ["", "0", "50", "AAAA", "' OR 1=1 --", "\u{0}", &"A".repeat(100_000), &good[1..], &format!("{good}=")]
        {
            cases.push((json!({ "cursor": cursor }), &wrong));
        }
        for cursor in [json!(null), json!(1), json!([good]), json!({})] {
            cases.push((json!({ "cursor": cursor }), "cursor must be a string"));
        }
        for wrong in [json!(0), json!(101), json!(-1), json!(1.5), json!(1e300), json!("10"), json!(null), json!([1])] {
            cases.push((json!({ "limit": wrong }), limit));
        }
        cases.push((json!({ "page": 2 }), "page is not one of the properties (they are limit, cursor)"));
        for (arguments, says) in cases {
            let result = admin.call(tool, arguments.clone()).await?;
            let case = format!("{tool} {}", arguments.to_string().chars().take(100).collect::<String>());
            assert_eq!(result["isError"], true, "{case}: {result}");
            let text = result["content"][0]["text"].as_str().context("no text")?;
            assert!(text.contains(says), "{case}: {text}");
            assert!(!text.contains("line ") && !text.contains("expected"), "{case}: {text}");
        }
    }
    Ok(())
}

/// The server is not the only program of a computer: step 12 may tell some of 200 to come again. Step 9 does not.
async fn until_it_is_not_busy(request: reqwest::RequestBuilder) -> Result<Value> {
    for _ in 0..10 {
        let again = request.try_clone().context("a body that is sent once only")?;
        let reply = Reply::of(again).await?;
        if reply.status != 503 || reply.header("retry-after").is_empty() {
            return Ok(reply.json());
        }
        tokio::time::sleep(Duration::from_secs(reply.header("retry-after").parse()?)).await;
    }
    bail!("busy for too long")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_writers_at_once_none_is_lost_not_even_by_kill_9() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_str().map(str::to_owned).context("a path that is not UTF-8");
    let (database, public_url) = (path("notes.db")?, "https://mcp.example");
    let host = ["--allow-host", "localhost", "--public-url", public_url];
    let args = ["--database", &database];
    let server = Server::start_with("step9", &[&args[..], &host[..]].concat())?;
    let token = gen_token(&server.keys(), public_url, &["--username", "alice"])?;
    let requests: Vec<_> = (0..200)
        .map(|number| {
            let params = json!({ "name": "save_note", "arguments": { "text": format!("note {number}") } });
            tokio::spawn(until_it_is_not_busy(server.legacy("tools/call", params).bearer_auth(&token)))
        })
        .collect();
    for request in requests {
        let body = request.await??;
        assert_eq!(body["result"]["isError"], false, "{body}");
    }
    drop(server); // SIGKILL

    let server = Server::start_with("step9", &[&args[..], &host[..]].concat())?;
    let alice = Person { server: &server, token: gen_token(&server.keys(), public_url, &["--username", "alice"])? };
    let mut texts = alice.texts().await?;
    texts.sort_unstable_by_key(|text| text.trim_start_matches("note ").parse::<u32>().unwrap_or(u32::MAX));
    assert_eq!(texts, (0..200).map(|number| format!("note {number}")).collect::<Vec<_>>());
    Ok(())
}

/// What step 9 did before it had migrations, word for word, and a note of alice's.
const BEFORE_MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS notes (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, iss TEXT NOT NULL, sub TEXT NOT NULL,
        username TEXT NOT NULL, text TEXT NOT NULL, created_at TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS notes_in_order ON notes (iss, sub, created_at, id);
    INSERT INTO notes (id, iss, sub, username, text, created_at) VALUES
        ('an id', 'https://mcp.example', 'user_alice', 'alice', 'from before', '2026-01-01T00:00:00.000Z')";

#[tokio::test]
async fn a_database_of_the_program_before_is_carried_over_with_its_notes() -> Result<()> {
    for step in ["step9", "step10"] {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("notes.db");
        let options = SqliteConnectOptions::new().filename(&file);
        let mut database = SqliteConnection::connect_with(&options.clone().create_if_missing(true)).await?;
        sqlx::raw_sql(BEFORE_MIGRATIONS).execute(&mut database).await?;
        database.close().await?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;

        let (file, public_url) = (file.to_str().context("a path that is not UTF-8")?, "https://mcp.example");
        let args = ["--database", file, "--allow-host", "localhost", "--public-url", public_url];
        for number in 1..=2 {
            let server = Server::start_with(step, &args)?;
            let token = gen_token(&server.keys(), public_url, &["--username", "alice"])?;
            let alice = Person { server: &server, token };
            assert_eq!(alice.texts().await?.len(), number, "{step}");
            assert_eq!(alice.texts().await?[0], "from before", "{step}");
            assert_eq!(alice.call("save_note", json!({ "text": "new" })).await?["isError"], false, "{step}");
        }
        let mut database = SqliteConnection::connect_with(&options).await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut database).await?;
        assert_eq!(version, 1, "{step}: the next migration has to know where to begin");
    }
    Ok(())
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("notes.db");
    let options = SqliteConnectOptions::new().filename(&file);
    let mut database = SqliteConnection::connect_with(&options.create_if_missing(true)).await?;
    sqlx::raw_sql("PRAGMA user_version = 1000; CREATE TABLE notes (of_another_kind)").execute(&mut database).await?;
    database.close().await?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let file = file.to_str().context("a path that is not UTF-8")?;
    let Err(error) = Server::start_with("step9", &["--database", file]) else { bail!("it has started") };
    let error = format!("{error:#}");
    assert!(error.contains("notes.db: a newer version of this program made it"), "{error}");
    Ok(())
}
