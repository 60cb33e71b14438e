//! What survives a restart and a kill: users, clients, sessions, codes and refresh families, in one database. Secrets are
//! there as SHA-256 digests only, passwords as Argon2id hashes.
//!
//! All SQL is here: a file for each group of tables, and `migrations/` for the tables themselves.

mod assertions;
mod clients;
mod consents;
mod failures;
mod grants;
mod registrations;
mod sessions;
mod users;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use anyhow::{Result, ensure};
use oauth::secret::random_bytes;

pub(crate) use self::{
    clients::Added,
    consents::Consent,
    grants::{CONSENT_LIFETIME, FAMILY_LIFETIME, Family, Grant, Taken},
    users::{Person, Proof},
};
use crate::{
    clock::Clock,
    database::{Database, Location, Tables, is_unavailable, query},
    throttle::MEMORY,
};

const TABLES: Tables = Tables {
    part: "auth-server",
    sqlite: &[
        include_str!("../../migrations/0001_tables.sql"),
        include_str!("../../migrations/0002_people.sql"),
        include_str!("../../migrations/0003_families.sql"),
        include_str!("../../migrations/0004_disabled.sql"),
        include_str!("../../migrations/0005_limits.sql"),
    ],
    postgres: &[
        include_str!("../../migrations/postgres/0001_tables.sql"),
        include_str!("../../migrations/postgres/0002_disabled.sql"),
        include_str!("../../migrations/0005_limits.sql"),
    ],
};

/// What is deleted, and when; `$1` is now. A code stays as long as the tokens it gave, so that a replay is noticed. A
/// code that nobody redeemed, and its family, stay for an hour. Registrations far in the future are deleted too: the clock
/// was set back, and they would keep others out for too long.
const EXPIRED: [&str; 9] = [
    "DELETE FROM sessions WHERE expires_at < $1",
    "DELETE FROM devices WHERE expires_at < $1",
    "DELETE FROM assertions WHERE expires_at < $1",
    "DELETE FROM failures WHERE last_ms < ($1 - 15 * 60) * 1000",
    "DELETE FROM registrations WHERE registered_at < $1 - 3600 OR registered_at > $1 + 3600",
    "DELETE FROM consents WHERE given_at < $1 - 30 * 24 * 3600",
    "DELETE FROM families WHERE id IN (SELECT family FROM codes WHERE expires_at < $1 - 3600 AND NOT used)",
    "DELETE FROM families WHERE expires_at < $1",
    "DELETE FROM codes WHERE expires_at < $1 - 3600",
];
// What these statements say in numbers.
const _: () = assert!(CONSENT_LIFETIME == 30 * 24 * 3600 && MEMORY == 15 * 60);
/// How often, in seconds, while the server runs.
const TIDY_EVERY: i64 = 60;
/// After how many seconds a client should try again that has waited for the database for too long.
pub(crate) const RETRY_AFTER: u64 = 2;

/// The database, the clock that decides what has expired, and when expired rows were last deleted.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    clock: Clock,
    tidied: Arc<AtomicI64>,
}

impl Store {
    /// Opens the database, and makes what is missing.
    ///
    /// # Errors
    /// If it cannot be opened, is no database, or others can read it or write into its folder.
    pub async fn open(location: &Location) -> Result<Self> {
        let database = Database::open(location, TABLES).await?;
        Ok(Store { database, clock: Clock::system(), tidied: Arc::default() })
    }

    /// Opens a database for managing what is in it. One that is not there is not made: its name would be wrong.
    ///
    /// # Errors
    /// If it is not there, and those of [`Store::open`].
    pub async fn existing(location: &Location) -> Result<Self> {
        ensure!(
            location.may_exist(),
            "there is no database {location}: name the server's with --auth-database or MCP_AUTH_DATABASE, or start the \
             server once, which makes it"
        );
        Self::open(location).await
    }

    /// Whether it can be written.
    ///
    /// # Errors
    /// If it cannot.
    pub(crate) async fn check(&self) -> Result<()> {
        self.database.check().await
    }

    /// The clock of everything that expires here.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Deletes what has expired, at most once a minute. Functions that write rows call it: without writes, nothing
    /// grows.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn remove_expired(&self) -> sqlx::Result<()> {
        let (now, last) = (self.now(), self.tidied.load(Relaxed));
        // A clock that was set back is not waited for.
        let lately = now.abs_diff(last) < TIDY_EVERY.unsigned_abs();
        if lately || self.tidied.compare_exchange(last, now, Relaxed, Relaxed).is_err() {
            return Ok(());
        }
        let tidy = self.database.transaction(Some("tidy"), async |all| {
            for statement in EXPIRED {
                query(statement).bind(now).execute(&mut *all).await?;
            }
            Ok(())
        });
        tidy.await
    }

    /// A random secret of this installation, made on first use.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub async fn secret(&self, name: &str) -> Result<Vec<u8>> {
        let fresh = random_bytes()?;
        query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(&fresh[..])
            .execute(&self.database)
            .await?;
        let (value,) = query("SELECT value FROM secrets WHERE name = $1").bind(name).fetch_one(&self.database).await?;
        Ok(value)
    }
}

#[cfg(test)]
impl Store {
    /// For tests: expired rows were deleted at this time, as the clock was then.
    pub fn tidied_at(&self, time: i64) {
        self.tidied.store(time, Relaxed);
    }

    /// For tests, which look into the tables and change them.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// For those that know SQLite alone.
    pub fn pool(&self) -> &sqlx::SqlitePool {
        match &self.database {
            Database::Sqlite(pool) => pool,
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => panic!("these tests look into SQLite"),
        }
    }
}

/// Whether the database was in use for too long, by us or by another program, or cannot be reached. This is temporary.
pub(crate) fn is_busy(cause: &anyhow::Error) -> bool {
    cause.downcast_ref().is_some_and(is_unavailable)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;
    use oauth::{files, identifiers::Subject, secret::Digest};
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

    use super::*;

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db").into()).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn what_runs_often_reads_no_whole_table_and_needs_every_index() {
        let (_folder, store) = store().await;
        let often = [
            grants::HAS_FAMILY,
            "SELECT * FROM families WHERE id = ?",
            "SELECT * FROM codes WHERE digest = ?",
            "UPDATE families SET revoked = 1 WHERE user = ?",
            "DELETE FROM sessions WHERE user = ?",
            "DELETE FROM devices WHERE sub = ?",
            "SELECT * FROM failures WHERE counter = ?",
            registrations::EARLIER,
        ];
        let mut plans = String::new();
        for statement in EXPIRED.into_iter().chain(often) {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(store.pool()).await.unwrap();
            for (.., step) in plan {
                assert!(!step.starts_with("SCAN") || step == "SCAN CONSTANT ROW", "{statement}: {step}");
                plans += &step;
            }
        }
        let indexes: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
                .fetch_all(store.pool())
                .await
                .unwrap();
        for (index,) in indexes {
            assert!(
                plans.contains(&format!("USING INDEX {index} ")) || plans.contains(&format!("COVERING INDEX {index} ")),
                "{index} serves nothing: {plans}"
            );
        }
    }

    #[tokio::test]
    async fn what_has_expired_is_forgotten_and_nothing_else() {
        let (_folder, store) = store().await;
        let at = store.now();
        let (hour, month) = (3600, FAMILY_LIFETIME);
        let rows = [
            format!(
                "INSERT INTO sessions (digest, user, expires_at) VALUES ('old', '', {at} - 1), ('new', '', {at} + 60)"
            ),
            format!("INSERT INTO assertions (digest, expires_at) VALUES ('old', {at} - 1), ('new', {at} + 60)"),
            format!(
                "INSERT INTO consents (user, client_id, resource, scope, given_at)
                 VALUES ('', 'old', '', '', {at} - {month} - 1), ('', 'new', '', '', {at} - {month} + 60)"
            ),
            format!(
                "INSERT INTO families (id, client_id, user, scope, resource, expires_at) VALUES
                 ('old', '', '', '', '', {at} - 1), ('unfetched old', '', '', '', '', {at} + {month}),
                 ('new', '', '', '', '', {at} + 60), ('unfetched new', '', '', '', '', {at} + {month})"
            ),
            format!(
                "INSERT INTO codes (digest, family, redirect_uri, code_challenge, used, expires_at) VALUES
                 ('old', 'old', '', '', 1, {at} - {hour} - 1), ('new', 'new', '', '', 1, {at} + {month}),
                 ('unfetched old', 'unfetched old', '', '', 0, {at} - {hour} - 1),
                 ('unfetched new', 'unfetched new', '', '', 0, {at} - {hour} + 60)"
            ),
        ];
        for statement in rows {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(store.pool()).await.unwrap();
        }
        store.remove_expired().await.unwrap();
        for (table, key) in [
            ("sessions", "digest"),
            ("assertions", "digest"),
            ("consents", "client_id"),
            ("families", "id"),
            ("codes", "digest"),
        ] {
            let select = sqlx::AssertSqlSafe(format!("SELECT {key} FROM {table} ORDER BY {key}"));
            let left: Vec<(String,)> = sqlx::query_as(select).fetch_all(store.pool()).await.unwrap();
            let left: Vec<_> = left.iter().map(|(key,)| key.as_str()).collect();
            let unfetched = matches!(table, "families" | "codes");
            assert_eq!(left, if unfetched { vec!["new", "unfetched new"] } else { vec!["new"] }, "{table}");
        }
    }

    async fn version(store: &Store) -> i64 {
        sqlx::query_as::<_, (i64,)>("PRAGMA user_version").fetch_one(store.pool()).await.unwrap().0
    }

    /// Killing the program cannot show that a power failure loses nothing acknowledged, because writes stay in the
    /// system's memory. So this test looks at the setting.
    #[tokio::test]
    async fn what_is_acknowledged_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db").into()).await.unwrap();
        let (synchronous,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(store.pool()).await.unwrap();
        assert_eq!(synchronous, 2, "FULL (https://www.sqlite.org/pragma.html#pragma_synchronous)");
        let (journal,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(store.pool()).await.unwrap();
        assert_eq!(journal, "wal");
    }

    #[tokio::test]
    async fn a_database_from_before_versions_were_counted_keeps_its_people_and_what_is_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.db");
        let store = Store::open(&file.clone().into()).await.unwrap();
        for statement in [
            "DROP TABLE users; DROP TABLE devices; DROP TABLE sessions; DROP TABLE families; DROP TABLE codes",
            "DROP TABLE consents; DROP TABLE assertions; DROP TABLE failures; DROP TABLE registrations",
            "PRAGMA user_version = 0",
            TABLES.sqlite[0],
            "INSERT INTO users VALUES ('alice', 'a hash', 'user')",
            "INSERT INTO sessions VALUES ('a session', 'alice', 9)",
            "INSERT INTO families VALUES ('a family', 'a client', 'alice', '', '', 0, 9)",
            "INSERT INTO consents VALUES ('alice', 'a client', '', '', 9)",
        ] {
            sqlx::raw_sql(statement).execute(store.pool()).await.unwrap();
        }
        assert_eq!(version(&store).await, 0);
        store.pool().close().await;
        for _ in 0..2 {
            let store = Store::open(&file.clone().into()).await.unwrap();
            let users: Vec<(String, String, String, String)> =
                sqlx::query_as("SELECT sub, name, hash, roles FROM users").fetch_all(store.pool()).await.unwrap();
            let alice = ["user_alice", "alice", "a hash", "user"].map(str::to_owned);
            assert_eq!(users.iter().map(|(a, b, c, d)| [a, b, c, d].map(Clone::clone)).collect::<Vec<_>>(), [alice]);
            let owners =
                "SELECT user FROM sessions UNION ALL SELECT user FROM families UNION ALL SELECT user FROM consents";
            let owners: Vec<(String,)> = sqlx::query_as(owners).fetch_all(store.pool()).await.unwrap();
            assert_eq!(owners, ["user_alice"; 3].map(|sub| (sub.to_owned(),)));
            assert_eq!(version(&store).await, i64::try_from(TABLES.sqlite.len()).unwrap());
            store.pool().close().await;
        }
    }

    /// The fixture is what the program made before its migrations were files.
    #[tokio::test]
    async fn a_database_of_the_version_before_is_carried_over_with_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.db");
        files::database(&file).unwrap();
        let before = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
        sqlx::raw_sql(include_str!("../../tests/fixtures/version3.sql")).execute(&before).await.unwrap();
        before.close().await;

        let store = Store::open(&file.clone().into()).await.unwrap();
        store.remove_expired().await.unwrap();
        assert_eq!(version(&store).await, i64::try_from(TABLES.sqlite.len()).unwrap());
        let alice = Subject::new("user_alice");
        let people = store.people().await.unwrap();
        assert_eq!(people.iter().map(|person| person.name.as_str()).collect::<Vec<_>>(), ["alice", "carol"]);
        assert!(people.iter().all(|person| !person.disabled && person.last_log_in.is_none()));
        assert_eq!(store.person_named("carol").await.unwrap().unwrap().1, "$argon2id$carol");
        assert_eq!(store.session(&Digest::kept("a session")).await.unwrap(), Some(alice.clone()));
        let browser = store.browser_of("alice", Some(&Digest::kept("a browser"))).await.unwrap();
        assert_eq!(browser, Some((alice.clone(), true)));
        let client = store.registered("a client").await.unwrap().unwrap();
        assert_eq!(client.metadata.client_name.as_deref(), Some("A client"));
        assert_eq!(client.secret_digest, Some(Digest::kept("a digest")));
        assert_eq!(client.metadata.jwks.unwrap().usable().count(), 1);
        let code = store.code(&Digest::kept("a code")).await.unwrap().unwrap();
        assert!(code.used && code.redirect_uri == *"http://localhost:1/callback");
        let family = store.family(code.family).await.unwrap().unwrap();
        assert_eq!((&family.user, family.client_id.as_str(), family.revoked), (&alice, "a client", false));
        assert_eq!(family.refresh_digest, Some(Digest::kept("a refresh token")));
        assert!(store.has_consented(&alice, &family.client_id, &family.resource).await.unwrap());
        assert!(!store.is_first_use(&Digest::kept("an assertion"), 0).await.unwrap());
        assert_eq!(store.secret("forms").await.unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.db");
        let store = Store::open(&file.clone().into()).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 1000").execute(store.pool()).await.unwrap();
        store.pool().close().await;
        let error = Store::open(&file.clone().into()).await.err().unwrap().to_string();
        assert!(error.contains("auth.db: a newer version of this program made it"), "{error}");
    }

    #[tokio::test]
    async fn who_waits_for_the_database_is_told_so_soon() {
        let (_folder, store) = store().await;
        let held = store.pool().acquire().await.unwrap();
        let started = std::time::Instant::now();
        let waited = store.remove_expired().await.unwrap_err();
        assert!(is_busy(&waited.into()) && started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        drop(held);
        assert!(!is_busy(&anyhow!("anything else")) && !is_busy(&sqlx::Error::RowNotFound.into()));
    }
}
