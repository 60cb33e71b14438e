//! A database that is open.

use anyhow::{Result, anyhow};
use sqlx::SqlitePool;

#[cfg(feature = "postgres")]
use super::postgres;
use super::{location::Location, sqlite};

/// The tables of one part of a program: what makes the database of each version out of the one before, as texts of SQL. A step
/// that was released stays as it is. All steps are one transaction, so that no program sees half of them, and programs that
/// start together wait for one another.
#[derive(Clone, Copy)]
pub struct Tables {
    /// Whose they are, as several parts may share a database of PostgreSQL.
    pub part: &'static str,
    /// For SQLite, which counts in `PRAGMA user_version`.
    pub sqlite: &'static [&'static str],
    /// For PostgreSQL, which counts in the table `versions`.
    pub postgres: &'static [&'static str],
}

/// A database that is open.
#[derive(Clone)]
pub enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server that several programs share.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

impl Database {
    /// Opens it, and brings the tables to this program's version. A file of SQLite is made (mode 0600), and its folder, where
    /// they are missing.
    ///
    /// # Errors
    /// If it cannot be opened, is no database or of a newer version, or if others can read its file or write into its folder.
    pub async fn open(location: &Location, tables: Tables) -> Result<Self> {
        let opening = async {
            match location.url() {
                None => Ok(Database::Sqlite(sqlite::open(location.file(), tables.sqlite).await?)),
                #[cfg(feature = "postgres")]
                Some(url) => Ok(Database::Postgres(postgres::open(url, tables.part, tables.postgres).await?)),
                #[cfg(not(feature = "postgres"))]
                Some(_) => Err(anyhow!("this program was built for SQLite only")),
            }
        };
        opening.await.map_err(|error: anyhow::Error| match error.downcast_ref::<sqlx::Error>() {
            Some(sqlx::Error::Database(error)) => anyhow!("cannot open the database {location}: {}", error.message()),
            // Its own sentence has that of its cause in it.
            Some(error) => anyhow!("cannot open the database {location}: {error}"),
            None => anyhow!("cannot open the database {location}: {error:#}"),
        })
    }

    /// A text that was read, as it was given.
    #[must_use]
    pub fn text(&self, read: String) -> String {
        match self {
            Database::Sqlite(_) => read,
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => postgres::given(read),
        }
    }

    /// Whether it can be written.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn check(&self) -> Result<()> {
        match self {
            Database::Sqlite(pool) => Ok(pool.begin_with("BEGIN IMMEDIATE").await?.rollback().await?),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => postgres::check(pool).await,
        }
    }
}

/// Whether it is a matter of time: the database is in use for too long, or cannot be reached.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    #[cfg(feature = "postgres")]
    if let sqlx::Error::Database(error) = error
        && let Some(error) = error.try_downcast_ref()
    {
        return postgres::is_unavailable(error);
    }
    matches!(error, sqlx::Error::Io(_)) || sqlite::is_unavailable(error)
}
