//! What the authorization server has given: codes, access tokens, refresh tokens.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// What a client asked for at the authorization endpoint.
#[derive(Clone, Default)]
pub struct Asked {
    /// The client.
    pub client: String,
    /// Where its code was sent.
    pub redirect_uri: String,
    /// What the code's owner can prove.
    pub challenge: Option<String>,
    /// The scopes.
    pub scope: String,
}

/// A code, and what became of it.
pub struct Code {
    /// What for.
    pub asked: Asked,
    /// What it gave, once it was used.
    pub family: Option<usize>,
}

/// Everything that one log-in gave.
pub struct Family {
    /// To whom.
    pub client: String,
    /// The scopes.
    pub scope: String,
    /// The thumbprint of the key that it is bound to.
    pub key: Option<String>,
    /// Its refresh tokens, the current one last.
    pub refresh: Vec<String>,
    /// Whether its refresh tokens are worth nothing any more.
    pub ended: bool,
}

/// Everything that was given.
#[derive(Default)]
pub struct Grants {
    /// The redirect URIs of all clients.
    pub clients: HashMap<String, Vec<String>>,
    /// By their names.
    pub codes: HashMap<String, Code>,
    /// In the order of log-ins.
    pub families: Vec<Family>,
    /// The proofs that were seen.
    pub proofs: HashSet<String>,
    count: usize,
}

impl Grants {
    /// A name that was not given before.
    pub fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("gallery-{kind}-{}", self.count)
    }

    /// A code for what was asked.
    pub fn code(&mut self, asked: Asked) -> String {
        let code = self.name("code");
        self.codes.insert(code.clone(), Code { asked, family: None });
        code
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// All that was given.
pub fn lock(grants: &Mutex<Grants>) -> MutexGuard<'_, Grants> {
    grants.lock().unwrap_or_else(PoisonError::into_inner)
}
