//! A file of SQLite. A program opens it once: closing any handle of a file drops all of the process's locks on it (POSIX), and
//! another program may then remove the log that is still written to.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use oauth::files;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// How long a request waits for the database before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried to open the file: nobody waits for an answer yet, and a disk may be slow, or another program busy with it.
const TRIES: usize = 5;

pub(super) async fn open(file: &Path, steps: &[&'static str]) -> Result<SqlitePool> {
    // Before SQLite opens it: closing any handle of a file drops all of the process's locks on it (POSIX).
    files::database(file)?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full) // what was acknowledged is on disk
        .busy_timeout(PATIENCE);
    // One connection: SQLite writes one at a time anyway, and so nobody finds it locked.
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy_with(options);
    for _ in 1..TRIES {
        match migrate(&pool, steps).await {
            Err(error) if error.downcast_ref().is_some_and(is_unavailable) => {}
            outcome => return outcome.map(|()| pool),
        }
    }
    migrate(&pool, steps).await?;
    Ok(pool)
}

async fn migrate(pool: &SqlitePool, steps: &[&'static str]) -> Result<()> {
    let mut all = pool.begin_with("BEGIN IMMEDIATE").await?;
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *all).await?;
    let missing = usize::try_from(version).ok().and_then(|done| steps.get(done..));
    let Some(missing) = missing else { bail!("a newer version of this program made it") };
    for step in missing {
        sqlx::raw_sql(*step).execute(&mut *all).await?;
    }
    let done = format!("PRAGMA user_version = {}", steps.len());
    sqlx::raw_sql(sqlx::AssertSqlSafe(done)).execute(&mut *all).await?;
    Ok(all.commit().await?)
}

/// Whether the file is in use for too long (`SQLITE_BUSY`, `SQLITE_LOCKED`), or its disk does not answer.
pub(super) fn is_unavailable(error: &sqlx::Error) -> bool {
    const BUSY_OR_LOCKED: [i32; 2] = [5, 6];
    let code = match error {
        sqlx::Error::PoolTimedOut => return true,
        sqlx::Error::Database(error) => error.code(),
        _ => return false,
    };
    code.and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| BUSY_OR_LOCKED.contains(&(code & 0xff))) // the rest is the extended code
}
