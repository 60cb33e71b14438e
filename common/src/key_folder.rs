//! A folder with several keys, of which one signs at a time. The oldest is the pair that [`KeyPair`] reads. A further key is a
//! file beside it, whose name says from when on it signs: so one rename adds a key whole, and a copy of the folder is the
//! same folder. All keys in it are published; [`KeyFolder::remove`] ends that.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use chrono::{NaiveDateTime, Utc};
use jsonwebtoken::{EncodingKey, jwk::JwkSet};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    files,
    keys::{KeyPair, PRIVATE, new_private_key, write_public},
};

/// How long a new key waits before it signs, so that relying parties know it by then: caches on the way keep the key set for
/// five minutes (`Cache-Control`), resource servers for ten (`max_age` of `mcp-auth-resource-server`). One more is for
/// clocks that differ, and for servers that have yet to look into the folder.
pub const LEARN: Duration = Duration::from_mins(16);
/// How long after a key's last signature one of its tokens may be good: an hour (`gen-token`; the authorization server's are
/// good for ten minutes), and one more minute for clocks that differ.
const TOKEN_LIFE: i64 = 61 * 60;
/// How often a server looks into the folder.
const LOOK: Duration = Duration::from_secs(2);
/// How many keys there may be.
const MAX_KEYS: usize = 16;
/// How many are read: programs that add one at the same time may add one too many, and it must be possible to remove it.
const MAX_READ: usize = 2 * MAX_KEYS;
/// The form of the time in a file's name, in UTC.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// One of the keys.
pub struct Key {
    pub pair: KeyPair,
    /// The Unix time from which on it signs: 0 for the oldest.
    pub from: i64,
    file: PathBuf,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is published, and will sign.
    Waiting,
    /// It signs.
    Signs,
    /// It has signed, and its tokens may be good.
    Published,
    /// No token of it is good any more.
    Due,
}

/// The keys of a folder, as they were when it was read last.
pub struct KeyFolder {
    dir: PathBuf,
    /// The oldest first.
    keys: Vec<Key>,
}

impl KeyFolder {
    /// Reads the keys. The pair is made if it does not exist.
    ///
    /// # Errors
    /// Those of [`KeyPair::load_or_create`], of any of the keys; or if two files hold the same key, or there are too many.
    pub fn open(dir: &Path) -> Result<Self> {
        KeyPair::load_or_create(dir)?;
        Self::read(dir)
    }

    /// Once more, if a key was renamed or removed while we looked.
    fn read(dir: &Path) -> Result<Self> {
        Self::read_once(dir).or_else(|_| Self::read_once(dir))
    }

    fn read_once(dir: &Path) -> Result<Self> {
        let further = further(dir)?;
        files::folder(dir)?;
        ensure!(further.len() < MAX_READ, "{} has more than {MAX_READ} keys", dir.display());
        let mut keys = Vec::<Key>::new();
        for (from, file) in [(0, dir.join(PRIVATE))].into_iter().chain(further) {
            let pair = KeyPair::read(&file)?;
            if let Some(same) = keys.iter().find(|key| key.pair.public.kid == pair.public.kid) {
                bail!("{} and {} hold the same key", same.file.display(), file.display());
            }
            keys.push(Key { pair, from, file });
        }
        Ok(KeyFolder { dir: dir.to_owned(), keys })
    }

    /// The keys, the oldest first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The public halves (RFC 7517 §5).
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().flat_map(|key| key.pair.public.jwks().keys.clone()).collect() }
    }

    /// The private halves, each with the Unix time from which on it signs.
    pub fn signing_keys(&self) -> impl Iterator<Item = (i64, EncodingKey)> {
        self.keys.iter().map(|key| (key.from, key.pair.encoding_key.clone()))
    }

    /// What the keys are used for at this time, in their order.
    pub fn states(&self, now: i64) -> Vec<KeyState> {
        let signs = self.keys.iter().rposition(|key| key.from <= now).unwrap_or_default();
        let state = |number: usize| match self.tokens_until(number) {
            _ if number > signs => KeyState::Waiting,
            _ if number == signs => KeyState::Signs,
            Some(until) if until <= now => KeyState::Due,
            _ => KeyState::Published,
        };
        (0..self.keys.len()).map(state).collect()
    }

    /// Until when a token of this key may be good, if another key follows.
    pub fn tokens_until(&self, number: usize) -> Option<i64> {
        self.keys.get(number + 1).map(|next| next.from + TOKEN_LIFE)
    }

    /// Adds a new key, which signs after this time; a second or more later if others begin at that very second.
    ///
    /// # Errors
    /// If there are too many keys already, or the folder cannot be written.
    pub fn add(&mut self, learn: Duration) -> Result<&Key> {
        ensure!(self.keys.len() < MAX_KEYS, "there are {MAX_KEYS} keys already: remove some with retire");
        let mut key = new_private_key(&self.dir)?;
        let mut from = Utc::now() + learn; // only now, since it took a while to make the key
        let file = loop {
            let file = self.dir.join(PRIVATE.replace(".pem", &format!(".{}.pem", from.format(TIME))));
            match key.persist_noclobber(&file) {
                Ok(_) => break file,
                Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => key = taken.file,
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", file.display())),
            }
            from += Duration::from_secs(1);
        };
        self.sync()?;
        *self = Self::read(&self.dir)?;
        self.keys.iter().find(|key| key.file == file).with_context(|| format!("{} is gone", file.display()))
    }

    /// Removes these keys, which are not all. If the pair is one of them, the oldest of the others takes its place and name,
    /// for programs that know only the pair.
    ///
    /// # Errors
    /// If all keys were to be removed, or the folder cannot be written.
    pub fn remove(&mut self, which: impl Fn(&Key) -> bool) -> Result<()> {
        let (gone, kept): (Vec<_>, Vec<_>) = self.keys.iter().partition(|key| which(key));
        let Some(oldest) = kept.first() else {
            bail!("without a key nobody could sign: add another one first (rotate)")
        };
        let pair = self.dir.join(PRIVATE);
        for key in gone.iter().filter(|key| key.file != pair) {
            fs::remove_file(&key.file).with_context(|| format!("cannot remove {}", key.file.display()))?;
        }
        if oldest.file != pair {
            fs::rename(&oldest.file, &pair).with_context(|| format!("cannot write {}", pair.display()))?;
            write_public(&self.dir, &oldest.pair.public.rsa)?;
        }
        self.sync()?;
        *self = Self::read(&self.dir)?;
        Ok(())
    }

    /// Makes sure that what was renamed or removed stays so.
    fn sync(&self) -> Result<()> {
        Ok(File::open(&self.dir)?.sync_all()?)
    }

    /// Looks into the folder every two seconds, and gives `take` the keys whenever they are others. While they cannot be read,
    /// those read last stay. Ends only by an error of ours.
    pub async fn follow(mut self, take: impl Fn(&Self) -> Result<()>) -> anyhow::Error {
        let mut failed = false;
        loop {
            sleep(LOOK).await;
            let dir = self.dir.clone();
            let look = spawn_blocking(move || Self::read(&dir));
            let found = match look.await {
                Ok(found) => found,
                Err(error) => return error.into(),
            };
            let outcome = found.and_then(|found| {
                if !found.is_same(&self) {
                    take(&found)?;
                    let kids: Vec<_> = found.keys.iter().map(|key| key.pair.public.kid.as_str()).collect();
                    tracing::info!(folder = %found.dir.display(), ?kids, "there are other keys now");
                }
                self = found;
                Ok(())
            });
            match &outcome {
                Err(error) if !failed => tracing::warn!("the keys that were read before stay in use: {error:#}"),
                Ok(()) if failed => tracing::info!(folder = %self.dir.display(), "the keys can be read again"),
                _ => {}
            }
            failed = outcome.is_err();
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let names = |folder: &Self| -> Vec<_> {
            folder.keys.iter().map(|key| (key.from, key.pair.public.kid.clone())).collect()
        };
        names(self) == names(other)
    }
}

/// The files of further keys, the oldest first, and from when on each signs.
fn further(dir: &Path) -> Result<Vec<(i64, PathBuf)>> {
    let cannot = || format!("cannot look into {}", dir.display());
    let start = PRIVATE.trim_end_matches("pem");
    let mut further = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let time = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(".pem"));
        let time = time.and_then(|time| NaiveDateTime::parse_from_str(time, TIME).ok());
        further.extend(time.map(|time| (time.and_utc().timestamp(), file)));
    }
    further.sort();
    Ok(further)
}
