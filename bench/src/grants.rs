//! What many people and machines cost: access tokens, whole log-ins and notes in a second, of step 12 on SQLite, of step 12 on
//! a real PostgreSQL, and of a real Keycloak, in turns. Each server has the same core, with its database; the clients have the
//! other one. Each answer is looked at.

use std::{
    cell::Cell,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use integration_tests::postgres::Postgres;
use reqwest::Client;
use tokio::runtime::Runtime;

use crate::{
    contender::{self, Contender},
    load::{self, Load, Pressure},
    numbers::Spread,
    people::{keycloak, keycloaks_log_in, machine},
    process::stay_on,
    replica::{self, HERE, Replica, client, runtime},
    report::{self, Target},
    tokens::{Issuer, USERS},
    work::{Prober, Work},
};

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

/// Whether all targets were met.
///
/// # Errors
/// If something cannot be started, or an answer is wrong. A Keycloak that cannot be started is left out.
pub fn grants(args: &GrantsArgs) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let issuer = Arc::new(Issuer::of(folder.path().join("keys"), HERE)?);
    contender::build(&[Contender::named("step12").map_err(anyhow::Error::msg)?])?;
    // What is started from here on is on the servers' core.
    stay_on(args.server_cpu)?;
    let starting = runtime()?;
    let postgres = Postgres::start_with(&["fsync=on"])?;
    let database = starting.block_on(postgres.database("mcp"))?;
    eprintln!("starting Keycloak …");
    let keycloak = starting.block_on(keycloak());
    drop(starting);
    stay_on(args.load_cpu)?;
    let runtime = runtime()?;
    let client = client()?;
    let start = |name: &str, postgres: Option<&str>| {
        Replica::start(&args.server_cpu.to_string(), &folder.path().join(name), &issuer, postgres)
    };
    let sqlite = start("sqlite", None)?;
    let shared = start("postgres", Some(&database))?;
    let tokens = issuer.tokens(USERS)?;

    let mut measured = Measured { args, runtime, rates: Vec::new() };
    for round in 0..=args.rounds {
        eprintln!("{}", if round == 0 { "warming up …".to_owned() } else { format!("round {round} …") });
        for (replica, name) in [(&sqlite, "SQLite"), (&shared, "PostgreSQL")] {
            measured.rate(round, &format!("access tokens, step12 on {name}"), || replica.machine(&client))?;
            measured.rate(round, &format!("log-ins, step12 on {name}"), || replica.log_in(&client))?;
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
    let mut targets = vec![
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
    ];
    for calls in &CALLS {
        targets.push(beside_log_ins(args, folder.path(), &issuer, calls)?);
    }
    Ok(report::print(&targets))
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

/// How calls come while people log in.
struct Calls {
    how: &'static str,
    /// Or on one.
    on_both_cores: bool,
    connections: u32,
    /// Milliseconds between two calls of a connection, on average.
    pause: u32,
    judged: bool,
}

const CALLS: [Calls; 3] = [
    Calls { how: "one core, full load", on_both_cores: false, connections: 256, pause: 0, judged: true },
    Calls { how: "two cores, part load", on_both_cores: true, connections: 16, pause: 2, judged: true },
    // On a core of its own, a call takes less time than one turn of the thread that checks a password, for which it waits.
    Calls { how: "one core, few connections", on_both_cores: false, connections: 16, pause: 0, judged: false },
];

/// How long calls take while people log in without a pause, to how long they take without, in turns.
fn beside_log_ins(args: &GrantsArgs, root: &Path, issuer: &Arc<Issuer>, calls: &Calls) -> Result<Target> {
    let &Calls { how, on_both_cores, connections, pause, judged } = calls;
    let (one, other) = (args.server_cpu, args.load_cpu);
    let cores = if on_both_cores { format!("{one},{other}") } else { one.to_string() };
    let replica = Replica::start(&cores, &root.join(how), issuer, None)?;
    let prober = Prober::new(Arc::clone(issuer))?;
    let load = Load::new(load::folder(root, "grants", how), &prober, &replica.server, Work::Echo, true)?;
    let pressure = Pressure { cpus: &other.to_string(), threads: 1, connections, pause, seconds: args.seconds };
    let mut ratios = Vec::new();
    for _ in 0..args.rounds {
        let run = || load.run(&replica.server, pressure, None);
        let alone = run()?;
        let beside = replica::beside(args.clients, async |client: &Client| replica.log_in(client).await, run)?;
        println!(
            "calls, {how}: {:.0}/s with a p99 of {:.2} ms, and {:.0}/s with {:.2} ms while people log in",
            alone.rate, alone.p99, beside.rate, beside.p99
        );
        ratios.push(beside.p99 / alone.p99);
    }
    let what = format!("p99 of calls while people log in, to without ({how})");
    Ok(Target { judged, ..Target::new(what, Ok(Spread::of(ratios)), 3.0, false) })
}
