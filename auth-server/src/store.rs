//! What survives a restart and a kill: users, clients, sessions, codes and refresh families, in one
//! SQLite file of mode 0600. Secrets are there as SHA-256 digests only, passwords as Argon2id hashes.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::files;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::clock::Clock;

const SCHEMA: &str = "
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
            sqlx::raw_sql(SCHEMA).execute(&pool).await?;
            Ok::<_, sqlx::Error>(pool)
        };
        opening.await.map(|pool| Store(pool, Clock::default())).map_err(|error| anyhow!("{}: {error}", cannot()))
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
        for table in ["sessions", "refresh_tokens", "families", "assertions"] {
            let statement = format!("DELETE FROM {table} WHERE expires_at < ?");
            sqlx::query(sqlx::AssertSqlSafe(statement)).bind(now).execute(&self.0).await?;
        }
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
