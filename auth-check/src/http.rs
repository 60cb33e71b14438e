//! A raw HTTP layer: it sends exactly what a check says, which no library would, and reads the answer within bounds.
//!
//! A request goes only to a host that the person has named, or, if the server under test is on this computer, to a loopback
//! address; each on a connection of its own.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use oauth::address;
use rustls::{CertificateError, ClientConfig, crypto::aws_lc_rs, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{
    mask,
    message::{Reply, Request},
    model::Unmet,
    wire,
};

/// How long an exchange may take, from the connection to the answer's end.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most requests of one run.
const MAX_REQUESTS: u32 = 2000;
/// The longest that a run goes on sending.
const MAX_TIME: Duration = Duration::from_mins(10);

/// Sends requests.
pub struct Http {
    /// Made when it is needed: reading all certificates takes a while.
    tls: OnceLock<TlsConnector>,
    /// Whether loopback addresses may be asked.
    local: bool,
    /// Hosts that may be asked.
    mine: Vec<String>,
    sent: AtomicU32,
    started: Instant,
    /// Milliseconds in which a person was waited for.
    waited: AtomicU64,
    /// Whether the run has ended, and only takes clients back.
    leaving: AtomicBool,
}

impl Http {
    /// One that may ask these hosts, and loopback addresses if the server under test has one: what a server elsewhere names
    /// must not lead to what runs here.
    pub fn new(target: &Url, mine: Vec<String>) -> Self {
        let mine = mine.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        let local = address::is_loopback(target);
        Http {
            tls: OnceLock::new(),
            local,
            mine,
            sent: AtomicU32::new(0),
            started: Instant::now(),
            waited: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// TLS with this computer's certificates.
    fn tls(&self) -> anyhow::Result<&TlsConnector> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = builder.with_safe_default_protocol_versions()?.with_platform_verifier()?.with_no_client_auth();
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))))
    }

    /// How many requests were sent.
    pub fn count(&self) -> u32 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Time that does not count, as a person took it.
    pub fn do_not_count(&self, time: Duration) {
        self.waited.fetch_add(time.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// From now on, the limits of a run do not count: what it has left behind is taken back.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether this host may be asked.
    ///
    /// # Errors
    /// Says what is needed.
    pub fn allows(&self, url: &Url) -> Result<(), Unmet> {
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Unmet(format!("an http or https URL instead of {}", mask::url(url))));
        }
        if self.local && address::is_loopback(url) || self.mine.iter().any(|mine| mine == host) {
            return Ok(());
        }
        Err(Unmet(format!("--mine {}", mask::sentence(host))))
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// If the host may not be asked, or there is no answer.
    pub async fn send(&self, request: &Request) -> Result<Reply, Unmet> {
        self.allows(&request.url)?;
        let leaving = self.leaving.load(Ordering::Relaxed);
        if self.sent.fetch_add(1, Ordering::Relaxed) >= MAX_REQUESTS && !leaving {
            return Err(Unmet(format!("fewer than {MAX_REQUESTS} requests")));
        }
        let waited = Duration::from_millis(self.waited.load(Ordering::Relaxed));
        if self.started.elapsed().saturating_sub(waited) > MAX_TIME && !leaving {
            return Err(Unmet("a server whose answers take less than 10 minutes".to_owned()));
        }
        let no_answer =
            |why: &str| Unmet(format!("an answer to {} {} ({why})", request.method, mask::url(&request.url)));
        let mut bytes = Vec::new();
        match timeout(PATIENCE, self.exchange(request, &mut bytes)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(no_answer(&error.to_string())),
            // A stream may stay open. Its head counts as the answer.
            Err(_) => match wire::reply(&bytes, &request.method, true) {
                Ok(Some(reply)) => Ok(reply),
                _ => Err(no_answer("it took more than 10 s")),
            },
        }
    }

    /// Sends a request and reads the answer; what has come of it is in `bytes`.
    async fn exchange(&self, request: &Request, bytes: &mut Vec<u8>) -> anyhow::Result<Reply> {
        let host = request.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = request.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if request.url.scheme() == "https" {
            let stream = self.tls()?.connect(ServerName::try_from(host)?, stream).await.map_err(of_tls)?;
            return converse(stream, request, bytes).await;
        }
        converse(stream, request, bytes).await
    }
}

/// Says what to do if the certificate of a private authority is refused.
fn of_tls(error: std::io::Error) -> anyhow::Error {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => anyhow::anyhow!(
            "its certificate is of an authority that is not trusted here; if that is yours, name its file in \
             SSL_CERT_FILE on Linux, or have this computer trust it"
        ),
        _ => error.into(),
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request,
    bytes: &mut Vec<u8>,
) -> anyhow::Result<Reply> {
    // A server may answer, and close, before it has read all: then the answer counts.
    let written = stream.write_all(&request.bytes()).await;
    let flushed = stream.flush().await;
    let mut part = vec![0; 16 * 1024];
    loop {
        let ended = match stream.read(&mut part).await {
            Ok(0) => true,
            Ok(read) => {
                bytes.extend_from_slice(&part[..read]);
                false
            }
            // TLS peers may leave without a word.
            Err(_) if !bytes.is_empty() => true,
            Err(error) => {
                written?;
                flushed?;
                return Err(error.into());
            }
        };
        if let Some(reply) = wire::reply(bytes, &request.method, ended || bytes.len() > wire::MAX_ANSWER)? {
            return Ok(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_asked_only_for_a_server_that_is_there_itself() {
        let url = |text: &str| Url::parse(text).unwrap();
        let may = |http: &Http, text: &str| http.allows(&url(text)).is_ok();
        let here = Http::new(&url("http://localhost:9000/mcp"), vec!["Mine.example".to_owned()]);
        let there = Http::new(&url("https://mine.example/mcp"), vec!["mine.example".to_owned()]);
        for local in ["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]:1/", "http://127.9.9.9/"] {
            assert!(may(&here, local) && !may(&there, local), "{local}");
        }
        for http in [&here, &there] {
            assert!(may(http, "https://mine.example/") && !may(http, "https://other.example/"));
            assert!(!may(http, "ftp://mine.example/") && !may(http, "https://localhost.mine.example/"));
        }
        let named = Http::new(&url("https://mine.example/mcp"), vec!["localhost".to_owned()]);
        assert!(may(&named, "http://localhost:1/") && !may(&named, "http://127.0.0.1:1/"));
    }
}
