//! The load: wrk, with a script that sends one token after the other and compares every answer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{
    numbers::percentile,
    process::{Server, children_cpu_seconds, pinned},
    work::{Prober, Work},
};

const SCRIPT: &str = include_str!("load.lua");

/// Requests that are ready to be sent, and the answers they must get.
pub struct Load {
    folder: PathBuf,
    host: String,
    status: u16,
}

/// How hard, and where from.
#[derive(Clone, Copy)]
pub struct Pressure<'a> {
    /// The generator's own cores, one thread on each.
    pub cpus: &'a str,
    pub threads: u32,
    pub connections: u32,
    /// How long each connection waits before it sends again: any time up to twice this, in milliseconds. With 0 it sends at
    /// once, as much as the server can take.
    pub pause: u32,
    pub seconds: u32,
}

/// The result of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Right answers in a second.
    pub rate: f64,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
    /// A number of microseconds, and how many answers took that long.
    #[serde(skip)]
    pub latencies: Vec<(u32, u32)>,
    /// The share of its core that the server used. Below 1, the server was not the bottleneck.
    pub server_cpu: f64,
    /// The same of the load generator.
    pub load_cpu: f64,
    /// Refusals in a second, beside.
    pub refused: Option<f64>,
}

impl Sample {
    /// Right answers per second of the server's own processor time: the rate if no other program used the core and wrk
    /// were never late.
    pub fn rate_of_a_core(&self) -> f64 {
        self.rate / self.server_cpu
    }
}

impl Load {
    /// Gets the server's answers and checks them. The load then expects exactly these.
    ///
    /// # Errors
    /// If an answer is wrong.
    pub fn new(folder: PathBuf, prober: &Prober, server: &Server, work: Work, with_token: bool) -> Result<Self> {
        let tokens = if with_token {
            (0..work.tokens()).map(|n| prober.issuer.token(n)).collect::<Result<_>>()?
        } else {
            vec![String::new()]
        };
        let answers = prober.answers(&server.host, work, with_token, work.tokens())?;
        Self::write(folder, server, work, with_token, &tokens, &answers, 200)
    }

    /// Tokens that are refused, each another one.
    ///
    /// # Errors
    /// If they are not refused.
    pub fn forged(folder: PathBuf, prober: &Prober, server: &Server) -> Result<Self> {
        let answers = prober.refusal(&server.host)?;
        Self::write(folder, server, Work::Echo, true, &[prober.issuer.forged()?], &answers, 401)
    }

    /// The same with any tokens.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn write(
        folder: PathBuf,
        server: &Server,
        work: Work,
        with_token: bool,
        tokens: &[String],
        answers: &BTreeSet<String>,
        status: u16,
    ) -> Result<Self> {
        let (head, tail) = work.raw(&server.host, with_token);
        let lines =
            |lines: &mut dyn Iterator<Item = &String>| lines.fold(String::new(), |text, line| text + line + "\n");
        fs::create_dir_all(&folder)?;
        for (name, text) in [
            ("head", head),
            ("tail", tail),
            ("tokens", lines(&mut tokens.iter())),
            ("answers", lines(&mut answers.iter())),
            ("load.lua", SCRIPT.to_owned()),
        ] {
            fs::write(folder.join(name), text)?;
        }
        Ok(Load { folder, host: server.host.clone(), status })
    }

    fn wrk(&self, pressure: Pressure) -> Command {
        let Pressure { cpus, threads, connections, pause, seconds } = pressure;
        let mut wrk = Command::new("wrk");
        wrk.args([format!("-t{threads}"), format!("-c{connections}"), format!("-d{seconds}s"), "-s".to_owned()])
            .arg(self.folder.join("load.lua"))
            .arg(format!("http://{}/mcp", self.host))
            .arg("--")
            .arg(&self.folder)
            .args([self.status.to_string(), pause.to_string()]);
        pinned(cpus, &wrk)
    }

    /// Runs the load, with another one beside it if given. One wrong answer fails the whole measurement, since a fast
    /// wrong answer is worthless.
    ///
    /// # Errors
    /// If wrk cannot run, an answer is wrong, or a connection breaks.
    pub fn run(&self, server: &Server, pressure: Pressure, beside: Option<&Load>) -> Result<Sample> {
        let (server_cpu, load_cpu) = (server.cpu_seconds()?, children_cpu_seconds()?);
        let beside =
            beside.map(|load| load.wrk(pressure).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()).transpose()?;
        let output = self.wrk(pressure).output();
        let beside = beside.map(std::process::Child::wait_with_output).transpose()?;
        let good = Counts::read(&output.context("cannot run wrk")?)?;
        let refused = beside.as_ref().map(Counts::read).transpose()?;
        let cpu = |from: f64, to: f64| (to - from) / good.seconds;
        Ok(Sample {
            rate: good.rate(),
            p50: good.percentile(0.5)?,
            p99: good.percentile(0.99)?,
            latencies: good.latencies,
            server_cpu: cpu(server_cpu, server.cpu_seconds()?),
            load_cpu: cpu(load_cpu, children_cpu_seconds()?),
            refused: refused.map(|counts| counts.rate()),
        })
    }
}

/// What `load.lua` prints.
struct Counts {
    right: f64,
    seconds: f64,
    latencies: Vec<(u32, u32)>,
}

impl Counts {
    fn read(output: &Output) -> Result<Self> {
        let text = String::from_utf8_lossy(&output.stdout);
        let problem = || format!("wrk said:\n{}{text}", String::from_utf8_lossy(&output.stderr));
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.with_context(problem)
        };
        let value = |name| line(name)?.parse::<f64>().with_context(problem);
        ensure!(value("wrong")? == 0.0, "there were wrong answers: {}", problem());
        ensure!(value("broken")? == 0.0, "connections broke: {}", problem());
        let (right, seconds) = (value("right")?, value("microseconds")? / 1e6);
        ensure!(right > 0.0 && seconds > 0.0, "there were no answers: {}", problem());
        let latencies = line("latencies")?.split_whitespace().map(|pair| {
            let (micros, count) = pair.split_once('*').with_context(problem)?;
            Ok((micros.parse().with_context(problem)?, count.parse().with_context(problem)?))
        });
        let latencies = latencies.collect::<Result<_>>()?;
        Ok(Counts { right, seconds, latencies })
    }

    fn rate(&self) -> f64 {
        self.right / self.seconds
    }

    /// Milliseconds.
    fn percentile(&self, part: f64) -> Result<f64> {
        let micros = percentile(part, self.latencies.iter().copied()).context("wrk counted no latencies")?;
        Ok(f64::from(micros) / 1e3)
    }
}

/// A folder below this one that no other load uses.
pub fn folder(root: &Path, contender: &str, work: &str) -> PathBuf {
    root.join("load").join(format!("{contender} {work}").replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}
