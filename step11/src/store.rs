//! What is kept between runs: the registrations and tokens for one MCP server, in one file that only its owner can read.
//!
//! A file, not the system's keyring: a keyring needs system libraries and a desktop session, which machines and people
//! behind SSH do not have. Encrypting the file would need a key, which would have to lie beside it.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, Result};

/// What is left for writing and for a slow computer, beside the exchanges that another process holds the lock for.
const MARGIN: Duration = Duration::from_secs(10);
/// After this time, it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// Everything that is known about one server, for one kind of client. It has no `Debug`: it is secret.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// The MCP server's URL. Nothing in here is ever sent to another server.
    pub server: String,
    /// Dynamic registrations, each good at one authorization server: by its `issuer` (MCP 2026-07-28 "Authorization
    /// Server Binding").
    #[serde(default)]
    pub registrations: BTreeMap<String, Registration>,
    pub grant: Option<Grant>,
}

/// What an authorization server called us when we registered (RFC 7591 §3.2.1).
#[derive(Clone, Serialize, Deserialize)]
pub struct Registration {
    pub client_id: String,
    pub client_secret: Option<String>,
    pub client_secret_expires_at: Option<DateTime<Utc>>,
    pub token_endpoint_auth_method: String,
    /// With the port that was registered.
    pub redirect_uri: String,
}

/// Tokens, and what they are bound to.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    pub issuer: String,
    pub resource: String,
    pub client_id: String,
    pub token_endpoint: String,
    pub token_endpoint_auth_method: String,
    /// The secret that this registration came with. It is kept here too, as another log-in may register anew and not
    /// come to its end. The secret of a client that was registered beforehand is never written down.
    #[serde(default)]
    pub client_secret: Option<String>,
    pub revocation_endpoint: Option<String>,
    pub access_token: String,
    pub refresh_token: Option<String>,
    /// `None`: the server did not say.
    pub expires_at: Option<DateTime<Utc>>,
    /// What was asked for, which the next request for a token must not fall short of.
    pub requested_scope: Vec<String>,
    /// What was given.
    pub scope: Vec<String>,
    /// The key that the tokens are bound to, PKCS#8 in base64 (RFC 9449).
    pub dpop_key: Option<String>,
}

/// The folder of all credentials.
pub struct Store {
    folder: PathBuf,
    patience: Duration,
}

impl Store {
    /// `timeout` is for one exchange. A refresh is two at most, as a server may want its DPoP nonce; other processes wait
    /// that long for it.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: Option<PathBuf>, timeout: Duration) -> Result<Self> {
        let folder = match folder {
            Some(folder) => folder,
            None => default_folder()?,
        };
        let broken = |error| Failure::local(format!("the folder {} cannot be used: {error}", folder.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(broken)?;
        // Who can rename files there can put theirs in place of ours.
        let metadata = fs::metadata(&folder).map_err(broken)?;
        let mode = metadata.mode() & 0o777;
        let (who, advice) = if metadata.uid() != rustix::process::geteuid().as_raw() {
            ("somebody else owns", "Name another folder with --credentials.")
        } else if mode & 0o002 != 0 {
            ("anybody may write to", "Take that right away (chmod go-w), or name another folder with --credentials.")
        } else if mode & 0o020 != 0 {
            ("a group may write to", "Take that right away (chmod go-w), or name another folder with --credentials.")
        } else {
            return Ok(Store { folder, patience: 2 * timeout + MARGIN });
        };
        Err(Failure::local(format!("{who} the folder {} (mode {mode:o})", folder.display())).advice(advice))
    }

    /// The place for one server and one kind of client.
    pub fn entry(&self, server: &str, client: &str) -> Entry {
        let digest = digest(&SHA256, format!("{server}\n{client}").as_bytes());
        let name = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
        Entry { path: self.folder.join(format!("{name}.json")), server: server.to_owned(), patience: self.patience }
    }

    /// All that is kept for a server, whoever the client was. A damaged file does not say what server it is for: the one
    /// of `client` is there by its name.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn entries(&self, server: &str, client: &str) -> Result<Vec<Entry>> {
        let own = self.entry(server, client);
        let broken = |error| Failure::local(format!("the folder {} cannot be read: {error}", self.folder.display()));
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(broken)? {
            let path = file.map_err(broken)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = open(&path).and_then(std::io::read_to_string).unwrap_or_default();
                let named = serde_json::from_str::<Value>(&text).ok().is_some_and(|value| value["server"] == server);
                if named || path == own.path {
                    entries.push(Entry { path, server: server.to_owned(), patience: self.patience });
                }
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
}

/// A file of ours, to read: no link to another, and nothing that would have us wait.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is no file")) }
}

fn default_folder() -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    data.map(|data| data.join("step11")).ok_or_else(|| {
        Failure::local("there is no home folder to keep credentials in").advice("Name a folder with --credentials.")
    })
}

/// One file of credentials.
#[derive(Clone)]
pub struct Entry {
    pub path: PathBuf,
    server: String,
    patience: Duration,
}

/// Held while the file is being changed. Other processes wait, so that a refresh token is used once: a server that
/// rotates them takes the second use for a theft, and withdraws everything (OAuth 2.1 §4.3.1).
pub struct Lock(#[allow(dead_code, reason = "dropping it unlocks")] File);

impl Entry {
    /// What is kept; nothing, at first.
    ///
    /// # Errors
    /// If the file is damaged, or others may read it.
    pub fn load(&self) -> Result<Credentials> {
        let advice = || format!("Delete {} and log in again.", self.path.display());
        let fail =
            |why: String| Failure::local(format!("the stored credentials cannot be used: {why}")).advice(advice());
        let file = match open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Credentials { server: self.server.clone(), ..Credentials::default() });
            }
            Err(error) => return Err(fail(error.to_string())),
        };
        let mode = file.metadata().map_err(|error| fail(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(fail(format!("others may read the file (mode {:o})", mode & 0o777)));
        }
        let text = std::io::read_to_string(file).map_err(|error| fail(error.to_string()))?;
        // The error's own text might quote a token.
        let mut credentials: Credentials =
            serde_json::from_str(&text).map_err(|_| fail("the file is damaged".to_owned()))?;
        if let Some(grant) = &mut credentials.grant {
            // Earlier versions kept an empty one, which is not a token (RFC 6749 §A.17).
            grant.refresh_token.take_if(|token| token.is_empty());
        }
        if credentials.server != self.server {
            return Err(fail("they are for another server".to_owned()));
        }
        Ok(credentials)
    }

    /// Waits until no other process changes the file.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn lock(&self) -> Result<Lock> {
        let path = self.path.with_extension("lock");
        let fail = |error: &dyn std::fmt::Display| Failure::local(format!("cannot lock {}: {error}", path.display()));
        let mut options = OpenOptions::new();
        options
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&path);
        let file = file.map_err(|error| fail(&error))?;
        let start = Instant::now();
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::Error(error)) => return Err(fail(&error)),
                Err(TryLockError::WouldBlock) if start.elapsed() > self.patience => {
                    return Err(fail(&"another process holds it"));
                }
                // There is no asynchronous lock, and a thread that waits for one cannot be called back.
                Err(TryLockError::WouldBlock) => {
                    if start.elapsed() > SILENCE && !said {
                        said = true;
                        let _ =
                            writeln!(std::io::stderr(), "Another step11 renews or writes the tokens. Waiting for it.");
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Replaces the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, _lock: &Lock, credentials: &Credentials) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            // tempfile makes it 0600 from the beginning.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec_pretty(credentials)?)?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        write().map_err(|error| Failure::local(format!("cannot write {}: {error}", self.path.display())))
    }

    /// Reads, changes and writes, while nobody else does.
    ///
    /// # Errors
    /// As for each of these.
    pub async fn update(&self, change: impl FnOnce(&mut Credentials)) -> Result<Credentials> {
        let lock = self.lock().await?;
        let mut credentials = self.load()?;
        change(&mut credentials);
        self.save(&lock, &credentials)?;
        Ok(credentials)
    }

    /// # Errors
    /// If the file is there and cannot be deleted.
    pub fn remove(&self, _lock: &Lock) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::local(format!("cannot delete {}: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }
}
