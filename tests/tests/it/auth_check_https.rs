//! `auth-check` asks a server behind TLS whose certificate is of a private authority.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use integration_tests::{Server, haproxy::HaProxy, program, text};

/// An authority of this name in the folder: its certificate.
fn authority(folder: &Path, name: &str) -> Result<PathBuf> {
    let pem = folder.join(format!("{name}.pem"));
    let subject = format!("/CN={name}");
    openssl(folder, &["-subj", &subject, "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])?;
    Ok(pem)
}

/// A certificate for a host by an authority, and its key, in one file.
fn certificate(folder: &Path, authority: &str, host: &str) -> Result<PathBuf> {
    let name = format!("DNS:{host}");
    let pem = folder.join(format!("{host}.server.pem"));
    openssl(
        folder,
        &[
            &["-subj", "/CN=server", "-CA", &format!("{authority}.pem"), "-CAkey", &format!("{authority}.key")][..],
            &["-addext", &format!("subjectAltName={name}"), "-addext", "basicConstraints=critical,CA:FALSE"],
            &["-keyout", &format!("{host}.server.pem"), "-out", &format!("{host}.crt")],
        ]
        .concat(),
    )?;
    let both = std::fs::read_to_string(&pem)? + &std::fs::read_to_string(folder.join(format!("{host}.crt")))?;
    std::fs::write(&pem, both)?;
    Ok(pem)
}

fn openssl(folder: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    let output = command.args(args).current_dir(folder).output().context("this test needs openssl")?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs HAProxy and openssl")]
fn a_server_with_a_certificate_of_a_private_authority_is_judged_once_that_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (own, other) = (authority(folder.path(), "own")?, authority(folder.path(), "other")?);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    let server = Server::start_with("step9", &["--public-url", &url])?;
    let inside = server.url().rsplit_once(':').context("no port")?.1.parse()?;
    let judged = |host: &str, authority: &Path| -> Result<(Option<i32>, String, String)> {
        let _proxy = HaProxy::tls(listener.try_clone()?, &certificate(folder.path(), "own", host)?, inside)?;
        let mut command = Command::new(program("auth-check")?);
        command.arg(format!("{url}/mcp")).arg("--issuer-key").arg(server.keys().join("mcp_private_key.pem"));
        let Output { status, stdout, stderr } = command.env("SSL_CERT_FILE", authority).output()?;
        Ok((status.code(), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
    };

    let (code, report, errors) = judged("localhost", &own)?;
    assert_eq!(code, Some(0), "{report}{errors}");
    let passed = report.split_once("\nPassed\n").context("nothing has passed")?.1;
    assert!(report.starts_with("0 of ") && passed.contains(" TOK-01 "), "{report}");

    for (host, authority, why) in [
        ("localhost", &other, "name its file in SSL_CERT_FILE"),
        ("other.example", &own, "not valid for name \"localhost\""),
    ] {
        let (code, report, errors) = judged(host, authority)?;
        assert_eq!((code, &*report), (Some(3), ""), "{host}: {errors}");
        assert!(errors.starts_with("auth-check: nothing can be tried: ") && errors.contains(why), "{host}: {errors}");
        assert!(!errors.contains("panicked"), "{host}: {errors}");
    }
    Ok(())
}
