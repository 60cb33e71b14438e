//! Real clients that are given only the URL of step 9 log a person in, call tools and refresh: the official
//! Rust SDK here, the others and the conformance suite in `tests/interop/login.sh`.

use anyhow::{Context, Result};
use integration_tests::{
    Server,
    browser::{Browser, start},
    interop, programs, text,
};
use rmcp::{
    ServiceExt,
    model::{CallToolRequestParams, CallToolResult},
    transport::{
        AuthClient, StreamableHttpClientTransport,
        auth::{AuthorizationRequest, OAuthState},
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::json;

#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Python, Chromium")]
fn real_clients_log_a_person_in_and_the_conformance_suite_passes() -> Result<()> {
    let output = interop::script("login.sh", true)?.env("TEST_PROGRAMS", programs::folder()?).output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.matches("ok - ").count() >= 15, "{text}");
    Ok(())
}

/// A person answers at an authorization URL. Returns code, state and issuer.
pub async fn person(server: &Server, url: &str, scopes: &[&str]) -> Result<[String; 3]> {
    let path = url.strip_prefix(server.url()).context("another server's page")?;
    let mut answer = Browser::new(server)?.consent(path, "alice", scopes).await?;
    let mut take = |name| answer.remove(name).with_context(|| format!("no {name}"));
    Ok([take("code")?, take("state")?, take("iss")?])
}

#[tokio::test]
async fn the_rust_sdk_logs_a_person_in_steps_up_and_refreshes() -> Result<()> {
    const CALLBACK: &str = "http://localhost:1/callback";
    let server = start("step9")?;
    let url = format!("{}/mcp", server.url());

    let mut state = OAuthState::new(&url, None).await?;
    state.start_authorization(AuthorizationRequest::new(CALLBACK).with_client_name("rmcp")).await?;
    let asked = state.get_authorization_url().await?;
    let [code, csrf, issuer] = person(&server, &asked, &["mcp:read"]).await?;
    state.handle_callback_with_issuer(&code, &csrf, Some(&issuer)).await?;
    let manager = state.into_authorization_manager().context("not authorized")?;

    let auth = AuthClient::new(reqwest::Client::builder().no_proxy().build()?, manager);
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let client = ().serve(StreamableHttpClientTransport::with_client(auth.clone(), config)).await?;
    assert_eq!(client.list_all_tools().await?[0].name, "echo");

    let echo = || async {
        let arguments = json!({ "message": "hi", "repeat_count": 2 }).as_object().cloned().unwrap_or_default();
        client.call_tool(CallToolRequestParams::new("echo").with_arguments(arguments)).await
    };
    let text = |result: CallToolResult| result.structured_content;

    // Refused because the scope is missing. The application then asks the person for it.
    let refused = echo().await.err().map(|error| format!("{error:?}")).unwrap_or_default();
    assert!(refused.contains("InsufficientScope") && refused.contains("mcp:tools"), "{refused}");
    let asked = auth.auth_manager.lock().await.request_scope_upgrade("mcp:tools").await?;
    let [code, csrf, issuer] = person(&server, &asked, &["mcp:read", "mcp:tools"]).await?;
    auth.auth_manager.lock().await.exchange_code_for_token_with_issuer(&code, &csrf, Some(&issuer)).await?;
    assert_eq!(text(echo().await?), Some(json!({ "text": "hihi" })));

    let before = auth.get_access_token().await?;
    auth.auth_manager.lock().await.refresh_token().await?;
    assert_ne!(auth.get_access_token().await?, before);
    assert_eq!(text(echo().await?), Some(json!({ "text": "hihi" })));
    client.cancel().await?;
    Ok(())
}
