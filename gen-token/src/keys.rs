//! `gen-token keys`: the keys of an authorization server that rotates them (step 12, `auth-server`).

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use common::key_folder::{KeyFolder, KeyState, LEARN};
use serde_json::json;

/// The longest that a new key may wait.
const LONGEST: Duration = Duration::from_hours(7 * 24);

#[derive(Args)]
pub struct Folder {
    /// Folder of the keys
    #[arg(long, env = "MCP_KEYS", default_value = "keys", value_name = "DIR")]
    keys: PathBuf,
}

/// Shows and replaces the keys with which step 12 and auth-server sign; they notice within seconds, and need no restart.
///
/// Of the keys in the folder all are published, and the newest whose time has come signs. To rotate: `keys rotate` now, and
/// `keys retire` once the old key is "due"; before that it does nothing, so both may be run by a timer. All other steps,
/// and gen-token itself, use the oldest key.
#[derive(Subcommand)]
pub enum Keys {
    /// Shows each key: waiting (to sign), signs, published (its tokens may be good), due (to be retired)
    List {
        #[command(flatten)]
        folder: Folder,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Makes a new key, which signs once all who check tokens have had time to learn it
    Rotate {
        #[command(flatten)]
        folder: Folder,
        /// How long the new key waits before it signs. The default suits caches (5m) and resource servers (10m) that keep
        /// the key set; if it is shorter, those who do not look again may refuse good tokens
        #[arg(long, value_name = "TIME", default_value_t = LEARN.into(), value_parser = waiting)]
        learn: humantime::Duration,
    },
    /// Removes the keys that are due, whose tokens have all expired (61 minutes after the next key began to sign)
    Retire {
        #[command(flatten)]
        folder: Folder,
        /// Only this key
        #[arg(allow_hyphen_values = true)]
        kid: Option<String>,
        /// Even if it signs, or its tokens may be good, since somebody else has it: this server refuses them within seconds,
        /// others when they read the key set again
        #[arg(long, requires = "kid")]
        now: bool,
    },
}

impl Keys {
    /// # Errors
    /// If the folder cannot be used, or a key is not to be removed yet.
    pub fn run(&self) -> Result<()> {
        match self {
            Keys::List { folder, json } => list(&KeyFolder::open(&folder.keys)?, *json),
            Keys::Rotate { folder, learn } => rotate(KeyFolder::open(&folder.keys)?, *learn),
            Keys::Retire { folder, kid, now } => retire(KeyFolder::open(&folder.keys)?, kid.as_deref(), *now),
        }
    }
}

fn list(folder: &KeyFolder, json: bool) -> Result<()> {
    let mut out = io::stdout();
    let all = folder.keys().iter().zip(folder.states(Utc::now().timestamp())).enumerate();
    // Nobody knows when the oldest key began.
    let all = all.map(|(number, (key, state))| {
        let (from, until) = (Some(key.from).filter(|from| *from > 0), folder.tokens_until(number));
        (&key.pair.public.kid, name(state), from.map(time), until.map(time))
    });
    if json {
        let list = all.map(|(kid, state, from, until)| {
            json!({ "kid": kid, "state": state, "signs_from": from, "tokens_until": until })
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&list.collect::<Vec<_>>())?)?;
        return Ok(());
    }
    writeln!(out, "{:43}  {:9}  {:20}  TOKENS UNTIL", "KID", "STATE", "SIGNS FROM")?;
    for (kid, state, from, until) in all {
        let [from, until] = [from, until].map(|time| time.unwrap_or_else(|| "-".to_owned()));
        writeln!(out, "{kid:43}  {state:9}  {from:20}  {until}")?;
    }
    Ok(())
}

fn rotate(mut folder: KeyFolder, learn: humantime::Duration) -> Result<()> {
    if *learn < LEARN {
        eprintln!("Who checks tokens and does not know the new key in {learn} will refuse good ones.");
    }
    let key = folder.add(*learn)?;
    writeln!(io::stdout(), "{} signs from {}", key.pair.public.kid, time(key.from))?;
    Ok(())
}

fn retire(mut folder: KeyFolder, kid: Option<&str>, now: bool) -> Result<()> {
    let states = folder.states(Utc::now().timestamp());
    let due = |number: usize| states[number] == KeyState::Due;
    let kids: Vec<_> = folder.keys().iter().map(|key| key.pair.public.kid.clone()).collect();
    let gone: Vec<_> = match kid {
        None => (0..kids.len()).filter(|number| due(*number)).collect(),
        Some(kid) => {
            let number =
                kids.iter().position(|known| known == kid).with_context(|| format!("there is no key {kid}"))?;
            let why = match (states[number], folder.tokens_until(number)) {
                (KeyState::Published, Some(until)) => format!("its tokens may be good until {}", time(until)),
                (KeyState::Waiting, _) => format!("it is to sign from {}", time(folder.keys()[number].from)),
                _ => "it signs: add another one first (rotate)".to_owned(),
            };
            if !due(number) && !now {
                bail!("{kid} is not due: {why}. If somebody else has it, remove it with --now");
            }
            vec![number]
        }
    };
    let gone: Vec<_> = gone.into_iter().map(|number| &kids[number]).collect();
    if gone.is_empty() {
        writeln!(io::stdout(), "No key is due.")?;
        return Ok(());
    }
    folder.remove(|key| gone.contains(&&key.pair.public.kid))?;
    for kid in gone {
        writeln!(io::stdout(), "{kid} is gone.")?;
    }
    Ok(())
}

fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Waiting => "waiting",
        KeyState::Signs => "signs",
        KeyState::Published => "published",
        KeyState::Due => "due",
    }
}

fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn waiting(text: &str) -> Result<humantime::Duration> {
    let time: humantime::Duration = text.parse()?;
    ensure!(*time <= LONGEST, "it is too long: at most {}", humantime::format_duration(LONGEST));
    Ok(time)
}
