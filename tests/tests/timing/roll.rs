//! Three replicas of step 12 behind a real HAProxy, on a real PostgreSQL, under a load that does not stop: one is killed, all
//! are replaced one by one, the keys are rotated, and PostgreSQL is restarted. Nobody may notice, but for those whom the killed replica was
//! answering, and those who are told when to come again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Reply, Server,
    browser::{Browser, PASSWORD, assert_one_is_granted, kid, redemption},
    command, free_port, gen_token,
    haproxy::HaProxy,
    postgres::Postgres,
    rpc, text,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the load lasts at least.
const LOAD: Duration = Duration::from_mins(1);
/// The names in `deploy/haproxy.cfg`.
const NAMES: [&str; 3] = ["one", "two", "three"];
/// Notes of one person, who may keep 1,000.
const NOTES: usize = 900;

/// How many people log in, and so refresh, at the same time.
const LOG_INS: usize = 2;

/// The event that requests may notice.
const KILL: &str = "one is killed";

struct World {
    url: String,
    ports: [u16; 3],
    keys: TempDir,
    database: String,
}

impl World {
    /// PostgreSQL, three replicas, and the proxy, which is ready.
    async fn start() -> Result<(Postgres, World, [Server; 3], HaProxy)> {
        let postgres = Postgres::new()?;
        let ports: [_; 4] = std::array::from_fn(|_| free_port());
        let (keys, database) = (tempfile::tempdir()?, postgres.database("mcp").await?);
        let world = World {
            url: format!("http://localhost:{}", ports[3]),
            ports: [ports[0], ports[1], ports[2]],
            keys,
            database,
        };
        let replicas = [world.replica(0)?, world.replica(1)?, world.replica(2)?];
        let mut proxy = HaProxy::start(ports[3], world.ports)?;
        proxy.is_ready().await?;
        Ok((postgres, world, replicas, proxy))
    }

    fn keys(&self) -> std::path::PathBuf {
        self.keys.path().join("keys")
    }

    fn replica(&self, number: usize) -> Result<Server> {
        let (keys, port) = (self.keys(), self.ports[number].to_string());
        let keys = keys.to_str().context("a path that is not UTF-8")?;
        let args = ["--port", &port, "--public-url", &self.url, "--keys", keys, "--drain", "2s"];
        let database = self.database.as_str();
        let env = [("MCP_DATABASE", database), ("MCP_AUTH_DATABASE", database), ("MCP_DEV_PASSWORD", PASSWORD)];
        Server::start_in_env("step12", &args, &env)
    }

    fn token(&self, name: &str) -> Result<String> {
        gen_token(&self.keys(), &self.url, &["--username", name])
    }
}

/// What has happened to the requests so far.
#[derive(Default)]
struct Seen {
    outcomes: Mutex<BTreeMap<String, usize>>,
    saved: Mutex<Vec<(String, String)>>,
    wrong: Mutex<Vec<String>>,
    /// The keys of the tokens with which somebody was let in.
    signed_by: Mutex<BTreeSet<String>>,
    /// What is being done to the servers.
    event: Mutex<&'static str>,
    done: AtomicBool,
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn count(&self, what: &str) {
        *locked(&self.outcomes).entry(what.to_owned()).or_default() += 1;
    }

    fn now(&self, event: &'static str) {
        *locked(&self.event) = event;
    }

    /// Whether what a replica was answering may break off, since it was killed.
    fn may_break(&self) -> bool {
        *locked(&self.event) == KILL
    }

    fn is_wrong(&self, what: impl Debug) {
        let event = *locked(&self.event);
        locked(&self.wrong).push(format!("{event}: {what:?}"));
    }

    /// The answer, if it is neither a broken connection of the killed replica nor a 503 that says when to come again.
    async fn answer(&self, what: &str, request: reqwest::RequestBuilder) -> Option<Reply> {
        let could_break = self.may_break();
        let outcome = Reply::of(request).await;
        // HAProxy says 502 if an answer broke off, or closes a connection that has had answers before.
        let broken = outcome.as_ref().map_or(true, |reply| reply.status == 502);
        if broken && (could_break || self.may_break()) {
            self.count(&format!("{what}: broken by the kill"));
            return None;
        }
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                self.is_wrong((what, error.to_string(), error.root_cause().to_string()));
                return None;
            }
        };
        if reply.status == 503 && !reply.header("retry-after").is_empty() {
            self.count("503 with Retry-After");
            tokio::time::sleep(Duration::from_millis(100)).await;
            return None;
        }
        Some(reply)
    }
}

fn call(client: &reqwest::Client, url: &str, token: &str, tool: &str, arguments: Value) -> reqwest::RequestBuilder {
    let body = rpc("tools/call", json!({ "name": tool, "arguments": arguments })).to_string();
    client
        .post(format!("{url}/mcp"))
        .bearer_auth(token)
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/event-stream")
        .body(body)
}

/// Calls a tool, again and again.
async fn calls(world: Arc<World>, seen: Arc<Seen>) -> Result<()> {
    let (client, token) = (reqwest::Client::builder().no_proxy().build()?, world.token("caller")?);
    while !seen.done.load(Relaxed) {
        let call = call(&client, &world.url, &token, "echo", json!({ "message": "hi" }));
        if let Some(reply) = seen.answer("echo", call).await {
            if reply.status.as_u16() == 200 && reply.json()["result"]["content"][0]["text"] == "hi" {
                seen.count("calls");
            } else {
                seen.is_wrong(("echo", reply));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Saves notes of people whose names begin so. One that was not acknowledged is not sent again, so none is there twice.
async fn saves(world: Arc<World>, seen: Arc<Seen>, name: &str) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (mut number, mut person, mut token) = (0, String::new(), String::new());
    while !seen.done.load(Relaxed) {
        if number % NOTES == 0 {
            person = format!("{name}{}", number / NOTES);
            token = world.token(&person)?;
        }
        number += 1;
        let text = format!("note {number} of {person}");
        let call = call(&client, &world.url, &token, "save_note", json!({ "text": text }));
        if let Some(reply) = seen.answer("save_note", call).await {
            if reply.status == 200 && reply.json()["result"]["isError"] == false {
                seen.count("notes");
                locked(&seen.saved).push((person.clone(), text));
            } else {
                seen.is_wrong(("save_note", reply));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Logs people in, and tries what they were given a second time.
async fn log_ins(world: Arc<World>, seen: Arc<Seen>) -> Result<()> {
    let browser = Browser::at(vec![&world.url])?;
    let client = browser.register(&["http://localhost/callback"]).await?;
    while !seen.done.load(Relaxed) {
        // What interrupts a log-in shows in its pages; the person begins again.
        let Some(code) = code(&world, &seen, &client).await? else { continue };
        let redemption = redemption(&client, &code);
        let Some(first) = granted(&seen, "code", &browser, &redemption).await else { continue };
        let old = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", &first.1)];
        // Who is interrupted logs in again.
        let Some(newer) = granted(&seen, "refresh", &browser, &old).await else { continue };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let whoami = call(&http, &world.url, &newer.0, "whoami", json!({}));
        if let Some(reply) = seen.answer("whoami", whoami).await {
            if reply.status == 200 {
                seen.count("log-ins");
                locked(&seen.signed_by).insert(kid(&newer.0)?);
            } else {
                seen.is_wrong(("whoami", reply));
            }
        }
        for (what, form) in [("a code", &redemption[..]), ("a refresh token", &old)] {
            if seen.answer(what, browser.post("/token", form)).await.is_some_and(|reply| reply.status == 200) {
                seen.is_wrong((what, "worked twice"));
            }
        }
    }
    Ok(())
}

/// A code that alice lets the client have; `None` if she was interrupted.
async fn code(world: &World, seen: &Seen, client: &str) -> Result<Option<String>> {
    let browser = Browser::at(vec![&world.url])?;
    let path = browser.request(client, &[]);
    let could_break = seen.may_break();
    let said = match browser.consent(&path, "alice", &["mcp:read", "mcp:tools"]).await {
        Ok(answer) if answer.contains_key("code") => return Ok(answer.get("code").cloned()),
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{error:#}"),
    };
    let busy = said.contains("status: 503") && said.contains("retry-after");
    if busy || could_break || seen.may_break() {
        seen.count("log-ins that were interrupted");
    } else {
        seen.is_wrong(("a log-in", said));
    }
    Ok(None)
}

/// The access token and the refresh token.
async fn granted(seen: &Seen, what: &str, browser: &Browser<'_>, form: &[(&str, &str)]) -> Option<(String, String)> {
    let reply = seen.answer(what, browser.post("/token", form)).await?;
    let text = |name: &str| reply.json()[name].as_str().map(str::to_owned);
    let tokens = text("access_token").zip(text("refresh_token"));
    if tokens.is_none() {
        seen.is_wrong((what, reply));
    }
    tokens
}

/// Waits until HAProxy says this of a replica.
async fn until(proxy: &HaProxy, number: usize, state: &str) -> Result<()> {
    let since = Instant::now();
    while !proxy.knows(NAMES[number], state)? {
        ensure!(since.elapsed() < Duration::from_secs(30), "{} is not {state}", NAMES[number]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn notes(world: &World, person: &str) -> Result<Vec<String>> {
    let (client, token) = (reqwest::Client::builder().no_proxy().build()?, world.token(person)?);
    let (mut texts, mut arguments) = (Vec::new(), json!({ "limit": 100 }));
    loop {
        let reply = Reply::of(call(&client, &world.url, &token, "list_notes", arguments.clone())).await?.json();
        let page = &reply["result"]["structuredContent"];
        for note in page["notes"].as_array().with_context(|| reply.to_string())? {
            texts.push(note["text"].as_str().context("no text")?.to_owned());
        }
        let Some(cursor) = page.get("next_cursor") else { return Ok(texts) };
        arguments["cursor"] = cursor.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL and HAProxy")]
async fn replicas_are_killed_and_replaced_and_nobody_notices() -> Result<()> {
    let started = Instant::now();
    let (postgres, world, mut replicas, mut proxy) = World::start().await?;
    let (world, seen) = (Arc::new(world), Arc::new(Seen::default()));
    let mut load = tokio::task::JoinSet::new();
    for number in 0..LOG_INS {
        load.spawn(calls(world.clone(), seen.clone()));
        load.spawn(log_ins(world.clone(), seen.clone()));
        let (world, seen) = (world.clone(), seen.clone());
        load.spawn(async move { saves(world, seen, &format!("keeper{number}-")).await });
    }

    tokio::time::sleep(Duration::from_secs(3)).await;
    seen.now(KILL);
    let kill = std::process::Command::new("kill").args(["-KILL", &replicas[0].pid().to_string()]).status()?;
    ensure!(kill.success(), "kill failed");
    until(&proxy, 0, "DOWN").await?;
    seen.now("the killed one starts again");
    replicas[0] = world.replica(0)?;
    until(&proxy, 0, "UP").await?;
    for (number, replica) in replicas.iter_mut().enumerate() {
        seen.now("one is told to stop");
        let (code, _) = replica.terminate()?;
        assert_eq!(code, Some(0), "{}", replica.stderr()?);
        seen.now("the next one starts");
        *replica = world.replica(number)?;
        until(&proxy, number, "UP").await?;
    }
    seen.now("the keys are rotated");
    let before = locked(&seen.signed_by).clone();
    let keys = world.keys();
    let rotated = command("gen-token")?.args(["keys", "rotate", "--learn", "5s", "--keys"]).arg(&keys).output()?;
    assert!(rotated.status.success(), "{}", text(&rotated));
    let since = Instant::now();
    while locked(&seen.signed_by).is_subset(&before) {
        ensure!(since.elapsed() < Duration::from_secs(30), "no token is signed with the new key");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seen.now("PostgreSQL restarts");
    postgres.stop("fast")?;
    postgres.start()?;
    proxy.is_ready().await?;
    seen.now("all is well");
    while started.elapsed() < LOAD {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seen.done.store(true, Relaxed);
    while let Some(ended) = load.join_next().await {
        ended??;
    }

    let saved = std::mem::take(&mut *locked(&seen.saved));
    let mut kept = BTreeMap::new();
    for (person, _) in &saved {
        if !kept.contains_key(person) {
            kept.insert(person.clone(), notes(&world, person).await?);
        }
    }
    let missing: Vec<_> = saved.iter().filter(|(person, text)| !kept[person].contains(text)).collect();
    let of_others: Vec<_> = kept
        .iter()
        .flat_map(|(person, texts)| texts.iter().filter(move |text| !text.ends_with(&format!("of {person}"))))
        .collect();
    let outcomes = locked(&seen.outcomes).clone();
    let wrong = locked(&seen.wrong).clone();
    println!("{outcomes:?}; requests by replica: {:?}", proxy.requests()?);
    assert!(wrong.is_empty(), "{} wrong: {:#?}; {outcomes:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(missing.is_empty(), "acknowledged, and missing: {missing:?}");
    assert!(of_others.is_empty(), "notes of others: {of_others:?}");
    let lost = outcomes.get("refresh: broken by the kill").copied().unwrap_or_default();
    assert!(lost <= LOG_INS, "{lost} refreshes were lost, and {LOG_INS} at most were under way: {outcomes:?}");
    for what in ["calls", "notes", "log-ins"] {
        assert!(outcomes.get(what).is_some_and(|count| *count >= 20), "{what}: {outcomes:?}");
    }
    assert!(proxy.requests()?.values().all(|count| *count > 200), "{:?}", proxy.requests()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL and HAProxy")]
async fn of_20_who_refresh_at_once_through_the_proxy_one_succeeds() -> Result<()> {
    let (_postgres, world, _replicas, proxy) = World::start().await?;
    for round in 0..20 {
        let browser = Browser::at(vec![&world.url])?; // it keeps no connection: each request has its own
        let client = browser.register(&["http://localhost/callback"]).await?;
        let answer = browser.consent(&browser.request(&client, &[]), "alice", &["mcp:read", "mcp:tools"]).await?;
        let granted = browser.token(&redemption(&client, &answer["code"])).await?.json();
        let token = granted["refresh_token"].as_str().with_context(|| granted.to_string())?;
        let form = [("grant_type", "refresh_token"), ("client_id", client.as_str()), ("refresh_token", token)];
        let before = proxy.requests()?;
        let replies = Reply::of_all((0..20).map(|_| browser.post("/token", &form))).await?;
        assert_one_is_granted(round, &replies);
        let after = proxy.requests()?;
        let busy =
            after.iter().filter(|(name, count)| **count > before.get(*name).copied().unwrap_or_default()).count();
        assert!(busy >= 2, "round {round} had {busy} replica: {before:?} {after:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(ci), ignore = "needs PostgreSQL and HAProxy")]
async fn while_no_replica_is_ready_the_proxy_serves_what_needs_no_database() -> Result<()> {
    let (postgres, world, replicas, mut proxy) = World::start().await?;
    let (client, token) = (reqwest::Client::builder().no_proxy().build()?, world.token("caller")?);
    let get = |path: &str| client.get(format!("{}{path}", world.url));
    postgres.stop("fast")?;
    for number in 0..NAMES.len() {
        until(&proxy, number, "DOWN").await?;
    }
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-protected-resource/mcp", "/health"] {
        assert_eq!(Reply::of(get(path)).await?.status, 200, "{path}");
    }
    let echo = Reply::of(call(&client, &world.url, &token, "echo", json!({ "message": "hi" }))).await?;
    assert_eq!(echo.status, 200, "{echo:?}");
    let save = Reply::of(call(&client, &world.url, &token, "save_note", json!({ "text": "never" }))).await?;
    assert_eq!((save.status.as_u16(), save.header("retry-after")), (503, "2"), "{save:?}");
    assert_eq!(save.json()["error"]["code"], 503, "the replica's own answer: {save:?}");
    assert_eq!(Reply::of(get("/ready")).await?.status, 503);
    postgres.start()?;
    proxy.is_ready().await?;
    // Neither before the proxy has noticed nor after.
    drop(replicas);
    for noticed in [false, true] {
        if noticed {
            until(&proxy, 0, "DOWN").await?;
        }
        let gone = Reply::of(get("/health")).await?;
        assert_eq!((gone.status.as_u16(), gone.header("retry-after")), (503, "2"), "noticed: {noticed}; {gone:?}");
        assert_eq!(gone.json()["error"], "temporarily_unavailable", "noticed: {noticed}");
    }
    Ok(())
}
