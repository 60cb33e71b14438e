//! Notes are each person's own, and what was acknowledged stays.

use anyhow::{Context, Result};
use integration_tests::{Reply, Server, gen_token};
use serde_json::{Value, json};

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

    async fn texts(&self) -> Result<Vec<String>> {
        let notes = self.call("list_notes", json!({})).await?["structuredContent"]["notes"].clone();
        let text = |note: &Value| note["text"].as_str().map(str::to_owned).context("a note without text");
        notes.as_array().context("no notes")?.iter().map(text).collect()
    }
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
            tokio::spawn(server.legacy("tools/call", params).bearer_auth(&token).send())
        })
        .collect();
    for request in requests {
        let body: Value = serde_json::from_slice(&request.await??.bytes().await?)?;
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
