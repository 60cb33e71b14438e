//! `--show-exchange`: shows each request and its answer on standard output, numbered, explained where it is known what
//! they are, and without their secrets. It is for people who learn on their own computer.
//!
//! Bodies pass through as they come. The first [`KEPT`] bytes of each are kept until the exchange is over; then it is
//! written by a thread of its own, so that a terminal that takes nothing holds up no request. `mask` decides what may be
//! seen, `explain` says what it is, and `json` keeps members in the order in which they came.

mod explain;
mod json;
mod mask;

use std::{
    cell::RefCell,
    io::{self, IsTerminal, Write},
    pin::Pin,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{BoxedPayloadStream, Request};
use actix_web::{
    Error,
    body::{BodySize, BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceResponse},
    error::PayloadError,
    http::{Method, StatusCode, header::HeaderMap},
    web::Bytes,
};
use clap::builder::styling::{AnsiColor, Style};
use futures_util::Stream;
use json::Json;

/// Bytes that are kept of a body.
const KEPT: usize = 8 * 1024;
/// Exchanges that may wait to be written. Further ones are left out, and counted.
const WAITING: usize = 64;

/// The request headers that are shown, in this order: those that decide something.
const ASKED: [&str; 16] = [
    "Host",
    "Origin",
    "User-Agent",
    "Accept",
    "Content-Type",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Session-Id",
    "Authorization",
    "DPoP",
    "Cookie",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    "Content-Length",
    "Transfer-Encoding",
];
/// The same for responses.
const ANSWERED: [&str; 13] = [
    "WWW-Authenticate",
    "Location",
    "Set-Cookie",
    "Content-Type",
    "Cache-Control",
    "Allow",
    "Retry-After",
    "X-Correlation-Id",
    "X-MCP-User",
    "X-MCP-Scopes",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
];

static PRINTER: OnceLock<Printer> = OnceLock::new();

struct Printer {
    queue: SyncSender<Message>,
    left_out: AtomicUsize,
}

enum Message {
    Exchange {
        lines: Vec<Line>,
        /// Exchanges before this one that are not shown.
        left_out: usize,
    },
    /// To be told when all that came before has been written.
    Flush(SyncSender<()>),
}

/// A line that is shown, by what it is.
enum Line {
    Heading(String),
    Request(String),
    Response { failed: bool, text: String },
    Remark(String),
}

/// Shows the exchanges of this process from now on.
///
/// # Errors
/// If there can be no thread.
pub(crate) fn start() -> io::Result<()> {
    let (queue, messages) = sync_channel(WAITING);
    if PRINTER.set(Printer { queue, left_out: AtomicUsize::new(0) }).is_ok() {
        std::thread::Builder::new().name("exchanges".to_owned()).spawn(move || write_all(&messages))?;
    }
    Ok(())
}

/// Waits, not for ever, until what there is to show has been written.
pub(crate) fn flush() {
    if let Some(printer) = PRINTER.get() {
        let (written, wait) = sync_channel(0);
        if printer.queue.try_send(Message::Flush(written)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Ends when nobody reads our output: that is no reason not to serve.
fn write_all(messages: &Receiver<Message>) {
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut number = 0;
    for message in messages {
        let (lines, left_out) = match message {
            Message::Exchange { lines, left_out } => (lines, left_out),
            Message::Flush(written) => {
                let _ = written.send(());
                continue;
            }
        };
        let mut text = String::new();
        if left_out > 0 {
            text = format!("({left_out} left out here: they came faster than they could be written.)\n\n");
        }
        number += left_out + 1;
        for line in lines {
            line.write(&mut text, number, colours);
        }
        text.push('\n');
        let mut output = io::stdout().lock();
        if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

impl Line {
    fn write(&self, to: &mut String, number: usize, colours: bool) {
        let (style, text) = match self {
            Line::Heading(text) => (Style::new().bold(), format!("{number}. {text}")),
            Line::Request(text) => (AnsiColor::Cyan.on_default(), format!("   > {text}")),
            Line::Response { failed: false, text } => (AnsiColor::Green.on_default(), format!("   < {text}")),
            Line::Response { failed: true, text } => (AnsiColor::Yellow.on_default(), format!("   < {text}")),
            Line::Remark(text) => (Style::new().italic(), format!("   {text}")),
        };
        let text = text.trim_end();
        *to += &if colours { format!("{style}{text}{style:#}\n") } else { format!("{text}\n") };
    }
}

/// The headers that are shown, as they came.
#[derive(Default)]
struct Headers(Vec<(&'static str, String)>);

impl Headers {
    fn of(headers: &HeaderMap, shown: &[&'static str]) -> Self {
        let values = |name: &'static str| {
            headers.get_all(name).map(move |value| (name, String::from_utf8_lossy(value.as_bytes()).into_owned()))
        };
        Headers(shown.iter().flat_map(|name| values(name)).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

/// The beginning of a body.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Of the whole, as far as it was seen.
    length: usize,
    ended: bool,
}

impl Kept {
    fn see(&mut self, chunk: &[u8]) {
        self.length += chunk.len();
        let room = KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    fn is_whole(&self) -> bool {
        self.length == self.bytes.len()
    }
}

/// One request and its answer. It is shown when it is dropped: when the answer's last byte has been handed over, or the
/// connection is gone.
pub(crate) struct Exchange(Box<Seen>);

struct Seen {
    method: Method,
    /// Where the request says that it goes: the path, and the query.
    path: String,
    query: Option<String>,
    asked: Headers,
    sent: Rc<RefCell<Kept>>,
    status: Option<StatusCode>,
    answered: Headers,
    returned: Kept,
}

impl Exchange {
    /// A request that has just arrived, if exchanges are shown.
    pub(crate) fn begin(request: &mut Request) -> Option<Self> {
        PRINTER.get().map(|_| Self::of(request))
    }

    fn of(request: &mut Request) -> Self {
        let sent = Rc::<RefCell<Kept>>::default();
        if !matches!(request.payload(), Payload::None) {
            let body = Sent { body: request.take_payload(), kept: Rc::clone(&sent) };
            let payload: BoxedPayloadStream = Box::pin(body);
            *request.payload() = Payload::Stream { payload };
        }
        Exchange(Box::new(Seen {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            asked: Headers::of(&request.head().headers, &ASKED),
            sent,
            status: None,
            answered: Headers::default(),
            returned: Kept::default(),
        }))
    }

    /// What is answered, and goes on being seen until it is out.
    pub(crate) fn answer<B: MessageBody + 'static>(
        mut self,
        outcome: Result<ServiceResponse<EitherBody<B>>, Error>,
    ) -> Result<ServiceResponse<EitherBody<B>>, Error> {
        let mut head = |status, headers: &HeaderMap| {
            self.0.status = Some(status);
            self.0.answered = Headers::of(headers, &ANSWERED);
        };
        match outcome {
            Ok(response) => {
                head(response.status(), response.headers());
                let shown = |body: BoxBody| EitherBody::right(BoxBody::new(Returned { body, exchange: self }));
                Ok(response.map_body(|_, body| shown(body.boxed())))
            }
            Err(error) => {
                let response = error.as_response_error().error_response();
                head(response.status(), response.headers());
                if let Ok(body) = response.into_body().try_into_bytes() {
                    self.0.returned.see(&body);
                }
                Err(error)
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(printer) = PRINTER.get() else { return };
        let left_out = printer.left_out.swap(0, Relaxed);
        if printer.queue.try_send(Message::Exchange { lines: self.0.lines(), left_out }).is_err() {
            printer.left_out.fetch_add(left_out + 1, Relaxed);
        }
    }
}

impl Seen {
    fn lines(&self) -> Vec<Line> {
        let sent = self.sent.borrow();
        let asked = Json::read(&sent.bytes);
        let answered = Json::read(&self.returned.bytes);
        let form = mask::pairs(&self.asked, &sent);
        let explained =
            explain::Exchange { seen: self, form: &form, asked: asked.as_ref(), answered: answered.as_ref() };

        let mut lines = vec![Line::Heading(mask::line(&explained.request()))];
        let mut request = mask::target(self.method.as_str(), &self.path, self.query.as_deref());
        request.extend(mask::headers(&self.asked));
        let mut body = mask::body(&self.path, &self.asked, &sent, asked.as_ref());
        body.extend(unread(&self.asked, &sent));
        lines.extend(with_body(request, body).map(Line::Request));

        let Some(status) = self.status else {
            lines.push(Line::Remark("There was no answer: the connection was closed before.".to_owned()));
            return lines;
        };
        let mut response = vec![format!("HTTP/1.1 {status}")];
        response.extend(mask::headers(&self.answered));
        let body = match self.method {
            Method::HEAD => Vec::new(), // it is not sent
            _ => mask::body(&self.path, &self.answered, &self.returned, answered.as_ref()),
        };
        let failed = status.is_client_error() || status.is_server_error();
        lines.extend(with_body(response, body).map(|text| Line::Response { failed, text }));
        lines.extend(explained.answer(status).map(|text| Line::Remark(mask::line(&text))));
        lines
    }
}

/// Head and body, an empty line between them.
fn with_body(mut head: Vec<String>, body: Vec<String>) -> impl Iterator<Item = String> {
    if !body.is_empty() {
        head.push(String::new());
    }
    head.into_iter().chain(body)
}

/// What is said where a server answers before it has read a body.
fn unread(asked: &Headers, sent: &Kept) -> Option<String> {
    let announced = asked.get("Content-Length").parse().unwrap_or(0);
    let chunked = !asked.get("Transfer-Encoding").is_empty();
    let unread = if chunked { !sent.ended } else { sent.length < announced };
    unread.then(|| match (chunked, sent.length) {
        (false, 0) => format!("({announced} bytes, which the server has not read)"),
        (false, read) => format!("(Of {announced} bytes the server has read {read}.)"),
        (true, read) => format!("(The server has not read it to its end, but {read} bytes of it.)"),
    })
}

/// A request's body, of which what its reader takes is seen.
struct Sent {
    body: Payload,
    kept: Rc<RefCell<Kept>>,
}

impl Stream for Sent {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(chunk))) => self.kept.borrow_mut().see(chunk),
            Poll::Ready(None) => self.kept.borrow_mut().ended = true,
            _ => {}
        }
        next
    }
}

/// An answer's body, of which what is taken is seen.
struct Returned {
    body: BoxBody,
    exchange: Exchange,
}

impl MessageBody for Returned {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &next {
            self.exchange.0.returned.see(chunk);
        }
        next
    }
}
