//! PostgreSQL. Whatever waits for it waits for a bounded time: it may be gone, or hang.

use std::{borrow::Cow, str::FromStr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgDatabaseError, PgPoolOptions, PgSslMode},
};
use tokio::time::timeout;
use url::Url;

/// For a connection, and for each statement. Who waits for both is answered within two seconds, as only one of them takes
/// long: where no connection can be had, there is no statement.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);
/// For the question whether it is there, which probes ask.
const PROBE: Duration = Duration::from_secs(1);
/// The most connections of one program.
const CONNECTIONS: u32 = 10;

pub(super) async fn open(url: &str, part: &str, steps: &[&'static str]) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .connect_with(options(url)?)
        .await
        .map_err(|error| match error {
            sqlx::Error::PoolTimedOut => anyhow::anyhow!("nobody answers there"),
            // By default what leaves this computer is encrypted.
            sqlx::Error::Tls(_) => {
                anyhow::anyhow!("{error} (sslmode in its URL says how it is encrypted, and checked)")
            }
            error => error.into(),
        })?;
    migrate(&pool, part, steps).await?;
    Ok(pool)
}

fn options(text: &str) -> Result<PgConnectOptions> {
    // Not the library's sentences, which may quote what is wrong.
    let wrong = "the URL is not as PostgreSQL wants it: postgres://USER:PASSWORD@HOST/DATABASE";
    let url = Url::parse(text).ok().context(wrong)?;
    let mut options = PgConnectOptions::from_str(text).ok().context(wrong)?;
    let says_mode = url.query_pairs().any(|(name, _)| matches!(&*name, "sslmode" | "ssl-mode"));
    if !says_mode && std::env::var_os("PGSSLMODE").is_none() && !is_local(&options) {
        // Passwords, hashes and notes pass: the library would do without TLS if the other side says so.
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    let settings = [
        // What counts behind a lock must see what others have committed before it had the lock, whatever the database's
        // own default is.
        ("default_transaction_isolation", "read committed"),
        // The server gives up as well, also where we have gone in the middle of a transaction.
        ("statement_timeout", "1500"),
        ("idle_in_transaction_session_timeout", "5000"),
    ];
    Ok(options.application_name("mcp-auth").options(settings))
}

/// Whether what is sent stays on this computer.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let loopback = host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    options.get_socket().is_some() || host == "localhost" || host.starts_with('/') || loopback
}

async fn migrate(pool: &PgPool, part: &str, steps: &[&'static str]) -> Result<()> {
    let mut all = pool.begin().await?;
    // Of programs that start together, one makes the tables, and the others wait for it.
    let patience = "SET LOCAL statement_timeout = '1min'"; // before PostgreSQL 13 it counts from the next text on
    sqlx::raw_sql(patience).execute(&mut *all).await?;
    let lock = "SET LOCAL client_min_messages = warning; SELECT pg_advisory_xact_lock(hashtextextended('versions', 0));
        CREATE TABLE IF NOT EXISTS versions (part TEXT PRIMARY KEY, version BIGINT NOT NULL)";
    sqlx::raw_sql(lock).execute(&mut *all).await?;
    let select = sqlx::query_scalar("SELECT version FROM versions WHERE part = $1").bind(part);
    let version: i64 = select.fetch_optional(&mut *all).await?.unwrap_or(0);
    let missing = usize::try_from(version).ok().and_then(|done| steps.get(done..));
    let Some(missing) = missing else { bail!("a newer version of this program made it") };
    for step in missing {
        sqlx::raw_sql(*step).execute(&mut *all).await?;
    }
    let done = "INSERT INTO versions (part, version) VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET version = $2";
    sqlx::query(done).bind(part).bind(i64::try_from(steps.len())?).execute(&mut *all).await?;
    Ok(all.commit().await?)
}

/// A text as PostgreSQL can keep it: without U+0000, in whose place two characters stand. The order of texts stays.
pub(super) fn kept(text: &str) -> Cow<'_, str> {
    if text.contains(['\0', '\u{1}']) {
        text.replace('\u{1}', "\u{1}b").replace('\0', "\u{1}a").into()
    } else {
        text.into()
    }
}

/// The text that was kept so.
pub(super) fn given(kept: String) -> String {
    if kept.contains('\u{1}') { kept.replace("\u{1}a", "\0").replace("\u{1}b", "\u{1}") } else { kept }
}

/// Where a standby has not taken over yet, nothing can be written.
pub(super) async fn check(pool: &PgPool) -> Result<()> {
    let asking = sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'off'").fetch_one(pool);
    let can_be_written: bool = timeout(PROBE, asking).await.context("no answer")??;
    ensure!(can_be_written, "it can only be read");
    Ok(())
}

/// By the class of its code (PostgreSQL, appendix A): no connection, a transaction that gave way, no room for more, stopped by
/// an operator, a lock that is not free; or it is a standby that can only be read.
pub(super) fn is_unavailable(error: &PgDatabaseError) -> bool {
    let code = error.code();
    ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) || matches!(code, "55P03" | "25006")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_this_computer_is_encrypted_unless_the_url_says_otherwise() {
        for (url, encrypted) in [
            ("postgres://me@db.example/mcp", true),
            ("postgres://me@192.0.2.1/mcp", true),
            ("postgres://me@localhost.example/mcp", true),
            ("postgres://me@db.example/mcp?sslmode=disable", false),
            ("postgres://me@localhost/mcp", false),
            ("postgres://me@127.0.0.1:5433/mcp", false),
            ("postgres://me@[::1]/mcp", false),
            ("postgres:///mcp?host=/run/postgresql", false),
        ] {
            let shown = format!("{:?}", options(url).unwrap());
            assert_eq!(shown.contains("VerifyFull"), encrypted, "{url}: {shown}");
        }
    }

    #[test]
    fn every_text_can_be_kept_and_the_order_stays() {
        let texts =
            ["", "\0", "\0\0", "\0a", "\u{1}", "\u{1}\0", "\u{1}a", "\u{1}b\0", "\u{2}", "a", "a\0b", "a\u{1}ab"];
        for pair in texts.windows(2) {
            assert!(pair[0] < pair[1] && kept(pair[0]) < kept(pair[1]), "{pair:?}");
        }
        for text in texts {
            assert!(!kept(text).contains('\0'));
            assert_eq!(given(kept(text).into_owned()), text);
        }
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_quoted() {
        for url in ["postgres://me:secret@host:port/mcp", "postgres://me:secret@host/mcp?sslmode=secret"] {
            let error = format!("{:#}", options(url).unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
