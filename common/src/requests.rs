//! What every program does for every request: no panic's message and no error without a body reaches the client, no
//! body keeps a connection open, and each request has its line in the log.

use std::{
    cell::RefCell,
    fmt,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use actix_http::Request;
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::{BodySize, BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceResponse},
    error::PayloadError,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    web::Bytes,
};
use anyhow::Result;
use futures_util::{FutureExt, Stream};

use crate::{
    exchange::Exchange,
    http::wrap_body,
    jsonrpc::{ErrorObject, Failure, INTERNAL_ERROR},
};

/// The header by which an answer and the lines of the log about it find each other.
const CORRELATION_ID: &str = "x-correlation-id";

/// The caller's name in the request line of the log. The authentication step sets it.
pub struct LogUser(pub String);

/// Why the request was refused, for the request line: a code, and a sentence without secrets. It goes into the
/// extensions of the response.
pub struct LogRefusal {
    pub reason: &'static str,
    pub detail: String,
}

/// A request that has arrived. It is answered even if its handler fails.
pub(crate) struct Arrived {
    started: Instant,
    peer: Option<SocketAddr>,
    body: Option<Body>,
    shown: Option<Exchange>,
}

impl Arrived {
    pub(crate) fn new(request: &mut Request) -> Self {
        let body = request.headers().contains_key(header::TRANSFER_ENCODING).then(|| Body::hold(request)).flatten();
        let shown = Exchange::begin(request);
        if *request.method() == Method::HEAD {
            request.head_mut().method = Method::GET; // the body is left out when the response is written
        }
        Arrived { started: Instant::now(), peer: request.peer_addr(), body, shown }
    }

    /// The app's answer, in which no panic reaches the client and every error has a JSON body. Writes the request line.
    ///
    /// # Errors
    /// What the app itself fails with.
    pub(crate) async fn answered<B: MessageBody + 'static>(
        self,
        app: impl Future<Output = Result<ServiceResponse<B>, Error>>,
    ) -> Result<ServiceResponse<EitherBody<B>>, Error> {
        let mut outcome = match AssertUnwindSafe(app).catch_unwind().await {
            Ok(outcome) => outcome.map(in_json),
            Err(_) => Err(Panicked.into()),
        };
        if let Some(request) = self.body {
            let held = |answer: BoxBody| EitherBody::right(BoxBody::new(Held { answer, _request: request }));
            outcome = outcome.map(|response| response.map_body(|_, body| held(body.boxed())));
        }
        log_request(&outcome, self.started, self.peer);
        match self.shown {
            Some(exchange) => exchange.answer(outcome),
            None => outcome,
        }
    }
}

/// A handler panicked. The panic's message is in the log, and is not sent to the client.
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

/// Adds a JSON body to the errors that the framework itself answers (405).
fn in_json<B: MessageBody + 'static>(mut response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
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

/// The chunked body of a request. If the reader of such a body is dropped, the framework waits for the end of the body
/// without a limit. If the reader still exists when the answer has been written, the framework closes the connection.
/// So the answer holds the reader, and nobody can keep connections open for nothing.
#[derive(Clone)]
struct Body(Rc<RefCell<Payload>>);

impl Body {
    fn hold(request: &mut Request) -> Option<Self> {
        let mut held = None;
        wrap_body(request, |body| held.insert(Body(Rc::new(RefCell::new(body)))).clone());
        held
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

/// An answer that also holds the request's body, which may not have been read to its end.
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

/// One line for each request: `debug` for success, `info` for a client's error, `error` for ours. It names the route,
/// not the path, and no header: a token may be in either. The peer is the proxy where there is one. `tracing-actix-web`
/// would open a span for each request, whether it is logged or not; here an answer that went well costs one comparison.
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
    use actix_web::{App, error::InternalError, web};
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
        let app =
            || App::new().service(web::resource("/panics").get(panics)).service(web::resource("/works").get(works));
        let running = actix_web::rt::spawn(listener.serve(app));
        for _ in 0..3 {
            let answer = exchange(port, "/panics").await;
            assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
            assert!(answer.contains(r#""code":-32603"#) && !answer.contains("secret"), "{answer}");
        }
        assert!(exchange(port, "/works").await.ends_with("fine"));
        running.abort();
    }

    #[actix_web::test]
    async fn a_response_that_is_an_error_reaches_the_client_where_exchanges_are_shown() {
        let listener = Args::parse_from(["test", "--port", "0", "--show-exchange"]).server.bind().unwrap();
        let port = listener.public_url.to_url().port().unwrap();
        let refuse = |_, _: &_| async {
            let answer = HttpResponse::Conflict().insert_header(("X-Why", "a header")).body("the whole answer");
            Err::<ServiceResponse, _>(InternalError::from_response("refused", answer).into())
        };
        let running = actix_web::rt::spawn(listener.serve(move || App::new().wrap_fn(refuse)));
        let answer = exchange(port, "/").await;
        assert!(answer.starts_with("HTTP/1.1 409") && answer.ends_with("the whole answer"), "{answer}");
        assert!(answer.contains("x-why: a header"), "{answer}");
        running.abort();
    }
}
