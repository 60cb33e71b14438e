//! Where statements run: on a connection that is lent to one of them, or to one transaction.

#[cfg(feature = "postgres")]
use oauth::secret::Digest;
use sqlx::{Sqlite, pool::PoolConnection};

#[cfg(feature = "postgres")]
use super::postgres::{PATIENCE, kept};
use super::{
    pool::Database,
    query::{Query, Row, Value, bound, query},
};

/// Where a statement runs.
pub enum On<'a> {
    /// By itself.
    Database(&'a Database),
    /// With others.
    Transaction(&'a mut Transaction),
}

impl<'a> From<&'a Database> for On<'a> {
    fn from(database: &'a Database) -> Self {
        On::Database(database)
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        On::Transaction(transaction)
    }
}

impl Query<'_> {
    /// How many rows it has changed.
    ///
    /// # Errors
    /// If it fails.
    pub async fn execute<'a>(self, on: impl Into<On<'a>>) -> sqlx::Result<u64> {
        match on.into() {
            On::Database(database) => Lease::of(database).await?.execute(&self).await,
            On::Transaction(Transaction { lease, .. }) => lease.execute(&self).await,
        }
    }

    /// All rows that it finds.
    ///
    /// # Errors
    /// If it fails.
    pub async fn fetch_all<'a, T: Row>(self, on: impl Into<On<'a>>) -> sqlx::Result<Vec<T>> {
        match on.into() {
            On::Database(database) => Lease::of(database).await?.fetch(&self).await,
            On::Transaction(Transaction { lease, .. }) => lease.fetch(&self).await,
        }
    }

    /// The row that it finds, if there is one.
    ///
    /// # Errors
    /// If it fails.
    pub async fn fetch_optional<'a, T: Row>(self, on: impl Into<On<'a>>) -> sqlx::Result<Option<T>> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    /// The row that it must find.
    ///
    /// # Errors
    /// If it fails, or finds none.
    pub async fn fetch_one<'a, T: Row>(self, on: impl Into<On<'a>>) -> sqlx::Result<T> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// How often a transaction is tried that got into the way of another one.
const ATTEMPTS: u32 = 3;

impl Database {
    /// Does all of this or nothing. `lock`: a name that only one transaction at a time may have; without one, statements lock
    /// the rows that they change. SQLite has one writer at a time anyway. What got into the way of another transaction is
    /// done again.
    ///
    /// # Errors
    /// Those of the work; nothing was changed then, unless the answer to the last statement, `COMMIT`, was lost.
    pub async fn transaction<T>(
        &self,
        lock: Option<&str>,
        work: impl AsyncFn(&mut Transaction) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let mut attempt = 1;
        loop {
            match self.attempt(lock, &work).await {
                Err(error) if attempt < ATTEMPTS && is_conflict(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt<T>(
        &self,
        lock: Option<&str>,
        work: &impl AsyncFn(&mut Transaction) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let mut all = Transaction::begin(self, lock).await?;
        match work(&mut all).await {
            Ok(done) => all.commit().await.map(|()| done),
            // Who does not answer would not answer ROLLBACK either: the connection is closed, as it is if that fails.
            Err(error) if all.lease.unanswered => Err(error),
            Err(error) => {
                let _ = all.rollback().await;
                Err(error)
            }
        }
    }
}

/// Whether PostgreSQL gave up a transaction in favour of another one (SQLSTATE 40001, 40P01).
fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// Several statements that are done together or not at all ([`Database::transaction`]).
pub struct Transaction {
    lease: Lease,
    #[cfg(feature = "postgres")]
    _turn: Option<Turn>, // dropped after the connection
}

impl Transaction {
    #[cfg(not(feature = "postgres"))]
    async fn begin(database: &Database, _lock: Option<&str>) -> sqlx::Result<Self> {
        // SQLite has one writer at a time.
        Ok(Transaction { lease: Lease::begin(database).await? })
    }

    /// Waiting for the turn, for a connection and for the lock takes no longer than one of them may.
    #[cfg(feature = "postgres")]
    async fn begin(database: &Database, lock: Option<&str>) -> sqlx::Result<Self> {
        let Database::Postgres(_) = database else {
            return Ok(Transaction { lease: Lease::begin(database).await?, _turn: None });
        };
        let begin = async {
            // Each who waits for a lock of PostgreSQL has a connection. In this program only one of them waits there, so that
            // a crowd at one lock leaves the connections to others.
            let turn = match lock {
                Some(lock) => Some(turn(lock).await),
                None => None,
            };
            let mut all = Transaction { lease: Lease::begin(database).await?, _turn: turn };
            if let Some(lock) = lock {
                // Until the transaction ends. Names of any length and with any characters have a digest.
                let (take, name) = ("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", Digest::of(lock));
                query(take).bind(name.as_str()).execute(&mut all).await?;
            }
            Ok(all)
        };
        tokio::time::timeout(PATIENCE, begin).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn commit(mut self) -> sqlx::Result<()> {
        self.end("COMMIT").await
    }

    async fn rollback(mut self) -> sqlx::Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, how: &'static str) -> sqlx::Result<()> {
        self.lease.execute(&query(how)).await?;
        self.lease.in_transaction = false;
        Ok(())
    }
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(PoolConnection<sqlx::Postgres>),
}

/// A connection that goes back into the pool if nothing is left undone on it. One with a transaction that did not end, or a
/// statement that was not answered, is closed: so the database rolls back, and nobody waits for the answer.
struct Lease {
    connection: Connection,
    in_transaction: bool,
    unanswered: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.in_transaction && !self.unanswered {
            return;
        }
        match &mut self.connection {
            Connection::Sqlite(connection) => connection.close_on_drop(),
            #[cfg(feature = "postgres")]
            Connection::Postgres(connection) => connection.close_on_drop(),
        }
    }
}

impl Lease {
    async fn of(database: &Database) -> sqlx::Result<Self> {
        let connection = match database {
            Database::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        };
        Ok(Lease { connection, in_transaction: false, unanswered: false })
    }

    async fn begin(database: &Database) -> sqlx::Result<Self> {
        let mut lease = Self::of(database).await?;
        let begin = match lease.connection {
            Connection::Sqlite(_) => "BEGIN IMMEDIATE",
            #[cfg(feature = "postgres")]
            Connection::Postgres(_) => "BEGIN",
        };
        lease.in_transaction = true; // also if nobody waits for the answer any more
        let answer = lease.execute(&query(begin)).await;
        lease.in_transaction = answer.is_ok();
        answer?;
        Ok(lease)
    }

    async fn execute(&mut self, query: &Query<'_>) -> sqlx::Result<u64> {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                Ok(bound!(sqlx::query(query.sql), query, |text| text).execute(&mut **connection).await?.rows_affected())
            }
            #[cfg(feature = "postgres")]
            Connection::Postgres(connection) => {
                let running = bound!(sqlx::query(query.sql), query, kept).execute(&mut **connection);
                Ok(in_time(&mut self.unanswered, running).await?.rows_affected())
            }
        }
    }

    async fn fetch<T: Row>(&mut self, query: &Query<'_>) -> sqlx::Result<Vec<T>> {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                bound!(sqlx::query_as(query.sql), query, |text| text).fetch_all(&mut **connection).await
            }
            #[cfg(feature = "postgres")]
            Connection::Postgres(connection) => {
                let running = bound!(sqlx::query_as(query.sql), query, kept).fetch_all(&mut **connection);
                in_time(&mut self.unanswered, running).await
            }
        }
    }
}

/// The right to wait for a lock.
#[cfg(feature = "postgres")]
type Turn = tokio::sync::MutexGuard<'static, ()>;

/// Locks with different names may share a turn: then one waits for the other, and nothing else.
#[cfg(feature = "postgres")]
async fn turn(lock: &str) -> Turn {
    static TURNS: [tokio::sync::Mutex<()>; 64] = [const { tokio::sync::Mutex::const_new(()) }; 64];
    let number = lock.bytes().fold(0_usize, |number, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
    TURNS[number % TURNS.len()].lock().await
}

/// What is not answered in time is an error; until it is answered, it is `unanswered`.
#[cfg(feature = "postgres")]
async fn in_time<T>(unanswered: &mut bool, running: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    *unanswered = true;
    let outcome = tokio::time::timeout(PATIENCE, running).await;
    let outcome = outcome.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))?;
    *unanswered = matches!(outcome, Err(sqlx::Error::Io(_)));
    outcome
}
