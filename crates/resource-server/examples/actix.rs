//! A resource server on actix-web. `cargo run --example actix --features actix`, with the variables ISSUER and PORT.

use std::{env, net::TcpListener};

use actix_web::{App, HttpServer, middleware::from_fn, web};
use resource_server::{
    Caller, ResourceServer,
    actix::{authenticate, documents},
};

async fn hello(caller: Caller) -> String {
    format!("Hello, {}!", caller.username())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = env::var("ISSUER").unwrap_or_else(|_| "http://localhost:9090".to_owned());
    let port = env::var("PORT").ok().map_or(Ok(9000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let url = format!("http://localhost:{}", listener.local_addr()?.port());

    let resource = ResourceServer::new(format!("{url}/mcp"));
    let (resource_server, tasks) = resource.issuer(issuer).scopes(["mcp:tools"]).start().await?;
    let state = web::Data::new(resource_server.clone());
    let app = move || {
        App::new()
            .app_data(state.clone())
            .configure(documents(&resource_server))
            .service(web::resource("/mcp").get(hello).wrap(from_fn(authenticate)))
    };
    let server = HttpServer::new(app).listen(listener)?.run();
    println!("listening on {url}");
    tokio::select! { end = tasks => Err(end.into()), end = server => Ok(end?) }
}
