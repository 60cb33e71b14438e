//! The official Rust SDK's server behind the tower layers: its tools see the caller, and each needs a scope of its own.
//! `cargo run --example rmcp --features tower`, with the variables ISSUER and PORT.

use std::{env, sync::Arc};

use axum::{Router, http::request::Parts};
use resource_server::{
    Caller, ResourceServer,
    tower::{Authenticate, Document, Permissions},
};
use rmcp::{
    ErrorData, ServerHandler,
    handler::server::{tool::Extension, wrapper::Parameters},
    model::{CallToolResult, ContentBlock},
    schemars, tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use tokio::net::TcpListener;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    /// The text to send back
    message: String,
}

#[derive(Clone)]
struct Tools;

#[tool_router]
impl Tools {
    #[tool(description = "Sends a message back, with the name of its sender.", annotations(read_only_hint = true))]
    #[allow(clippy::unused_self)] // the macro's methods have one
    fn echo(
        &self,
        Extension(parts): Extension<Parts>,
        Parameters(Echo { message }): Parameters<Echo>,
    ) -> Result<CallToolResult, ErrorData> {
        // The layer has put the caller there. No request gets here without one.
        let caller = parts.extensions.get::<Caller>().ok_or_else(|| ErrorData::internal_error("no caller", None))?;
        Ok(CallToolResult::success(vec![ContentBlock::text(format!("{}: {message}", caller.username()))]))
    }

    #[tool(description = "Says a motto, to callers with the scope mcp:prompts.", annotations(read_only_hint = true))]
    #[allow(clippy::unused_self)]
    fn motto(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::text("Fail closed.")])
    }

    /// It is not in the table of permissions, so nobody can call it.
    #[tool(description = "Is not in the table.")]
    #[allow(clippy::unused_self)]
    fn forgotten(&self) -> CallToolResult {
        CallToolResult::success(vec![ContentBlock::text("This must not be seen.")])
    }
}

#[tool_handler]
impl ServerHandler for Tools {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = env::var("ISSUER").unwrap_or_else(|_| "http://localhost:9090".to_owned());
    let port = env::var("PORT").ok().map_or(Ok(9000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://localhost:{}", listener.local_addr()?.port());

    let resource = ResourceServer::new(format!("{url}/mcp")).scopes(["mcp:tools", "mcp:prompts"]);
    let (resource_server, tasks) = resource.basic_scopes(["mcp:tools"]).issuer(issuer).start().await?;
    let permissions = Permissions::new(&resource_server).tool("echo", ["mcp:tools"]).tool("motto", ["mcp:prompts"]);

    // Without sessions: each message carries its own token, and anybody who knew a session's id could use it.
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let rmcp = StreamableHttpService::new(|| Ok(Tools), Arc::new(NeverSessionManager::default()), config);
    let mcp = Router::new().route_service("/mcp", rmcp);
    // The last layer is the outermost, so the caller is known before their permissions are checked.
    let mut app = mcp.route_layer(permissions).route_layer(Authenticate::new(&resource_server));
    for path in resource_server.metadata_paths() {
        app = app.route_service(path, Document::new(&resource_server));
    }
    let server = axum::serve(listener, app).into_future();
    println!("listening on {url}");
    tokio::select! { end = tasks => Err(end.into()), end = server => Ok(end?) }
}
