//! What survives a restart and a kill: users, clients, sessions, codes and refresh families, in one
//! SQLite file of mode 0600. Secrets are there as SHA-256 digests only, passwords as Argon2id hashes.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::files;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::clock::Clock;

/// What makes a database of each version out of the one before (`PRAGMA user_version`). A step that was released stays
/// as it is.
const MIGRATIONS: [&str; 2] = [FIRST_SCHEMA, PEOPLE];

/// Databases from before versions were counted have these tables, and the version 0.
const FIRST_SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, hash TEXT NOT NULL, roles TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clients (
    id TEXT PRIMARY KEY, secret_digest TEXT, metadata TEXT NOT NULL, created_at INTEGER NOT NULL, used_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    digest TEXT PRIMARY KEY, user TEXT NOT NULL, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS families (
    id TEXT PRIMARY KEY, client_id TEXT NOT NULL, user TEXT NOT NULL, scope TEXT NOT NULL, resource TEXT NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
    digest TEXT PRIMARY KEY, family TEXT NOT NULL, redirect_uri TEXT NOT NULL, code_challenge TEXT NOT NULL,
    used INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    digest TEXT PRIMARY KEY, family TEXT NOT NULL, used INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS refresh_tokens_by_family ON refresh_tokens (family);
CREATE TABLE IF NOT EXISTS consents (
    user TEXT NOT NULL, client_id TEXT NOT NULL, resource TEXT NOT NULL, scope TEXT NOT NULL, given_at INTEGER NOT NULL,
    PRIMARY KEY (user, client_id, resource));
CREATE TABLE IF NOT EXISTS assertions (
    digest TEXT PRIMARY KEY, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS secrets (
    name TEXT PRIMARY KEY, value BLOB NOT NULL);
";

/// A person is a `sub` that stays, and has a name. What belongs to the person has the `sub` as its `user`.
const PEOPLE: &str = "
ALTER TABLE users RENAME TO users_by_name;
CREATE TABLE users (
    sub TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash TEXT NOT NULL, roles TEXT NOT NULL);
INSERT INTO users (sub, name, hash, roles) SELECT 'user_' || name, name, hash, roles FROM users_by_name;
DROP TABLE users_by_name;
UPDATE sessions SET user = 'user_' || user;
UPDATE families SET user = 'user_' || user;
UPDATE consents SET user = 'user_' || user;
CREATE TABLE devices (
    digest TEXT PRIMARY KEY, sub TEXT NOT NULL, expires_at INTEGER NOT NULL);
CREATE INDEX devices_by_sub ON devices (sub);
";

/// How long it is remembered that a person let a client in, in seconds: as long as the client may go on refreshing.
/// It only puts a sentence on the consent page: the person is asked each time.
pub(crate) const CONSENT_LIFETIME: i64 = 30 * 24 * 3600;

/// The database, and the clock by which what is in it expires.
#[derive(Clone)]
pub struct Store(pub(crate) SqlitePool, Clock);

impl Store {
    /// Opens the file, and makes it (mode 0600) and its folder where they are missing.
    ///
    /// # Errors
    /// If it cannot be opened, is no database, or others can read it or write into its folder.
    pub async fn open(file: &Path) -> Result<Self> {
        let cannot = || format!("cannot open the database {}", file.display());
        // Before SQLite opens it: closing any handle of a file drops all of the process's locks on it (POSIX).
        files::database(file).with_context(cannot)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let opening = async {
            let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
            migrate(&pool).await?;
            Ok(pool)
        };
        opening
            .await
            .map(|pool| Store(pool, Clock::default()))
            .map_err(|error: anyhow::Error| anyhow!("{}: {error}", cannot()))
    }

    /// The clock of everything that expires here.
    pub fn clock(&self) -> &Clock {
        &self.1
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.1.now()
    }

    /// Forgets what has expired.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn remove_expired(&self) -> sqlx::Result<()> {
        let now = self.now();
        for table in ["sessions", "devices", "refresh_tokens", "families", "assertions"] {
            let statement = format!("DELETE FROM {table} WHERE expires_at < ?");
            sqlx::query(sqlx::AssertSqlSafe(statement)).bind(now).execute(&self.0).await?;
        }
        sqlx::query("DELETE FROM consents WHERE given_at + ? < ?")
            .bind(CONSENT_LIFETIME)
            .bind(now)
            .execute(&self.0)
            .await?;
        // A code that was used is remembered as long as what it gave, so that a replay is noticed.
        let codes = "DELETE FROM codes WHERE expires_at < ? AND (used = 0 OR family NOT IN (SELECT id FROM families))";
        sqlx::query(codes).bind(now).execute(&self.0).await?;
        Ok(())
    }

    /// A random secret of this installation, made on first use.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub async fn secret(&self, name: &str) -> Result<Vec<u8>> {
        let fresh = random_bytes()?;
        sqlx::query("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(&fresh[..])
            .execute(&self.0)
            .await?;
        let (value,): (Vec<u8>,) =
            sqlx::query_as("SELECT value FROM secrets WHERE name = ?").bind(name).fetch_one(&self.0).await?;
        Ok(value)
    }
}

/// Brings the tables to this program's version: all steps or none, and one program at a time.
async fn migrate(pool: &SqlitePool) -> Result<()> {
    let mut all = pool.begin_with("BEGIN IMMEDIATE").await?;
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *all).await?;
    let steps = usize::try_from(version).ok().and_then(|done| MIGRATIONS.get(done..));
    let Some(steps) = steps else { bail!("a newer version of this program made it") };
    for step in steps {
        sqlx::raw_sql(*step).execute(&mut *all).await?;
    }
    let done = format!("PRAGMA user_version = {}", MIGRATIONS.len());
    sqlx::raw_sql(sqlx::AssertSqlSafe(done)).execute(&mut *all).await?;
    Ok(all.commit().await?)
}

/// What stands in the database for a secret.
pub fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// 256 bits that nobody can guess, as 43 characters that fit into a URL.
///
/// # Errors
/// If the system has no randomness.
pub fn random() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes()?))
}

fn random_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| anyhow!("the system has no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn version(store: &Store) -> i64 {
        sqlx::query_as::<_, (i64,)>("PRAGMA user_version").fetch_one(&store.0).await.unwrap().0
    }

    /// That a power failure takes away nothing that was acknowledged cannot be shown by killing the program:
    /// what it wrote stays in the system's memory. So this looks at the setting.
    #[tokio::test]
    async fn what_is_acknowledged_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db")).await.unwrap();
        let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&store.0).await.unwrap();
        assert_eq!(synchronous, 2, "FULL (https://www.sqlite.org/pragma.html#pragma_synchronous)");
        let (journal,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(&store.0).await.unwrap();
        assert_eq!(journal, "wal");
    }

    #[tokio::test]
    async fn a_database_from_before_versions_were_counted_keeps_its_people_and_what_is_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.db");
        let store = Store::open(&file).await.unwrap();
        for statement in [
            "DROP TABLE users",
            "DROP TABLE devices",
            "PRAGMA user_version = 0",
            FIRST_SCHEMA,
            "INSERT INTO users VALUES ('alice', 'a hash', 'user')",
            "INSERT INTO sessions VALUES ('a session', 'alice', 9)",
            "INSERT INTO families VALUES ('a family', 'a client', 'alice', '', '', 0, 9)",
            "INSERT INTO consents VALUES ('alice', 'a client', '', '', 9)",
        ] {
            sqlx::raw_sql(statement).execute(&store.0).await.unwrap();
        }
        assert_eq!(version(&store).await, 0);
        store.0.close().await;
        for _ in 0..2 {
            let store = Store::open(&file).await.unwrap();
            let users: Vec<(String, String, String, String)> =
                sqlx::query_as("SELECT sub, name, hash, roles FROM users").fetch_all(&store.0).await.unwrap();
            let alice = ["user_alice", "alice", "a hash", "user"].map(str::to_owned);
            assert_eq!(users.iter().map(|(a, b, c, d)| [a, b, c, d].map(Clone::clone)).collect::<Vec<_>>(), [alice]);
            let owners =
                "SELECT user FROM sessions UNION ALL SELECT user FROM families UNION ALL SELECT user FROM consents";
            let owners: Vec<(String,)> = sqlx::query_as(owners).fetch_all(&store.0).await.unwrap();
            assert_eq!(owners, [const { () }; 3].map(|()| ("user_alice".to_owned(),)));
            assert_eq!(version(&store).await, i64::try_from(MIGRATIONS.len()).unwrap());
            store.0.close().await;
        }
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.db");
        let store = Store::open(&file).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 1000").execute(&store.0).await.unwrap();
        store.0.close().await;
        let error = Store::open(&file).await.err().unwrap().to_string();
        assert!(error.contains("auth.db: a newer version of this program made it"), "{error}");
    }
}
