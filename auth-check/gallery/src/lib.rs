//! A small MCP server, with its own authorization server's documents, that does everything right, but for one fault that
//! can be chosen ([`faults`]). It stands on no code of the steps: a mistake of theirs would not be seen here.
//!
//! [`mcp`] is the endpoint, [`verify`] decides which token is good, [`documents`] is what it says of itself, [`client`]
//! where clients register and send people to, and [`grants`] what they get there; [`proofs`] are those of DPoP.

#![deny(missing_docs)]

pub mod client;
pub mod documents;
pub mod es256;
pub mod faults;
pub mod grants;
pub mod mcp;
pub mod proofs;
pub mod state;
pub mod token;
pub mod verify;

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    sync::atomic::Ordering,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{
        Method,
        header::{CACHE_CONTROL, HeaderValue},
    },
    web,
};
use anyhow::{Context as _, Result};

use crate::{
    faults::Fault,
    state::{State, Trust},
};

/// A running server; it stops when it is dropped.
pub struct Gallery {
    url: String,
    handle: ServerHandle,
}

impl Gallery {
    /// Starts it on this port of 127.0.0.1 (0: a free one), with a fault or without, trusting this issuer.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub fn start(port: u16, fault: Option<&'static Fault>, trust: Trust) -> Result<Self> {
        let address = (IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let listener = TcpListener::bind(address).context("cannot listen")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = web::Data::new(State::new(url.clone(), fault, trust)?);
        let app = move || App::new().app_data(state.clone()).default_service(web::to(serve));
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Gallery { url, handle })
    }

    /// The MCP endpoint.
    pub fn endpoint(&self) -> String {
        format!("{}/mcp", self.url)
    }
}

impl Drop for Gallery {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// No cache keeps a refusal: it would outlive its reason.
async fn serve(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let mut response = answer(&request, &body, &state).await;
    if response.status().is_client_error() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Host and Origin first, then the route.
async fn answer(request: &HttpRequest, body: &[u8], state: &State) -> HttpResponse {
    let waits = state.has("asks-to-wait");
    // Not the browser's, which would not come back.
    let limited = (waits || state.has("limits-requests")) && request.path() != "/authorize";
    if limited && state.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(7) {
        let mut limited = HttpResponse::TooManyRequests();
        if waits {
            limited.insert_header(("Retry-After", "0"));
        }
        return limited.finish();
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let known = |host: &str| matches!(host.split(':').next(), Some("127.0.0.1" | "localhost"));
    if !header("host").is_some_and(known) && !state.has("any-host") {
        let first = if state.has("token-before-host") { mcp::endpoint(request, body, state).await } else { refused() };
        return if first.status().is_success() { refused() } else { first };
    }
    if request.method() == Method::OPTIONS && state.has("reflects-origin") {
        let origin = header("origin").unwrap_or_default().to_owned();
        return HttpResponse::NoContent().insert_header(("Access-Control-Allow-Origin", origin)).finish();
    }
    let unguarded = state.has("origin-only-without-token") && header("authorization").is_some();
    if header("origin").is_some_and(|origin| !state.allows(origin)) && !unguarded {
        return refused();
    }
    if request.method() == Method::TRACE {
        let repeated = header("authorization").unwrap_or_default().to_owned();
        return if state.has("trace") {
            HttpResponse::Ok().content_type("message/http").body(repeated)
        } else {
            HttpResponse::MethodNotAllowed().finish()
        };
    }
    let message = || serde_json::from_slice(body).unwrap_or_default();
    match request.path() {
        "/mcp" => mcp::endpoint(request, body, state).await,
        "/mcp/" if state.has("open-with-slash") => mcp::open(&message()),
        "/MCP" if state.has("open-by-case") => mcp::open(&message()),
        "/register" if request.method() == Method::POST => client::register(body, state),
        "/authorize" if request.method() == Method::GET => client::authorize(request, state),
        "/token" => token(request, body, state),
        "/revoke" if request.method() == Method::POST => token::revoke(body, state),
        _ => documents::serve(request, state),
    }
}

fn refused() -> HttpResponse {
    HttpResponse::Forbidden().finish()
}

/// Tokens are given to POST alone.
fn token(request: &HttpRequest, body: &[u8], state: &State) -> HttpResponse {
    if request.method() == Method::POST {
        return token::token(request, body, state);
    }
    if state.has("token-by-get") {
        return token::token(request, request.query_string().as_bytes(), state);
    }
    HttpResponse::MethodNotAllowed().insert_header(("Allow", "POST")).finish()
}
