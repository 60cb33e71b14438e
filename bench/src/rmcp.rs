//! The official Rust SDK on axum, stateless and with JSON responses, as its examples `counter_streamhttp` and
//! `simple_auth_streamhttp` are built. With BENCH_PUBLIC_KEY every request's token is verified in a middleware.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use bench::Verifier;
use rmcp::{
    ServerHandler,
    handler::server::{router::tool::ToolRouter, wrapper::Parameters},
    model::{CallToolResult, ContentBlock},
    schemars, tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, schemars::JsonSchema)]
struct Echo {
    /// the text to send back
    message: String,
    /// how many times
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 10))]
    repeat_count: usize,
}

fn once() -> usize {
    1
}

#[derive(schemars::JsonSchema)]
#[allow(dead_code)] // only its schema is used
struct Text {
    /// the message, repeated
    text: String,
}

#[derive(Clone)]
struct Server {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Server {
    fn new() -> Self {
        Server { tool_router: Self::tool_router() }
    }

    #[tool(description = "Sends a message back.", output_schema = rmcp::handler::server::tool::schema_for_type::<Text>())]
    #[allow(clippy::unused_self)] // the macro's methods have one
    fn echo(&self, Parameters(Echo { message, repeat_count }): Parameters<Echo>) -> CallToolResult {
        let text = message.repeat(repeat_count.clamp(1, 10));
        let mut result = CallToolResult::success(vec![ContentBlock::text(&text)]);
        result.structured_content = Some(json!({ "text": text }));
        result
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Server {}

async fn authenticate(
    State(verifier): State<Arc<Verifier>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match token.map(|token| verifier.verify(token)) {
        Some(Ok(claims)) if claims.scope.contains("mcp:tools") => Ok(next.run(request).await),
        Some(Ok(_)) => Err(StatusCode::FORBIDDEN),
        _ => Err(StatusCode::UNAUTHORIZED),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::new();
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let service = StreamableHttpService::new(move || Ok(server.clone()), LocalSessionManager::default().into(), config);
    let mut router = Router::new().nest_service("/mcp", service);
    if let Some(verifier) = Verifier::from_env()? {
        router = router.layer(from_fn_with_state(Arc::new(verifier), authenticate));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
