//! Secrets, from files and the environment.

use std::{
    env, fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use client::{Failure, Result, SecretString};

/// Where a client's secret may come from.
pub const CLIENT_SECRET: &str = "MCP_CLIENT_SECRET";
/// Where a ready-made access token may come from.
const TOKEN: &str = "MCP_TOKEN";
/// The longest access token, in bytes: no server takes a header that is longer.
const MAX_TOKEN: u64 = 64 * 1024;

/// The access token that a person has already: from the file that they name, or from the environment.
pub fn token(named: Option<&Path>) -> Result<Option<SecretString>> {
    let (token, from) = match named {
        Some(file) => (read_own(file)?, file.display().to_string()),
        None => match env::var(TOKEN) {
            Ok(token) if !token.is_empty() => (token, TOKEN.to_owned()),
            Ok(_) | Err(env::VarError::NotPresent) => return Ok(None),
            Err(env::VarError::NotUnicode(_)) => (String::new(), TOKEN.to_owned()),
        },
    };
    let token = token.trim();
    // `b64token` would do (RFC 6750 §2.1); some servers use other characters, but none that end a header.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::local(format!("{from} does not hold an access token, and nothing else")));
    }
    Ok(Some(SecretString::from(token)))
}

/// Reads a secret that only its owner may read: what was opened is looked at, not what the name leads to later.
fn read_own(path: &Path) -> Result<String> {
    let fail = |why: &str| Failure::local(format!("cannot use {}: {why}", path.display()));
    let broken = |error: io::Error| fail(&error.to_string());
    let file = fs::File::open(path).map_err(broken)?;
    let metadata = file.metadata().map_err(broken)?;
    if metadata.is_dir() {
        return Err(fail("it is a folder"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let mut failure = fail(&format!("others may read or change it (mode {mode:o})"));
        // A device or a pipe stays as it is.
        failure.advice = metadata.is_file().then(|| format!("Take that right away: chmod go= {}", path.display()));
        return Err(failure);
    }
    if metadata.uid() != 0 && metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(fail("it belongs to somebody else"));
    }
    let mut text = String::new();
    file.take(MAX_TOKEN + 1).read_to_string(&mut text).map_err(broken)?;
    if text.len() as u64 > MAX_TOKEN {
        return Err(fail(&format!("it is longer than {} KiB", MAX_TOKEN / 1024)));
    }
    Ok(text)
}

/// A secret from a file, which is not empty.
pub fn read(file: &PathBuf) -> Result<String> {
    let fail = |why: &str| Failure::local(format!("cannot use {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| fail(&error.to_string()))?;
    let text = text.trim();
    if text.is_empty() { Err(fail("it is empty")) } else { Ok(text.to_owned()) }
}
