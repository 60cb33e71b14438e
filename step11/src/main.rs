//! Step 11: an OAuth client for MCP, which a person can use from the terminal.
//!
//! The library `client` does the work; this program is what a person sees of it. The map: [`options`] is the command
//! line, [`commands`] are what a person can ask for, [`tool_arguments`] makes what was typed into what a tool takes,
//! [`at_terminal`] shows the log-in, [`trace`] the exchanges, and [`mod@terminal_json`] prints JSON.

mod at_terminal;
mod commands;
mod conformance;
mod options;
mod secrets;
mod terminal_json;
mod tool_arguments;
mod trace;

use std::{io::Write, process::ExitCode, sync::Arc};

use clap::{
    Parser, Subcommand,
    builder::styling::{AnsiColor, Style},
};
use client::{
    Client, Failure, Result, escape,
    failure::Kind,
    file_store::Folder,
    observer::Observer,
    secrets::Secrets,
    settings::Settings,
    store::{Memory, Store},
};
use serde_json::json;

use crate::{
    commands::Output,
    options::{Options, folder, in_words},
    terminal_json::terminal_json,
    trace::Trace,
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
    /// Log in, even if somebody is logged in already
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Secrets that this run learns must stay out of everything it prints.
    let secrets = Arc::new(Secrets::default());
    match run(&args, &secrets).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, &secrets, args.options.json);
            exit_code(failure.kind)
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
    let open = || Folder::open(folder(options.credentials.as_ref())?, settings.timeout);
    let output = Output { json: options.json, secrets: secrets.clone() };
    let observer: Option<Arc<dyn Observer>> = match (&args.command, options.json) {
        (Command::Trace { .. }, false) => Some(Arc::new(Trace::Stdout)),
        (Command::Trace { .. }, true) => Some(Arc::new(Trace::Stderr)),
        _ => None,
    };
    let store: Arc<dyn Store> = match &args.command {
        Command::Status => return commands::status(&open()?, &settings, &output),
        Command::Logout => return commands::logout(&open()?, options, &output).await,
        Command::Login if settings.token.is_some() => {
            return Err(Failure::usage(
                "a log-in gets a token, and --token-file or MCP_TOKEN gives one: leave one out",
            ));
        }
        _ if settings.token.is_some() => Arc::new(Memory::default()),
        _ => Arc::new(open()?.entry(settings.server.as_str(), &settings.profile())),
    };
    let mut client = Client::new(settings)?.store(store).secrets(secrets.clone());
    if let Some(observer) = observer {
        client = client.observer(observer);
    }
    let mut session =
        if matches!(args.command, Command::Login) { client.log_in().await? } else { client.connect().await? };
    let outcome = match &args.command {
        Command::Login => {
            commands::login(&session, &output);
            Ok(())
        }
        Command::Tools => commands::tools(&mut session, &output).await,
        Command::Call { tool, arguments } | Command::Trace { tool, arguments } => {
            commands::call(&mut session, tool, arguments, &output).await
        }
        Command::Prompts => commands::prompts(&mut session, &output).await,
        Command::Prompt { name, arguments } => commands::prompt(&mut session, name, arguments, &output).await,
        Command::Status | Command::Logout | Command::Conformance { .. } => Ok(()),
    };
    // If a server is to blame, the reason is in the latest exchange.
    let last = session.last_exchange();
    session.close().await;
    outcome.map_err(|failure| match failure.kind {
        Kind::Local | Kind::Usage => failure,
        Kind::Network | Kind::Authorization | Kind::Tool => failure.at(last),
    })
}

fn exit_code(kind: Kind) -> ExitCode {
    ExitCode::from(match kind {
        Kind::Local => 1,
        Kind::Usage => 2,
        Kind::Network => 3,
        Kind::Authorization => 4,
        Kind::Tool => 5,
    })
}

/// Says what went wrong, on standard error.
fn report(failure: &Failure, secrets: &Secrets, as_json: bool) {
    let clean = |text: &str| escape::cut(&escape::line(&secrets.scrub(&in_words(text))), LONGEST);
    let mut stderr = anstream::stderr();
    let advice = failure.advice.as_deref().map(clean);
    if as_json {
        let error = json!({
            "kind": failure.kind.name(), "message": clean(&failure.message), "exchange": failure.exchange,
            "advice": advice, "oauth_error": failure.oauth_error.as_deref().map(clean),
        });
        let _ = writeln!(stderr, "{}", terminal_json(&json!({ "error": error })));
        return;
    }
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let at = failure.exchange.map_or(String::new(), |number| format!(" at exchange {number}"));
    let _ = writeln!(stderr, "{red}error{at}:{red:#} {}", clean(&failure.message));
    if let Some(advice) = advice {
        let _ = writeln!(stderr, "{advice}");
    }
}
