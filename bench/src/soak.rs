//! A long time at full load with more tokens than step 9 remembers, then peers that pipeline requests and never read,
//! then thousands of connections that do nothing: what grows, what gives way?

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    contender::{self, Contender},
    crowd::{Crowd, PIPELINED, SILENT, SLOW, SPARE, await_files, open_files},
    load::{self, Load, Pressure},
    numbers::{Spread, percentile},
    process::{Server, stay_on},
    report::{self, Target},
    tokens::{Issuer, SERVER},
    work::{Prober, Work},
};

/// The time is cut into so many parts, a minute each of ten.
const WINDOWS: u32 = 10;
/// Rounds of the comparison with idle connections.
const ROUNDS: u32 = 8;
/// How long, in seconds, good traffic is measured beside idle connections: the server closes them after five.
const WITH_IDLE: u32 = 2;
/// How many times peers come that never read their answers.
const VISITS: u32 = 3;

/// Latencies in µs, and how often each was seen.
type Latencies = Vec<(u32, u32)>;

#[derive(clap::Args)]
pub struct SoakArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// How many idle connections; with 0 this part is left out
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(..=50_000))]
    idle: u32,
}

/// How much load there is, for how long.
#[derive(clap::Args)]
pub struct LoadArgs {
    /// How long at full load
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(20..=86_400))]
    pub seconds: u32,
    /// How many different tokens; signing 100,000 takes about a minute
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tokens: u32,
    /// The core of the server
    #[arg(long, default_value_t = 0)]
    pub server_cpu: usize,
    /// The core of the load
    #[arg(long, default_value_t = 1)]
    pub load_cpu: usize,
}

/// Whether everything held.
///
/// # Errors
/// If something cannot be started, or an answer is wrong.
pub fn soak(args: &SoakArgs) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let idle = usize::try_from(args.idle)?;
    raise_file_limit(idle)?;
    let issuer = Arc::new(Issuer::new(root.join("keys"), SERVER)?);
    let step9 = Contender::named("step9").map_err(anyhow::Error::msg)?;
    eprintln!("building step9 …");
    contender::build(&[step9])?;
    let command = step9.prepare(root, &issuer)?.map_err(|missing| anyhow::anyhow!(missing.0))?;
    eprintln!("signing {} tokens …", args.load.tokens);
    let started = Instant::now();
    let tokens = issuer.tokens(usize::try_from(args.load.tokens)?)?;
    eprintln!("signed in {:.0} s", started.elapsed().as_secs_f64());

    // From here on the bench itself must not use the server's core.
    stay_on(args.load.load_cpu)?;
    let server = Server::start(&args.load.server_cpu.to_string(), &command)?;
    let at_rest = open_files(&server)?;
    let prober = Prober::new(issuer)?;
    let mut targets = full_load(&args.load, root, &server, &prober, &tokens)?;
    drop(tokens);
    targets.extend(silent_peers(&args.load, root, &server, at_rest, &prober)?);
    if idle > 0 {
        targets.extend(idle_connections(&args.load, idle, root, &server, at_rest, &prober)?);
    }
    Ok(report::print(&targets))
}

/// Raises the limit of open files as far as the machine allows. If that is too few for the connections, the run fails
/// here with a clear error.
fn raise_file_limit(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of open files")?;
    let needed = u64::try_from(connections + SLOW + 500)?;
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "this machine allows {} open files to a process (ulimit -Hn), and {connections} connections need {needed}: \
         raise the limit, or choose fewer with --idle",
        limit.maximum.unwrap_or_default()
    );
    Ok(())
}

/// All tokens in turn, for the whole time.
///
/// # Errors
/// If an answer is wrong.
pub fn full_load(
    args: &LoadArgs,
    root: &Path,
    server: &Server,
    prober: &Prober,
    tokens: &[String],
) -> Result<Vec<Target>> {
    let answers = prober.answers(&server.host, Work::Tokens, true, tokens.len())?;
    let load = Load::write(load::folder(root, "soak", "tokens"), server, Work::Tokens, true, tokens, &answers, 200)?;
    let seconds = args.seconds / WINDOWS;
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 64, pause: 0, seconds };
    let bar = ProgressBar::new(WINDOWS.into())
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (about {eta} left)")?)
        .with_message("full load");
    let (mut samples, mut peaks) = (Vec::new(), Vec::new());
    for window in 1..=WINDOWS {
        server.forget_peak()?;
        let sample = load.run(server, pressure, None)?;
        peaks.push(server.peak()?);
        bar.suspend(|| {
            println!(
                "{:>5} s: {:.0} requests/s, p99 {:.2} ms, peak {:.1} MB, the server's core {:.0} %",
                window * seconds,
                sample.rate,
                sample.p99,
                peaks[peaks.len() - 1],
                100.0 * sample.server_cpu
            );
        });
        samples.push(sample);
        bar.inc(1);
    }
    bar.finish_and_clear();
    // The last three parts, because a single one may have been disturbed.
    let last_to_second = |what: fn(&load::Sample) -> f64| {
        Spread::of(samples.iter().rev().take(3).map(|last| what(last) / what(&samples[1])))
    };
    // The allocator's caches fill in the first two parts.
    let most = |peaks: &[f64]| peaks.iter().copied().fold(0.0, f64::max);
    let growth = most(&peaks[2..]) / most(&peaks[..2]);
    Ok(vec![
        Target {
            by_processor_time: Some(last_to_second(load::Sample::rate_of_a_core)),
            ..Target::new(
                format!(
                    "full load, {} tokens: throughput in each of the last three {seconds} s, to the second {seconds} s'",
                    tokens.len()
                ),
                Ok(last_to_second(|sample| sample.rate)),
                0.9,
                true,
            )
        },
        Target::new(
            format!("full load: peak memory after the first two {seconds} s, to that within them"),
            Ok(Spread::of([growth])),
            1.05,
            false,
        ),
    ])
}

/// Good traffic alone, then beside peers that pipeline requests and never read the answers, in turns.
fn silent_peers(args: &LoadArgs, root: &Path, server: &Server, at_rest: usize, prober: &Prober) -> Result<Vec<Target>> {
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 16, pause: 0, seconds: WITH_IDLE };
    let load = Load::new(load::folder(root, "soak", "beside"), prober, server, Work::Echo, true)?;
    load.run(server, pressure, None)?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut cost, mut slowest) = (0.0_f64, Duration::ZERO);
    for _ in 0..VISITS {
        alone.push(load.run(server, pressure, None)?.latencies);
        await_files(server, "to close wrk's connections", |open| open < at_rest + SPARE)?;
        server.forget_peak()?;
        let (resting, before, started) = (open_files(server)?, server.resident()?, Instant::now());
        let peers = Crowd::of_silent_peers(server, resting)?;
        beside.push(load.run(server, pressure, None)?.latencies);
        await_files(server, "to close the connections whose answers nobody reads", |open| open <= resting)?;
        cost = cost.max(server.peak()? - before);
        slowest = slowest.max(started.elapsed());
        drop(peers);
    }
    let who = format!("{SILENT} peers that pipeline {PIPELINED} requests and never read");
    Ok(vec![
        Target::new(format!("MB that {who} cost"), Ok(Spread::of([cost])), 64.0, false),
        Target::new(format!("seconds until {who} are closed"), Ok(Spread::of([slowest.as_secs_f64()])), 30.0, false),
        p99_beside(&who, alone, beside)?,
    ])
}

/// The p99 of good traffic beside others, to that without: at most three times. It is the p99 of all rounds together;
/// the ends of its range are those of single rounds.
fn p99_beside(whom: &str, alone: Vec<Latencies>, beside: Vec<Latencies>) -> Result<Target> {
    let p99 = |latencies| percentile(0.99, latencies).map(f64::from).context("there were no answers");
    let mut ratios = Vec::new();
    for (alone, beside) in alone.iter().zip(&beside) {
        ratios.push(p99(beside.clone())? / p99(alone.clone())?);
    }
    let (alone, beside) = (p99(alone.concat())?, p99(beside.concat())?);
    println!("p99 of all rounds: {:.2} ms alone, {:.2} ms beside {whom}", alone / 1e3, beside / 1e3);
    let what = format!("p99 of good traffic beside {whom}, to that without");
    let seen = Spread { median: beside / alone, ..Spread::of(ratios) };
    Ok(Target::new(what, Ok(seen), 3.0, false))
}

/// Good traffic alone, then beside connections that do nothing and senders that take their time, in turns.
fn idle_connections(
    args: &LoadArgs,
    idle: usize,
    root: &Path,
    server: &Server,
    at_rest: usize,
    prober: &Prober,
) -> Result<Vec<Target>> {
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 16, pause: 0, seconds: WITH_IDLE };
    let load = Load::new(load::folder(root, "soak", "echo"), prober, server, Work::Echo, true)?;
    load.run(server, pressure, None)?;
    let token = prober.issuer.token(0)?;
    // All rounds' answers count together: one round's p99 depends on what else the machine did in these two seconds.
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let unloaded = load.run(server, pressure, None)?;
        await_files(server, "to close wrk's connections", |open| open < at_rest + SPARE)?;
        let crowd = Crowd::gather(server, at_rest, idle, &token)?;
        let loaded = load.run(server, pressure, None)?;
        let (open, resident) = (open_files(server)?, server.resident()?);
        ensure!(
            open + SPARE >= at_rest + idle + SLOW,
            "of {idle} idle connections and {SLOW} slow senders the server has closed {} too early",
            at_rest + idle + SLOW - open
        );
        await_files(server, "to close the idle connections", |open| open <= at_rest + SPARE + SLOW)?;
        println!(
            "p99 {:.2} ms alone, {:.2} ms beside {open} open files in the server, {resident:.1} MB resident; then it \
             closed the idle ones",
            unloaded.p99, loaded.p99
        );
        drop(crowd);
        alone.push(unloaded.latencies);
        beside.push(loaded.latencies);
    }
    let whom = format!("{idle} idle connections and {SLOW} slow senders");
    Ok(vec![p99_beside(&whom, alone, beside)?])
}
