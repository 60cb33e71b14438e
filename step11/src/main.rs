//! Step 11: an OAuth client for MCP, which a person can use from the terminal.
//!
//! The map: [`mcp`] speaks MCP, and sends each request through [`flow`], which is the authorization flow. Where a server
//! turns a request away, [`challenge`] reads why, [`metadata`] finds out who gives tokens, [`registration`] is who we are
//! there, [`authorize`] takes a person to the log-in and back, [`token`] gets tokens, [`dpop`] binds them to a key, and
//! [`store`] keeps them. [`http`] is the one way out, and holds what is true of every exchange ([`event_stream`] reads answers that come as events,
//! [`document`] documents, [`words`] refusals); [`trace`] shows them.
//! [`commands`] are what a person can ask for; [`arguments`] makes what was typed into what a tool takes, and [`terminal`] makes safe what a server has us print.

mod arguments;
mod authorize;
mod challenge;
mod commands;
mod conformance;
mod document;
mod dpop;
mod event_stream;
mod failure;
mod flow;
mod http;
mod mcp;
mod metadata;
mod registration;
mod settings;
mod store;
mod terminal;
mod token;
mod trace;
mod words;

use std::{io::Write, process::ExitCode, sync::Arc};

use clap::{
    Parser, Subcommand,
    builder::styling::{AnsiColor, Style},
};
use serde_json::json;

use crate::{
    commands::Output,
    failure::{Failure, Kind, Result},
    flow::Flow,
    http::Http,
    mcp::Session,
    settings::{Options, Settings},
    store::Store,
    trace::{Secrets, Trace},
};

/// The longest error message, in characters.
const LONGEST: usize = 1_000;
const HELP: &str = "Try, with a server running (cargo run -p step9):
  step11 tools
  step11 call echo message=hi repeat_count=3
  step11 trace whoami

Exit codes:
  0  all went well
  1  a problem of this computer
  2  wrong arguments
  3  the server cannot be reached, or does not speak MCP
  4  authorization failed
  5  the tool failed";

/// An OAuth client for MCP: give it a server's address, and it does the rest.
#[derive(Parser)]
#[command(version, after_help = HELP)]
struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Log in, whoever is logged in now
    Login,
    /// Withdraw the tokens, and forget them and all registrations
    Logout,
    /// Show what is kept for this server
    Status,
    /// List the tools
    Tools,
    /// Call a tool
    Call {
        /// Its name, as `tools` lists it
        tool: String,
        /// name=value, typed by the tool's inputSchema
        arguments: Vec<String>,
    },
    /// List the prompts
    Prompts,
    /// Get a prompt
    Prompt {
        /// Its name, as `prompts` lists it
        name: String,
        /// name=value
        arguments: Vec<String>,
    },
    /// Call a tool, and show each exchange: numbered, explained, without secrets
    Trace {
        /// Its name, as `tools` lists it
        tool: String,
        /// name=value, typed by the tool's inputSchema
        arguments: Vec<String>,
    },
    /// Take part in the official conformance suite, which sets the environment
    Conformance {
        /// The suite's MCP server
        url: String,
    },
}

#[actix_web::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Whatever this run learns that is secret must stay out of whatever it says.
    let secrets = Arc::new(Secrets::default());
    match run(&args, &secrets).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, &secrets, args.options.json);
            failure.kind.exit_code()
        }
    }
}

async fn run(args: &Args, secrets: &Arc<Secrets>) -> Result<()> {
    if let Command::Conformance { url } = &args.command {
        return conformance::run(url, secrets).await;
    }
    let options = &args.options;
    let settings = Settings::try_from(options)?;
    // With a token at hand nothing is kept, so no folder is needed.
    let open = || Store::open(options.credentials.clone(), settings.timeout);
    let output = Output { json: options.json, secrets: secrets.clone() };
    let trace = match (&args.command, options.json) {
        (Command::Trace { .. }, false) => Trace::Stdout,
        (Command::Trace { .. }, true) => Trace::Stderr,
        _ => Trace::Off,
    };
    let entry = match &args.command {
        Command::Status => return commands::status(&open()?, &settings, &output),
        Command::Logout => return commands::logout(&open()?, options, &output).await,
        Command::Login if settings.token.is_some() => {
            return Err(Failure::usage(
                "a log-in gets a token, and --token-file or MCP_TOKEN gives one: leave one out",
            ));
        }
        _ if settings.token.is_some() => None,
        _ => Some(open()?.entry(settings.server.as_str(), &settings.profile())),
    };
    let http = Http::new(&settings.server, &settings.chosen(), settings.timeout, secrets.clone(), trace).await?;
    let mut flow = Flow::new(http, settings, entry)?;
    if matches!(args.command, Command::Login) {
        flow.start_over();
    }
    let mut session = Session::connect(flow).await?;
    let outcome = match &args.command {
        Command::Login => commands::login(&mut session, &output).await,
        Command::Tools => commands::tools(&mut session, &output).await,
        Command::Call { tool, arguments } | Command::Trace { tool, arguments } => {
            commands::call(&mut session, tool, arguments, &output).await
        }
        Command::Prompts => commands::prompts(&mut session, &output).await,
        Command::Prompt { name, arguments } => commands::prompt(&mut session, name, arguments, &output).await,
        Command::Status | Command::Logout | Command::Conformance { .. } => Ok(()),
    };
    // Whatever a server is to blame for, it said in the latest exchange.
    let last = session.flow().http.last();
    session.close().await;
    outcome.map_err(|failure| match failure.kind {
        Kind::Local | Kind::Usage => failure,
        Kind::Network | Kind::Authorization | Kind::Tool => failure.at(last),
    })
}

/// Says what went wrong, on standard error.
fn report(failure: &Failure, secrets: &Secrets, as_json: bool) {
    let clean = |text: &str| terminal::cut(&terminal::line(&secrets.scrub(text)), LONGEST);
    let mut stderr = anstream::stderr();
    let advice = failure.advice.as_deref().map(clean);
    if as_json {
        let error = json!({
            "kind": failure.kind.name(), "message": clean(&failure.message), "exchange": failure.exchange,
            "advice": advice, "oauth_error": failure.oauth_error.as_deref().map(clean),
        });
        let _ = writeln!(stderr, "{}", terminal::json(&json!({ "error": error })));
        return;
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let at = failure.exchange.map_or(String::new(), |number| format!(" at exchange {number}"));
    let _ = writeln!(stderr, "{red}error{at}:{red:#} {}", clean(&failure.message));
    if let Some(advice) = advice {
        let _ = writeln!(stderr, "{advice}");
    }
}
