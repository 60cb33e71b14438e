//! What is checked on every request, in every step: who may ask (Origin, Host), and what an answer may
//! say (no panic's message, no error without a body). It also writes the log's line for the request.

use std::{
    cell::RefCell,
    fmt,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use actix_cors::Cors;
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BodySize, BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
    web::{self, Bytes},
};
use anyhow::{Result, bail};
use futures_util::{FutureExt, Stream};
use url::{Host, Url};

use crate::{
    config::PublicUrl,
    http::{ErrorBody, error_response},
    jsonrpc::{ErrorObject, Failure, INTERNAL_ERROR},
};

/// The headers of an answer that a page in a browser may read.
const EXPOSED: &str = "WWW-Authenticate, Retry-After, X-Correlation-Id, X-MCP-User, X-MCP-Scopes";
/// The headers that a page may send. The last two are for pages made for servers with sessions; nothing reads them.
const ALLOWED: [&str; 7] = [
    "Authorization",
    "Content-Type",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Session-Id",
    "Last-Event-ID",
];

/// The names of this computer.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The header by which an answer and the lines of the log about it find each other.
const CORRELATION_ID: &str = "x-correlation-id";

/// What the request line in the log calls the caller. The authentication step sets it.
pub struct LogUser(pub String);

/// Why the request was refused, for the request line: a code and, in words that tell no secrets, what was wrong. It goes
/// into the extensions of the response.
pub struct LogRefusal {
    pub reason: &'static str,
    pub detail: String,
}

/// Who may ask: browsers from known origins, by a name that is ours.
#[derive(Clone)]
pub struct Guards(Arc<Allowed>);

struct Allowed {
    /// Origins of other sites that may call us from a browser. Loopback ones always may.
    origins: Vec<Origin>,
    /// Names we are called by. Loopback ones always are.
    hosts: Vec<String>,
}

impl Guards {
    pub(crate) fn new(public_url: &PublicUrl, allow_origin: &[String], allow_host: &[String]) -> Result<Self> {
        let public = public_url.to_url();
        let mut origins: Vec<_> = Origin::of(&public).into_iter().collect();
        for text in allow_origin {
            match Origin::parse(text) {
                Some(origin) => origins.push(origin),
                None => bail!(
                    "--allow-origin: {text:?} is not an origin such as https://app.example or chrome-extension://abc, with nothing behind it"
                ),
            }
        }
        let mut hosts: Vec<_> = public.host_str().map(str::to_owned).into_iter().collect();
        for host in allow_host {
            match Host::parse(host) {
                Ok(name) if !host.contains('*') => hosts.push(name.to_string()), // as clients write it
                _ => bail!("--allow-host: {host:?} is not the name of a host, such as mcp.example, without a port"),
            }
        }
        Ok(Guards(Arc::new(Allowed { origins, hosts })))
    }

    /// Answers browsers' preflights. To be wrapped inside [`Guards::check`], which answers 403 first.
    pub fn cors(&self) -> Cors {
        Cors::default()
            .allow_any_origin() // `check` has let only allowed ones through
            .allowed_methods(["GET", "POST", "DELETE"]) // a refusal that a page can read beats one it cannot
            .allowed_headers(ALLOWED)
            .expose_headers(EXPOSED.split(", "))
            .max_age(600)
    }

    fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN);
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(value), None) => value
                .to_str()
                .ok()
                .and_then(Origin::parse)
                .is_some_and(|origin| origin.is_loopback() || self.0.origins.contains(&origin)),
            (Some(_), Some(_)) => false,
        }
    }

    fn host_allowed(&self, req: &ServiceRequest) -> bool {
        let mut hosts = req.headers().get_all(header::HOST);
        let (Some(value), None) = (hosts.next(), hosts.next()) else { return false };
        let named = value.to_str().is_ok_and(|host| self.is_ours(host));
        // `GET http://other/ HTTP/1.1` names a host a second time (RFC 9112 §3.2.2).
        named && req.uri().authority().is_none_or(|authority| self.is_ours(authority.as_str()))
    }

    fn is_ours(&self, authority: &str) -> bool {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)), // `[::1]` has no port
            _ => (authority, None),
        };
        let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok();
        let mut names = LOOPBACK.into_iter().chain(self.0.hosts.iter().map(String::as_str));
        port.is_none_or(is_port) && names.any(|name| host.eq_ignore_ascii_case(name))
    }

    /// The outermost layer of every step: refuses foreign origins and hosts (DNS rebinding), keeps a
    /// panic from reaching the client, gives every error a JSON body, and writes the request line.
    ///
    /// # Errors
    /// What the service itself fails with.
    pub async fn check<B: MessageBody + 'static>(
        guards: web::Data<Guards>,
        mut req: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<EitherBody<B>>, Error> {
        let (started, peer) = (Instant::now(), req.peer_addr());
        let refused = if guards.origin_allowed(req.headers()) {
            (!guards.host_allowed(&req)).then_some((
                "forbidden_host",
                "The Host header names another server. If this server has that name, start it with --public-url or --allow-host.",
            ))
        } else {
            Some((
                "forbidden_origin",
                "This Origin may not call this server. If it should, start it with --allow-origin.",
            ))
        };
        if req.method() == Method::OPTIONS {
            // The answer lists the headers that may be sent, whichever were asked for; browsers compare.
            req.headers_mut().remove(header::ACCESS_CONTROL_REQUEST_HEADERS);
        }
        let body = req.headers().contains_key(header::TRANSFER_ENCODING).then(|| Body::hold(&mut req));
        if *req.method() == Method::HEAD {
            req.head_mut().method = Method::GET; // the body is left out when the response is written
        }
        let mut outcome = match refused {
            Some((error, description)) => {
                let response = match req.path() {
                    "/mcp" => ErrorBody::new(error, description).on_mcp(StatusCode::FORBIDDEN, None),
                    _ => error_response(StatusCode::FORBIDDEN, error, description),
                };
                Ok(req.into_response(response).map_into_right_body())
            }
            None => match AssertUnwindSafe(next.call(req)).catch_unwind().await {
                Ok(outcome) => outcome.map(in_json),
                Err(_) => Err(Panicked.into()),
            },
        };
        if let Some(request) = body {
            let held = |answer: BoxBody| EitherBody::right(BoxBody::new(Held { answer, _request: request }));
            outcome = outcome.map(|response| response.map_body(|_, body| held(body.boxed())));
        }
        log_request(&outcome, started, peer);
        outcome
    }
}

/// An origin (RFC 6454 §4), of any scheme: desktop apps and browser extensions have their own. The type of the URL
/// library is not enough, as it takes each of those for an origin that equals nothing, not even itself.
#[derive(PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// An origin as a browser writes it (RFC 6454 §6.1): scheme, host and port, nothing behind. One parser for the
    /// option and for the header, so that what can be allowed can also come.
    fn parse(text: &str) -> Option<Self> {
        let (_, authority) = text.split_once("://")?;
        // What the URL parser forgives and no browser sends; `*` would look like a pattern.
        let bare =
            !authority.is_empty() && !authority.ends_with(':') && !authority.contains(['/', '\\', '?', '#', '@']);
        if !bare || text.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '*' | '%')) {
            return None;
        }
        Self::of(&Url::parse(text).ok()?)
    }

    fn of(url: &Url) -> Option<Self> {
        let (scheme, host) = (url.scheme().to_owned(), url.host_str()?.to_owned());
        Some(Origin { scheme, host, port: url.port_or_known_default() })
    }

    /// A page from this computer, at any port.
    fn is_loopback(&self) -> bool {
        matches!(&*self.scheme, "http" | "https") && LOOPBACK.contains(&&*self.host)
    }
}

/// A handler panicked. The panic's message is in the log; the client learns nothing of it.
#[derive(Debug)]
struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler panicked")
    }
}

impl ResponseError for Panicked {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::InternalServerError()
            .json(Failure::new(None, &ErrorObject::new(INTERNAL_ERROR, "Internal error")))
    }
}

/// Gives the errors that the framework answers by itself (405) a JSON body like all others.
fn in_json<B: MessageBody + 'static>(mut response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    let preflight = response.request().method() == Method::OPTIONS && response.status().is_success();
    if preflight {
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    if !response.status().is_client_error() || response.headers().contains_key(header::CONTENT_TYPE) {
        return response.map_into_left_body();
    }
    let json = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "This path does not take this method; the Allow header says which it takes.")
        }
        _ => ("bad_request", "The request cannot be understood."),
    };
    let body = serde_json::json!({ "error": json.0, "error_description": json.1 }).to_string();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.map_body(|_, _| EitherBody::right(BoxBody::new(body)))
}

/// The chunked body of a request. The framework waits, without a limit, for the end of such a body if
/// its reader has gone, and closes the connection if the reader is still there when the answer has been
/// written. So that nobody can keep connections open for nothing, the answer holds the reader.
#[derive(Clone)]
struct Body(Rc<RefCell<Payload>>);

impl Body {
    fn hold(req: &mut ServiceRequest) -> Self {
        let body = Body(Rc::new(RefCell::new(req.take_payload())));
        req.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        body
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// An answer that goes together with the body it may not have waited for.
struct Held {
    answer: BoxBody,
    _request: Body,
}

impl MessageBody for Held {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(cx)
    }
}

/// One line a request: `debug` when it went well, `info` when the client erred, `error` when we did.
/// It names the route, not the path, and no header: a token may be in either. The peer is the proxy where there is one.
fn log_request<B>(outcome: &Result<ServiceResponse<B>, Error>, started: Instant, peer: Option<SocketAddr>) {
    let status = match outcome {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    macro_rules! line {
        ($level:ident) => {{
            let request = outcome.as_ref().ok().map(ServiceResponse::request);
            let method = request.map_or("", |request| match *request.method() {
                Method::GET => "GET",
                Method::POST => "POST",
                Method::DELETE => "DELETE",
                Method::OPTIONS => "OPTIONS",
                _ => "OTHER",
            });
            let route = request.and_then(HttpRequest::match_pattern).unwrap_or_else(|| "(no route)".to_owned());
            let user = request.and_then(|request| request.extensions().get::<LogUser>().map(|user| user.0.clone()));
            let extensions = outcome.as_ref().ok().map(|response| response.response().extensions());
            let refusal = extensions.as_deref().and_then(|extensions| extensions.get::<LogRefusal>());
            let headers = outcome.as_ref().ok().map(ServiceResponse::headers);
            let correlation_id = headers.and_then(|headers| headers.get(CORRELATION_ID)?.to_str().ok());
            tracing::$level!(
                peer = peer.map(|peer| tracing::field::display(peer.ip().to_canonical())),
                method,
                route,
                status = status.as_u16(),
                micros = started.elapsed().as_micros(),
                user,
                correlation_id,
                reason = refusal.map(|refusal| refusal.reason),
                detail = refusal.map(|refusal| &*refusal.detail),
                "request"
            );
        }};
    }
    if status.is_server_error() {
        line!(error);
    } else if status.is_client_error() {
        line!(info);
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        line!(debug);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{App, middleware::from_fn};
    use clap::Parser;

    use super::*;
    use crate::config::ServerArgs;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        server: ServerArgs,
    }

    async fn panics() -> HttpResponse {
        panic!("the secret of the handler")
    }

    async fn works() -> &'static str {
        "fine"
    }

    async fn exchange(port: u16, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[actix_web::test]
    async fn a_panic_is_a_500_that_tells_nothing_and_the_server_goes_on() {
        let listener = Args::parse_from(["test", "--port", "0"]).server.bind().unwrap();
        let port = listener.public_url.to_url().port().unwrap();
        let guards = listener.guards.clone();
        let app = move || {
            App::new()
                .wrap(guards.cors())
                .wrap(from_fn(Guards::check))
                .app_data(web::Data::new(guards.clone()))
                .service(web::resource("/panics").get(panics))
                .service(web::resource("/works").get(works))
        };
        let running = actix_web::rt::spawn(listener.serve(app));
        for _ in 0..3 {
            let answer = exchange(port, "/panics").await;
            assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
            assert!(answer.contains(r#""code":-32603"#) && !answer.contains("secret"), "{answer}");
        }
        assert!(exchange(port, "/works").await.ends_with("fine"));
        running.abort();
    }
}
