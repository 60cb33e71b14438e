//! Step 12 with a database of its own, and what many people and machines ask of it at the same time.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use futures_util::future::{try_join, try_join_all};
use integration_tests::{
    browser::{Browser, PASSWORD},
    postgres::Postgres,
};
use reqwest::Client;
use tokio::runtime::{Builder, Runtime};

use crate::{
    contender::{self, Contender},
    people,
    process::{Server, stay_on},
    report,
    soak::{LoadArgs, full_load},
    tokens::{Issuer, USERS},
    work::Prober,
};

/// What step 12 calls itself: people have a password that is known only on this computer.
pub const HERE: &str = "http://localhost:1";
/// A person may keep 1,000 notes.
const NOTES: usize = 900;

/// Step 12 on one of the databases.
pub struct Replica {
    pub server: Server,
    /// A client that registered itself.
    client: String,
    /// The number of the next note.
    notes: AtomicUsize,
}

impl Replica {
    /// Starts it in this folder, which is made. Without the URL of a PostgreSQL its database is a file.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(cpus: &str, folder: &Path, issuer: &Issuer, postgres: Option<&str>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let clients = folder.join("clients.json");
        fs::write(&clients, people::listed().to_string())?;
        fs::set_permissions(&clients, fs::Permissions::from_mode(0o600))?; // it has a secret
        let mut command = Command::new(contender::release()?.join("step12"));
        contender::without_settings(&mut command);
        command.args(["--port", "0", "--public-url", HERE, "--clients", "clients.json", "--keys"]).arg(issuer.folder());
        command.env("MCP_DEV_PASSWORD", PASSWORD).current_dir(folder);
        if let Some(url) = postgres {
            command.env("MCP_DATABASE", url).env("MCP_AUTH_DATABASE", url);
        }
        let server = Server::start(cpus, &command)?;
        let client = runtime()?.block_on(Browser::at(vec![&server.url])?.register(&["http://localhost/callback"]))?;
        Ok(Replica { server, client, notes: AtomicUsize::default() })
    }

    /// A machine gets an access token.
    ///
    /// # Errors
    /// If it does not.
    pub async fn machine(&self, client: &Client) -> Result<()> {
        people::machine(client, &format!("{}/token", self.server.url)).await
    }

    /// Alice logs in, and a client redeems its code.
    ///
    /// # Errors
    /// If an answer is not what it should be.
    pub async fn log_in(&self, client: &Client) -> Result<()> {
        people::log_in(client, &self.server.url, &self.client).await
    }

    /// The next person who has room for it saves a note.
    ///
    /// # Errors
    /// If it is not acknowledged.
    pub async fn note(&self, client: &Client, tokens: &[String]) -> Result<()> {
        let number = self.notes.fetch_add(1, Relaxed);
        let token = tokens.get(number / NOTES).context("each person has enough notes: measure for a shorter time")?;
        people::note(client, &self.server.url, token).await
    }
}

/// One that follows no redirects.
///
/// # Errors
/// If there can be none.
pub fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?)
}

/// One of this thread alone, and so of its core.
///
/// # Errors
/// If there can be none.
pub fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Does `meanwhile`, while so many clients do one piece of work after the other.
///
/// # Errors
/// If one of them fails.
pub fn beside<T>(
    clients: u32,
    one: impl AsyncFn(&Client) -> Result<()> + Send,
    meanwhile: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            // Its connections live as long as the runtime.
            let (runtime, client, one) = (runtime()?, client()?, one);
            let on_and_on = async || {
                while !done.load(Relaxed) {
                    one(&client).await?;
                }
                anyhow::Ok(())
            };
            runtime.block_on(try_join_all((0..clients).map(|_| on_and_on()))).map(|_| ())
        });
        let outcome = meanwhile();
        done.store(true, Relaxed);
        working.join().map_err(|_| anyhow!("a thread panicked"))??;
        outcome
    })
}

/// Step 12 on a real PostgreSQL at full load, while people log in, machines get tokens, and notes are saved.
///
/// # Errors
/// If something cannot be started, or an answer is wrong.
pub fn soak_postgres(args: &LoadArgs) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let issuer = Arc::new(Issuer::of(folder.path().join("keys"), HERE)?);
    contender::build(&[Contender::named("step12").map_err(anyhow::Error::msg)?])?;
    eprintln!("signing {} tokens …", args.tokens);
    let (tokens, people) = (issuer.tokens(usize::try_from(args.tokens)?)?, issuer.tokens(USERS)?);
    // The database has the server's core.
    stay_on(args.server_cpu)?;
    let postgres = Postgres::start_with(&["fsync=on"])?;
    let database = runtime()?.block_on(postgres.database("mcp"))?;
    stay_on(args.load_cpu)?;
    let cpus = args.server_cpu.to_string();
    let replica = Replica::start(&cpus, &folder.path().join("postgres"), &issuer, Some(&database))?;
    let prober = Prober::new(issuer)?;
    let one = async |client: &Client| {
        // A log-in waits long where calls take the whole core.
        let others = async {
            for _ in 0..50 {
                replica.machine(client).await?;
                replica.note(client, &people).await?;
            }
            Ok(())
        };
        try_join(replica.log_in(client), others).await.map(|_| ())
    };
    let targets = beside(8, one, || full_load(args, folder.path(), &replica.server, &prober, &tokens))?;
    let notes = replica.notes.load(Relaxed);
    println!("beside it: {notes} notes, as many access tokens of machines, and one log-in for 50 of them");
    Ok(report::print(&targets))
}
