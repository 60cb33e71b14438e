//! Waits for the browser at the loopback address, and shows its last page there.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use url::Position;

use super::{loopback::Loopback, response::Parameters};
use crate::{
    failure::{Failure, Result},
    person::Person,
};

/// How long the page that says how it went may take to reach the browser.
const LAST_PAGE: Duration = Duration::from_secs(2);
/// How long a request may take to come, and how long it may be, in bytes: a code and a state are in it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 64 * 1024;
/// Connections at one time. A browser opens a few; further ones must wait.
const MAX_CONNECTIONS: usize = 32;
/// The pause after a system error, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Receives what the browser brings back, as often as it comes; the first answer counts.
pub struct Callbacks {
    /// The parameters that it brought.
    pub answers: mpsc::Receiver<Parameters>,
    pub page: Page,
}

/// The browser's last page. Every browser that has loaded it by then gets it once the outcome is known. Dropping it
/// ends the wait without a page.
#[derive(Default)]
pub struct Page {
    outcome: watch::Sender<Option<bool>>,
    servers: JoinSet<()>,
}

impl Page {
    /// Says how it went, and waits a moment for the browser to take it.
    pub async fn show(mut self, went_well: bool) {
        self.outcome.send_replace(Some(went_well));
        let all = async { while self.servers.join_next().await.is_some() {} };
        // A browser that is slower than this does not get the page.
        let _ = tokio::time::timeout(LAST_PAGE, all).await;
    }
}

/// How to recognise the answer that the browser brings back, and the outcome that its last page shows.
struct Expected {
    path: String,
    host: String,
    state: String,
    answers: mpsc::Sender<Parameters>,
    person: Arc<dyn Person>,
    outcome: watch::Receiver<Option<bool>>,
    warned: AtomicBool,
}

impl Expected {
    /// Waits for the outcome. `false` also if there will never be one.
    async fn went_well(&self) -> bool {
        self.outcome.clone().wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true))
    }
}

/// Begins to listen for the answer that has this `state`.
///
/// # Errors
/// If the system refuses.
pub fn listen(loopback: Loopback, state: &str, person: Arc<dyn Person>) -> Result<Callbacks> {
    let redirect_uri = &loopback.redirect_uri;
    let (sender, answers) = mpsc::channel(1);
    let mut page = Page::default();
    let expected = Arc::new(Expected {
        path: redirect_uri.path().to_owned(),
        host: redirect_uri[Position::BeforeHost..Position::AfterPort].to_owned(),
        state: state.to_owned(),
        answers: sender,
        person,
        outcome: page.outcome.subscribe(),
        warned: AtomicBool::new(false),
    });
    for socket in loopback.sockets {
        let listener = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
        let listener = listener.map_err(|error| Failure::local(format!("cannot listen for the browser: {error}")))?;
        page.servers.spawn(serve(listener, expected.clone()));
    }
    Ok(Callbacks { answers, page })
}

/// Accepts connections until the outcome is known, and then lets the open ones end.
async fn serve(listener: TcpListener, expected: Arc<Expected>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = expected.went_well() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, expected.clone()))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, expected: Arc<Expected>) {
    let answer = service_fn(|request| {
        let expected = expected.clone();
        async move { Ok::<_, Infallible>(callback(&request, &expected).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(false);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        _ = connection.as_mut() => return,
        // Browsers open spare connections. We do not wait for these.
        _ = expected.went_well() => connection.as_mut().graceful_shutdown(),
    }
    // An error on a connection concerns only its browser.
    let _ = connection.await;
}

/// This may be the browser, or any other page or program, since anybody can send a request here. A request without our
/// `state` is refused, and the wait goes on (MCP 2026-07-28 "Open Redirection").
async fn callback(request: &Request<Incoming>, expected: &Expected) -> Response<Full<Bytes>> {
    if request.uri().path() != expected.path {
        return page(StatusCode::NOT_FOUND, "Not here", "There is nothing at this address.");
    }
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, "Not so", "This page can only be looked at.");
    }
    let query = request.uri().query().unwrap_or_default();
    let parameters: Parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut states = parameters.iter().filter(|(name, _)| name == "state").map(|(_, value)| value);
    let ours = states.next() == Some(&expected.state) && states.next().is_none();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !ours || !host.eq_ignore_ascii_case(&expected.host) {
        if !expected.warned.swap(true, Ordering::Relaxed) {
            expected.person.tell(
                "A request came that is not the answer to ours (state). It was turned away, and the wait goes on.",
            );
        }
        let text = "This is not the answer to the log-in that the terminal waits for.";
        return page(StatusCode::BAD_REQUEST, "Not this one", text);
    }
    // The first answer counts. Loading the page again shows the same outcome.
    let _ = expected.answers.try_send(parameters);
    if expected.went_well().await {
        let text = "All went well. You can close this page and go back to the terminal.";
        page(StatusCode::OK, "You are logged in", text)
    } else {
        page(StatusCode::OK, "You are not logged in", "The terminal says what went wrong.")
    }
}

fn page(status: StatusCode, title: &str, text: &str) -> Response<Full<Bytes>> {
    let colour = if title == "You are logged in" { "#176f3d" } else { "#a3241c" };
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}}\
         h1{{border-left:.4rem solid {colour};padding-left:.8rem}}</style><h1>{title}</h1><p>{text}</p></html>"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}
