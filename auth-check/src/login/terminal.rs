//! The browser of whoever sits at a terminal.

use std::{
    io::{BufRead, IsTerminal, Read},
    net::Ipv4Addr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc},
    time::timeout,
};
use url::Url;

use super::{Browser, Visit, Visited, rounds::random};
use crate::model::Unmet;

/// How long a person may take for one log-in.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long a browser may take to send the head of its request, and the most bytes of that.
const HEAD: Duration = Duration::from_secs(5);
const MAX_HEAD: usize = 64 * 1024;
/// The longest line that is pasted, in bytes.
const MAX_PASTE: u64 = 8192;
/// What the browser's launcher is not told.
pub const SECRET: &str = "AUTH_CHECK_CLIENT_SECRET";

/// A browser that opens by itself, or one whose addresses are printed and pasted.
pub struct Terminal {
    redirect_uri: Url,
    /// Where the browser comes back to; none if its address is pasted.
    listener: Option<TcpListener>,
    /// The lines that the person sends; reading them cannot be taken back, so there is one reader.
    lines: Mutex<mpsc::Receiver<String>>,
}

impl Terminal {
    /// `paste`: print addresses, and read them. `redirect_uri`: on loopback, as it is registered; by default, one that
    /// nobody else knows.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub async fn new(paste: bool, redirect_uri: Option<Url>) -> Result<Self> {
        let guessed = redirect_uri.is_none();
        let mut redirect_uri = if let Some(uri) = redirect_uri {
            uri
        } else {
            let unguessable = random().map_err(|Unmet(what)| anyhow::anyhow!("this needs {what}"))?;
            Url::parse(&format!("http://127.0.0.1:0/callback/{unguessable}"))?
        };
        let mut listener = None;
        if guessed || !paste {
            let local = redirect_uri.scheme() == "http" && oauth::address::is_loopback(&redirect_uri);
            ensure!(local, "without --paste, the redirect URI is http on loopback");
            let port = redirect_uri.port_or_known_default().unwrap_or(0);
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
            let bound = bound.with_context(|| format!("cannot listen for the browser on port {port}"))?;
            let port = bound.local_addr()?.port();
            redirect_uri
                .set_port(Some(port))
                .map_err(|()| anyhow::anyhow!("the redirect URI has no place for a port"))?;
            listener = (!paste).then_some(bound);
        }
        let (sender, lines) = mpsc::channel(1);
        if paste || std::io::stdin().is_terminal() {
            std::thread::spawn(move || read_lines(&sender));
        }
        Ok(Terminal { redirect_uri, listener, lines: Mutex::new(lines) })
    }

    async fn go(&self, visit: Visit<'_>) -> Result<Option<Url>, Unmet> {
        let opened = self.listener.is_some() && open_browser(visit.url);
        let how = if opened { "the browser opens" } else { "open this" };
        eprintln!("\nauth-check: log-in {}, {}: {how}\n\n  {}\n", visit.number, visit.why, visit.url);
        if visit.may_stay {
            eprintln!("A good server shows an error page here. If it does, press Enter.");
        }
        if self.listener.is_none() {
            eprintln!("Paste the address that the browser ends at, which may not load: {}?…", visit.redirect_uri);
        }
        let back = timeout(PATIENCE, async {
            let mut lines = self.lines.lock().await;
            loop {
                let line = tokio::select! {
                    place = self.came_back(&visit), if self.listener.is_some() => return Ok(Some(place)),
                    Some(line) = lines.recv() => line,
                    // Nobody can come back by either way.
                    else => return Err(Unmet("somebody who pastes an address (the input has ended)".to_owned())),
                };
                match Url::parse(line.trim()) {
                    Ok(place) if is_answer(&place, &visit) => return Ok(Some(place)),
                    _ if line.trim().is_empty() && visit.may_stay => return Ok(None),
                    _ => eprintln!("That is not where the browser was to come back to: {}?…", visit.redirect_uri),
                }
            }
        });
        back.await.unwrap_or_else(|_| Err(Unmet("somebody who logs in within 5 minutes".to_owned())))
    }

    /// Waits for the browser.
    async fn came_back(&self, visit: &Visit<'_>) -> Url {
        let Some(listener) = &self.listener else { return std::future::pending().await };
        loop {
            // A connection that fails is its browser's matter.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if let Ok(Ok(Some(place))) = timeout(HEAD, answer(stream, visit)).await {
                return place;
            }
        }
    }
}

impl Browser for Terminal {
    fn redirect_uri(&self) -> Url {
        self.redirect_uri.clone()
    }

    fn visit<'a>(&'a self, visit: Visit<'a>) -> Visited<'a> {
        Box::pin(self.go(visit))
    }
}

/// Whether this is the redirect URI, with an answer behind it.
fn is_answer(place: &Url, visit: &Visit<'_>) -> bool {
    let has = |wanted: &str| place.query_pairs().any(|(name, _)| name == wanted);
    place.origin() == visit.redirect_uri.origin()
        && place.path() == visit.redirect_uri.path()
        && (has("code") || has("error"))
}

/// Reads one request, and shows a page.
async fn answer(mut stream: TcpStream, visit: &Visit<'_>) -> Result<Option<Url>> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") && bytes.len() < MAX_HEAD {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&bytes);
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let place = visit.redirect_uri.join(target).ok().filter(|place| method == "GET" && is_answer(place, visit));
    let (status, text) = match place {
        Some(_) => ("200 OK", "Go back to the terminal. This page can be closed."),
        None => ("404 Not Found", "There is nothing here."),
    };
    let page = format!("<!doctype html><title>auth-check</title><p>{text}</p>");
    let headers = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer";
    let length = page.len();
    let page = format!("HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}");
    stream.write_all(page.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(place)
}

/// Reads what the person sends, for as long as somebody wants it.
fn read_lines(lines: &mpsc::Sender<String>) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        let read = (&mut input).take(MAX_PASTE).read_line(&mut line);
        if !read.is_ok_and(|read| read > 0) || lines.blocking_send(line).is_err() {
            break;
        }
    }
}

/// Opens a URL without a shell: the launcher gets it as one argument, which begins with `http`.
fn open_browser(url: &Url) -> bool {
    let spawn = |mut launcher: Command| {
        launcher.env_remove(SECRET).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
    };
    matches!(url.scheme(), "http" | "https") && open::commands(url.as_str()).into_iter().any(spawn)
}
