//! What many people and machines cost: access tokens, whole log-ins and notes in a second, of step 12 on SQLite, of step 12 on
//! a real PostgreSQL, and of a real Keycloak, in turns. Each server has the same core, with its database; the clients have the
//! other one. Each answer is looked at.

use std::{
    cell::Cell,
    env, fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use integration_tests::{
    Reply,
    browser::{Browser, CHALLENGE, PASSWORD, VERIFIER, parameters, redemption},
    keycloak::{self, Keycloak},
    postgres::Postgres,
    rpc,
};
use reqwest::{Client, Method};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use url::form_urlencoded;

use crate::{
    contender::{self, Contender},
    load::{self, Load, Pressure},
    numbers::{Spread, percentile},
    process::Server,
    report::Target,
    tokens::{Issuer, SERVER, USERS},
    work::{Prober, Work},
};

/// A person may keep 1,000 notes.
const NOTES: usize = 900;
const MACHINE: &str = "bench";
const SECRET: &str = "a secret of a machine";
/// One of those that the realm allows.
const KEYCLOAKS_CALLBACK: &str = "http://localhost/callback";

#[derive(clap::Args)]
pub struct GrantsArgs {
    /// Rounds for each kind of work
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a round, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Clients at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
    /// The core of the servers, and of their databases
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The core of the clients
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
}

/// Step 12 on one of the databases.
struct Replica {
    server: Server,
    /// A client that registered itself.
    client: String,
    /// The number of the next note.
    notes: Cell<usize>,
}

/// Whether all targets were met.
///
/// # Errors
/// If something cannot be started, or an answer is wrong. A Keycloak that cannot be started is left out.
pub fn grants(args: &GrantsArgs) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let issuer = Arc::new(Issuer::new(folder.path().join("keys"), SERVER)?);
    contender::build(&[Contender::named("step12").map_err(anyhow::Error::msg)?])?;
    // What is started from here on is on the servers' core.
    let runtime = on_core(args.server_cpu)?;
    let postgres = Postgres::new()?;
    let database = runtime.block_on(postgres.database("mcp"))?;
    eprintln!("starting Keycloak …");
    let keycloak = runtime.block_on(keycloak());
    drop(runtime);
    let runtime = on_core(args.load_cpu)?;
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let start = |name: &str, env: &[(&str, &str)]| -> Result<_> {
        let server = step12(args, &folder.path().join(name), &issuer, env)?;
        let client = runtime.block_on(Browser::at(vec![&server.url])?.register(&["http://localhost/callback"]))?;
        Ok(Replica { server, client, notes: Cell::default() })
    };
    let sqlite = start("sqlite", &[])?;
    let shared = start("postgres", &[("MCP_DATABASE", &database), ("MCP_AUTH_DATABASE", &database)])?;
    let tokens = issuer.tokens(USERS)?;

    let mut measured = Measured { args, runtime, rates: Vec::new() };
    for round in 0..=args.rounds {
        eprintln!("{}", if round == 0 { "warming up …".to_owned() } else { format!("round {round} …") });
        for (replica, name) in [(&sqlite, "SQLite"), (&shared, "PostgreSQL")] {
            let endpoint = format!("{}/token", replica.server.url);
            measured.rate(round, &format!("access tokens, step12 on {name}"), || machine(&client, &endpoint))?;
            measured.rate(round, &format!("log-ins, step12 on {name}"), || {
                log_in(&client, &replica.server.url, &replica.client)
            })?;
            measured.rate(round, &format!("notes, step12 on {name}"), || replica.note(&client, &tokens))?;
        }
        if let Ok(keycloak) = &keycloak {
            let endpoint = format!("{}/protocol/openid-connect/token", keycloak.issuer());
            measured.rate(round, "access tokens, Keycloak", || machine(&client, &endpoint))?;
            measured.rate(round, "log-ins, Keycloak", || keycloaks_log_in(&client, keycloak))?;
        }
        if round == 0 {
            shared.server.forget_peak()?;
            sqlite.server.forget_peak()?;
        }
    }
    for (what, rates) in &measured.rates {
        let spread = Spread::of(rates.iter().copied());
        println!("{what}: {:.0}/s ({:.0}–{:.0})", spread.median, spread.low, spread.high);
    }
    for (replica, name) in [(&sqlite, "SQLite"), (&shared, "PostgreSQL")] {
        println!(
            "step12 on {name}: peak resident memory {:.1} MB, {:.1} MB now",
            replica.server.peak()?,
            replica.server.resident()?
        );
    }
    let missing = keycloak.as_ref().err().map(|error| format!("{error:#}"));
    let beside = |work: &str| match &missing {
        None => Ok(Spread::of([
            measured.best(&format!("{work}, step12 on SQLite")) / measured.best(&format!("{work}, Keycloak"))
        ])),
        Some(why) => Err(why.clone()),
    };
    let targets = [
        Target::new(
            "access tokens, step12 to Keycloak, the best round of each".to_owned(),
            beside("access tokens"),
            10.0,
            true,
        ),
        Target {
            judged: false,
            ..Target::new(
                "log-ins, step12 to Keycloak, the best round of each".to_owned(),
                beside("log-ins"),
                1.0,
                true,
            )
        },
        beside_log_ins(args, folder.path(), &sqlite, &client, &issuer)?,
    ];
    for target in &targets {
        println!("{}", target.line());
    }
    Ok(!targets.iter().any(Target::fails))
}

/// From here on this program, and what it starts, uses this core only.
fn on_core(core: usize) -> Result<Runtime> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).context("cannot choose a core")?;
    Ok(Builder::new_current_thread().enable_all().build()?)
}

async fn keycloak() -> Result<Keycloak> {
    keycloak::needs_java()?;
    let keycloak = Keycloak::start().await?;
    let machine = json!({
        "clientId": MACHINE, "secret": SECRET, "publicClient": false, "serviceAccountsEnabled": true,
        "standardFlowEnabled": false,
    });
    keycloak.admin(Method::POST, "/clients", &machine).await?;
    Ok(keycloak)
}

fn step12(args: &GrantsArgs, folder: &Path, issuer: &Issuer, env: &[(&str, &str)]) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let machine = json!([{
        "client_id": MACHINE, "client_secret": SECRET, "grant_types": ["client_credentials"], "roles": ["user"],
        "scope": "mcp:read mcp:tools",
    }]);
    fs::write(folder.join("clients.json"), machine.to_string())?;
    let mut command = Command::new(contender::release()?.join("step12"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MCP_")) {
        command.env_remove(name);
    }
    command.args(["--port", "0", "--public-url", SERVER, "--clients", "clients.json", "--keys"]).arg(issuer.folder());
    command.env("MCP_DEV_PASSWORD", PASSWORD).envs(env.iter().copied()).current_dir(folder);
    Server::start(&args.server_cpu.to_string(), &command)
}

struct Measured<'a> {
    args: &'a GrantsArgs,
    runtime: Runtime,
    /// In a second, round by round.
    rates: Vec<(String, Vec<f64>)>,
}

impl Measured<'_> {
    /// All clients do one piece of work after the other, until the round has ended. Round 0 warms up.
    fn rate<F: Future<Output = Result<()>>>(&mut self, round: u32, what: &str, one: impl Fn() -> F) -> Result<()> {
        let (began, done, length) = (Instant::now(), Cell::new(0_u32), Duration::from_secs(self.args.seconds.into()));
        let clients = (0..self.args.clients).map(|_| {
            let (done, one) = (&done, &one);
            async move {
                while began.elapsed() < length {
                    one().await?;
                    done.set(done.get() + 1);
                }
                anyhow::Ok(())
            }
        });
        self.runtime.block_on(try_join_all(clients)).with_context(|| what.to_owned())?;
        let rate = f64::from(done.get()) / began.elapsed().as_secs_f64();
        if round > 0 {
            match self.rates.iter_mut().find(|(name, _)| name == what) {
                Some((_, rates)) => rates.push(rate),
                None => self.rates.push((what.to_owned(), vec![rate])),
            }
        }
        Ok(())
    }

    /// The highest rate of all rounds; 0 without any.
    fn best(&self, what: &str) -> f64 {
        let rates = self.rates.iter().find(|(name, _)| name == what).map_or(&[][..], |(_, rates)| rates);
        rates.iter().copied().fold(0.0, f64::max)
    }
}

/// A machine gets an access token at this token endpoint.
async fn machine(client: &Client, token_endpoint: &str) -> Result<()> {
    let form = [("grant_type", "client_credentials"), ("client_id", MACHINE), ("client_secret", SECRET)];
    is_granted(&Reply::of(post(client, token_endpoint, &form)).await?)
}

fn post(client: &Client, url: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    client.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(body)
}

fn is_granted(reply: &Reply) -> Result<()> {
    ensure!(reply.status == 200 && reply.json()["access_token"].is_string(), "{reply:?}");
    Ok(())
}

impl Replica {
    async fn note(&self, client: &Client, tokens: &[String]) -> Result<()> {
        let number = self.notes.replace(self.notes.get() + 1);
        let token = tokens.get(number / NOTES).context("each person has enough notes: measure for a shorter time")?;
        let body = rpc("tools/call", json!({ "name": "save_note", "arguments": { "text": "Buy milk" } })).to_string();
        let request = client.post(format!("{}/mcp", self.server.url)).bearer_auth(token).body(body);
        let request =
            request.header("Content-Type", "application/json").header("Accept", "application/json, text/event-stream");
        let reply = Reply::of(request).await?;
        ensure!(reply.json()["result"]["structuredContent"]["text"] == "Buy milk", "{reply:?}");
        Ok(())
    }
}

/// Alice logs in and consents, and a client redeems its code.
async fn log_in(client: &Client, url: &str, registered: &str) -> Result<()> {
    let browser = Browser::with(client.clone(), vec![url]);
    let path = browser.request(registered, &[("resource", "")]);
    let answer = browser.consent(&path, "alice", &["mcp:read", "mcp:tools"]).await?;
    is_granted(&browser.token(&redemption(registered, answer.get("code").context("no code")?)).await?)
}

/// One of the realm's people logs in (it asks for no consent), and a client redeems its code.
async fn keycloaks_log_in(client: &Client, keycloak: &Keycloak) -> Result<()> {
    const CLIENT: &str = "mcp-test-client";
    let issuer = keycloak.issuer();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("response_type", "code"), ("client_id", CLIENT), ("redirect_uri", KEYCLOAKS_CALLBACK)])
        .extend_pairs([("state", "the state"), ("code_challenge", CHALLENGE), ("code_challenge_method", "S256")])
        .extend_pairs([("scope", "openid")])
        .finish();
    let browser = Browser::with(client.clone(), vec![&issuer]);
    let page = browser.send(browser.get(&format!("/protocol/openid-connect/auth?{query}"))).await?;
    let action = page.text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    let action = action.with_context(|| format!("no form: {page:?}"))?.replace("&amp;", "&");
    let reply = browser.send(post(client, &action, &[("username", "mcp-user"), ("password", "user123")])).await?;
    let answer = parameters(reply.header("location")).with_context(|| format!("{reply:?}"))?;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("code", answer.get("code").context("no code")?),
        ("redirect_uri", KEYCLOAKS_CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    is_granted(&browser.send(post(client, &format!("{issuer}/protocol/openid-connect/token"), &form)).await?)
}

/// How long calls take while people log in without a pause, to how long they take without, in turns.
fn beside_log_ins(
    args: &GrantsArgs,
    root: &Path,
    replica: &Replica,
    client: &Client,
    issuer: &Arc<Issuer>,
) -> Result<Target> {
    let prober = Prober::new(Arc::clone(issuer))?;
    let load = Load::new(load::folder(root, "grants", "beside"), &prober, &replica.server, Work::Echo, true)?;
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 16, seconds: args.seconds };
    let p99 = |sample: load::Sample| percentile(0.99, sample.latencies).map(f64::from).context("no latencies");
    let (server, url, registered) = (&replica.server, replica.server.url.as_str(), replica.client.as_str());
    let mut ratios = Vec::new();
    for _ in 0..args.rounds {
        let alone = p99(load.run(server, pressure, None)?)?;
        let done = AtomicBool::new(false);
        let beside = thread::scope(|scope| -> Result<_> {
            let people = scope.spawn(|| {
                let one = async || {
                    while !done.load(Relaxed) {
                        log_in(client, url, registered).await?;
                    }
                    anyhow::Ok(())
                };
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(try_join_all((0..args.clients).map(|_| one()))).map(|_| ())
            });
            let beside = load.run(server, pressure, None);
            done.store(true, Relaxed);
            people.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            p99(beside?)
        })?;
        ratios.push(beside / alone);
    }
    Ok(Target::new("p99 of calls while people log in, to without".to_owned(), Ok(Spread::of(ratios)), 3.0, false))
}
