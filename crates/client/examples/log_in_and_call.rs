//! Logs in to an MCP server and calls a tool: `cargo run -p mcp-auth-client --example log_in_and_call -- URL`

use std::sync::Arc;

use client::{
    Client, Result,
    person::Printed,
    settings::{Application, Settings, server_url},
};

#[tokio::main]
async fn main() -> Result<()> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:9000/mcp".to_owned());
    let mut settings = Settings::new(server_url(&server)?, Application::new("my-client", "1.0"));
    settings.person = Some(Arc::new(Printed));
    let mut session = Client::new(settings)?.connect().await?;
    let tool = session.tool("echo").await?;
    let result = session.call_tool(&tool, &serde_json::json!({ "message": "hi" })).await?;
    println!("{}", result["content"][0]["text"]);
    session.close().await;
    Ok(())
}
