//! The command line.

use std::{
    fs,
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::{
    check::Check,
    checks,
    context::Settings,
    http::Http,
    login::terminal::SECRET,
    model::{Outcome, Revision, Unmet},
    policy::{Baseline, Policy},
    report,
    run::{Results, run},
};

mod ways;

const AFTER: &str = "\
Ways to tokens:
  --token-file FILE   tokens that you have, as JSON:
                      {\"tokens\": [{\"token\": \"eyJ…\", \"scopes\": \"mcp:read mcp:tools\"},
                                  {\"token\": \"eyJ…\", \"scopes\": \"\"},
                                  {\"token\": \"eyJ…\", \"audience\": \"https://other.example/mcp\"}]}
                      `scopes`: what it was granted, if you know. `audience`: it is for another server.
  --mock-issuer[=URL] auth-check is the authorization server. Tell yours to trust the issuer that it names.
  --issuer-key FILE   the private key of a development issuer that your server trusts already.
  --login             log in with your browser, four or five times mostly, and at most 16. The client is yours
                      (--client-id, perhaps the https URL of its metadata document), or it registers (--active).

The policy file:
  fail-under = \"SHOULD\"                what is only a MAY does not fail the run
  [[ignore]]
  check = \"TOK-15\"
  reason = \"our provider sends no typ\"
  until = 2027-03-31                    the last day

Exit codes: 0 nothing found, 1 findings, 2 usage, 3 what was required could not be run.";

/// How many seconds a server that trusts the mock issuer has to start.
const PATIENCE: u32 = 60;

/// Judges the authorization of an MCP server.
#[derive(Parser)]
#[command(name = "auth-check", version, after_help = AFTER, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: CheckArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Lists all checks
    List,
    /// Says all about a check
    Explain {
        /// Its id, such as CHAL-01
        id: String,
    },
}

#[derive(Args)]
struct CheckArgs {
    /// The MCP endpoint, such as http://localhost:9000/mcp
    url: Option<Url>,
    /// The revision of MCP to hold the server against
    #[arg(long, value_name = "DATE", default_value = "2026-07-28")]
    revision: Revision,
    /// A host that is yours: only those that are named here are asked, and loopback if the endpoint is there (repeatable)
    #[arg(long, value_name = "HOST")]
    mine: Vec<String>,
    /// A file with tokens (see below)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Be the authorization server, under this URL
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "http://localhost:9099", conflicts_with = "issuer_key")]
    mock_issuer: Option<Url>,
    /// The address to bind the mock issuer to, if it is not the URL's port on 127.0.0.1
    #[arg(long, value_name = "ADDRESS", requires = "mock_issuer")]
    mock_bind: Option<SocketAddr>,
    /// The private key (PEM) of an issuer that the server trusts
    #[arg(long, value_name = "FILE")]
    issuer_key: Option<PathBuf>,
    /// That issuer's name; default: the endpoint's origin
    #[arg(long, value_name = "URL", requires = "issuer_key")]
    issuer: Option<String>,
    /// Log in with the browser of this computer
    #[arg(long)]
    login: bool,
    /// Do not open the browser: print each address, and read the one that the browser ends at
    #[arg(long, requires = "login")]
    paste: bool,
    /// The client that logs in; without it, one that registers (--active)
    #[arg(long, value_name = "ID", requires = "login")]
    client_id: Option<String>,
    /// Its secret, if it has one; better given in the environment
    #[arg(long, value_name = "SECRET", requires = "client_id", env = SECRET, hide_env_values = true)]
    client_secret: Option<String>,
    /// Its redirect URI, as it is registered; default: a port of this computer
    #[arg(long, value_name = "URL", requires = "login")]
    redirect_uri: Option<Url>,
    /// Allow what leaves something behind: it registers clients named auth-check
    #[arg(long)]
    active: bool,
    /// The resource that tokens are for; default: what the resource's metadata says, else the URL
    #[arg(long, value_name = "RESOURCE")]
    audience: Option<String>,
    /// What must have been run; default: what the given ways to tokens allow
    #[arg(long, value_name = "WAY")]
    require: Option<Require>,
    /// A file (TOML) that says what does not fail a run (see below)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The JSON report of an earlier run: what was found then does not fail this one
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write the report as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print no progress
    #[arg(long, short)]
    quiet: bool,
}

/// What must have been run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Require {
    /// A good token was let in
    Token,
    /// Somebody has logged in, and got a token
    LogIn,
    /// The same, and hostile tokens could be signed
    Key,
    /// Every check
    All,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// If it cannot be done at all.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Some(Command::List) => {
                anstream::print!("{}", report::text::list());
                anstream::println!("{} checks", checks::all().count());
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Explain { id }) => {
                let Some(check) = checks::find(&id) else {
                    eprintln!("auth-check: there is no check {id}; `auth-check list` shows all");
                    return Ok(ExitCode::from(2));
                };
                anstream::print!("{}", report::text::explain(check));
                Ok(ExitCode::SUCCESS)
            }
            None => Box::pin(check(self.check)).await,
        }
    }
}

async fn check(args: CheckArgs) -> Result<ExitCode> {
    let Some(url) = args.url.clone() else {
        eprintln!("auth-check: which server? Give the URL of its MCP endpoint; --help says more");
        return Ok(ExitCode::from(2));
    };
    if let Err(Unmet(what)) = Http::new(&url, args.mine.clone()).allows(&url) {
        eprintln!("auth-check: {url} is not on this machine. If it is yours, say so: {what}");
        return Ok(ExitCode::from(2));
    }
    if args.active {
        eprintln!(
            "auth-check: clients named auth-check will be registered at the authorization servers that {url} names"
        );
    }
    let policy = read(args.policy.as_deref(), Policy::read)?;
    let baseline = read(args.baseline.as_deref(), Baseline::read)?;
    let (tokens, attacker) = ways::given(&args, &url).await?;
    let can_sign = tokens.mint.is_some();
    let required = match args.require {
        Some(required) => vec![required],
        None => [(tokens.any(), Require::Token), (tokens.login.is_some(), Require::LogIn), (can_sign, Require::Key)]
            .into_iter()
            .filter_map(|(given, way)| given.then_some(way))
            .collect(),
    };
    let settings = Settings {
        target: url,
        revision: args.revision,
        mine: args.mine,
        tokens,
        attacker,
        audience: args.audience,
        active: args.active,
        patience: if args.mock_issuer.is_some() { PATIENCE } else { 0 },
    };
    let quiet = args.quiet || !std::io::stderr().is_terminal();
    let progress = |check: &Check, number: usize, of: usize| {
        if !quiet {
            eprint!("\r\u{1b}[K{number}/{of} {}", check.id);
        }
    };
    let results = run(settings, progress).await;
    if !quiet {
        eprint!("\r\u{1b}[K");
    }
    let mut results = match results {
        Ok(results) => results,
        Err(error) => {
            eprintln!("auth-check: {error:#}");
            return Ok(ExitCode::from(3));
        }
    };
    if let Some(baseline) = &baseline {
        baseline.apply(&mut results);
    }
    if let Some(policy) = &policy {
        for ended in policy.apply(&mut results, &chrono::Utc::now().date_naive().to_string()) {
            eprintln!("auth-check: {ended}");
        }
    }
    // First what needs no file: that one cannot be written must not lose it.
    anstream::print!("{}", report::text::report(&results));
    write(args.json.as_deref(), || format!("{:#}\n", report::json::report(&results)))?;
    write(args.sarif.as_deref(), || format!("{:#}\n", report::sarif::report(&results)))?;
    write(args.junit.as_deref(), || report::junit::report(&results, required.contains(&Require::All)))?;
    Ok(exit_code(&results, &required, can_sign))
}

fn exit_code(results: &Results, required: &[Require], can_sign: bool) -> ExitCode {
    let (_, _, not_run) = results.counts();
    if results.failing() > 0 {
        return ExitCode::from(1);
    }
    let passed = |id| results.outcome(id) == Some(&Outcome::Passed);
    let was_run = |way: &Require| match way {
        Require::Token => passed("TOK-01"),
        Require::LogIn => passed("FLOW-04"),
        Require::Key => passed("TOK-01") && can_sign,
        Require::All => not_run == 0,
    };
    if !required.iter().all(was_run) {
        eprintln!("auth-check: nothing was found, but what was required could not be run");
        return ExitCode::from(3);
    }
    ExitCode::SUCCESS
}

/// Reads a file, if there is one to read.
fn read<T>(path: Option<&Path>, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    let Some(path) = path else { return Ok(None) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("cannot use {}", path.display())).map(Some)
}

fn write(path: Option<&Path>, report: impl Fn() -> String) -> Result<()> {
    match path {
        Some(path) => fs::write(path, report()).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
    }
}
