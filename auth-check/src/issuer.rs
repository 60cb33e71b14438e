//! A small authorization server: it publishes metadata and keys, and sees who fetches the bait of a hostile token.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use oauth::well_known::{AUTHORIZATION_SERVER, OPENID_CONFIGURATION};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use url::Url;

/// How much of a request is read.
const MAX_REQUEST: usize = 16 * 1024;
/// How many fetches of the bait are remembered.
const MAX_FETCHES: usize = 1000;
const JWKS: &str = "/jwks";
const BAIT: &str = "/bait";

/// The server; it stops when it is dropped.
pub struct IssuerServer {
    url: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    fetched: Mutex<Vec<String>>,
    asked: AtomicBool,
}

impl IssuerServer {
    /// Publishes the keys of `trusted`, and those of `bait` elsewhere, at this address. `url`: under which the server
    /// under test reaches it, which is also the issuer's name; by default, by the address.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub async fn start(address: SocketAddr, url: Option<&str>, trusted: &Value, bait: &Value) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let own = format!("http://{}", listener.local_addr()?);
        let url = url.unwrap_or(&own).trim_end_matches('/').to_owned();
        let at = |path: &str| format!("{url}{path}");
        let metadata = json!({
            "issuer": url, "jwks_uri": at(JWKS),
            "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "response_types_supported": ["code"], "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        });
        let seen = Arc::new(Seen::default());
        let pages = Arc::new(Pages { metadata, keys: trusted.clone(), bait: bait.clone() });
        let task = tokio::spawn(serve(listener, pages, Arc::clone(&seen)));
        Ok(IssuerServer { url, seen, task })
    }

    /// The issuer.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An address that nobody should fetch; each name makes another.
    ///
    /// # Panics
    /// If the issuer is not a URL, which [`start`](Self::start) was given.
    pub fn bait(&self, name: &str) -> Url {
        Url::parse(&format!("{}{BAIT}/{name}", self.url)).expect("the issuer is a URL")
    }

    /// Whether somebody asked for the trusted keys.
    pub fn was_asked(&self) -> bool {
        self.seen.asked.load(Ordering::Relaxed)
    }

    /// Whether somebody fetched that address.
    pub fn was_fetched(&self, name: &str) -> bool {
        let fetched = self.seen.fetched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fetched.iter().any(|path| path.ends_with(&format!("{BAIT}/{name}")))
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Pages {
    metadata: Value,
    keys: Value,
    bait: Value,
}

async fn serve(listener: TcpListener, pages: Arc<Pages>, seen: Arc<Seen>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // A connection that fails is its client's matter; but there may be too many, and to ask at once changes nothing.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (pages, seen) = (Arc::clone(&pages), Arc::clone(&seen));
        tokio::spawn(async move { timeout(Duration::from_secs(5), answer(stream, &pages, &seen)).await });
    }
}

async fn answer(mut stream: TcpStream, pages: &Pages, seen: &Seen) -> Result<()> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") && bytes.len() < MAX_REQUEST {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(&bytes);
    let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let page = if path.contains(BAIT) {
        let mut fetched = seen.fetched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if fetched.len() < MAX_FETCHES {
            fetched.push(path.to_owned());
        }
        Some(&pages.bait)
    } else if path.contains(AUTHORIZATION_SERVER) || path.contains(OPENID_CONFIGURATION) {
        Some(&pages.metadata)
    } else if path.ends_with(JWKS) {
        seen.asked.store(true, Ordering::Relaxed);
        Some(&pages.keys)
    } else {
        None
    };
    let status = if page.is_some() { "200 OK" } else { "404 Not Found" };
    let body = page.map(Value::to_string).unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await?;
    Ok(stream.shutdown().await?)
}
