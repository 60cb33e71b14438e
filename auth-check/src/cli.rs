//! The command line.

use std::{
    fs,
    future::pending,
    io::{IsTerminal, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use self::args::{CheckArgs, Require};
use crate::{
    check::Check,
    checks,
    context::{Context, Settings},
    http::Http,
    mask,
    model::{Outcome, Unmet},
    policy::{Baseline, Policy},
    report,
    run::{Results, ready, try_all},
    tokens::Given,
};

mod args;
mod ways;

const AFTER: &str = "\
Ways to tokens:
  --token-file FILE   tokens that you have, as JSON:
                      {\"tokens\": [{\"token\": \"eyJ…\", \"scopes\": \"mcp:read mcp:tools\"},
                                  {\"token\": \"eyJ…\", \"scopes\": \"\"},
                                  {\"token\": \"eyJ…\", \"audience\": \"https://other.example/mcp\"}]}
                      `scopes`: what it was granted, if you know. `audience`: it is for another server.
  --mock-issuer[=URL] auth-check is the authorization server. Tell yours to trust the issuer that it names.
                      Write --mock-issuer=URL, without a space.
  --issuer-key FILE   the private key of a development issuer that your server trusts already.
  --login             log in with your browser, six to eight times mostly, and at most 20. The client is yours
                      (--client-id, perhaps the https URL of its metadata document), or it registers (--active).

Certificates of https: those count that this computer trusts. On Linux, SSL_CERT_FILE=ca.pem names other authorities.

The policy file:
  fail-under = \"SHOULD\"                what is only a MAY does not fail the run
  [[ignore]]
  check = \"TOK-15\"
  reason = \"our provider sends no typ\"
  until = 2027-03-31                    the last day (UTC)

Exit codes: 0 nothing found, 1 findings, 2 usage, 3 what was required could not be run, 130 or 143 stopped (Ctrl-C, SIGTERM).";

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

impl Cli {
    /// Reads the arguments; if they cannot be read, ends the program.
    pub fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let args: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
            // The library would say that the URL is no subcommand.
            if args.windows(2).any(|two| two[0] == "--mock-issuer" && two[1].contains("://")) {
                eprintln!("auth-check: write --mock-issuer=URL, without a space");
                std::process::exit(2);
            }
            error.exit()
        })
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// If it cannot be done at all.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Some(Command::List) => {
                print(&format!("{}{} checks\n", report::text::list(), checks::all().count()))?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Explain { id }) => {
                let Some(check) = checks::find(&id) else {
                    eprintln!("auth-check: there is no check {id}; `auth-check list` shows all");
                    return Ok(ExitCode::from(2));
                };
                print(&report::text::explain(check))?;
                Ok(ExitCode::SUCCESS)
            }
            None => Box::pin(check(self.check)).await,
        }
    }
}

async fn check(args: CheckArgs) -> Result<ExitCode> {
    let url = args.target()?;
    if let Err(Unmet(what)) = Http::new(&url, args.mine.clone()).allows(&url) {
        eprintln!("auth-check: {} is not on this machine. If it is yours, say so: {what}", mask::url(&url));
        return Ok(ExitCode::from(2));
    }
    let policy = read(args.policy.as_deref(), Policy::read)?;
    let baseline = read(args.baseline.as_deref(), Baseline::read)?;
    let given = read(args.token_file.as_deref(), Given::read)?;
    let (tokens, attacker) = ways::given(&args, given.unwrap_or_default(), &url).await?;
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
    let context = match ready(settings).await {
        Ok(context) => context,
        Err(error) => {
            eprintln!("auth-check: {error:#}");
            return Ok(ExitCode::from(3));
        }
    };
    if context.active {
        for endpoint in context.registration_endpoints().await {
            eprintln!("auth-check: clients named auth-check will be registered at {}", mask::url(&endpoint));
        }
    }
    let mut results = tokio::select! {
        results = try_all(&context, progress) => results,
        code = told_to_stop() => {
            take_back(&context).await;
            return Ok(ExitCode::from(code));
        }
    };
    if !quiet {
        eprint!("\r\u{1b}[K");
    }
    if let Some(baseline) = &baseline {
        baseline.apply(&mut results);
    }
    if let Some(policy) = &policy {
        for ended in policy.apply(&mut results, &chrono::Utc::now().date_naive().to_string()) {
            eprintln!("auth-check: {ended}");
        }
    }
    // That one cannot be written must not lose the others.
    let written = [
        write(args.json.as_deref(), || format!("{:#}\n", report::json::report(&results))),
        write(args.sarif.as_deref(), || format!("{:#}\n", report::sarif::report(&results))),
        write(args.junit.as_deref(), || report::junit::report(&results, required.contains(&Require::All))),
        print(&report::text::report(&results)),
    ];
    let failed: Vec<_> = written.into_iter().filter_map(Result::err).collect();
    for error in &failed {
        eprintln!("auth-check: {error:#}");
    }
    if !failed.is_empty() {
        return Ok(ExitCode::from(2));
    }
    Ok(exit_code(&results, &required, can_sign))
}

/// Waits for Ctrl-C, or for a CI job's end (SIGTERM). Returns the exit code of a program that a signal has stopped, as shells
/// say it.
async fn told_to_stop() -> u8 {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else { return pending().await };
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}

/// Takes back what a run has registered that was stopped; who stops that too does not wait for it.
async fn take_back(context: &Context) {
    if context.active {
        eprintln!("\nauth-check: stopped; clients that were registered are taken back");
    }
    tokio::select! {
        () = context.leave() => {}
        _ = told_to_stop() => {}
    }
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

/// Prints a text; its colours only where there is a terminal.
fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the report to stdout")
}

fn write(path: Option<&Path>, report: impl Fn() -> String) -> Result<()> {
    match path {
        Some(path) => fs::write(path, report()).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
    }
}
