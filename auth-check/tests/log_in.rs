//! The log-in as a person has it: with the program, and what it prints and reads.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use auth_check::{
    jose::RsaKey,
    login::{Browser, Visit, terminal::Terminal},
    model::Unmet,
};
use auth_check_gallery::{Gallery, faults::find, state::Trust};
use url::Url;

fn gallery(fault: &str) -> Gallery {
    let keys = RsaKey::generate().unwrap().key_set();
    Gallery::start(0, find(fault), Trust { issuer: String::new(), keys }).unwrap()
}

/// The answer to a GET.
fn get(url: &Url) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs the program, and pastes what each address that it prints leads to. How often that was, and what it wrote.
fn paste(endpoint: &str, args: &[&str]) -> (usize, String, Output) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth-check"))
        .args([endpoint, "--login", "--paste", "--active"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut written, mut rounds) = (child.stdin.take().unwrap(), String::new(), 0);
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if let Some(url) = line.strip_prefix("  http").map(|rest| Url::parse(&format!("http{rest}")).unwrap()) {
            let answer = get(&url);
            let place = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
            writeln!(stdin, "not an address").unwrap();
            writeln!(stdin, "{place}").unwrap();
            rounds += 1;
        }
        written += &(line + "\n");
    }
    (rounds, written, child.wait_with_output().unwrap())
}

#[actix_web::test]
async fn a_person_pastes_addresses_and_gets_a_report() {
    for (fault, args, found, code, rounds) in [
        ("", &[][..], "0 of ", 0, 7),
        ("", &["--require", "log-in"], "0 of ", 0, 7),
        // There is no key to sign hostile tokens with.
        ("", &["--require", "all"], "0 of ", 3, 7),
        ("replay-keeps-tokens", &[], "1 of ", 1, 7),
        // Without a token, nothing else can be tried with it.
        ("no-code-works", &[], "1 of ", 1, 1),
    ] {
        let gallery = gallery(fault);
        let endpoint = gallery.endpoint();
        let (opened, err, output) = actix_web::web::block(move || paste(&endpoint, args)).await.unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{fault}: {err}{out}");
        assert!(out.starts_with(found) && !out.contains("gallery-code-"), "{fault}: {out}");
        assert_eq!(opened, rounds, "{fault}: {err}");
        assert!(err.lines().any(|line| line.contains("at most 20 times")), "{err}");
        assert!(err.contains("That is not where"), "{err}");
    }
}

#[actix_web::test]
async fn a_log_in_needs_a_client() {
    let gallery = gallery("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-check"));
    command.args([&gallery.endpoint(), "--login", "--paste"]).stdin(Stdio::null());
    let output = actix_web::web::block(move || command.output()).await.unwrap().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && err.contains("--client-id"), "{err}");
}

#[actix_web::test]
async fn who_can_paste_nothing_is_not_waited_for() {
    let gallery = gallery("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-check"));
    command.args([&gallery.endpoint(), "--login", "--paste", "--active"]).stdin(Stdio::null());
    let started = Instant::now();
    let output = actix_web::web::block(move || command.output()).await.unwrap().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(3) && out.contains("the input has ended"), "{out}");
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_browser_comes_back_to_the_place_that_it_was_sent_to_and_no_other() {
    let terminal = Terminal::new(false, None).await.unwrap();
    let redirect_uri = terminal.redirect_uri();
    let back = redirect_uri.clone();
    let requests = thread::spawn(move || {
        let with = |path: &str, query: &str| {
            let mut url = back.clone();
            url.set_path(path);
            url.set_query(Some(query));
            get(&url)
        };
        let path = back.path();
        for (path, query) in
            [("/", "code=evil"), ("/favicon.ico", ""), (path, "x=1"), (&format!("{path}/x"), "code=evil")]
        {
            assert!(with(path, query).starts_with("HTTP/1.1 404 "), "{path}?{query}");
        }
        assert!(with(path, "code=good").starts_with("HTTP/1.1 200 "));
    });
    // Nothing can open this.
    let url = Url::parse("data:,").unwrap();
    let visit = Visit { url: &url, redirect_uri: &redirect_uri, number: 1, why: "to test", may_stay: false };
    let started = Instant::now();
    let place = terminal.visit(visit).await.map_err(|Unmet(why)| why).unwrap().unwrap();
    assert_eq!(place.query(), Some("code=good"));
    assert!(started.elapsed() < Duration::from_secs(30));
    requests.join().unwrap();
}
