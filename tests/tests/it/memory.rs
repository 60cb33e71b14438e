//! Nothing grows with the number of requests.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use integration_tests::{
    Server, gen_token,
    provider::{Provider, start},
    signer::{AUDIENCE, Signer, claims},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// Requests sent at a time on one connection, before their answers are read.
const PIPELINED: usize = 100;
const CONNECTIONS: usize = 4;

/// Sends so many `tools/call` requests, some at a time, and looks at every answer.
fn calls(host: &str, token: &str, count: usize, pipelined: usize) -> Result<()> {
    let body =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}}}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let batch = request.repeat(pipelined);
    let mut stream = TcpStream::connect(host)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    for _ in 0..count / pipelined {
        stream.write_all(batch.as_bytes())?;
        for _ in 0..pipelined {
            let (mut line, mut length) = (String::new(), 0);
            answers.read_line(&mut line)?;
            ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
            while line != "\r\n" {
                line.clear();
                answers.read_line(&mut line)?;
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse()?;
                }
            }
            let mut json = vec![0; length];
            answers.read_exact(&mut json)?;
            ensure!(String::from_utf8_lossy(&json).contains(r#""text":"hi""#));
        }
    }
    Ok(())
}

/// An issuer may put much into its tokens, and a server remembers those that it has verified.
#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn resident_memory_does_not_follow_the_size_of_the_tokens_that_were_seen() -> Result<()> {
    for step in ["step9", "step10", "step12"] {
        let server = Server::start(step)?;
        let host = server.url().trim_start_matches("http://").to_owned();
        let key = EncodingKey::from_rsa_pem(&fs::read(server.keys().join("mcp_private_key.pem"))?)?;
        // Many short strings take ten times as much in memory as in the token.
        let roles: Vec<_> = std::iter::repeat_n("user", 1_600).collect();
        let token = |number: usize| {
            let claims = json!({
                "iss": server.url(), "aud": format!("{}/mcp", server.url()), "sub": format!("user_{number}"),
                "exp": 4_000_000_000_u64, "scope": "mcp:tools", "roles": roles,
            });
            encode(&Header::new(Algorithm::RS256), &claims, &key)
        };
        assert!((13_000..16_384).contains(&token(0)?.len()));
        let send = |numbers: std::ops::Range<usize>| -> Result<()> {
            for number in numbers {
                calls(&host, &token(number)?, 1, 1)?;
            }
            Ok(())
        };
        send(0..100)?;
        let before = server.memory("VmRSS")?;
        send(100..1_500)?;
        let after = server.memory("VmRSS")?;
        println!("{step}: {before} KiB after 100 large tokens, {after} KiB after 1,500");
        assert!(after <= before + 24 * 1024, "{step}: {before} KiB after 100 large tokens, {after} KiB after 1,500");
    }
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn resident_memory_after_200_000_requests_is_that_after_20_000() -> Result<()> {
    let server = Server::start("step9")?;
    let host = server.url().trim_start_matches("http://").to_owned();
    let token = gen_token(&server.keys(), server.url(), &["--username", "alice"])?;
    let send = |total: usize| -> Result<()> {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (host, token) = (host.clone(), token.clone());
                thread::spawn(move || calls(&host, &token, total / CONNECTIONS, PIPELINED))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    };
    send(20_000)?;
    let before = server.memory("VmRSS")?;
    send(180_000)?;
    let after = server.memory("VmRSS")?;
    println!("{before} KiB after 20,000 requests, {after} KiB after 200,000");
    assert!(after <= before + 2048, "{before} KiB after 20,000 requests, {after} KiB after 200,000");
    Ok(())
}

/// Sends requests with so many tokens, each another and good, many at a time, and looks at the answers.
fn send_tokens(server: &str, issuer: &str, key: &Signer, count: usize) {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let stream = TcpStream::connect(server.trim_start_matches("http://")).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut stream = BufWriter::new(stream);
    for _ in 0..count / 50 {
        for _ in 0..50 {
            let token = key.sign(&claims(issuer));
            let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json");
            let length = body.len();
            write!(stream, "POST /mcp HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
        stream.flush().unwrap();
        for _ in 0..50 {
            let (mut line, mut length) = (String::new(), 0);
            answers.read_line(&mut line).unwrap();
            assert!(line.starts_with("HTTP/1.1 200"), "{line}");
            while line != "\r\n" {
                line.clear();
                answers.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            answers.read_exact(&mut vec![0; length]).unwrap();
        }
    }
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn nothing_grows_with_the_number_of_tokens() {
    let key = Arc::new(Signer::ed("k1"));
    let mock = Provider::good(&[&key]);
    let started = Instant::now();
    let server = start(&[&mock], &["--audience", AUDIENCE]);
    let send = |count: usize| {
        let threads = [(); 2].map(|()| {
            let (server, issuer, key) = (server.url().to_owned(), mock.url.clone(), Arc::clone(&key));
            std::thread::spawn(move || send_tokens(&server, &issuer, &key, count / 2))
        });
        for thread in threads {
            thread.join().unwrap();
        }
    };
    send(25_000); // more than are remembered
    let before = server.memory("VmRSS").unwrap();
    send(75_000);
    let after = server.memory("VmRSS").unwrap();
    println!("{before} KiB after 25,000 tokens, {after} KiB after 100,000");
    assert!(after <= before + 4096, "{before} KiB after 25,000 tokens, {after} KiB after 100,000");
    let allowed = 2 + usize::try_from(started.elapsed().as_secs()).unwrap() / 60;
    assert!(mock.hits("/jwks") <= allowed, "{} fetches: they follow requests", mock.hits("/jwks"));
}
