//! A store in a file that only its owner can read.
//!
//! A file, not the system's keyring: a keyring needs system libraries and a desktop session, which machines and people
//! behind SSH do not have. Encrypting the file would need a key, which would have to lie beside it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{FutureExt, future::BoxFuture};
use oauth::secret::ExposeSecret;
use rustix::fs::OFlags;
use serde_json::Value;

use crate::{
    credentials::Credentials,
    failure::{Failure, Result},
    store::{Held, Store},
};

/// Extra time for writing and for a slow computer, besides the exchanges that another process makes while it holds the
/// lock.
const MARGIN: Duration = Duration::from_secs(10);

/// The folder of all credentials.
pub struct Folder {
    folder: PathBuf,
    patience: Duration,
}

impl Folder {
    /// `timeout` is for one exchange. A refresh is two at most, as a server may want its DPoP nonce; other processes wait
    /// that long for it.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: PathBuf, timeout: Duration) -> Result<Self> {
        let broken = |error| Failure::local(format!("the folder {} cannot be used: {error}", folder.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(broken)?;
        // Anybody who can rename files there can replace ours.
        let metadata = fs::metadata(&folder).map_err(broken)?;
        let mode = metadata.mode() & 0o777;
        let (who, advice) = if metadata.uid() != rustix::process::geteuid().as_raw() {
            ("somebody else owns", "Name another folder with `Folder::open`.")
        } else if mode & 0o002 != 0 {
            ("anybody may write to", "Take that right away (chmod go-w), or name another folder with `Folder::open`.")
        } else if mode & 0o020 != 0 {
            ("a group may write to", "Take that right away (chmod go-w), or name another folder with `Folder::open`.")
        } else {
            return Ok(Folder { folder, patience: 2 * timeout + MARGIN });
        };
        Err(Failure::local(format!("{who} the folder {} (mode {mode:o})", folder.display())).advice(advice))
    }

    /// The place for one server and one kind of client.
    pub fn entry(&self, server: &str, client: &str) -> FileStore {
        let digest = digest(&SHA256, format!("{server}\n{client}").as_bytes());
        let name = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
        FileStore { path: self.folder.join(format!("{name}.json")), server: server.to_owned(), patience: self.patience }
    }

    /// Everything stored for a server, for all clients. A damaged file does not say which server it is for, but the
    /// file of `client` is known by its name.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn entries(&self, server: &str, client: &str) -> Result<Vec<FileStore>> {
        let own = self.entry(server, client);
        let broken = |error| Failure::local(format!("the folder {} cannot be read: {error}", self.folder.display()));
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(broken)? {
            let path = file.map_err(broken)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = open(&path).and_then(std::io::read_to_string).unwrap_or_default();
                let named = serde_json::from_str::<Value>(&text).ok().is_some_and(|value| value["server"] == server);
                if named || path == own.path {
                    entries.push(FileStore { path, server: server.to_owned(), patience: self.patience });
                }
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
}

/// Opens a file of ours for reading. Refuses a link, and anything that would make us wait.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is not a file")) }
}

/// One file of credentials.
#[derive(Clone)]
pub struct FileStore {
    /// Where it is.
    pub path: PathBuf,
    server: String,
    patience: Duration,
}

impl FileStore {
    /// Waits until no other process changes the file.
    async fn hold(&self) -> Result<HeldFile<'_>> {
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
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(HeldFile { store: self, _lock: file }),
                Err(TryLockError::Error(error)) => return Err(fail(&error)),
                Err(TryLockError::WouldBlock) if start.elapsed() > self.patience => {
                    return Err(fail(&"another process holds it"));
                }
                // There is no asynchronous lock, and a thread that waits for a lock cannot be stopped.
                Err(TryLockError::WouldBlock) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

impl Store for FileStore {
    fn load(&self) -> Result<Credentials> {
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
            grant.refresh_token.take_if(|token| token.expose_secret().is_empty());
        }
        if credentials.server != self.server {
            return Err(fail("they are for another server".to_owned()));
        }
        Ok(credentials)
    }

    fn lock(&self) -> BoxFuture<'_, Result<Box<dyn Held + '_>>> {
        async { Ok(Box::new(self.hold().await?) as Box<dyn Held>) }.boxed()
    }
}

/// The file, while no other process may change it.
struct HeldFile<'a> {
    store: &'a FileStore,
    /// Dropping it unlocks.
    _lock: File,
}

impl Held for HeldFile<'_> {
    /// Replaces the file, whole or not at all.
    fn save(&self, credentials: &Credentials) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let folder = self.store.path.parent().unwrap_or(Path::new("."));
            // tempfile makes it 0600 from the beginning.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec_pretty(credentials)?)?;
            file.as_file().sync_all()?;
            file.persist(&self.store.path)?;
            Ok(())
        };
        write().map_err(|error| Failure::local(format!("cannot write {}: {error}", self.store.path.display())))
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.store.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::local(format!("cannot delete {}: {error}", self.store.path.display())))
            }
            _ => Ok(()),
        }
    }
}
