//! A real PostgreSQL, on a free port and in a temporary folder. It is stopped when it is dropped.

use std::{
    fs,
    os::unix::fs::chown,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::{free_port, text};

/// Where its programs may be, if not on the path: Debian has a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who it runs as, if the tests run as root, whom it refuses.
const ORDINARY: &str = "nobody";

pub struct Postgres {
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Makes one, starts it, and waits until it takes connections. `settings` are those of `postgresql.conf`, each as
    /// `NAME=VALUE`.
    ///
    /// # Errors
    /// If its programs are missing, or it does not start.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        if is_root()? {
            chown(folder.path(), Some(number("-u")?), Some(number("-g")?))?;
        }
        let port = free_port();
        let postgres = Postgres { folder, port };
        postgres.run("initdb", &["--auth=trust", "--username=mcp", "--encoding=UTF8", "--no-sync"])?;
        let port = format!("port={port}");
        let socket = format!("unix_socket_directories={}", postgres.folder.path().display());
        // No machine fails in a test, and a disk that stands still for a second is no fault of ours.
        let always = [&port, &socket, "listen_addresses=127.0.0.1", "max_connections=200", "fsync=off"];
        let lines: Vec<_> = always.iter().chain(settings).map(|line| line.replacen('=', " = '", 1) + "'\n").collect();
        fs::write(postgres.data().join("postgresql.auto.conf"), lines.concat())?;
        postgres.start()?;
        Ok(postgres)
    }

    /// The same with its own settings.
    ///
    /// # Errors
    /// Those of [`Postgres::start_with`].
    pub fn new() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts it again, and waits until it takes connections.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self) -> Result<()> {
        let log = self.folder.path().join("log");
        let started = self.run("pg_ctl", &["start", "--wait", "--silent", "--log", log.to_str().context("no UTF-8")?]);
        started.with_context(|| fs::read_to_string(log).unwrap_or_default())
    }

    /// Stops it: `fast` rolls back and says goodbye, `immediate` is as a crash.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn stop(&self, how: &str) -> Result<()> {
        self.run("pg_ctl", &["stop", "--wait", "--silent", "--mode", how])
    }

    /// Sends a signal to all its processes: STOP, so that it is there and does not answer; CONT.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pids = fs::read_to_string(self.data().join("postmaster.pid"))?;
        let first = pids.lines().next().context("no process id")?;
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        let kill = |pid: &str| Command::new("kill").args([&format!("-{name}"), pid]).stderr(Stdio::null()).status();
        ensure!(kill(first)?.success(), "kill failed");
        for child in children.split_whitespace() {
            kill(child)?; // it may have ended
        }
        Ok(())
    }

    /// A database of this name, made if need be: its URL.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn database(&self, name: &str) -> Result<String> {
        database(&self.url("postgres"), name).await
    }

    /// The URL of a database that is there, such as `postgres`.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://mcp@127.0.0.1:{}/{name}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs one of its programs on its data.
    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let data = self.data();
        self.tool(program, &[args, &["--pgdata", data.to_str().context("no UTF-8")?]].concat())
    }

    /// Runs one of its programs, such as `pg_dump`, in its folder.
    ///
    /// # Errors
    /// If it fails; what it has said.
    pub fn tool(&self, program: &str, args: &[&str]) -> Result<()> {
        let program = find(program)?;
        let mut command = if is_root()? {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", ORDINARY, "--regid", &number("-g")?.to_string(), "--clear-groups", "--"]);
            command.arg(&program);
            command
        } else {
            Command::new(&program)
        };
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        // Not a pipe: the server, which goes on, would keep it open.
        let output = self.folder.path().join("output");
        let file = fs::File::create(&output)?;
        let status = command.stdout(file.try_clone()?).stderr(file).status()?;
        ensure!(status.success(), "{}: {}", program.display(), fs::read_to_string(&output)?);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.signal("CONT");
        let _ = self.stop("immediate");
    }
}

/// A database of this name on the server of that URL, made if need be: its URL.
///
/// # Errors
/// If it cannot be made.
pub async fn database(server: &str, name: &str) -> Result<String> {
    let mut connection = PgConnection::connect(server).await?;
    let made = sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await;
    if let Err(error) = made {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
        ensure!(code == "42P04", "{error}"); // it is there
    }
    let (server, _) = server.rsplit_once('/').context("no URL")?;
    Ok(format!("{server}/{name}"))
}

/// The path of one of PostgreSQL's programs.
fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir(DEBIAN) {
        folders.extend(versions.filter_map(|version| Some(version.ok()?.path().join("bin"))));
    }
    let found = folders.into_iter().map(|folder| folder.join(program)).find(|file| file.exists());
    found.with_context(|| format!("this test needs PostgreSQL: {program} is neither on the path nor below {DEBIAN}"))
}

fn is_root() -> Result<bool> {
    Ok(text(&Command::new("id").arg("-u").output()?).trim() == "0")
}

/// The number of the ordinary user, or of its group.
fn number(of: &str) -> Result<u32> {
    Ok(text(&Command::new("id").args([of, ORDINARY]).output()?).trim().parse()?)
}
