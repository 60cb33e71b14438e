//! An independent client, the official Rust SDK, connects, lists, calls and gets.

use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::{Server, gen_token, interop};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, ServiceExt,
    model::{CallToolRequestParams, GetPromptRequestParams, ProtocolVersion},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::json;
use tokio::time::timeout;

fn transport(server: &Server, token: Option<String>) -> StreamableHttpClientTransport<reqwest::Client> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(format!("{}/mcp", server.url()));
    config.auth_header = token;
    StreamableHttpClientTransport::from_config(config)
}

fn eras() -> [ClientLifecycleMode; 2] {
    let modern = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    [ClientLifecycleMode::Initialize, modern]
}

#[tokio::test]
async fn the_rust_sdk_uses_steps_4_6_and_9_in_both_eras() -> Result<()> {
    for (step, era) in ["step4", "step6", "step9"].into_iter().flat_map(|step| eras().map(|era| (step, era))) {
        let server = Server::start(step)?;
        let token = match step {
            "step4" => None,
            _ => Some(gen_token(&server.keys(), server.url(), &["--username", "alice"])?),
        };
        let client = ().serve_with_lifecycle(transport(&server, token), era).await?;

        let tools = client.list_all_tools().await?;
        assert_eq!(tools[..2].iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["echo", "get_time"], "{step}");
        let arguments = json!({ "message": "hi", "repeat_count": 2 });
        let call = CallToolRequestParams::new("echo").with_arguments(arguments.as_object().cloned().unwrap());
        let echo = client.call_tool(call).await?;
        assert_eq!(echo.structured_content, Some(json!({ "text": "hihi" })), "{step}");
        assert_eq!(echo.is_error, Some(false), "{step}");
        assert!(client.call_tool(CallToolRequestParams::new("nonsense")).await.is_err(), "{step}");

        let prompts = client.list_all_prompts().await?;
        assert_eq!(prompts.iter().map(|prompt| &*prompt.name).collect::<Vec<_>>(), ["greeting", "help"], "{step}");
        let help = client.get_prompt(GetPromptRequestParams::new("help")).await?;
        assert_eq!(help.messages.len(), 1, "{step}");
        client.cancel().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_rust_sdk_is_turned_away_without_a_token() -> Result<()> {
    let server = Server::start("step9")?;
    let error = ().serve(transport(&server, None)).await.err().map(|error| format!("{error:?}")).unwrap_or_default();
    assert!(error.contains("Auth"), "{error}");
    Ok(())
}

/// For what other SDKs do then, see `sdks.rs`.
#[tokio::test]
async fn the_rust_sdk_does_not_wait_when_the_provider_is_away() -> Result<()> {
    const SOON: Duration = Duration::from_secs(20);
    let (provider, server, token) = interop::with_provider()?;
    let mut clients = Vec::new();
    for era in eras() {
        clients.push(().serve_with_lifecycle(transport(&server, Some(token.clone())), era).await?);
    }
    interop::lose(provider, &server, &token).await?;
    for client in clients {
        let called = timeout(SOON, client.list_all_tools()).await.context("a call is still waiting")?;
        let error = called.err().context("a call without keys succeeded")?.to_string();
        assert!(error.contains("503"), "{error}");
    }
    for era in eras() {
        let connecting = ().serve_with_lifecycle(transport(&server, Some(token.clone())), era);
        let connected = timeout(SOON, connecting).await.context("a connection is still waiting")?;
        let error = format!("{:?}", connected.err().context("connected without keys")?);
        assert!(error.contains("503"), "{error}");
    }
    Ok(())
}
