//! Measures the steps beside a bare actix-web handler and beside what others build MCP servers with, in one run.
//!
//! Each server has one core, the load generator (`wrk`) another. Rounds alternate between the contenders, so that a
//! noisy machine hits all alike; every answer's content is checked. The map: [`contender`] says who takes part and
//! how each is built, [`process`] starts and watches them, [`tokens`] signs what is sent, [`work`] has the requests
//! and judges the answers, [`load`] runs wrk, [`measure`] goes round, [`report`] shows it; [`soak`] is another kind
//! of measurement: long, and with many connections, which [`crowd`] holds. `grants` measures what people and machines ask of an
//! authorization server, which [`replica`] and [`people`] do.

mod contender;
mod crowd;
#[cfg(feature = "grants")]
mod grants;
mod load;
mod measure;
mod numbers;
#[cfg(feature = "grants")]
mod people;
mod process;
#[cfg(feature = "grants")]
mod replica;
mod report;
mod soak;
mod tokens;
#[path = "../../tests/src/unset.rs"]
mod unset;
mod work;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use common::server;

use crate::{contender::Contender, soak::SoakArgs, work::Work};

/// Requests/s, latency and memory of the steps and of other MCP servers, and their ratios.
///
/// It needs wrk, taskset and setpriv (Debian: wrk, util-linux) and two cores. Contenders in Go, JavaScript and
/// Python take part where the tool is there; they are installed below target/ (Node's beside their source).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    measure: MeasureArgs,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Full load for a long time, then peers that never read, then 10,000 idle connections: does anything grow, or give
    /// way?
    Soak(SoakArgs),
    /// Full load for a long time on step 12 with a real PostgreSQL, while people log in, machines get tokens, and notes are
    /// saved: does anything grow?
    #[cfg(feature = "grants")]
    SoakPostgres(soak::LoadArgs),
    /// Access tokens, whole log-ins and notes in a second: step 12 on SQLite and on PostgreSQL, and a real Keycloak
    ///
    /// It needs PostgreSQL's programs (Debian: postgresql). Without Java 17, or Maven, Keycloak is left out.
    #[cfg(feature = "grants")]
    Grants(grants::GrantsArgs),
}

#[derive(clap::Args)]
struct MeasureArgs {
    /// Rounds for each contender
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a round, in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections of the load generator
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Only this contender (repeatable), e.g. step9
    #[arg(long, value_name = "NAME", value_parser = Contender::named)]
    only: Vec<&'static Contender>,
    /// Only this kind of work (repeatable)
    #[arg(long, value_enum)]
    work: Vec<Work>,
    /// Fail if a target is missed in every round (on a noisy machine the median alone proves nothing); leave out what CI has no use for: contenders not in Rust,
    /// other work than echo and tokens
    #[arg(long)]
    check: bool,
    /// With --check: all contenders and all work nevertheless
    #[arg(long)]
    all: bool,
    /// Print everything as JSON, each round's numbers too
    #[arg(long)]
    json: bool,
    /// Put the outcome into bench/README.md
    #[arg(long)]
    readme: bool,
    /// The core of the servers
    #[arg(long, default_value = "0")]
    server_cpu: String,
    /// The core of the load generator: another real one, not the same one's second thread
    #[arg(long, default_value = "1")]
    load_cpu: String,
}

impl MeasureArgs {
    fn wants(&self, contender: &Contender) -> bool {
        let chosen = self.only.is_empty() || self.only.iter().any(|one| one.name == contender.name);
        let short = self.check && !self.all && self.only.is_empty();
        chosen && (contender.in_rust() || !short) && contender.works.iter().any(|work| self.does(*work))
    }

    fn does(&self, work: Work) -> bool {
        let short = self.check && !self.all && self.work.is_empty();
        if short {
            matches!(work, Work::Echo | Work::Tokens)
        } else {
            self.work.is_empty() || self.work.contains(&work)
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        None => run(&args.measure),
        Some(Subcommands::Soak(args)) => soak::soak(args),
        #[cfg(feature = "grants")]
        Some(Subcommands::SoakPostgres(args)) => replica::soak_postgres(args),
        #[cfg(feature = "grants")]
        Some(Subcommands::Grants(args)) => grants::grants(args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => server::exit(Err(error)),
    }
}

/// Returns whether the run succeeded.
fn run(args: &MeasureArgs) -> Result<bool> {
    ensure!(std::thread::available_parallelism()?.get() >= 2, "two cores are needed: one each for server and load");
    let report = measure::measure(args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}\n{}", report.table(), report.targets());
    }
    if args.readme {
        write_readme(&report.markdown())?;
    }
    Ok(!args.check || !report.targets.iter().any(report::Target::fails))
}

/// Replaces what stands between the marks.
fn write_readme(text: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&file)?;
    let (begin, end) = ("<!-- measured -->\n", "<!-- /measured -->\n");
    let (before, rest) = readme.split_once(begin).context("bench/README.md has no place for the outcome")?;
    let (_, after) = rest.split_once(end).context("bench/README.md has no place for the outcome")?;
    Ok(fs::write(file, format!("{before}{begin}{text}{end}{after}"))?)
}
