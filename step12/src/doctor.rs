//! `doctor`: can an MCP server trust this provider, and if not, what must change? The library examines it
//! ([`resource_server::doctor`]); here are the command line and what is printed. With a token it says what the server
//! would read from it.

use std::{
    fmt::Display,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use common::{
    claims::SCOPES,
    config::{PublicUrl, in_colour},
};
use resource_server::{
    ResourceServer,
    doctor::{self, Examination, Verdict},
};

use crate::issuers::IssuerArgs;

/// The default URL of a server.
const LOCAL: &str = "http://localhost:9000";
/// The longest token that is read, in bytes; it is more than a server accepts.
const MAX_TOKEN: u64 = 64 * 1024;

#[derive(Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    issuers: IssuerArgs,
    /// The URL of the MCP server that the tokens are for, as that server has it [default: http://localhost:9000]
    #[arg(long, env = "MCP_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Also check this access token; - reads it from standard input. (Other users can see arguments, so a
    /// token cannot be given as one.)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Says what it finds; true if nothing is wrong.
pub async fn examine(args: &DoctorArgs) -> Result<bool> {
    ensure!(args.issuers.elsewhere()?, "doctor: say whom to check, with --issuer URL");
    let public_url = PublicUrl::with_path(args.public_url.as_deref().unwrap_or(LOCAL)).context("--public-url")?;
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let mut report = Report::new();
    for issuer in args.issuers.issuers()? {
        let Examination { profile, findings } = doctor::examine(&issuer, &SCOPES).await?;
        report.title(format_args!("{} (profile {profile})", issuer.url()));
        // A token says more about the audience than metadata can.
        for finding in findings.into_iter().filter(|finding| token.is_none() || finding.about != "audience") {
            report.line(finding.verdict, finding);
        }
    }
    if let Some(token) = token {
        report.title("the token");
        self::token(&token, args, &public_url, &mut report).await?;
    }
    Ok(report.end())
}

/// The token in a file. An error does not repeat the argument, which might be a token.
fn read_token(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        io::stdin().take(MAX_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text))
    };
    read.context("--token-file: the file cannot be read (give the name of a file, or -, not the token)")?;
    Ok(text.trim().to_owned())
}

async fn token(token: &str, args: &DoctorArgs, public_url: &PublicUrl, report: &mut Report) -> Result<()> {
    let server = args.issuers.trust(ResourceServer::new(public_url.resource()))?;
    let (resource_server, _tasks) = server.scopes(SCOPES).allow_insecure_http().start().await?;
    match resource_server.caller_of(token).await {
        Ok(caller) => {
            let roles = caller.roles.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
            let who = format_args!("token: is accepted, as {:?} of {}", short(caller.username()), caller.iss);
            report.line(Verdict::Good, who);
            report.line(Verdict::Note, format_args!("sub: {:?}", short(&caller.sub)));
            report.line(Verdict::Note, format_args!("scopes: {:?}", short(&caller.scope.to_string())));
            report.line(Verdict::Note, format_args!("roles: {roles:?}"));
            if !SCOPES.iter().any(|scope| caller.scope.contains(scope)) {
                let what = format!("Have the client ask for {}.", SCOPES.join(", "));
                report.line(Verdict::Unsure, format_args!("scopes: The token has no scope of this server. {what}"));
            }
        }
        Err(refusal) => {
            // Without the option, we only guess which server the token is for.
            let guessed = args.public_url.is_none() && refusal.description.contains(&public_url.resource());
            if guessed && refusal.reason.starts_with("audience_") {
                let what = "Give --public-url (or --audience) as that server has it, and check again.";
                let guess = format_args!("--public-url: It is not given: the server is taken to be {LOCAL}. {what}");
                report.line(Verdict::Unsure, guess);
            }
            let why = format_args!("token: {} ({}) {}", refusal.words(), refusal.reason, refusal.detail);
            report.line(Verdict::Bad, why);
        }
    }
    Ok(())
}

/// The start of a text that somebody else wrote.
fn short(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

/// What was found, line by line: at a terminal in colour.
struct Report {
    colours: bool,
    passed: u32,
    unsure: u32,
    failed: u32,
}

impl Report {
    fn new() -> Self {
        Report { colours: in_colour(&io::stdout()), passed: 0, unsure: 0, failed: 0 }
    }

    fn title(&self, what: impl Display) {
        self.print("\x1b[1m", "Checking", what);
    }

    fn line(&mut self, verdict: Verdict, what: impl Display) {
        let (colour, mark) = match verdict {
            Verdict::Good => ("\x1b[32m", "✓"),
            Verdict::Note => ("", " "),
            Verdict::Unsure => ("\x1b[33m", "!"),
            Verdict::Bad => ("\x1b[31m", "✗"),
        };
        self.passed += u32::from(verdict == Verdict::Good);
        self.unsure += u32::from(verdict == Verdict::Unsure);
        self.failed += u32::from(verdict == Verdict::Bad);
        self.print(colour, mark, what);
    }

    /// Go on even if the reader has gone: the exit code counts.
    fn print(&self, colour: &str, mark: &str, what: impl Display) {
        let (on, off) = if self.colours { (colour, "\x1b[0m") } else { ("", "") };
        let _ = writeln!(io::stdout(), "{on}{mark}{off} {what}");
    }

    fn end(&self) -> bool {
        let Report { passed, unsure, failed, .. } = self;
        let _ = writeln!(io::stdout(), "{passed} good, {unsure} to look at, {failed} wrong");
        *failed == 0
    }
}
