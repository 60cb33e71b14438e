//! What peers may cost a server: peers that never read, that read or send byte by byte, and too many peers.
#![cfg(target_os = "linux")] // it is measured through /proc
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{Server, rpc};
use serde_json::json;

use crate::turn;

const PEERS: usize = 50;
/// How long they may stay.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
/// What they may cost, in KiB.
const COST: u64 = 64 * 1024;

fn connect(server: &Server) -> Result<TcpStream> {
    Ok(TcpStream::connect(("127.0.0.1", port(server)?))?)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn echo(message: &str, repeat_count: usize) -> String {
    let arguments = json!({ "message": message, "repeat_count": repeat_count });
    post(&rpc("tools/call", json!({ "name": "echo", "arguments": arguments })).to_string())
}

fn port(server: &Server) -> Result<u16> {
    reqwest::Url::parse(server.url())?.port().context("no port")
}

/// How many connections it has: those of its port that belong to a process (proc_pid_net(5)).
fn connections(server: &Server) -> Result<usize> {
    let local = format!(":{:04X}", port(server)?);
    let table = fs::read_to_string("/proc/net/tcp")?;
    let is_open = |line: &&str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        fields.len() > 9 && fields[1].ends_with(&local) && fields[3] != "0A" && fields[9] != "0"
    };
    Ok(table.lines().filter(is_open).count())
}

/// Sends as much as the server takes, and reads nothing; with `sip`, a byte now and then.
fn never_read(mut stream: TcpStream, requests: &[u8], sip: bool) -> io::Result<TcpStream> {
    stream.set_write_timeout(Some(Duration::from_millis(250)))?;
    let (mut sent, started) = (0, Instant::now());
    while sent < requests.len() && started.elapsed() < CLOSED_WITHIN {
        if sip {
            stream.set_nonblocking(true)?;
            let _ = stream.read(&mut [0; 4]);
            stream.set_nonblocking(false)?;
        }
        match stream.write(&requests[sent..]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break, // it is closed
        }
    }
    Ok(stream)
}

/// Fifty such peers: what they cost, when the last has gone, and how long others wait meanwhile.
async fn withstands(server: &Server, requests: String, sip: bool) -> Result<()> {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5")?; // the peak begins here: proc_pid_clear_refs(5)
    let resident = server.memory("VmRSS")?;
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let (stream, requests) = (connect(server)?, requests.clone());
            Ok(thread::spawn(move || never_read(stream, requests.as_bytes(), sip)))
        })
        .collect::<Result<_>>()?;
    let (started, mut longest) = (Instant::now(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(1)).await;
    loop {
        let asked = Instant::now();
        let status = server.get("/.well-known/oauth-authorization-server").send().await?.status().as_u16();
        ensure!(status == 200 || status == 404, "{status}");
        longest = longest.max(asked.elapsed());
        // The one that asks keeps its connection.
        let open = connections(server)?.saturating_sub(1);
        if open == 0 {
            break;
        }
        ensure!(started.elapsed() < CLOSED_WITHIN, "{open} of {PEERS} are open after {CLOSED_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cost = server.memory("VmHWM")?.saturating_sub(resident);
    println!("{cost} KiB, all closed after {:?}, others waited {longest:?} at most", started.elapsed());
    ensure!(cost <= COST, "{PEERS} peers cost {cost} KiB");
    for peer in peers {
        peer.join().map_err(|_| anyhow::anyhow!("a peer panicked"))??;
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
async fn peers_that_pipeline_and_never_read_cost_little_and_are_closed() {
    let _turn = turn();
    let elsewhere = ["--issuer", "http://127.0.0.1:1"];
    // The small ones are fewer, so that a debug build gets to the end of them in time.
    for (package, args, request, times) in [
        ("step9", &[][..], get("/docs"), 4_000),
        ("step6", &[], get("/health"), 200),
        ("step10", &elsewhere, get("/docs"), 4_000),
        ("auth-server", &[], get("/.well-known/oauth-authorization-server"), 400),
        ("step4", &[], "GET / HTTP/1.1\nHost:localhost\n\n".to_owned(), 200),
        ("step4", &[], get("/health").replace("GET", "HEAD"), 200),
    ] {
        let server = Server::start_with(package, args).unwrap();
        withstands(&server, request.repeat(times), false).await.context(package).unwrap();
    }
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
async fn large_answers_that_nobody_reads_cost_little() {
    let _turn = turn();
    let server = Server::start("step4").unwrap();
    for request in [echo(&"x".repeat(6_500), 10), echo(&"\u{1}".repeat(6_500), 10)] {
        let times = 4_000_000 / request.len();
        withstands(&server, request.repeat(times), false).await.unwrap();
    }
}

#[tokio::test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
async fn peers_that_read_a_byte_now_and_then_are_closed() {
    let _turn = turn();
    let server = Server::start("step4").unwrap();
    withstands(&server, echo(&"\u{1}".repeat(6_500), 10).repeat(20), true).await.unwrap();
}

/// Reads the answers to so many requests, this many bytes a second.
fn read_answers(stream: &mut TcpStream, count: usize, rate: usize) -> Result<()> {
    let mut answers = BufReader::new(stream);
    let (started, mut read) = (Instant::now(), 0);
    for number in 0..count {
        let (mut line, mut length) = (String::new(), 0);
        answers.read_line(&mut line).with_context(|| format!("after {number} answers"))?;
        ensure!(line.starts_with("HTTP/1.1 200"), "after {number} answers: {line:?}");
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        for part in body.chunks_mut(16 * 1024) {
            answers.read_exact(part).with_context(|| format!("in answer {number}"))?;
            read += part.len();
            #[expect(clippy::cast_precision_loss)]
            let due = Duration::from_secs_f64(read as f64 / rate as f64);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn who_reads_the_answers_gets_them_all_however_many_were_asked_for() {
    let _turn = turn();
    let server = Server::start("step4").unwrap();
    for (request, count) in [(get("/health"), 4_000), (echo("hi", 1), 4_000), (echo(&"x".repeat(6_500), 10), 100)] {
        let mut stream = connect(&server).unwrap();
        let mut sender = stream.try_clone().unwrap();
        let requests = request.repeat(count);
        let sending = thread::spawn(move || sender.write_all(requests.as_bytes()));
        let read = read_answers(&mut stream, count, usize::MAX);
        assert!(read.is_ok(), "{read:?} {}", server.stderr().unwrap().lines().rev().take(5).collect::<String>());
        sending.join().unwrap().unwrap();
    }
}

#[test]
fn who_reads_slowly_but_steadily_gets_all() {
    let _turn = turn();
    let server = Server::start("step4").unwrap();
    let mut stream = connect(&server).unwrap();
    // Five megabytes, in twenty seconds: longer than an idle connection is kept, and than nothing may be read.
    let mut sender = stream.try_clone().unwrap();
    let requests = echo(&"\u{1}".repeat(6_500), 10).repeat(13);
    let sending = thread::spawn(move || sender.write_all(requests.as_bytes()));
    read_answers(&mut stream, 13, 250_000).unwrap();
    sending.join().unwrap().unwrap();
}

#[test]
fn bodies_of_all_kinds_are_read_on_one_connection() {
    let _turn = turn();
    let server = Server::start("step4").unwrap();
    let mut stream = connect(&server).unwrap();
    let body = rpc("tools/call", json!({ "name": "echo", "arguments": { "message": "x".repeat(50_000) } })).to_string();
    let plain = post(&body);
    let chunks: Vec<_> = body
        .as_bytes()
        .chunks(1_000)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let chunks = chunks.concat();
    let chunked = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    for requests in [format!("{plain}{chunked}{}", get("/health")), format!("{chunked}{chunked}{plain}")] {
        stream.write_all(requests.as_bytes()).unwrap();
        read_answers(&mut stream, 3, usize::MAX).unwrap();
    }
    // RFC 9110 §10.1.1: the body waits for a go-ahead.
    let (head, body) = plain.split_once("\r\n\r\n").unwrap();
    stream.write_all(format!("{head}\r\nExpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let mut go_ahead = [0; 25];
    stream.read_exact(&mut go_ahead).unwrap();
    assert_eq!(&go_ahead, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    read_answers(&mut stream, 1, usize::MAX).unwrap();
}

/// How long until the server closes it.
fn until_closed(stream: &mut TcpStream) -> Result<Duration> {
    let started = Instant::now();
    stream.set_read_timeout(Some(CLOSED_WITHIN))?;
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => Ok(started.elapsed()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(started.elapsed()),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn a_second_request_that_comes_byte_by_byte_is_not_waited_for() {
    let _turn = turn();
    let server = Server::start("step1").unwrap();
    let mut stream = connect(&server).unwrap();
    stream.write_all(get("/health").as_bytes()).unwrap();
    read_answers(&mut stream, 1, usize::MAX).unwrap();
    let mut sender = stream.try_clone().unwrap();
    thread::spawn(move || {
        for byte in get("/health").repeat(10).as_bytes() {
            if sender.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(500));
        }
    });
    let closed = until_closed(&mut stream).unwrap();
    assert!(closed < Duration::from_secs(12), "{closed:?}");
}

#[test]
fn connections_are_counted_and_further_requests_are_answered_with_503() {
    let _turn = turn();
    let server = Server::start_with("step4", &["--max-connections", "8"]).unwrap();
    let mut places: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = connect(&server).unwrap();
            stream.write_all(get("/health").as_bytes()).unwrap();
            read_answers(&mut stream, 1, usize::MAX).unwrap();
            stream
        })
        .collect();
    // One more connection is told why, and of six more, most are just closed. None is served.
    let mut others: Vec<_> = (0..6).map(|_| connect(&server).unwrap()).collect();
    let answers: Vec<_> = others
        .iter_mut()
        .map(|stream| {
            let _ = stream.write_all(get("/health").as_bytes()); // it may be closed already
            stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
            let mut answer = String::new();
            match stream.read_to_string(&mut answer) {
                Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
                _ => answer,
            }
        })
        .collect();
    let (told, closed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| !answer.is_empty());
    assert!(!told.is_empty() && !closed.is_empty(), "{answers:?}");
    for answer in told {
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5"), "{answer}");
        assert!(answer.contains(r#"{"error":"busy","error_description":"#), "{answer}");
    }
    // The earlier connections go on, and a free place is taken again.
    places[0].write_all(get("/health").as_bytes()).unwrap();
    read_answers(&mut places[0], 1, usize::MAX).unwrap();
    places.clear();
    let started = Instant::now();
    loop {
        let mut stream = connect(&server).unwrap();
        stream.write_all(get("/health").as_bytes()).unwrap();
        if read_answers(&mut stream, 1, usize::MAX).is_ok() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn a_server_stops_in_time_beside_peers_that_never_read() {
    let _turn = turn();
    let mut server = Server::start("step4").unwrap();
    let requests = echo(&"\u{1}".repeat(6_500), 10).repeat(40);
    let peers: Vec<_> = (0..5)
        .map(|_| {
            let (stream, requests) = (connect(&server).unwrap(), requests.clone());
            thread::spawn(move || never_read(stream, requests.as_bytes(), false))
        })
        .collect();
    thread::sleep(Duration::from_secs(2)); // until the server cannot send more answers
    let (code, took) = server.terminate().unwrap();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    for peer in peers {
        drop(peer.join().unwrap());
    }
}

/// The kernel takes connections in until the program accepts them. If its queue is full, a client tries again after a
/// second (RFC 6298 §2). So the program is held still, and no client may have to try again.
#[tokio::test]
async fn a_burst_of_clients_waits_for_nobody() -> Result<()> {
    let server = Server::start("step1")?;
    let hold = |name: &str| Command::new("kill").args([name, &server.pid().to_string()]).status();
    let address = ([127, 0, 0, 1], port(&server)?).into();
    ensure!(hold("-STOP")?.success(), "the server cannot be held");
    let burst: Vec<_> = (0..300).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(900))).collect();
    ensure!(hold("-CONT")?.success(), "the server cannot go on");
    let waited = burst.iter().filter(|connected| connected.is_err()).count();
    assert_eq!(waited, 0, "of 300");
    Ok(())
}
