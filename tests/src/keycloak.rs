//! The real Keycloak, which `keycloak/start.sh` starts once for all tests.

use std::{
    env,
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    sync::{OnceCell, RwLock},
    task::spawn_blocking,
};

use crate::{Reply, Server, free_port, needs, readme::root, text};

/// The audience of the realm's tokens.
pub const AUDIENCE: &str = "http://localhost:9000/mcp";
/// The port of Keycloak on the page that this project began with.
pub const PAGES_PORT: u16 = 8080;

/// A Keycloak with the realm of `keycloak/mcp-realm.json`.
pub struct Keycloak {
    port: u16,
    data: PathBuf,
    client: reqwest::Client,
    /// The other end notices when the tests have ended, however they ended, and cleans up.
    _watched: ChildStdin,
}

/// `keycloak/start.sh` with these arguments.
pub fn script(args: &[&str]) -> Command {
    let mut command = Command::new(root().join("keycloak/start.sh"));
    command.args(args).stdin(Stdio::null());
    command
}

fn runs(program: impl AsRef<OsStr>) -> bool {
    Command::new(program).arg("-version").output().is_ok_and(|output| output.status.success())
}

/// An error, if there is no Java to run Keycloak with.
///
/// # Errors
/// If there is none.
pub fn needs_java() -> Result<()> {
    let java = env::var_os("JAVA_HOME").map_or_else(|| "java".into(), |home| Path::new(&home).join("bin/java"));
    needs("Java 17 or later", runs(java))
}

/// The one Keycloak of all tests. A test that changes what others use locks it for writing.
///
/// # Errors
/// If Java or Keycloak is missing (which `start.sh` has prepared before, is one's own, or is fetched by Maven), or it does not
/// start.
pub async fn shared() -> Result<&'static RwLock<Keycloak>> {
    static SHARED: OnceCell<RwLock<Keycloak>> = OnceCell::const_new();
    let start = async || {
        needs_java()?;
        let prepared = fs::read_dir(root().join("keycloak/dist")).is_ok_and(|mut folder| folder.next().is_some());
        needs("Maven, or KEYCLOAK_HOME", prepared || env::var_os("KEYCLOAK_HOME").is_some() || runs("mvn"))?;
        Keycloak::start().await.map(RwLock::new)
    };
    SHARED.get_or_try_init(start).await
}

impl Keycloak {
    /// On the page's port, or another where that is taken.
    ///
    /// # Errors
    /// If `start.sh` fails.
    pub async fn start() -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", PAGES_PORT)).map_or_else(|_| free_port(), |_| PAGES_PORT);
        let data = tempfile::tempdir()?.keep();
        let (number, folder) = (port.to_string(), data.to_str().context("a folder without a name")?);
        let mut watch = Command::new("sh")
            .args(["-c", "read -r _; \"$0\" stop --port \"$1\" --data \"$2\"; rm -rf \"$2\""])
            .args([script(&[]).get_program(), number.as_ref(), folder.as_ref()])
            .process_group(0) // Ctrl-C must not reach it
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let watched = watch.stdin.take().context("no pipe")?;
        // No connection is kept: the test that opened it, and its runtime, may have ended.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        let client = client.redirect(reqwest::redirect::Policy::none()).build()?;
        let keycloak = Keycloak { port, data, client, _watched: watched };
        keycloak.script("start").await?;
        Ok(keycloak)
    }

    /// `start.sh start` or `start.sh stop`: what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub async fn script(&self, verb: &str) -> Result<String> {
        let mut command = script(&[verb]);
        command.args(self.options()?);
        let output = spawn_blocking(move || command.output()).await??;
        ensure!(output.status.success(), "start.sh {verb}: {}", text(&output));
        Ok(text(&output))
    }

    /// The options of `start.sh` that choose this Keycloak.
    ///
    /// # Errors
    /// If the name of its data folder is not text.
    pub fn options(&self) -> Result<[String; 4]> {
        let data = self.data.to_str().context("a folder without a name")?;
        Ok(["--port", &self.port.to_string(), "--data", data].map(str::to_owned))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> Result<String> {
        Ok(fs::read_to_string(self.data.join("pid"))?)
    }

    pub fn issuer(&self) -> String {
        format!("http://localhost:{}/realms/mcp-realm", self.port)
    }

    /// A step 10 that trusts it.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn step10(&self, args: &[&str]) -> Result<Server> {
        let issuer = self.issuer();
        let trust = ["--issuer", &issuer, "--profile", "keycloak", "--audience", AUDIENCE];
        Server::start_with("step10", &[&trust, args].concat())
    }

    /// A request to a path below the issuer.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.issuer()))
    }

    /// The answer of the token endpoint.
    ///
    /// # Errors
    /// If it is missing.
    pub async fn grant(&self, form: &[(&str, &str)]) -> Result<Reply> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.request(Method::POST, "/protocol/openid-connect/token").body(body);
        Reply::of(request.header("Content-Type", "application/x-www-form-urlencoded")).await
    }

    /// An access token for one of the realm's people, as the page's `curl` gets it.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn token(&self, user: &str, scope: &str) -> Result<String> {
        let password = format!("{}123", user.trim_start_matches("mcp-"));
        let form = [("grant_type", "password"), ("client_id", "mcp-test-client"), ("username", user)];
        let reply = self.grant(&[&form[..], &[("password", &password), ("scope", scope)]].concat()).await?;
        reply.json()["access_token"].as_str().map(str::to_owned).with_context(|| format!("{reply:?}"))
    }

    /// A request to the admin API, to a path below the realm.
    ///
    /// # Errors
    /// If it fails.
    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let base = format!("http://localhost:{}", self.port);
        let password = fs::read_to_string(self.data.join("admin-password"))?;
        let form = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", "admin")];
        let form = [&form[..], &[("password", &password)]].concat();
        let login = self.client.post(format!("{base}/realms/master/protocol/openid-connect/token"));
        let login = login.header("Content-Type", "application/x-www-form-urlencoded");
        let login = login.body(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish());
        let token = Reply::of(login).await?.json();
        let token = token["access_token"].as_str().context("the administrator is not let in")?;
        let mut request =
            self.client.request(method, format!("{base}/admin/realms/mcp-realm{path}")).bearer_auth(token);
        if !body.is_null() {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let reply = Reply::of(request).await?;
        ensure!(reply.status.is_success(), "{path}: {reply:?}");
        Ok(reply.json())
    }
}
