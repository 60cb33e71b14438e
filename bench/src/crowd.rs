//! Peers that hold connections open: some do nothing, some send slowly, some never read their answers.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
};

use crate::{process::Server, work::Work};

/// Senders that send a request's body byte by byte.
pub const SLOW: usize = 100;
/// How many connect at once: no more than fit into a listening socket's queue.
const BATCH: usize = 500;
/// How long the server may take to accept a batch of connections, or to close them.
const PATIENCE: Duration = Duration::from_secs(30);
/// Peers that never read their answers, and how many requests each sends.
pub const SILENT: usize = 50;
pub const PIPELINED: usize = 4_000;
/// How far the server's open files may differ from the expected number: some connections are just closing.
pub const SPARE: usize = 10;

/// Waits until the server has so many open files.
pub fn await_files(server: &Server, what: &str, enough: impl Fn(usize) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !enough(open_files(server)?) {
        ensure!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} for the server {what}: it has {} files open",
            open_files(server)?
        );
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

pub fn open_files(server: &Server) -> Result<usize> {
    Ok(fs::read_dir(server.proc("fd"))?.count())
}

/// The peers that hold connections open. Dropping it closes the connections.
pub struct Crowd {
    _runtime: Runtime,
}

impl Crowd {
    pub fn gather(server: &Server, at_rest: usize, idle: usize, token: &str) -> Result<Self> {
        let host = &server.host;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (head, tail) = Work::Echo.raw(host, true);
        let request: Arc<str> = format!("{head}{token}{tail}").into();
        for number in 0..idle {
            let (host, request) = (host.to_owned(), Arc::clone(&request));
            runtime.spawn(async move { wait_to_be_closed(&host, &request, number).await });
            if number % BATCH == BATCH - 1 || number == idle - 1 {
                await_files(server, "to accept the idle connections", |open| open + SPARE > at_rest + number)?;
            }
        }
        for _ in 0..SLOW {
            let (host, request) = (host.to_owned(), Arc::clone(&request));
            runtime.spawn(async move {
                loop {
                    let _ = send_slowly(&host, request.as_bytes()).await; // the server may end it, and it comes again
                }
            });
        }
        await_files(server, "to accept the slow senders", |open| open + SPARE >= at_rest + idle + SLOW)?;
        Ok(Crowd { _runtime: runtime })
    }

    pub fn of_silent_peers(server: &Server, resting: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        for _ in 0..SILENT {
            let host = server.host.clone();
            runtime.spawn(async move {
                let mut stream = TcpStream::connect(&host).await?;
                let requests = format!("GET /docs HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(PIPELINED);
                let sent = stream.write_all(requests.as_bytes()).await; // it may be closed while it sends
                std::future::pending::<()>().await;
                sent
            });
        }
        await_files(server, "to accept those who never read", |open| open >= resting + SILENT)?;
        Ok(Crowd { _runtime: runtime })
    }
}

/// A connection without a request, with half of one's head, or with one that has been answered.
async fn wait_to_be_closed(host: &str, request: &str, number: usize) -> Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    let sent = match number % 3 {
        0 => "",
        1 => "POST /mcp HTTP/1.1\r\nHost: ",
        _ => request,
    };
    stream.write_all(sent.as_bytes()).await?;
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await?;
    Ok(())
}

/// Head and token at once, the body a byte each half second.
async fn send_slowly(host: &str, request: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    let body = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no body")? + 4;
    stream.write_all(&request[..body]).await?;
    for byte in &request[body..] {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
