//! `--show-exchange`: shows each request and its answer on standard output, numbered, explained where it is known what
//! they are, and without their secrets. It is for people who learn on their own computer.
//!
//! Bodies pass through as they come. The first kilobytes of each are kept until the exchange is over; then it is
//! written by a thread of its own, so that a terminal that takes nothing holds up no request. `mask` decides what may be
//! seen, `explain` says what it is, and `json` leaves members in the order in which they came.

mod explain;
mod json;
mod mask;
mod names;
mod parameters;
mod printer;
mod seen;
mod text;

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::Request;
use actix_web::{
    Error,
    body::{BodySize, BoxBody, EitherBody, MessageBody},
    dev::{Payload, ServiceResponse},
    error::PayloadError,
    http::Method,
    web::Bytes,
};
use futures_util::Stream;
use printer::Line;
pub(crate) use printer::{flush, start};
use seen::{Headers, Kept, Seen};

use crate::http::wrap_body;

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

/// One request and its answer. It is shown when it is dropped: when the answer's last byte has been handed over, or the
/// connection is gone.
pub(crate) struct Exchange(Box<Seen>);

impl Exchange {
    /// A request that has just arrived, if exchanges are shown.
    pub(crate) fn begin(request: &mut Request) -> Option<Self> {
        printer::is_on().then(|| Self::of(request))
    }

    fn of(request: &mut Request) -> Self {
        let sent = Rc::<RefCell<Kept>>::default();
        wrap_body(request, |body| Sent { body, kept: Rc::clone(&sent) });
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
        match outcome {
            Ok(response) => {
                self.0.status = Some(response.status());
                self.0.answered = Headers::of(response.headers(), &ANSWERED);
                let shown = |body: BoxBody| EitherBody::right(BoxBody::new(Returned { body, exchange: self }));
                Ok(response.map_body(|_, body| shown(body.boxed())))
            }
            Err(error) => {
                // Only the status: an error may give its response away but once, and it goes to the client.
                self.0.status = Some(error.as_response_error().status_code());
                Err(error)
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        printer::show(|| lines(&self.0));
    }
}

/// An exchange as it is shown.
fn lines(seen: &Seen) -> Vec<Line> {
    let sent = seen.sent.borrow();
    let asked = sent.json();
    let answered = seen.returned.json();
    let form = parameters::pairs(&seen.asked, &sent);
    let explained = explain::Exchange { seen, form: &form, asked: asked.as_ref(), answered: answered.as_ref() };

    let mut lines = vec![Line::Heading(text::line(&explained.request()))];
    let mut request = parameters::target(seen.method.as_str(), &seen.path, seen.query.as_deref());
    request.extend(mask::headers(&seen.asked));
    let mut body = mask::body(&seen.path, &seen.asked, &sent, asked.as_ref());
    body.extend(unread(&seen.asked, &sent));
    lines.extend(with_body(request, body).map(Line::Request));

    let Some(status) = seen.status else {
        lines.push(Line::Remark("There was no answer: the connection was closed before.".to_owned()));
        return lines;
    };
    let mut response = vec![format!("HTTP/1.1 {status}")];
    response.extend(mask::headers(&seen.answered));
    let body = match seen.method {
        Method::HEAD => Vec::new(), // it is not sent
        _ => mask::body(&seen.path, &seen.answered, &seen.returned, answered.as_ref()),
    };
    let failed = status.is_client_error() || status.is_server_error();
    lines.extend(with_body(response, body).map(|text| Line::Response { failed, text }));
    lines.extend(explained.answer(status).map(|text| Line::Remark(text::line(&text))));
    lines
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
