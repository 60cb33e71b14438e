//! Step 12 while its PostgreSQL is away, and when it is back.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{Reply, Server, browser::Browser, gen_token, instead, postgres::Postgres};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

/// PostgreSQL, the URL of a database there, a server that keeps everything in it, and alice's token.
async fn start() -> Result<(Postgres, String, Arc<Server>, String)> {
    let postgres = Postgres::new()?;
    let url = postgres.database("mcp").await?;
    let server = Arc::new(Server::start_with("step12", &["--database", &url, "--auth-database", &url])?);
    let token = gen_token(&server.keys(), server.url(), &["--username", "alice"])?;
    Ok((postgres, url, server, token))
}

fn save(server: &Server, token: &str, text: &str) -> RequestBuilder {
    let params = json!({ "name": "save_note", "arguments": { "text": text } });
    server.modern("tools/call", params).bearer_auth(token)
}

fn is_saved(reply: &Reply) -> bool {
    reply.status == 200 && reply.json()["result"]["isError"] == false
}

/// That it says when to come again, and that it was not long in saying so.
fn assert_away(what: &str, reply: &Reply, took: Duration) {
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "2"), "{what}: {reply:?}");
    assert!(took < Duration::from_secs(2), "{what}: {took:?}");
}

/// Asks until the answer has this status: how long it took since `start`.
async fn until(status: u16, start: Instant, request: impl Fn() -> RequestBuilder) -> Result<Duration> {
    loop {
        let reply = Reply::of(request()).await?;
        if reply.status == status {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < Duration::from_secs(30), "{reply:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn texts(server: &Server, token: &str) -> Result<Vec<String>> {
    let (mut texts, mut cursor) = (Vec::new(), None::<Value>);
    loop {
        let mut arguments = json!({ "limit": 100 });
        if let Some(cursor) = &cursor {
            arguments["cursor"] = cursor.clone();
        }
        let params = json!({ "name": "list_notes", "arguments": arguments });
        let reply = Reply::of(server.modern("tools/call", params).bearer_auth(token)).await?.json();
        let page = &reply["result"]["structuredContent"];
        for note in page["notes"].as_array().with_context(|| reply.to_string())? {
            texts.push(note["text"].as_str().context("no text")?.to_owned());
        }
        cursor = page.get("next_cursor").cloned();
        if cursor.is_none() {
            return Ok(texts);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn while_the_database_is_away_callers_are_told_soon_and_nothing_that_was_acknowledged_is_lost() -> Result<()> {
    let (postgres, _, server, token) = start().await?;
    let browser = Browser::new(&server)?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    let login = browser.open(&browser.request(&client, &[])).await?;
    let guess = [("username", "alice"), ("password", "wrong"), ("csrf", login.csrf.as_str())];

    // Somebody who saves all the time, and comes again when told so.
    let (acknowledged, done) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::default()));
    let saving = {
        let (server, token, acknowledged, done) = (server.clone(), token.clone(), acknowledged.clone(), done.clone());
        tokio::spawn(async move {
            for number in 0..900 {
                let text = format!("note {number}");
                let asked = Instant::now();
                let reply = Reply::of(save(&server, &token, &text)).await?;
                if is_saved(&reply) {
                    acknowledged.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.push(text);
                } else {
                    assert_away("the one who saves", &reply, asked.elapsed());
                }
                if done.load(Relaxed) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            anyhow::Ok(())
        })
    };

    for (round, how) in ["fast", "immediate", "hangs"].into_iter().enumerate() {
        while acknowledged.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.len() < 20 * (round + 1) {
            ensure!(!saving.is_finished(), "{how}: nobody saves any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let gone = Instant::now();
        let stopped = if how == "hangs" { postgres.signal("STOP") } else { postgres.stop(how) };
        stopped?;
        let red = until(503, gone, || server.get("/ready")).await?;
        assert!(red < Duration::from_secs(2), "{how}: /ready was red after {red:?}");

        let list = json!({ "name": "list_notes", "arguments": {} });
        let refresh = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", "x")];
        let metadata = json!({ "redirect_uris": ["http://localhost/callback"], "token_endpoint_auth_method": "none" });
        for (what, request) in [
            ("save_note", save(&server, &token, "never")),
            ("list_notes", server.modern("tools/call", list).bearer_auth(&token)),
            ("/token", browser.post("/token", &refresh)),
            ("/authorize", browser.get(&browser.request(&client, &[]))),
            ("/login", browser.with_cookies(browser.post(&login.action, &guess))?),
            ("/register", server.request(reqwest::Method::POST, "/register").json(&metadata)),
        ] {
            let asked = Instant::now();
            let reply = Reply::of(request).await?;
            assert_away(&format!("{how}: {what}"), &reply, asked.elapsed());
            if what == "save_note" {
                let body = reply.json();
                assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(503)), "{how}: {body}");
                assert_eq!(body["error"]["data"]["error"], "temporarily_unavailable", "{how}: {body}");
            }
        }
        // What does not need it goes on.
        let echo = json!({ "name": "echo", "arguments": { "message": "hi" } });
        assert_eq!(Reply::of(server.modern("tools/call", echo).bearer_auth(&token)).await?.status, 200, "{how}");
        assert_eq!(Reply::of(server.get("/health")).await?.status, 200, "{how}: it is alive");

        let started = if how == "hangs" { postgres.signal("CONT") } else { postgres.start() };
        started?;
        let back = Instant::now();
        let green = until(200, back, || server.get("/ready")).await?;
        let saves = until(200, back, || save(&server, &token, "again")).await?;
        let authorizes = until(200, back, || browser.get(&browser.request(&client, &[]))).await?;
        for took in [green, saves, authorizes] {
            assert!(took < Duration::from_secs(5), "{how}: well again after {took:?}");
        }
    }
    done.store(true, Relaxed);
    saving.await??;

    let kept = texts(&server, &token).await?;
    let acknowledged = acknowledged.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
    let lost: Vec<_> = acknowledged.iter().filter(|text| !kept.contains(text)).collect();
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
fn on_postgresql_the_authorization_server_passes_the_tests_of_registration() -> Result<()> {
    let postgres = Postgres::new()?;
    instead::run_again(&postgres.url("postgres"), &["registration::"], &[])
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn who_waits_for_a_lock_when_the_database_hangs_is_told_in_time_as_well() -> Result<()> {
    let (postgres, url, server, token) = start().await?;
    let (mut other, mut watching) = (PgConnection::connect(&url).await?, PgConnection::connect(&url).await?);
    sqlx::raw_sql("BEGIN; LOCK TABLE notes").execute(&mut other).await?;
    let saving = tokio::spawn({
        let (server, token) = (server.clone(), token.clone());
        async move {
            let asked = Instant::now();
            let reply = Reply::of(save(&server, &token, "never")).await;
            (reply, asked.elapsed())
        }
    });
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mcp-auth' AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watching).await? == 0 {
        ensure!(!saving.is_finished(), "it has not waited for the lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    postgres.signal("STOP")?;
    let (reply, took) = saving.await?;
    let back = Instant::now();
    postgres.signal("CONT")?;
    assert_away("the one who waits for a lock", &reply?, took);
    drop(other);
    let well = until(200, back, || save(&server, &token, "again")).await?;
    assert!(well < Duration::from_secs(5), "all was well after {well:?}");
    Ok(())
}
