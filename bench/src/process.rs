//! Programs that are measured: on a core of their own, watched through /proc, gone when they are dropped.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

/// How long a contender may take until it listens.
const START: Duration = Duration::from_mins(1);
/// Clock ticks in a second, as /proc counts them: the same on every Linux.
const TICKS: f64 = 100.0;

/// A command that runs on these cores only (a list as taskset takes it), and dies with us.
pub fn pinned(cpus: &str, command: &Command) -> Command {
    let mut pinned = Command::new("setpriv");
    pinned.args(["--pdeathsig", "KILL", "taskset", "-c", cpus]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        pinned.current_dir(folder);
    }
    pinned
}

/// From here on this program, and what it starts, uses this core only.
///
/// # Errors
/// If there is no such core.
pub fn stay_on(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).context("cannot choose a core")
}

/// A server that said where it listens.
pub struct Server {
    child: Child,
    /// The URL that it printed.
    pub url: String,
    /// `127.0.0.1:<port>`
    pub host: String,
}

impl Server {
    /// Starts it on these cores and waits for its line `listening on http://…`.
    ///
    /// # Errors
    /// If the line does not come; standard error is shown then.
    pub fn start(cpus: &str, command: &Command) -> Result<Self> {
        // Logging costs every contender the same: the log is written, and thrown away.
        Self::spawn(cpus, command, Stdio::null()).or_else(|_| Self::spawn(cpus, command, Stdio::inherit()))
    }

    fn spawn(cpus: &str, command: &Command, log: Stdio) -> Result<Self> {
        let mut child = pinned(cpus, command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot run setpriv (Debian: util-linux)")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut server = Server { child, url: String::new(), host: String::new() };
        let (sender, first_line) = mpsc::channel();
        thread::spawn(move || {
            let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
            let _ = stdout.read_line(&mut line);
            let _ = sender.send(line);
            let _ = io::copy(&mut stdout, &mut io::sink()); // a full pipe would stop it
        });
        let line = first_line.recv_timeout(START).map_err(|_| anyhow!("it did not listen within {START:?}"))?;
        let url = line.trim_end().strip_prefix("listening on ").filter(|url| url.starts_with("http://"));
        let Some((url, port)) = url.and_then(|url| Some((url, url.rsplit_once(':')?.1))) else {
            bail!("it did not start: it said {line:?}");
        };
        url.clone_into(&mut server.url);
        server.host = format!("127.0.0.1:{port}");
        Ok(server)
    }

    /// A file about it below /proc.
    pub fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    fn status(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
    }

    /// Resident memory now, in MB (10⁶ bytes).
    ///
    /// # Errors
    /// If the server is gone.
    pub fn resident(&self) -> Result<f64> {
        self.status("VmRSS")
    }

    /// The most resident memory since [`Server::forget_peak`], in MB (10⁶ bytes).
    ///
    /// # Errors
    /// If the server is gone.
    pub fn peak(&self) -> Result<f64> {
        self.status("VmHWM")
    }

    /// Resets the peak to the memory that is resident now (proc_pid_clear_refs(5)).
    ///
    /// # Errors
    /// If the server is gone.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(self.proc("clear_refs"), "5").context("cannot reset the memory peak")
    }

    /// Seconds of processor time used so far, in user and kernel mode.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn cpu_seconds(&self) -> Result<f64> {
        ticks(&self.proc("stat"), 0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds of processor time that our finished children used: the load generators.
///
/// # Errors
/// If /proc cannot be read.
pub fn children_cpu_seconds() -> Result<f64> {
    ticks("/proc/self/stat", 2)
}

/// utime + stime, or (two fields on) cutime + cstime, in seconds (proc_pid_stat(5), fields 14 to 17).
fn ticks(file: &str, offset: usize) -> Result<f64> {
    let stat = fs::read_to_string(file)?;
    let (_, fields) = stat.rsplit_once(')').context("no program name")?; // it may have spaces
    let mut fields = fields.split_ascii_whitespace().skip(11 + offset).map(str::parse::<f64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) / TICKS),
        _ => bail!("{file} is not as expected"),
    }
}
