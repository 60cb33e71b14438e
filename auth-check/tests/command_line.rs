//! What the program makes of its arguments, and of the places that it writes to.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::{
    fs,
    process::{Command, Output},
};

use auth_check::jose::RsaKey;
use auth_check_gallery::{Gallery, state::Trust};

fn gallery() -> Gallery {
    let keys = RsaKey::generate().unwrap().key_set();
    Gallery::start(0, None, Trust { issuer: String::new(), keys }).unwrap()
}

fn auth_check(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-check"));
    command.args(args);
    command
}

async fn output(mut command: Command) -> Output {
    actix_web::web::block(move || command.output()).await.unwrap().unwrap()
}

#[actix_web::test]
async fn what_cannot_be_used_is_said_in_a_sentence_without_its_secrets() {
    let endpoint = "http://localhost:1/mcp";
    let mock = "--mock-issuer takes an http URL";
    for (args, said) in [
        (&["localhost:9000/mcp"][..], "give an http or https URL, such as http://localhost:9000/mcp"),
        (&["ftp://localhost/the-secret"], "give an http or https URL"),
        (&["the-secret"], "give an http or https URL"),
        (&["http://localhost:99999/?key=the-secret"], "give an http or https URL"),
        (&["http://alice:the-secret@localhost:1/mcp"], "leave user name, password and fragment out"),
        (&["http://the-secret@localhost:1/mcp"], "leave user name, password and fragment out"),
        (&["http://localhost:1/mcp#the-secret"], "leave user name, password and fragment out"),
        (&["https://mcp.example/mcp?key=the-secret"], "https://mcp.example/mcp is not on this machine"),
        (&[endpoint, "--mock-issuer=http://a:the-secret@localhost:9099"], mock),
        (&[endpoint, "--mock-issuer=http://localhost:9099?the-secret"], mock),
        (&[endpoint, "--mock-issuer=http://localhost:9099#the-secret"], mock),
        (&[endpoint, "--mock-issuer=http://localhost:0"], mock),
        (&[endpoint, "--mock-issuer=https://localhost:9099"], mock),
        (&[endpoint, "--mock-issuer=the-secret"], mock),
        (&[endpoint, "--mock-issuer", "http://localhost:9099/the-secret"], "write --mock-issuer=URL, without a space"),
    ] {
        let output = output(auth_check(args)).await;
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && err.contains(said), "{args:?}: {err}");
        assert!(err.lines().count() == 1 && !err.contains("the-secret"), "{args:?}: {err}");
    }
}

#[actix_web::test]
async fn what_is_in_the_query_of_the_endpoint_is_not_shown() {
    let (gallery, directory) = (gallery(), tempfile::tempdir().unwrap());
    let endpoint = format!("{}?api_key=the%2Bsecret", gallery.endpoint());
    let files = ["--json", "--sarif", "--junit"].map(|flag| (flag, directory.path().join(flag)));
    let mut command = auth_check(&[&endpoint, "--active"]);
    for (flag, path) in &files {
        command.arg(flag).arg(path);
    }
    let output = output(command).await;
    let mut shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for (_, path) in &files {
        shown += &fs::read_to_string(path).unwrap();
    }
    // `resource` names no query, so there is a finding that has both URLs.
    assert!(shown.contains("PRM-05") && shown.contains("but the client uses"), "{shown}");
    let secret = ["the+secret", "the%2Bsecret", "the%252Bsecret"].into_iter().find(|one| shown.contains(one));
    assert_eq!(secret, None, "{shown}");
}

/// A place where nothing can be written.
#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_report_that_cannot_be_written_does_not_lose_the_others() {
    let (gallery, directory) = (gallery(), tempfile::tempdir().unwrap());
    let file = |name| directory.path().join(name).into_os_string().into_string().unwrap();
    let (junit, missing) = (file("junit.xml"), file("missing/report"));
    let mut command = auth_check(&[&gallery.endpoint(), "--json", &missing, "--sarif", &missing, "--junit", &junit]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = output(command).await;
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert_eq!(err.matches(&format!("cannot write {missing}: ")).count(), 2, "{err}");
    assert!(err.contains("cannot write the report to stdout: ") && !err.contains("panicked"), "{err}");
    assert!(fs::read_to_string(junit).unwrap().contains("<testsuites "));
}
