//! A long time at full load with more tokens than step 9 remembers, then peers that pipeline requests and never read,
//! then thousands of connections that do nothing: what grows, what gives way?

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
};

use crate::{
    contender::{self, Contender},
    load::{self, Load, Pressure},
    numbers::{Spread, percentile},
    process::Server,
    report::Target,
    tokens::{Issuer, SERVER},
    work::{Prober, Work},
};

/// The time is cut into so many parts, a minute each of ten.
const WINDOWS: u32 = 10;
/// Rounds of the comparison with idle connections.
const ROUNDS: u32 = 8;
/// Senders that send a request's body byte by byte.
const SLOW: usize = 100;
/// How long, in seconds, good traffic is measured beside idle connections: the server closes them after five.
const WITH_IDLE: u32 = 2;
/// How many connect at once: no more than fit into a listening socket's queue.
const BATCH: usize = 500;
/// How long the server may take to accept a batch of connections, or to close what was opened.
const PATIENCE: Duration = Duration::from_secs(30);
/// Peers that never read their answers, how many requests each sends, and how often they come.
const SILENT: usize = 50;
const PIPELINED: usize = 4_000;
const VISITS: u32 = 3;
/// By how many its open files may differ from what is counted on: connections that are just closing.
const SPARE: usize = 10;

/// Latencies in µs, and how often each was seen.
type Latencies = Vec<(u32, u32)>;

#[derive(clap::Args)]
pub struct SoakArgs {
    /// How long at full load
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(20..=86_400))]
    seconds: u32,
    /// How many different tokens; signing 100,000 takes about a minute
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tokens: u32,
    /// How many idle connections; with 0 this part is left out
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(..=50_000))]
    idle: u32,
    /// The core of the server
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
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
    eprintln!("signing {} tokens …", args.tokens);
    let started = Instant::now();
    let tokens = issuer.tokens(usize::try_from(args.tokens)?)?;
    eprintln!("signed in {:.0} s", started.elapsed().as_secs_f64());

    // From here on the bench itself must not run where the server does.
    let mut load_cpu = CpuSet::new();
    load_cpu.set(args.load_cpu);
    sched_setaffinity(None, &load_cpu).context("cannot choose the core of the load")?;
    let server = Server::start(&args.server_cpu.to_string(), &command)?;
    let at_rest = open_files(&server)?;
    let prober = Prober::new(issuer)?;
    let mut targets = full_load(args, root, &server, &prober, &tokens)?;
    drop(tokens);
    targets.extend(silent_peers(args, root, &server, at_rest, &prober)?);
    if idle > 0 {
        targets.extend(idle_connections(args, idle, root, &server, at_rest, &prober)?);
    }
    let mut good = true;
    for target in &targets {
        println!("{}", target.line());
        good &= !target.fails();
    }
    Ok(good)
}

/// As many open files as the machine allows; too few for the connections is an error here, not a riddle later.
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
fn full_load(args: &SoakArgs, root: &Path, server: &Server, prober: &Prober, tokens: &[String]) -> Result<Vec<Target>> {
    let answers = prober.answers(&server.host, Work::Tokens, true, tokens.len())?;
    let load = Load::write(load::folder(root, "soak", "tokens"), server, Work::Tokens, true, tokens, &answers, 200)?;
    let seconds = args.seconds / WINDOWS;
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 64, seconds };
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
    // The last three parts, as one alone may have been disturbed.
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
fn silent_peers(args: &SoakArgs, root: &Path, server: &Server, at_rest: usize, prober: &Prober) -> Result<Vec<Target>> {
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 16, seconds: WITH_IDLE };
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

/// The p99 of good traffic beside others, to that without: at most three times. It is that of all rounds together; the
/// ends of its range are single rounds'.
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
    args: &SoakArgs,
    idle: usize,
    root: &Path,
    server: &Server,
    at_rest: usize,
    prober: &Prober,
) -> Result<Vec<Target>> {
    let cpus = args.load_cpu.to_string();
    let pressure = Pressure { cpus: &cpus, threads: 1, connections: 16, seconds: WITH_IDLE };
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

/// Waits until the server has so many open files.
fn await_files(server: &Server, what: &str, enough: impl Fn(usize) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !enough(open_files(server)?) {
        ensure!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} for the server {what}: it has {} files open",
            open_files(server)?
        );
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn open_files(server: &Server) -> Result<usize> {
    Ok(fs::read_dir(server.proc("fd"))?.count())
}

/// Those who hold connections open; they go when it is dropped.
struct Crowd {
    _runtime: Runtime,
}

impl Crowd {
    fn gather(server: &Server, at_rest: usize, idle: usize, token: &str) -> Result<Self> {
        let host = &server.host;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (head, tail) = Work::Echo.raw(host, true);
        let request: Arc<str> = format!("{head}{token}{tail}").into();
        for number in 0..idle {
            let (host, request) = (host.to_owned(), Arc::clone(&request));
            runtime.spawn(async move { wait_to_be_closed(&host, &request, number).await });
            if number % BATCH == BATCH - 1 || number == idle - 1 {
                await_files(server, "to accept the idle connections", |open| open + SPARE > at_rest + number)?;
            }
        }
        for _ in 0..SLOW {
            let (host, request) = (host.to_owned(), Arc::clone(&request));
            runtime.spawn(async move {
                loop {
                    let _ = send_slowly(&host, request.as_bytes()).await; // the server may end it, and it comes again
                }
            });
        }
        await_files(server, "to accept the slow senders", |open| open + SPARE >= at_rest + idle + SLOW)?;
        Ok(Crowd { _runtime: runtime })
    }

    fn of_silent_peers(server: &Server, resting: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        for _ in 0..SILENT {
            let host = server.host.clone();
            runtime.spawn(async move {
                let mut stream = TcpStream::connect(&host).await?;
                let requests = format!("GET /docs HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(PIPELINED);
                let sent = stream.write_all(requests.as_bytes()).await; // it may be closed while it sends
                std::future::pending::<()>().await;
                sent
            });
        }
        await_files(server, "to accept those who never read", |open| open >= resting + SILENT)?;
        Ok(Crowd { _runtime: runtime })
    }
}

/// A connection without a request, with half of one's head, or with one that has been answered.
async fn wait_to_be_closed(host: &str, request: &str, number: usize) -> Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    let sent = match number % 3 {
        0 => "",
        1 => "POST /mcp HTTP/1.1\r\nHost: ",
        _ => request,
    };
    stream.write_all(sent.as_bytes()).await?;
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await?;
    Ok(())
}

/// Head and token at once, the body a byte each half second.
async fn send_slowly(host: &str, request: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    let body = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no body")? + 4;
    stream.write_all(&request[..body]).await?;
    for byte in &request[body..] {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
