//! Behind a proxy: whose address counts, for limits and in the log.

use anyhow::Result;
use integration_tests::{Reply, Server};
use reqwest::RequestBuilder;
use serde_json::json;

const STEPS: [&str; 2] = ["step12", "auth-server"];
/// The tests are the proxy.
const TRUST: [&str; 2] = ["--trusted-proxy", "127.0.0.1,::1"];

fn registration(server: &Server, client: &str) -> RequestBuilder {
    let metadata = json!({ "redirect_uris": ["http://localhost/callback"], "token_endpoint_auth_method": "none" });
    let request = server.request(reqwest::Method::POST, "/register").header("X-Forwarded-For", client);
    request.header("Content-Type", "application/json").body(metadata.to_string())
}

/// How many of so many registrations are done.
async fn registered(server: &Server, client: &str, times: usize) -> Result<usize> {
    let mut done = 0;
    for _ in 0..times {
        let reply = Reply::of(registration(server, client)).await?;
        done += usize::from(reply.status == 201);
        assert!(reply.status == 201 || reply.status == 429, "{reply:?}");
    }
    Ok(done)
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_limits_count_and_what_the_client_has_said_before_does_not() -> Result<()> {
    for step in STEPS {
        let server = Server::start_with(step, &TRUST)?;
        let done = registered(&server, "203.0.113.1", 60).await?;
        assert!((1..60).contains(&done), "{step}: {done}");
        assert_eq!(registered(&server, "198.51.100.9, 203.0.113.1", 1).await?, 0, "{step}: the same client");
        assert_eq!(registered(&server, "203.0.113.2", 1).await?, 1, "{step}: another client");
        let log = server.stderr()?;
        assert!(log.contains("203.0.113.1") && log.contains("203.0.113.2"), "{step}: {log}");
        assert!(!log.contains("198.51.100.9") && !log.contains("peer=127.0.0.1"), "{step}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_else_is_believed() -> Result<()> {
    for (step, args) in [("step12", &[][..]), ("step12", &["--trusted-proxy", "192.0.2.0/24"]), ("auth-server", &[])] {
        let server = Server::start_with(step, args)?;
        let mut done = 0;
        for number in 0..60 {
            done += registered(&server, &format!("203.0.113.{number}"), 1).await?;
        }
        assert!((1..60).contains(&done), "{step} {args:?}: {done}");
        assert!(!server.stderr()?.contains("203.0.113."), "{step} {args:?}");
    }
    Ok(())
}
