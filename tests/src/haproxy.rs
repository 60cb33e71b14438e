//! A real HAProxy, with `deploy/haproxy.cfg` or as the end of TLS. It is stopped when it is dropped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpStream,
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
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy.cfg");
        let names = ["MCP_REPLICA_1", "MCP_REPLICA_2", "MCP_REPLICA_3"];
        let mut env: Vec<_> =
            names.into_iter().zip(replicas).map(|(name, replica)| (name, format!("127.0.0.1:{replica}"))).collect();
        env.push(("MCP_BIND", format!("127.0.0.1:{port}")));
        env.push(("MCP_PUBLIC_HOST", format!("localhost:{port}")));
        Self::spawn(&config, env, tempfile::tempdir()?, format!("http://localhost:{port}"))
    }

    /// Ends TLS on `port` with the certificate and the key in `pem`, for the server on another port of this computer.
    ///
    /// # Errors
    /// If it is not installed, or does not listen.
    pub fn tls(port: u16, pem: &Path, server: u16) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("haproxy.cfg");
        let pem = pem.display();
        fs::write(
            &config,
            format!(
                "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
                 listen tls\n bind 127.0.0.1:{port} ssl crt {pem}\n server step 127.0.0.1:{server}\n"
            ),
        )?;
        let mut proxy = Self::spawn(&config, Vec::new(), folder, format!("https://localhost:{port}"))?;
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(proxy.child.try_wait()?.is_none(), "it has ended: {}", proxy.log()?);
            ensure!(since.elapsed() < Duration::from_secs(30), "it does not listen: {}", proxy.log()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(proxy)
    }

    fn spawn(config: &Path, env: Vec<(&str, String)>, folder: TempDir, url: String) -> Result<Self> {
        let program =
            ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|name| Command::new(name).arg("-v").output().is_ok());
        needs("HAProxy", program.is_some())?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(program.unwrap_or_default());
        command.arg("-db").arg("-f").arg(config).envs(env);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(HaProxy { child: command.spawn()?, folder, url })
    }

    /// What the world calls what is behind it.
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
