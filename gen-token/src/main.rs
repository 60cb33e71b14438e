//! Signs access tokens as an authorization server would (RFC 9068), for trying out the steps.

mod attack;
mod keys;

use std::{
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use attack::Attack;
use clap::{ArgGroup, Parser, Subcommand};
use common::{
    claims::{Audience, Claims, NumericDate, SCOPES, Scopes},
    config::PublicUrl,
    key_folder::KeyFolder,
    keys::KeyPair,
    server,
};
use jsonwebtoken::{Algorithm, Header};
use keys::Keys;
use serde::Serialize;

/// Prints an access token, and nothing else, to standard output.
///
/// The token is signed (RS256) with the private key in --keys, which is made on first use; a step
/// server started in the same folder trusts it.
#[derive(Parser)]
#[command(
    version,
    after_help = "Try:\n  gen-token --username alice --scopes mcp:read,mcp:tools --show\n  gen-token --username guest --scopes \"\"\n  gen-token --username bob --expires-in=-5m    (expired)\n  gen-token keys list",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["username", "demo", "generate_keys"]))]
struct Args {
    /// Whom the token is about; `sub` becomes user_NAME
    #[arg(long, value_name = "NAME", value_parser = username)]
    username: Option<String>,
    /// Scopes, separated by commas or spaces; "" for none
    #[arg(long, default_value_t = SCOPES.join(","), value_parser = scopes, value_name = "SCOPES")]
    scopes: String,
    /// Roles, separated by commas or spaces; "" for none [default: admin,user for admin; guest for guest; else user]
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// The server the token is for: sets --issuer to it and --audience to its /mcp [default: http://localhost:9000, or the
    /// port in MCP_PORT]
    #[arg(long, env = "MCP_PUBLIC_URL", value_name = "URL")]
    server: Option<String>,
    /// The port of a server at localhost, as the servers read it
    #[arg(long, env = "MCP_PORT", default_value_t = 9000, hide = true)]
    port: u16,
    /// The `iss` claim [default: --server]
    #[arg(long, env = "MCP_ISSUER", value_name = "URL")]
    issuer: Option<String>,
    /// The `aud` claim [default: <--server>/mcp]
    #[arg(long, env = "MCP_AUDIENCE", value_name = "URI")]
    audience: Option<String>,
    /// How long it is valid: 90s, 5m, 1h, 7d; -5m has expired five minutes ago
    #[arg(long, default_value = "1h", allow_hyphen_values = true, value_parser = duration, value_name = "TIME")]
    expires_in: i64,
    /// Folder of the key pair
    #[arg(long, env = "MCP_KEYS", default_value = "keys", value_name = "DIR")]
    keys: PathBuf,
    /// Make a new key pair first, in the place of any old one; older tokens become worthless
    #[arg(long)]
    generate_keys: bool,
    /// Print a token each for alice, bob, admin and guest, as lines "NAME TOKEN"
    #[arg(long, conflicts_with_all = ["username", "scopes", "roles"])]
    demo: bool,
    /// A hostile token instead, for trying out a server: every server must refuse all of them
    #[arg(long, value_enum, requires = "username", value_name = "ATTACK")]
    attack: Option<Attack>,
    /// Also print the decoded header and claims to standard error
    #[arg(long)]
    show: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Shows and replaces the keys with which step 12 and auth-server sign
    #[command(subcommand)]
    Keys(Keys),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Keys(keys)) => keys.run(),
        None => run(&args),
    };
    server::exit(match outcome {
        // A closed pipe is not a failure: the reader needs no more.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) => {
            Ok(())
        }
        outcome => outcome,
    })
}

fn run(args: &Args) -> Result<()> {
    let server = args.server.clone().unwrap_or_else(|| format!("http://localhost:{}", args.port));
    let server = PublicUrl::with_path(&server).context("--server")?;
    let keys = if args.generate_keys { KeyPair::replace(&args.keys)? } else { KeyPair::load_or_create(&args.keys)? };
    if args.generate_keys {
        KeyFolder::open(&args.keys)?.remove(|key| key.from > 0)?; // further keys are old ones too
        eprintln!("A new key pair is in {}. Restart servers that use the old one.", args.keys.display());
    }
    let mut out = io::stdout();
    if args.demo {
        for (name, scopes) in [
            ("alice", "mcp:read,mcp:tools"),
            ("bob", "mcp:read,mcp:prompts"),
            ("admin", "mcp:read,mcp:tools,mcp:prompts"),
            ("guest", ""),
        ] {
            writeln!(out, "{name} {}", token(args, &server, &keys, name, scopes)?)?;
        }
    }
    if let Some(name) = &args.username {
        writeln!(out, "{}", token(args, &server, &keys, name, &args.scopes)?)?;
    }
    Ok(())
}

/// Header, claims and signature, as a JWT.
fn token(args: &Args, server: &PublicUrl, keys: &KeyPair, name: &str, scopes: &str) -> Result<String> {
    let claims = claims(args, server, name, scopes)?;
    let mut header = Header::new(Algorithm::RS256);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(keys.public.kid.clone());
    if let Some(attack) = args.attack {
        let (header, token) = attack.token(&header, &claims, keys)?;
        show(args, &header, &claims)?;
        return Ok(token);
    }
    show(args, &header, &claims)?;
    jsonwebtoken::encode(&header, &claims, &keys.encoding_key).context("the token could not be signed")
}

/// What the token says (RFC 9068 §2.2).
fn claims(args: &Args, server: &PublicUrl, name: &str, scopes: &str) -> Result<Claims> {
    let given = args
        .roles
        .as_ref()
        .map(|roles| roles.split([',', ' ']).filter(|role| !role.is_empty()).map(str::to_owned).collect());
    let roles = given.unwrap_or_else(|| match name {
        "admin" => vec!["admin".to_owned(), "user".to_owned()],
        "guest" => vec!["guest".to_owned()],
        _ => vec!["user".to_owned()],
    });
    let now = chrono::Utc::now().timestamp();
    #[allow(clippy::cast_precision_loss)] // exact up to the year 285 million
    let date = |seconds: i64| NumericDate(seconds as f64);
    Ok(Claims {
        iss: args.issuer.clone().unwrap_or_else(|| server.as_str().to_owned()),
        aud: Audience::One(args.audience.clone().unwrap_or_else(|| server.resource())),
        sub: format!("user_{name}"),
        preferred_username: Some(name.to_owned()),
        client_id: Some("gen-token".to_owned()),
        scope: Scopes::parse(&scopes.replace(',', " ")).map_err(anyhow::Error::msg)?,
        roles: Some(roles),
        iat: Some(date(now)),
        exp: date(now + args.expires_in),
        nbf: None,
        jti: Some(uuid::Uuid::new_v4().to_string()),
        cnf: None,
    })
}

/// For `--show`.
fn show(args: &Args, header: &impl Serialize, claims: &Claims) -> Result<()> {
    if args.show {
        eprintln!("{}\n{}", serde_json::to_string_pretty(header)?, serde_json::to_string_pretty(claims)?);
    }
    Ok(())
}

fn username(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("a name has 1 to 256 bytes and no control characters") }
}

fn scopes(text: &str) -> Result<String, String> {
    Scopes::parse(&text.replace(',', " ")).map(|_| text.to_owned())
}

/// Seconds; at most ten years either way.
fn duration(text: &str) -> Result<i64, String> {
    let wanted = |why: &str| format!("{why}: give a time such as 90s, 1h or -5m; at most 3650d");
    let (sign, time) = text.strip_prefix('-').map_or((1, text), |time| (-1, time));
    let time = humantime::parse_duration(time).map_err(|why| wanted(&why.to_string()))?;
    let seconds = i64::try_from(time.as_secs()).ok().filter(|seconds| *seconds <= 3650 * 86400);
    seconds.map(|seconds| sign * seconds).ok_or_else(|| wanted("it is too long"))
}
