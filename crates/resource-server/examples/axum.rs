//! A resource server on axum. `cargo run --example axum --features tower`, with the variables ISSUER and PORT.

use std::env;

use axum::{Extension, Router, routing::get};
use resource_server::{
    Caller, ResourceServer,
    tower::{Authenticate, Document},
};
use tokio::net::TcpListener;

async fn hello(Extension(caller): Extension<Caller>) -> String {
    format!("Hello, {}!", caller.username())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = env::var("ISSUER").unwrap_or_else(|_| "http://localhost:9090".to_owned());
    let port = env::var("PORT").ok().map_or(Ok(9000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://localhost:{}", listener.local_addr()?.port());

    let resource = ResourceServer::new(format!("{url}/mcp"));
    let (resource_server, tasks) = resource.issuer(issuer).scopes(["mcp:tools"]).start().await?;
    let mut app = Router::new().route("/mcp", get(hello)).route_layer(Authenticate::new(&resource_server));
    for path in resource_server.metadata_paths() {
        app = app.route_service(path, Document::new(&resource_server));
    }
    let server = axum::serve(listener, app).into_future();
    println!("listening on {url}");
    tokio::select! { end = tasks => Err(end.into()), end = server => Ok(end?) }
}
