//! A real HAProxy with `deploy/haproxy.cfg`, on a free port. It is stopped when it is dropped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;

use crate::{Reply, needs};

pub struct HaProxy {
    child: Child,
    folder: TempDir,
    url: String,
}

impl HaProxy {
    /// Leads requests on `port` to these replicas, which are known as `localhost` with that port.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start(port: u16, replicas: [u16; 3]) -> Result<Self> {
        let program =
            ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|name| Command::new(name).arg("-v").output().is_ok());
        needs("HAProxy", program.is_some())?;
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(program.unwrap_or_default());
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy.cfg");
        command.arg("-db").arg("-f").arg(config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.env("MCP_BIND", format!("127.0.0.1:{port}")).env("MCP_PUBLIC_HOST", format!("localhost:{port}"));
        for (name, replica) in ["MCP_REPLICA_1", "MCP_REPLICA_2", "MCP_REPLICA_3"].into_iter().zip(replicas) {
            command.env(name, format!("127.0.0.1:{replica}"));
        }
        Ok(HaProxy { child: command.spawn()?, folder, url: format!("http://localhost:{port}") })
    }

    /// What the world calls all replicas.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until a replica answers through it.
    ///
    /// # Errors
    /// If none does.
    pub async fn is_ready(&mut self) -> Result<()> {
        let since = Instant::now();
        let client = reqwest::Client::builder().no_proxy().build()?;
        loop {
            ensure!(self.child.try_wait()?.is_none(), "it has ended: {}", self.log()?);
            let reply = Reply::of(client.get(format!("{}/ready", self.url))).await;
            if reply.is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            if since.elapsed() > Duration::from_secs(30) {
                bail!("no replica is ready: {}", self.log()?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many requests each replica has had.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn requests(&self) -> Result<BTreeMap<String, usize>> {
        let mut requests = BTreeMap::new();
        for line in self.log()?.lines() {
            if let [_, _, replica, ..] = line.split(' ').collect::<Vec<_>>()[..] {
                *requests.entry(replica.to_owned()).or_default() += 1;
            }
        }
        requests.retain(|name, _| ["one", "two", "three"].contains(&name.as_str()));
        Ok(requests)
    }

    /// Whether it sends requests to a replica now, by its last line about it.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn knows(&self, replica: &str, state: &str) -> Result<bool> {
        let about = format!("Server replicas/{replica} is ");
        Ok(self
            .log()?
            .lines()
            .rev()
            .find_map(|line| line.split_once(&about))
            .is_some_and(|(_, said)| said.starts_with(state)))
    }

    fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
