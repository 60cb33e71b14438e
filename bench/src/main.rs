//! Measures step 4 beside a bare actix-web handler that gives the same answer, in one run.
//!
//! Each contender has one core, the load generator (`wrk`) the other. Rounds alternate between the
//! contenders, so that a noisy machine hits both alike; every answer's content is checked.

use std::{
    fs,
    io::{BufRead, BufReader, IsTerminal},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use escargot::CargoBuild;

/// Requests/s of step 4 and of a bare actix-web handler, and their ratio.
#[derive(Parser)]
#[command(
    version,
    after_help = "Run it with --release. It needs wrk and taskset (Debian: wrk, util-linux) and two cores."
)]
struct Args {
    /// Rounds for each contender
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a round, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Fail if step 4 reaches less than this part of the bare handler's requests/s
    #[arg(long, value_name = "RATIO")]
    at_least: Option<f64>,
}

const BODY: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}],"structuredContent":{"text":"hello"},"isError":false}}"#;

struct Contender {
    name: &'static str,
    child: Child,
    url: String,
    rounds: Vec<f64>,
}

impl Contender {
    fn start(name: &'static str, program: &Path, args: &[&str], folder: &Path) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args(args)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run taskset (Debian: util-linux)")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let Some(url) = line.trim_end().strip_prefix("listening on ") else { bail!("{name} did not start") };
        Ok(Contender { name, child, url: format!("{url}/mcp"), rounds: Vec::new() })
    }

    /// Requests/s over so many seconds. One wrong answer is a failure of the whole measurement.
    fn measure(&self, script: &Path, seconds: u32) -> Result<f64> {
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "-t1", "-c16", &format!("-d{seconds}s"), "-s"])
            .arg(script)
            .arg(&self.url)
            .output()
            .context("cannot run wrk (Debian: wrk)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        ensure!(value("wrong answers:") == Some("0"), "{}: wrong answers or none:\n{text}", self.name);
        value("Requests/sec:").context("wrk printed no result")?.parse().context("wrk printed no number")
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    ensure!(std::thread::available_parallelism()?.get() >= 2, "two cores are needed: one each for server and load");
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("echo.lua");
    fs::write(&script, lua())?;
    eprintln!("building …");
    let mut contenders = [
        Contender::start("bare", &program("bench", "bare")?, &[], folder.path())?,
        Contender::start("step4", &program("step4", "step4")?, &["--port", "0"], folder.path())?,
    ];
    for contender in &contenders {
        contender.measure(&script, 1)?; // warm up
    }
    for round in 1..=args.rounds {
        if std::io::stderr().is_terminal() {
            eprint!("\rround {round} of {} …{}", args.rounds, if round == args.rounds { "\n" } else { "" });
        }
        for contender in &mut contenders {
            let rate = contender.measure(&script, args.seconds)?;
            contender.rounds.push(rate);
        }
    }
    let limit = median(&contenders[0].rounds);
    println!("{:<8}{:>12}{:>22}{:>10}", "", "requests/s", "range", "ratio");
    for contender in &contenders {
        let (low, high) =
            contender.rounds.iter().fold((f64::MAX, 0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        let middle = median(&contender.rounds);
        println!("{:<8}{middle:>12.0}{:>22}{:>10.2}", contender.name, format!("{low:.0}–{high:.0}"), middle / limit);
    }
    let ratio = median(&contenders[1].rounds) / limit;
    if args.at_least.is_some_and(|least| ratio < least) {
        eprintln!("step 4 is slower than asked for");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn median(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn program(package: &str, bin: &str) -> Result<PathBuf> {
    let build = CargoBuild::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .package(package)
        .bin(bin)
        .release();
    Ok(build.run().with_context(|| format!("cannot build {package}"))?.path().to_owned())
}

/// What wrk sends, and how it checks what comes back.
fn lua() -> String {
    format!(
        "wrk.method = 'POST'
         wrk.headers['Content-Type'] = 'application/json'
         wrk.body = '{BODY}'
         local threads = {{}}
         wrong = 0
         function setup(thread) table.insert(threads, thread) end
         function response(status, headers, body) if status ~= 200 or body ~= '{ANSWER}' then wrong = wrong + 1 end end
         function done(summary)
           local sum = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
           for _, thread in ipairs(threads) do sum = sum + thread:get('wrong') end
           print('wrong answers: ' .. math.floor(sum))
         end"
    )
}
