//! Measures steps beside a bare actix-web handler that gives the same answer, in one run.
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
use common::{
    claims::{Audience, Claims, NumericDate, Scopes},
    keys::KeyPair,
};
use escargot::CargoBuild;
use jsonwebtoken::{Algorithm, Header};

/// Requests/s of steps 4, 6 and 9 and of a bare actix-web handler, and their ratios.
#[derive(Parser)]
#[command(version, after_help = "It needs wrk and taskset (Debian: wrk, util-linux) and two cores.")]
struct Args {
    /// Rounds for each contender
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a round, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Fail if a ratio is less than it should be: step 4 to bare 0.6, step 9 to step 4 0.8 (1,000 tokens: 0.75)
    #[arg(long)]
    check: bool,
}

const BODY: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#;
/// What every right answer begins with; step 9 adds who asked.
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}],"structuredContent":{"text":"hello"},"isError":false"#;

struct Contender {
    name: &'static str,
    child: Child,
    url: String,
    script: PathBuf,
    rounds: Vec<f64>,
}

impl Contender {
    /// Starts it on the first core; requests carry one token after the other, if there are `tokens`.
    fn start(name: &'static str, program: &Path, args: &[&str], folder: &Path, tokens: usize) -> Result<Self> {
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
        let script = folder.join(format!("{}.lua", name.replace(' ', "-")));
        let tokens = (0..tokens).map(|number| token(url, &folder.join("keys"), number)).collect::<Result<Vec<_>>>()?;
        fs::write(&script, lua(&tokens))?;
        Ok(Contender { name, child, url: format!("{url}/mcp"), script, rounds: Vec::new() })
    }

    /// Requests/s over so many seconds. One wrong answer is a failure of the whole measurement.
    fn measure(&self, seconds: u32) -> Result<f64> {
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "-t1", "-c16", &format!("-d{seconds}s"), "-s"])
            .arg(&self.script)
            .arg(&self.url)
            .output()
            .context("cannot run wrk (Debian: wrk)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        ensure!(value("wrong answers:") == Some("0"), "{}: wrong answers or none:\n{text}", self.name);
        value("Requests/sec:").context("wrk printed no result")?.parse().context("wrk printed no number")
    }
}

impl Contender {
    /// The most memory it ever had.
    fn peak_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
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
    eprintln!("building …");
    let step = |name, package, args: &[&str], tokens| {
        Contender::start(name, &program(package, package)?, &[&["--port", "0"], args].concat(), folder.path(), tokens)
    };
    let other = ["--database", "other.db", "--auth-database", "other-auth.db"];
    let mut contenders = [
        Contender::start("bare", &program("bench", "bare")?, &[], folder.path(), 0)?,
        step("step4", "step4", &[], 0)?,
        step("step6", "step6", &[], 1)?,
        step("step9", "step9", &[], 1)?,
        step("step9, 1000 tokens", "step9", &other, 1000)?,
    ];
    for contender in &contenders {
        contender.measure(1)?; // warm up
    }
    for round in 1..=args.rounds {
        if std::io::stderr().is_terminal() {
            eprint!("\rround {round} of {} …{}", args.rounds, if round == args.rounds { "\n" } else { "" });
        }
        for contender in &mut contenders {
            let rate = contender.measure(args.seconds)?;
            contender.rounds.push(rate);
        }
    }
    let limit = median(&contenders[0].rounds);
    println!("{:<20}{:>12}{:>18}{:>10}{:>12}", "", "requests/s", "range", "to bare", "peak MiB");
    for contender in &contenders {
        let (low, high) =
            contender.rounds.iter().fold((f64::MAX, 0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        let middle = median(&contender.rounds);
        let (range, ratio, peak) = (format!("{low:.0}–{high:.0}"), middle / limit, contender.peak_mib()?);
        println!("{:<20}{middle:>12.0}{range:>18}{ratio:>10.2}{peak:>12.1}", contender.name);
    }
    let ratio = |one: usize, other: usize| median(&contenders[one].rounds) / median(&contenders[other].rounds);
    let mut code = ExitCode::SUCCESS;
    for (one, other, least) in [(1, 0, 0.6), (3, 1, 0.8), (4, 1, 0.75)] {
        let (seen, one, other) = (ratio(one, other), contenders[one].name, contenders[other].name);
        println!("{one} is at {seen:.2} of {other}; it should be at {least} at least");
        if args.check && seen < least {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
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

/// A token for the user of this number.
fn token(server: &str, keys: &Path, number: usize) -> Result<String> {
    let keys = KeyPair::load_or_create(keys)?;
    let claims = Claims {
        iss: server.to_owned(),
        aud: Audience::One(format!("{server}/mcp")),
        sub: format!("user_{number}"),
        preferred_username: Some(format!("user{number}")),
        client_id: Some("bench".to_owned()),
        scope: Scopes::parse("mcp:read mcp:tools").map_err(anyhow::Error::msg)?,
        roles: Some(vec!["user".to_owned()]),
        iat: None,
        exp: NumericDate(4e9),
        nbf: None,
        jti: Some(number.to_string()),
    };
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &keys.encoding_key)?)
}

/// What wrk sends, and how it checks what comes back.
fn lua(tokens: &[String]) -> String {
    let tokens: Vec<_> = tokens.iter().map(|token| format!("'{token}'")).collect();
    format!(
        "local tokens = {{ {} }}
         local turn = 0
         wrk.method = 'POST'
         wrk.headers['Content-Type'] = 'application/json'
         wrk.body = '{BODY}'
         local requests = {{}}
         function init(args)
           if #tokens == 0 then requests[1] = wrk.format() end
           for number, token in ipairs(tokens) do
             wrk.headers['Authorization'] = 'Bearer ' .. token
             requests[number] = wrk.format()
           end
         end
         function request()
           turn = turn % #requests + 1
           return requests[turn]
         end
         local threads = {{}}
         wrong = 0
         local answer = '{ANSWER}'
         function setup(thread) table.insert(threads, thread) end
         function response(status, headers, body)
           if status ~= 200 or string.sub(body, 1, #answer) ~= answer then wrong = wrong + 1 end
         end
         function done(summary)
           local sum = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
           for _, thread in ipairs(threads) do sum = sum + thread:get('wrong') end
           print('wrong answers: ' .. math.floor(sum))
         end",
        tokens.join(", ")
    )
}
