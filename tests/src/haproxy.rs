//! A real HAProxy on a free port, with `deploy/haproxy.cfg`, with rules of a test, or as the end of TLS. It is stopped when it is dropped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    os::fd::OwnedFd,
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
    /// Where a replica says that it can serve.
    ready: &'static str,
}

impl HaProxy {
    /// Forwards requests on `port` to these replicas, which are known as `localhost` with that port.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start(port: u16, replicas: [u16; 3]) -> Result<Self> {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy.cfg");
        let names = ["MCP_REPLICA_1", "MCP_REPLICA_2", "MCP_REPLICA_3"].into_iter();
        let env = names.zip(replicas.map(|replica| format!("127.0.0.1:{replica}")));
        let env =
            env.chain([("MCP_PUBLIC_HOST", format!("localhost:{port}")), ("MCP_BIND", format!("127.0.0.1:{port}"))]);
        Self::run(&fs::read_to_string(config)?, port, Stdio::null(), env, "/ready")
    }

    /// One with this listener, in front of a replica and, as far as its clients know, of other applications. It forwards only
    /// what `rules` (of a frontend) say, to the backend `whole`, or to `taken_off`, which takes the first part off the path.
    /// `ready`: where the replica says that it can serve.
    ///
    /// # Errors
    /// The same.
    pub fn gateway(listener: TcpListener, replica: u16, rules: &str, ready: &'static str) -> Result<Self> {
        let config = format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 30s\n timeout server 30s\n\
             frontend gateway\n bind fd@0\n{rules}\n default_backend nothing\n\
             backend nothing\n http-request return status 404\n\
             backend whole\n server one 127.0.0.1:{replica}\n\
             backend taken_off\n http-request replace-path '^/[^/]+(/.*)$' '\\1'\n server one 127.0.0.1:{replica}\n"
        );
        let port = listener.local_addr()?.port();
        Self::run(&config, port, OwnedFd::from(listener).into(), [], ready)
    }

    /// Ends TLS at this listener with the certificate and the key in `pem`, for the server on another port of this computer.
    ///
    /// # Errors
    /// The same.
    pub fn tls(listener: TcpListener, pem: &Path, server: u16) -> Result<Self> {
        let config = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen tls\n bind fd@0 ssl crt {}\n server step 127.0.0.1:{server}\n",
            pem.display()
        );
        let port = listener.local_addr()?.port();
        let mut proxy = Self::run(&config, port, OwnedFd::from(listener).into(), [], "/ready")?;
        proxy.url = format!("https://localhost:{port}");
        Ok(proxy)
    }

    fn run(
        config: &str,
        port: u16,
        stdin: Stdio,
        env: impl IntoIterator<Item = (&'static str, String)>,
        ready: &'static str,
    ) -> Result<Self> {
        let program =
            ["haproxy", "/usr/sbin/haproxy"].into_iter().find(|name| Command::new(name).arg("-v").output().is_ok());
        needs("HAProxy", program.is_some())?;
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(program.unwrap_or_default());
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, config)?;
        command.arg("-db").arg("-f").arg(file).stdin(stdin).stdout(log.try_clone()?).stderr(log).envs(env);
        Ok(HaProxy { child: command.spawn()?, folder, url: format!("http://localhost:{port}"), ready })
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
            let reply = Reply::of(client.get(format!("{}{}", self.url, self.ready))).await;
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
