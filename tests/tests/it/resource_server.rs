//! The library `resource-server` as its own examples use it: with actix-web, with axum, and in front of the official Rust
//! SDK's server.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use integration_tests::{LEGACY, MODERN, Reply, Server, browser::PASSWORD, free_port, gen_token, rpc, with_meta};
use reqwest::Method;
use rmcp::{
    ServiceExt,
    model::CallToolRequestParams,
    transport::{
        AuthClient, StreamableHttpClientTransport,
        auth::{AuthorizationRequest, OAuthState},
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};

use crate::{
    clients_login::person,
    sdks::{START, clients},
};

const DOCUMENT: &str = "/.well-known/oauth-protected-resource";

/// An example, and the issuer that it trusts.
struct Example {
    issuer: Server,
    server: Server,
}

impl Example {
    fn start(name: &str) -> Result<Self> {
        Self::start_on(name, 0, Server::start("auth-server")?)
    }

    fn start_on(name: &str, port: u16, issuer: Server) -> Result<Self> {
        let env = [("ISSUER", issuer.url()), ("PORT", &port.to_string())];
        Ok(Example { server: Server::start_in_env(name, &[], &env)?, issuer })
    }

    fn token(&self, args: &[&str]) -> Result<String> {
        let args = [&["--username", "alice", "--issuer", self.issuer.url()], args].concat();
        gen_token(&self.issuer.keys(), self.server.url(), &args)
    }

    fn challenge(&self, more: &str) -> String {
        format!("Bearer resource_metadata=\"{}{DOCUMENT}/mcp\", {more}", self.server.url())
    }
}

#[tokio::test]
async fn the_examples_let_good_tokens_through_and_no_others() -> Result<()> {
    for name in ["actix", "axum"] {
        let example = Example::start(name)?;
        let server = &example.server;
        let refused = Reply::of(server.get("/mcp")).await?;
        assert_eq!(refused.status, 401, "{name}");
        assert_eq!(refused.header("www-authenticate"), example.challenge("scope=\"mcp:tools\""), "{name}");
        assert_eq!(refused.refusal(&Value::Null)["reason"], "token_missing", "{name}");

        for path in [format!("{DOCUMENT}/mcp"), DOCUMENT.to_owned()] {
            let document = Reply::of(server.get(&path)).await?;
            assert_eq!(
                (document.status.as_u16(), document.header("content-type")),
                (200, "application/json"),
                "{name}"
            );
            let document = document.json();
            assert_eq!(document["resource"], format!("{}/mcp", server.url()), "{name}");
            assert_eq!(document["authorization_servers"], json!([example.issuer.url()]), "{name}");
            assert_eq!(Reply::of(server.request(Method::POST, &path)).await?.status, 405, "{name}");
        }

        let good = Reply::of(server.get("/mcp").bearer_auth(example.token(&[])?)).await?;
        assert_eq!((good.status.as_u16(), &*good.text), (200, "Hello, alice!"), "{name}");
        let issuer = ["--issuer", example.issuer.url()];
        for (args, reason) in [
            ([&issuer[..], &["--audience", "https://other.example/mcp"]].concat(), "audience_other"),
            (vec!["--issuer", "https://other.example"], "issuer_unknown"),
            ([&issuer[..], &["--expires-in=-5m"]].concat(), "expired"),
        ] {
            let args = [&["--username", "alice"], &*args].concat();
            let token = gen_token(&example.issuer.keys(), server.url(), &args)?;
            let bad = Reply::of(server.get("/mcp").bearer_auth(token)).await?;
            assert_eq!(bad.status, 401, "{name} {args:?}");
            assert_eq!(bad.refusal(&Value::Null)["reason"], reason, "{name}");
            assert!(bad.header("www-authenticate").contains("error=\"invalid_token\""), "{name}: {bad:?}");
        }
        let bad = Reply::of(server.get("/mcp").bearer_auth("x.y.z")).await?;
        assert_eq!(
            (bad.status.as_u16(), &bad.refusal(&Value::Null)["reason"]),
            (401, &json!("token_malformed")),
            "{name}"
        );
    }
    Ok(())
}

/// What the README shows is part of an example, line by line; so it compiles and runs.
#[test]
fn the_readme_shows_what_the_examples_do() -> Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/resource-server");
    let readme = fs::read_to_string(package.join("README.md"))?;
    let mut examples = String::new();
    for name in ["actix", "axum", "rmcp"] {
        examples += &fs::read_to_string(package.join(format!("examples/{name}.rs")))?;
    }
    let blocks: Vec<_> = readme.split("```rust,ignore\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        assert!(examples.contains(block), "no example has this:\n{block}");
    }
    Ok(())
}

/// A call of a tool, with headers that may say something else.
async fn call(server: &Server, token: &str, version: &str, tool: &str, headers: [&str; 2]) -> Result<Reply> {
    let params = json!({ "name": tool, "arguments": { "message": "hi" } });
    let body = rpc("tools/call", if version == MODERN { with_meta(params) } else { params });
    let request = server.post(&body).bearer_auth(token).header("MCP-Protocol-Version", version);
    Reply::of(request.header("Mcp-Method", headers[0]).header("Mcp-Name", headers[1])).await
}

#[tokio::test]
async fn what_a_message_may_do_is_decided_by_its_body() -> Result<()> {
    let example = Example::start("rmcp")?;
    let server = &example.server;
    let (narrow, wide) =
        (example.token(&["--scopes", "mcp:tools"])?, example.token(&["--scopes", "mcp:tools mcp:prompts"])?);
    let step_up = example.challenge("scope=\"mcp:prompts\", error=\"insufficient_scope\"");
    for version in [LEGACY[0], MODERN] {
        let modern = version == MODERN;
        let good = call(server, &narrow, version, "echo", ["tools/call", "echo"]).await?;
        assert!(good.status == 200 && good.text.contains("alice: hi"), "the handler sees the caller: {good:?}");
        let good = call(server, &wide, version, "motto", ["tools/call", "motto"]).await?;
        assert!(good.status == 200 && good.text.contains("Fail closed."), "{good:?}");

        for headers in [["tools/call", "motto"], ["tools/call", "echo"], ["ping", "echo"], ["prompts/get", "x"]] {
            let refused = call(server, &narrow, version, "motto", headers).await?;
            assert_eq!(refused.status, 403, "{version} {headers:?}");
            assert_eq!(refused.refusal(&json!(1))["reason"], "scope_missing", "{version} {headers:?}");
            assert!(refused.header("www-authenticate").starts_with(&step_up), "{refused:?}");
            assert!(!refused.text.contains("Fail closed."), "the handler ran");
        }
        // The headers neither allow nor forbid anything. The server behind compares them, in the modern era.
        for headers in [["tools/call", "motto"], ["tools/call", "forgotten"], ["ping", "echo"]] {
            let answer = call(server, &narrow, version, "echo", headers).await?;
            if modern {
                assert_eq!(answer.outcome(), (400, -32020), "{version} {headers:?}");
            } else {
                assert!(answer.status == 200 || answer.outcome() == (400, -32020), "{version} {headers:?}: {answer:?}");
            }
        }
        for name in ["forgotten", "unknown", ""] {
            for header in [name, "echo"] {
                let refused = call(server, &wide, version, name, ["tools/call", header]).await?;
                assert_eq!(refused.status, 403, "{version} {name}");
                assert_eq!(refused.refusal(&json!(1))["reason"], "tool_forbidden", "{version} {name}");
                assert_eq!(refused.header("www-authenticate"), "", "no other token would help");
                assert!(!refused.text.contains("must not be seen"), "the handler ran");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_message_is_read_once_and_strictly() -> Result<()> {
    let example = Example::start("rmcp")?;
    let (server, token) = (&example.server, example.token(&["--scopes", "mcp:tools"])?);
    let post = |body: String| Reply::of(server.post_text(body).bearer_auth(&token));
    let of = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    for (body, code) in [
        ("{".to_owned(), -32700),
        (format!("[{}]", of(r#"{"name":"echo"}"#)), -32600),
        (of(r#"{"name":"echo","name":"motto"}"#), -32600),
        (of(r#"{"name":"echo","n\u0061me":"motto"}"#), -32600),
        (of(r#"{"name":"echo","arguments":{"message":"a","message":"b"}}"#), -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"motto"}}"#.into(),
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into(), -32600),
        (of("{}"), -32602),
        (of(r#"{"name":["motto"]}"#), -32602),
    ] {
        assert_eq!(post(body.clone()).await?.outcome(), (400, code), "{body}");
    }
    // A call without an id is still a call.
    let unanswered = post(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"motto"}}"#.to_owned()).await?;
    assert_eq!(unanswered.status, 403);
    let other = post(r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"x"}}"#.to_owned()).await?;
    assert_eq!((other.status.as_u16(), &other.refusal(&json!(1))["reason"]), (403, &json!("method_forbidden")));
    // Who refuses before everything is read may close while we still write, and then we do not see the answer.
    let patient = async |body: String| {
        for _ in 0..5 {
            if let Ok(reply) = post(body.clone()).await {
                return Ok(reply);
            }
        }
        post(body).await
    };
    assert_eq!(patient(" ".repeat(1024 * 1024 + 1)).await?.status, 413);
    // The bytes are passed on as they came, at any allowed size.
    let padded = format!("{}{}", " ".repeat(500_000), of(r#"{"name":"echo","arguments":{"message":"\u00e9"}}"#));
    let good = patient(padded).await?;
    assert!(good.status == 200 && good.text.contains("alice: é"), "{good:?}");

    let get = Reply::of(server.get("/mcp").bearer_auth(&token)).await?;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    assert_eq!(Reply::of(server.get("/mcp")).await?.status, 401, "first of all, who is it?");
    assert_eq!(Reply::of(server.post(&rpc("ping", json!({})))).await?.status, 401);
    assert_eq!(Reply::of(server.get("/nothing")).await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn the_rust_sdk_logs_in_to_its_own_server_and_steps_up() -> Result<()> {
    // The issuer must know the resource, and the resource its issuer.
    let port = free_port();
    let url = format!("http://localhost:{port}/mcp");
    let issuer = Server::start_in_env("auth-server", &["--resource", &url], &[("MCP_DEV_PASSWORD", PASSWORD)])?;
    let example = Example::start_on("rmcp", port, issuer)?;

    let mut state = OAuthState::new(&url, None).await?;
    let request = AuthorizationRequest::new("http://localhost:1/callback").with_client_name("rmcp");
    state.start_authorization(request).await?;
    let asked = state.get_authorization_url().await?;
    let [code, csrf, iss] = person(&example.issuer, &asked, &["mcp:tools"]).await?;
    state.handle_callback_with_issuer(&code, &csrf, Some(&iss)).await?;
    let manager = state.into_authorization_manager().context("not authorized")?;
    let auth = AuthClient::new(reqwest::Client::builder().no_proxy().build()?, manager);
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let client = ().serve(StreamableHttpClientTransport::with_client(auth.clone(), config)).await?;

    let call = |name: &'static str| {
        let arguments = json!({ "message": "hi" }).as_object().cloned().unwrap_or_default();
        client.call_tool(CallToolRequestParams::new(name).with_arguments(arguments))
    };
    let said = format!("{:?}", call("echo").await?);
    assert!(said.contains("alice: hi"), "{said}");
    let refused = call("motto").await.err().map(|error| format!("{error:?}")).unwrap_or_default();
    assert!(refused.contains("InsufficientScope") && refused.contains("mcp:prompts"), "{refused}");
    let asked = auth.auth_manager.lock().await.request_scope_upgrade("mcp:prompts").await?;
    let [code, csrf, iss] = person(&example.issuer, &asked, &["mcp:tools", "mcp:prompts"]).await?;
    auth.auth_manager.lock().await.exchange_code_for_token_with_issuer(&code, &csrf, Some(&iss)).await?;
    let said = format!("{:?}", call("motto").await?);
    assert!(said.contains("Fail closed."), "{said}");
    client.cancel().await?;
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Python, Go")]
fn the_sdks_use_the_rust_sdks_server_and_are_told_which_scope_is_missing() -> Result<()> {
    let example = Example::start("rmcp")?;
    let (good, narrow) = (example.token(&[])?, example.token(&["--scopes", "mcp:read"])?);
    for mut client in clients(&example.server)? {
        let name = client.name;
        assert_eq!(client.told(&format!("connect {good}"), START)?, "ok", "{name}");
        assert_eq!(client.told("call", START)?, "ok", "{name}");
        assert_eq!(client.told(&format!("connect {narrow}"), START)?, "ok", "{name}");
        let said = client.told("call", START)?;
        assert!(said.starts_with("error ") && said.contains("mcp:tools"), "{name}: {said}");
    }
    Ok(())
}
