//! The options of step 5 and on: keys, whose tokens are trusted, and scopes.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, builder::NonEmptyStringValueParser};

use super::PublicUrl;
use crate::{
    claims::{BASIC_SCOPES, SCOPES},
    key_folder::KeyFolder,
    keys::{KeyPair, PublicKey},
};

/// Where the keys are.
#[derive(Args, Clone)]
pub struct KeyArgs {
    /// Folder of the development key pair, made on first use
    #[arg(long, env = "MCP_KEYS", value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// Trust this public key (PEM) instead; no private key is made or read
    #[arg(long, env = "MCP_PUBLIC_KEY", value_name = "FILE")]
    pub public_key: Option<PathBuf>,
}

impl KeyArgs {
    /// Both halves of the key, to sign with; `None` where only a public key is given.
    ///
    /// # Errors
    /// If the pair cannot be read or made.
    pub fn key_pair(&self) -> Result<Option<KeyPair>> {
        match &self.public_key {
            Some(_) => Ok(None),
            None => KeyPair::load_or_create(&self.keys).map(Some),
        }
    }

    /// All keys to sign with, one at a time; `None` where only a public key is given.
    ///
    /// # Errors
    /// If they cannot be read, or no pair can be made.
    pub fn folder(&self) -> Result<Option<KeyFolder>> {
        match &self.public_key {
            Some(_) => Ok(None),
            None => KeyFolder::open(&self.keys).map(Some),
        }
    }

    /// The key that tokens are checked with.
    ///
    /// # Errors
    /// If a key file is missing, unreadable, not RSA or shorter than 2048 bits.
    pub fn public_key(&self) -> Result<PublicKey> {
        match &self.public_key {
            Some(file) => PublicKey::load(file),
            None => Ok(KeyPair::load_or_create(&self.keys)?.public),
        }
    }
}

/// Whose tokens are accepted, and for whom they must be meant.
#[derive(Args, Clone)]
pub struct TrustArgs {
    /// Accept only tokens of this authorization server (`iss`) [default: the public URL]
    #[arg(long, visible_alias = "authorization-server", env = "MCP_ISSUER", value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub issuer: Option<String>,
    /// Accept only tokens with this `aud` [default: PUBLIC-URL/mcp, which is what the metadata documents tell clients]
    #[arg(long, env = "MCP_AUDIENCE", value_name = "URI", value_parser = NonEmptyStringValueParser::new())]
    pub audience: Option<String>,
}

impl TrustArgs {
    /// The one `iss` that is accepted, compared byte for byte.
    pub fn issuer(&self, public_url: &PublicUrl) -> String {
        self.issuer.clone().unwrap_or_else(|| public_url.as_str().to_owned())
    }

    /// The one `aud` that is accepted, compared byte for byte.
    pub fn audience(&self, public_url: &PublicUrl) -> String {
        self.audience.clone().unwrap_or_else(|| public_url.resource())
    }
}

/// What clients are told to ask for at first (MCP 2026-07-28 "Scope Selection Strategy", "Scope Minimization").
#[derive(Args, Clone)]
pub struct ScopeArgs {
    /// The scopes that basic use needs, with spaces or commas between them: clients ask for these at first, and for more
    /// when an operation needs it
    #[arg(long, env = "MCP_BASIC_SCOPES", value_name = "SCOPES", default_value_t = BASIC_SCOPES.join(" "))]
    basic_scopes: String,
}

impl ScopeArgs {
    /// The basic scopes, each once, in the order in which we name them.
    ///
    /// # Errors
    /// If no scope is given, or one that this server does not know.
    pub fn basic(&self) -> Result<Vec<&'static str>> {
        let asked: Vec<_> = self.basic_scopes.split([' ', ',']).filter(|scope| !scope.is_empty()).collect();
        let unknown = asked.iter().find(|scope| !SCOPES.contains(scope));
        if let Some(scope) = unknown {
            bail!("--basic-scopes: {scope:?} is not one of {}", SCOPES.join(", "));
        }
        if asked.is_empty() {
            bail!("--basic-scopes: name one scope at least, of {}", SCOPES.join(", "));
        }
        Ok(SCOPES.into_iter().filter(|scope| asked.contains(scope)).collect())
    }
}
