//! Step 12 on a real PostgreSQL: replicas, which are processes of their own, share what must be known to all of them.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{Browser, PASSWORD, assert_one_is_granted, parameters, redemption},
    command, free_port, gen_token, instead,
    postgres::Postgres,
    programs, text,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// What the world calls all replicas.
const PUBLIC_URL: &str = "http://localhost:1";

/// PostgreSQL, and two replicas that share its database and their keys.
struct Replicas {
    servers: [Server; 2],
    database: String,
    keys: TempDir,
    postgres: Postgres,
}

fn replica(database: &str, keys: &Path) -> Result<Server> {
    let keys = keys.join("keys");
    let keys = keys.to_str().context("a path that is not UTF-8")?;
    let args = ["--public-url", PUBLIC_URL, "--keys", keys];
    let env = [("MCP_DATABASE", database), ("MCP_AUTH_DATABASE", database), ("MCP_DEV_PASSWORD", PASSWORD)];
    Server::start_in_env("step12", &args, &env)
}

impl Replicas {
    async fn start() -> Result<Self> {
        let postgres = Postgres::new()?;
        let database = postgres.database("mcp").await?;
        // A default that some choose, and with which what counts behind a lock would count too little.
        let mut connection = PgConnection::connect(&database).await?;
        sqlx::query("ALTER DATABASE mcp SET default_transaction_isolation = 'repeatable read'")
            .execute(&mut connection)
            .await?;
        let keys = tempfile::tempdir()?;
        let servers = [replica(&database, keys.path())?, replica(&database, keys.path())?];
        Ok(Replicas { servers, database, keys, postgres })
    }

    /// A browser whose every request goes to another replica.
    fn browser(&self) -> Result<Browser<'_>> {
        Browser::at(self.servers.iter().map(Server::url).collect())
    }

    fn token(&self, name: &str) -> Result<String> {
        gen_token(&self.keys.path().join("keys"), PUBLIC_URL, &["--username", name])
    }
}

async fn call(server: &Server, token: &str, tool: &str, arguments: Value) -> Result<Value> {
    let params = json!({ "name": tool, "arguments": arguments });
    let reply = Reply::of(server.modern("tools/call", params).bearer_auth(token)).await?;
    ensure!(reply.outcome() == (200, 0), "{reply:?}");
    Ok(reply.json()["result"].clone())
}

/// A client, and a code that alice has let it have.
async fn code(browser: &Browser<'_>) -> Result<(String, String)> {
    let client = browser.register(&["http://localhost/callback"]).await?;
    let path = browser.request(&client, &[("resource", "")]);
    let answer = browser.consent(&path, "alice", &["mcp:read", "mcp:tools"]).await?;
    Ok((client, answer.get("code").context("no code")?.clone()))
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_person_logs_in_and_calls_tools_and_each_request_goes_to_another_replica() -> Result<()> {
    let mut replicas = Replicas::start().await?;
    let token = {
        let browser = replicas.browser()?;
        let (client, code) = code(&browser).await?;
        let granted = browser.token(&redemption(&client, &code)).await?;
        assert_eq!(granted.status, 200, "{granted:?}");
        let refresh = granted.json()["refresh_token"].as_str().context("no refresh token")?.to_owned();
        let form = [("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", &refresh)];
        let refreshed = browser.token(&form).await?;
        assert_eq!(refreshed.status, 200, "{refreshed:?}");
        refreshed.json()["access_token"].as_str().context("no access token")?.to_owned()
    };
    let texts = ["'; DROP TABLE notes; --", "\u{0}nul\u{1}a", "日本語 🦀", ""];
    for (number, text) in texts.iter().enumerate() {
        let saved = call(&replicas.servers[number % 2], &token, "save_note", json!({ "text": text })).await?;
        assert_eq!(saved["structuredContent"]["text"], *text);
    }
    for server in &replicas.servers {
        let listed = call(server, &token, "list_notes", json!({})).await?["structuredContent"]["notes"].clone();
        let listed: Vec<_> = listed.as_array().context("no list")?.iter().map(|note| &note["text"]).collect();
        assert_eq!(listed, texts);
    }
    // A replica that starts later knows it all; the token was signed by another one.
    replicas.servers[0] = replica(&replicas.database, replicas.keys.path())?;
    let admin = replicas.token("admin")?;
    let users =
        call(&replicas.servers[0], &admin, "list_users", json!({})).await?["structuredContent"]["users"].clone();
    assert_eq!(users, json!([{ "iss": PUBLIC_URL, "sub": "user_alice", "username": "alice", "notes": texts.len() }]));
    assert_eq!(
        call(&replicas.servers[0], &token, "whoami", json!({})).await?["structuredContent"]["username"],
        "alice"
    );
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_code_works_once_at_all_replicas_together() -> Result<()> {
    let replicas = Replicas::start().await?;
    for round in 0..10 {
        let browser = replicas.browser()?;
        let (client, code) = code(&browser).await?;
        let replies = Reply::of_all((0..10).map(|_| browser.post("/token", &redemption(&client, &code)))).await?;
        assert_one_is_granted(round, &replies);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn of_500_log_ins_whose_every_request_goes_to_another_replica_none_fails() -> Result<()> {
    let replicas = Arc::new(Replicas::start().await?);
    let client = replicas.browser()?.register(&["http://localhost/callback"]).await?;
    let mut people = JoinSet::new();
    for person in 0..2 {
        let (replicas, client) = (replicas.clone(), client.clone());
        people.spawn(async move {
            for number in 0..250 {
                let browser = replicas.browser()?;
                let path = browser.request(&client, &[("resource", "")]);
                let answer = browser.consent(&path, "alice", &["mcp:read", "mcp:tools"]).await?;
                let granted = browser.token(&redemption(&client, &answer["code"])).await?;
                ensure!(granted.status == 200, "{granted:?}");
                let token = granted.json()["access_token"].as_str().context("no access token")?.to_owned();
                let server = &replicas.servers[(person + number) % 2];
                let said = call(server, &token, "whoami", json!({})).await?;
                ensure!(said["structuredContent"]["username"] == "alice", "{said}");
            }
            anyhow::Ok(())
        });
    }
    people.join_all().await.into_iter().collect()
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_user_keeps_at_most_1000_notes_at_all_replicas_together() -> Result<()> {
    let replicas = Replicas::start().await?;
    let mut database = PgConnection::connect(&replicas.database).await?;
    let many = "INSERT INTO notes (id, iss, sub, username, text, created_at)
        SELECT 'note ' || n, $1, 'user_alice', 'alice', 'x', '2026-01-01T00:00:00.000Z' FROM generate_series(1, 990) AS n";
    sqlx::query(many).bind(PUBLIC_URL).execute(&mut database).await?;
    let (alice, bob) = (replicas.token("alice")?, replicas.token("bob")?);
    let save = |number: usize, token: &str| {
        let params = json!({ "name": "save_note", "arguments": { "text": "x" } });
        replicas.servers[number % 2].modern("tools/call", params).bearer_auth(token)
    };
    let replies = Reply::of_all((0..40).map(|number| save(number, &alice))).await?;
    let saved = replies.iter().filter(|reply| reply.json()["result"]["isError"] == false).count();
    assert_eq!(saved, 10, "{replies:?}");
    // On a busy computer, who waits for too long is told to come again.
    let told = |reply: &Reply| reply.status == 200 || (reply.status == 503 && !reply.header("retry-after").is_empty());
    assert!(replies.iter().all(told), "{replies:?}");
    assert_eq!(Reply::of(save(0, &bob)).await?.json()["result"]["isError"], false, "others are not in the way");
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn who_guesses_gets_as_many_tries_at_two_replicas_as_at_one() -> Result<()> {
    let replicas = Replicas::start().await?;
    let first = Browser::new(&replicas.servers[0])?;
    let client = first.register(&["http://localhost/callback"]).await?;
    let path = first.request(&client, &[("resource", "")]);
    let mut guesses = Vec::new();
    for server in &replicas.servers {
        let browser = Browser::new(server)?;
        let login = browser.open(&path).await?;
        let form = [("username", "alice"), ("password", "wrong"), ("csrf", &login.csrf)];
        guesses.push(browser.with_cookies(browser.post(&login.action, &form))?);
    }
    let guess = |number: usize| guesses[number % 2].try_clone().context("no copy");
    let replies = Reply::of_all((0..40).map(guess).collect::<Result<Vec<_>>>()?.into_iter()).await?;
    let wrong = replies.iter().filter(|reply| reply.status == 401).count();
    assert!((5..=7).contains(&wrong), "five, and one or two if it took seconds: {wrong}");
    assert!(replies.iter().all(|reply| reply.status == 401 || reply.status == 429), "{replies:?}");
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn strangers_at_one_replica_lock_alice_out_of_no_browser_that_another_replica_knows() -> Result<()> {
    let mut replicas = Replicas::start().await?;
    let device = |browser: &Browser<'_>| {
        let mut cookies = browser.cookies.lock().unwrap().clone();
        cookies.retain(|name, _| name.starts_with("mcp_device_"));
        cookies
    };
    let mut known = {
        let [one, other] = [Browser::new(&replicas.servers[0])?, Browser::new(&replicas.servers[1])?];
        let client = one.register(&["http://localhost/callback"]).await?;
        let path = one.request(&client, &[("resource", "")]);
        assert_eq!(one.log_in(&path, "alice", PASSWORD).await?.status, 303);
        let known = device(&one);
        one.cookies.lock().unwrap().clear();
        let mut seen = Vec::new();
        for number in 0..8 {
            let browser = if number % 2 == 0 { &one } else { &other };
            seen.push(browser.log_in(&path, "alice", "wrong").await?.status.as_u16());
        }
        assert_eq!(seen[..5], [401; 5]);
        assert!(seen[5..].contains(&429), "four at each replica, which are eight together: {seen:?}");
        known
    };
    // As if there had been more of them: nobody need hurry now.
    let mut database = PgConnection::connect(&replicas.database).await?;
    let more = sqlx::query("UPDATE failures SET times = times + 20").execute(&mut database).await?;
    assert_eq!(more.rows_affected(), 1);
    replicas.servers[0] = replica(&replicas.database, replicas.keys.path())?;
    for server in &replicas.servers {
        let browser = Browser::new(server)?;
        let client = browser.register(&["http://localhost/callback"]).await?;
        let path = browser.request(&client, &[("resource", "")]);
        let reply = browser.log_in(&path, "alice", PASSWORD).await?;
        assert_eq!(reply.status, 429, "she has not used this browser: {reply:?}");
        browser.cookies.lock().unwrap().extend(known);
        assert_eq!(browser.log_in(&path, "alice", PASSWORD).await?.status, 303, "she has used this one");
        known = device(&browser);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn one_address_registers_as_many_clients_at_two_replicas_as_at_one() -> Result<()> {
    let replicas = Replicas::start().await?;
    let browser = replicas.browser()?;
    let metadata = json!({ "redirect_uris": ["http://localhost/callback"], "token_endpoint_auth_method": "none" });
    let register = |number: usize| {
        let request = replicas.servers[number % 2].request(reqwest::Method::POST, "/register");
        request.header("Content-Type", "application/json").body(metadata.to_string())
    };
    let mut replies = Vec::new();
    for _ in 0..15 {
        replies.extend(Reply::of_all((0..4).map(register)).await?);
    }
    let registered = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(registered, 30, "{replies:?}");
    for _ in 0..2 {
        let reply = browser.register_as(&metadata).await?;
        let wait: u64 = reply.header("retry-after").parse().with_context(|| format!("{reply:?}"))?;
        assert!(reply.status == 429 && (1..=60).contains(&wait), "{reply:?}");
    }
    Ok(())
}

/// Takes the lock that step 12 takes while it saves a note of this person's: a digest of the lock's name.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended(
    translate(rtrim(encode(sha256(convert_to($1, 'UTF8')), 'base64'), '='), '+/', '-_'), 0))";

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_crowd_that_waits_for_one_lock_leaves_the_connections_to_others() -> Result<()> {
    let replicas = Replicas::start().await?;
    let (alice, bob) = (replicas.token("alice")?, replicas.token("bob")?);
    let save = |token: &str| {
        let params = json!({ "name": "save_note", "arguments": { "text": "x" } });
        replicas.servers[0].modern("tools/call", params).bearer_auth(token)
    };
    let mut database = PgConnection::connect(&replicas.database).await?;
    let mut slow = database.begin().await?; // as another replica would
    sqlx::query(LOCK).bind(json!(["notes", PUBLIC_URL, "user_alice"]).to_string()).execute(&mut *slow).await?;
    let crowd: Vec<_> = (0..40).map(|_| tokio::spawn(Reply::of(save(&alice)))).collect();
    let mut watcher = PgConnection::connect(&replicas.database).await?;
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await? == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(Reply::of(save(&bob)).await?.status, 200, "others are not in the way");
    for request in crowd {
        assert_eq!(request.await??.status, 503, "alice's lock is not free");
    }
    slow.rollback().await?;
    assert_eq!(Reply::of(save(&alice)).await?.status, 200, "and is free again");
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn replicas_that_start_together_make_the_tables_and_the_people_once() -> Result<()> {
    let postgres = Postgres::new()?;
    for round in 0..3 {
        let url = postgres.database(&format!("round{round}")).await?;
        let keys = tempfile::tempdir()?;
        let path = keys.path().join("keys");
        let path = path.to_str().context("a path that is not UTF-8")?;
        let args = ["--public-url", PUBLIC_URL, "--keys", path];
        let env = [("MCP_DATABASE", url.as_str()), ("MCP_AUTH_DATABASE", &url)];
        let started: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| Server::start_in_env("step12", &args, &env));
            let starting: Vec<_> = (0..6).map(|_| start()).collect();
            starting.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        let servers = started.into_iter().collect::<Result<Vec<_>>>()?;
        let mut shown = 0;
        for server in &servers {
            shown += usize::from(server.stderr()?.contains("These accounts are new"));
        }
        assert_eq!(shown, 1, "who has made the people says their passwords");
        let mut database = PgConnection::connect(&url).await?;
        let versions = sqlx::query("SELECT part, version FROM versions ORDER BY part").fetch_all(&mut database).await?;
        let versions: Vec<(String, i64)> = versions.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(versions, [("auth-server".to_owned(), 3), ("notes".to_owned(), 1)]);
        let people: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut database).await?;
        let secrets: i64 = sqlx::query_scalar("SELECT count(*) FROM secrets").fetch_one(&mut database).await?;
        assert_eq!((people, secrets), (4, 3));
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn who_is_disabled_at_one_replica_is_out_at_all_of_them() -> Result<()> {
    let replicas = Replicas::start().await?;
    let browser = replicas.browser()?;
    let (client, first) = code(&browser).await?;
    let path = browser.request(&client, &[("resource", "")]);
    let granted = browser.token(&redemption(&client, &first)).await?.json();
    let token = granted["refresh_token"].as_str().with_context(|| granted.to_string())?;
    let consent = browser.open(&path).await?;
    let form = [("csrf", consent.csrf.as_str()), ("decision", "allow"), ("scope", "mcp:read")];
    let reply = browser.send(browser.post(&consent.action, &form)).await?;
    let unused = parameters(reply.header("location"))?.remove("code").with_context(|| format!("{reply:?}"))?;

    let manage = |what: &str| -> Result<()> {
        let mut program = command("auth-server")?;
        let output = program.args(["user", what, "alice"]).env("MCP_AUTH_DATABASE", &replicas.database).output()?;
        ensure!(output.status.success(), "{}", text(&output));
        Ok(())
    };
    manage("disable")?;
    for server in &replicas.servers {
        let replica = Browser::new(server)?;
        *replica.cookies.lock().unwrap() = browser.cookies.lock().unwrap().clone();
        assert!(replica.open(&path).await?.action.starts_with("/login"), "the session has ended");
        let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", token)];
        for reply in [replica.token(&form).await?, replica.token(&redemption(&client, &unused)).await?] {
            assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_grant")), "{reply:?}");
        }
        assert_eq!(Browser::new(server)?.log_in(&path, "alice", PASSWORD).await?.status, 401);
    }
    manage("enable")?;
    for server in &replicas.servers {
        assert_eq!(Browser::new(server)?.log_in(&path, "alice", PASSWORD).await?.status, 303);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_database_of_the_authorization_server_of_before_is_carried_over_with_its_people() -> Result<()> {
    let postgres = Postgres::new()?;
    let url = postgres.database("mcp").await?;
    let mut database = PgConnection::connect(&url).await?;
    for statements in [
        include_str!("../../../crates/auth-server/migrations/postgres/0001_tables.sql"),
        "CREATE TABLE versions (part TEXT PRIMARY KEY, version BIGINT NOT NULL)",
        "INSERT INTO versions VALUES ('auth-server', 1)",
        "INSERT INTO users VALUES ('user_carol', 'carol', 'a hash', 'user')",
    ] {
        sqlx::raw_sql(statements).execute(&mut database).await?;
    }
    for _ in 0..2 {
        let mut list = command("auth-server")?;
        let output = list.args(["user", "list", "--json"]).env("MCP_AUTH_DATABASE", &url).output()?;
        ensure!(output.status.success(), "{}", text(&output));
        let carol =
            json!({ "name": "carol", "sub": "user_carol", "roles": ["user"], "disabled": false, "last_log_in": null });
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout)?, json!([carol]));
    }
    let version: i64 = sqlx::query_scalar("SELECT version FROM versions").fetch_one(&mut database).await?;
    assert_eq!(version, 3);
    Ok(())
}

/// What step 12 says as it ends without having served.
fn failure(database: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let mut step12 = command("step12")?;
    step12.args(["--port", "0", "--database", database]).current_dir(folder.path()).env("RUST_LOG", "trace");
    let output = step12.output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    Ok(text(&output))
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_database_that_cannot_be_used_is_said_without_its_password() -> Result<()> {
    let postgres = Postgres::new()?;
    let url = postgres.database("mcp").await?;
    let mut database = PgConnection::connect(&url).await?;
    let newer = "CREATE TABLE versions (part TEXT PRIMARY KEY, version BIGINT NOT NULL); INSERT INTO versions VALUES ('notes', 9)";
    sqlx::raw_sql(newer).execute(&mut database).await?;
    let (_, place) = url.split_once('@').context("no user")?;
    let (host, _) = place.split_once('/').context("no name")?;
    let free = format!("127.0.0.1:{}", free_port());
    for (place, says) in [
        (
            place.to_owned(),
            format!("cannot open the database postgres://{place}: a newer version of this program made it"),
        ),
        (format!("{host}/none"), "database \"none\" does not exist".to_owned()),
        (format!("{free}/mcp"), format!("cannot open the database postgres://{free}/mcp: nobody answers there")),
        (
            "host:port/mcp".to_owned(),
            "cannot open the database postgres://…: the URL is not as PostgreSQL wants it".to_owned(),
        ),
    ] {
        let said = failure(&format!("postgres://mcp:hunter2@{place}"))?;
        assert_eq!(said.matches(&says).count(), 1, "{says}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    for slip in
        ["postgres:/mcp:hunter2@localhost/mcp", "postgres:mcp:hunter2@localhost", " mysql://mcp:hunter2@localhost/mcp"]
    {
        let said = failure(slip)?;
        assert!(said.contains("cannot open the database …: it is a URL, and a file is wanted here"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // Nor where a program shows its settings.
    let mut help = command("step12")?;
    let secret = format!("postgres://mcp:hunter2@{host}/mcp");
    let output = help.arg("--help").env("MCP_DATABASE", &secret).env("MCP_AUTH_DATABASE", &secret).output()?;
    assert!(output.status.success() && !text(&output).contains("hunter2"), "{}", text(&output));
    let server = replica(&format!("postgres://mcp:hunter2@{host}/postgres"), tempfile::tempdir()?.path())?;
    assert_eq!(Reply::of(server.get("/ready")).await?.status, 200);
    let again = replica(&format!("postgres://mcp:hunter2@{host}/postgres"), tempfile::tempdir()?.path())?;
    let hint = "To change one: cargo run -p auth-server -- user passwd alice, with the URL of the database in MCP_AUTH_DATABASE\n";
    assert!(again.stderr()?.contains(hint), "{}", again.stderr()?);
    assert!(!again.stderr()?.contains("hunter2") && !server.stderr()?.contains("hunter2"));
    Ok(())
}

/// As `deploy/README.md` says it.
#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
async fn a_backup_that_was_made_while_people_work_can_be_restored() -> Result<()> {
    let replicas = Replicas::start().await?;
    let alice = replicas.token("alice")?;
    let browser = replicas.browser()?;
    let (client, code) = code(&browser).await?;
    let granted = browser.token(&redemption(&client, &code)).await?.json();
    let refresh = granted["refresh_token"].as_str().context("no refresh token")?;
    let form = [("grant_type", "refresh_token"), ("client_id", &client), ("refresh_token", refresh)];
    call(&replicas.servers[0], &alice, "save_note", json!({ "text": "before" })).await?;

    replicas.postgres.tool("pg_dump", &["--format=custom", "--file=mcp.dump", &replicas.database])?;
    call(&replicas.servers[1], &alice, "save_note", json!({ "text": "after" })).await?;
    assert_eq!(browser.token(&form).await?.status, 200);

    let again = replicas.postgres.database("mcp_again").await?;
    replicas.postgres.tool("pg_restore", &[&format!("--dbname={again}"), "mcp.dump"])?;
    let restored = replica(&again, replicas.keys.path())?;
    let notes = call(&restored, &alice, "list_notes", json!({})).await?["structuredContent"]["notes"].clone();
    assert_eq!(notes.as_array().context("no list")?.len(), 1);
    assert_eq!(notes[0]["text"], "before");
    let browser = Browser::at(vec![restored.url()])?;
    let path = browser.request(&client, &[("resource", "")]);
    browser.consent(&path, "alice", &["mcp:read", "mcp:tools"]).await?;
    // What was used after the backup is good again, once.
    assert_eq!(browser.token(&form).await?.status, 200);
    let second = browser.token(&form).await?;
    assert_eq!((second.status.as_u16(), &second.json()["error"]), (400, &json!("invalid_grant")), "{second:?}");
    Ok(())
}

#[tokio::test]
async fn on_sqlite_it_is_ready_until_it_is_told_to_stop_and_then_goes_on_for_as_long_as_it_should() -> Result<()> {
    let mut server = Server::start_with("step12", &["--drain", "8s"])?;
    let ready = Reply::of(server.get("/ready")).await?;
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (200, &json!("ok")));
    let told = Instant::now();
    let stopping = std::process::Command::new("kill").args(["-TERM", &server.pid().to_string()]).status()?;
    ensure!(stopping.success(), "kill failed");
    let red = loop {
        let reply = Reply::of(server.get("/ready")).await?;
        if reply.status == 503 {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(red.json()["status"], "unavailable");
    assert_eq!(Reply::of(server.get("/health")).await?.status, 200, "it is alive");
    let (code, _) = server.terminate()?;
    assert_eq!(code, Some(0));
    assert!(told.elapsed() >= Duration::from_secs(8), "{:?}", told.elapsed());
    assert!(fs::read_dir(server.keys())?.count() > 0);
    Ok(())
}

/// The modules of tests that are run on step 12 as well: those of what a database keeps. (How tokens are checked is in files
/// that step 12 has from step 10 byte by byte.)
const AGAIN: [&str; 8] =
    ["attacks::", "exchange::", "login::", "machines::", "manage::", "notes::", "people::", "permissions::"];
/// What of them starts step 9 with options that step 10 has not any more.
const LEFT_OUT: [&str; 2] = [
    "machines::a_separate_authorization_server_serves_several_mcp_servers",
    "notes::the_same_subject_of_two_issuers_is_two_people",
];
/// What of them looks into a file of SQLite, or says its name.
const SQLITE_ONLY: [&str; 5] = [
    "attacks::clients_consents_and_refresh_tokens_survive_kill_9",
    "attacks::what_is_acknowledged_stays_when_another_program_has_read_the_database",
    "notes::a_database_of_a_newer_program_is_left_alone",
    "notes::a_database_of_the_program_before_is_carried_over_with_its_notes",
    "people::a_password_that_comes_too_late_is_said_with_the_command_that_changes_one",
];

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn on_sqlite_step_12_passes_the_tests_of_steps_9_and_10() -> Result<()> {
    instead::run_again("sqlite", &AGAIN, &LEFT_OUT)
}

#[test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
fn on_postgresql_step_12_and_the_authorization_server_pass_the_tests_of_steps_9_and_10() -> Result<()> {
    let postgres = Postgres::new()?;
    instead::run_again(&postgres.url("postgres"), &AGAIN, &[&LEFT_OUT[..], &SQLITE_ONLY].concat())
}

/// What of the unit tests of the authorization server is about SQLite, or looks into a file of it.
const SQLITE_ONLY_UNITS: [&str; 3] =
    ["store::tests::", "the_database_never_holds_a_password", "who_comes_while_the_database_is_in_use"];

#[test]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL")]
fn on_postgresql_the_authorization_server_passes_its_own_tests() -> Result<()> {
    let postgres = Postgres::new()?;
    let mut tests = std::process::Command::new(programs::unit_tests("auth_server")?);
    tests.arg("--test-threads=2");
    tests.args(SQLITE_ONLY_UNITS.iter().flat_map(|name| ["--skip", name]));
    let output = tests.env("TEST_POSTGRES", postgres.url("postgres")).output()?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(())
}
