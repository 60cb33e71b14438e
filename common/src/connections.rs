//! What the peers of a server may cost it: how many there are, how far ahead they may send, how long an answer may wait
//! for them. No step sees any of it.
//!
//! actix-http alone is generous. It decodes all that it has read, up to 128 KiB, into requests (kilobytes each) before
//! it answers the first, reads on while an answer cannot leave, and waits for a peer that takes nothing for as long as the
//! peer likes. So it reads through a [`Connection`], with these bounds:
//!
//! - **One request at a time.** While a request is being answered or an answer waits for its peer, actix-http gets nothing
//!   more, except the body that the request's handler waits for; and what was read, [`PORTION`] at most, is handed over up
//!   to the end of one head. (It would also close a connection on which a later request's body has begun to arrive.) What
//!   else a peer sends stays in the kernel's buffer, and then with the peer.
//! - **Answers leave.** A peer takes [`PROGRESS`] bytes, or all that waits for it, in each [`PATIENCE`], or its connection
//!   is reset. The kernel holds at most [`UNSENT`] bytes that it cannot send.
//! - **Answers that wait share [`UNREAD`] bytes** in the whole process. Beyond, those that have waited longest are dropped
//!   with their connections.
//! - **Requests come.** An idle connection is closed after [`IDLE`]; so is one whose next request does not arrive whole
//!   within [`IDLE`] of its first byte. (The first one's limit is actix-http's, which answers 408.)
//! - **Connections are counted**, in the whole process. Requests on one too many are answered with 503 and
//!   `Retry-After`; beyond an eighth more, connections are closed at once.
//!
//! What remains: the limits do not tell peers apart. Somebody with many connections takes them from others; where that
//! matters, a proxy in front limits each address.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Debug,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_http::{BoxedPayloadStream, HttpService, KeepAlive, Payload, Request, error::DispatchError};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{AppConfig, ServiceResponse},
    error::{InternalError, PayloadError},
    http::{StatusCode, header},
    web::Bytes,
};
use anyhow::{Context as _, Result, ensure};
use bytes::{Buf, BufMut, BytesMut};
use futures_util::{Stream, future::ready};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::io::poll_read_buf;

use crate::{http::error_response, requests::Arrived};

/// Bytes that are read at once.
const PORTION: usize = 8 * 1024;
/// How long a connection may be idle, and how long a request's head may take.
const IDLE: Duration = Duration::from_secs(5);
/// In this time a peer takes so many bytes of what waits for it, or all.
const PATIENCE: Duration = Duration::from_secs(10);
const PROGRESS: usize = 64 * 1024;
/// Bytes that the kernel keeps for one peer and cannot send yet.
const UNSENT: u32 = 128 * 1024;
/// Bytes of all answers that wait for their peers.
const UNREAD: usize = 32 * 1024 * 1024;
/// Connections, unless `--max-connections` says otherwise. An idle one costs some 18 kB.
const CONNECTIONS: usize = 12_000;
/// Open files besides connections: databases, what is fetched, the runtime's.
const OTHER_FILES: usize = 128;
/// How long, in seconds, a client that was told 503 should wait.
const RETRY_AFTER: &str = "5";

/// What all connections of a process share.
pub(crate) struct Limits {
    connections: usize,
    open: AtomicUsize,
    unread: Mutex<Unread>,
}

/// Answers that wait for their peers, the one that has waited longest first.
#[derive(Default)]
struct Unread {
    bytes: usize,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    bytes: usize,
    dropped: Arc<AtomicBool>,
    connection: Waker,
}

impl Limits {
    /// As many connections as asked for, or [`CONNECTIONS`], or what this machine allows. Raises the process's own limit
    /// of open files for them.
    ///
    /// # Errors
    /// If the machine does not allow as many as asked for.
    pub(crate) fn new(asked: Option<usize>) -> Result<Arc<Self>> {
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let possible = most.saturating_sub(OTHER_FILES) / 9 * 8;
        let connections = asked.unwrap_or(CONNECTIONS.min(possible).max(1));
        ensure!(
            connections <= possible || asked.is_none(),
            "--max-connections: this machine allows a process {most} open files (ulimit -Hn), which is enough for {possible} connections"
        );
        let files = (connections + connections / 8 + OTHER_FILES) as u64;
        if limit.current.is_some_and(|current| current < files) {
            let current = Some(limit.maximum.map_or(files, |maximum| maximum.min(files)));
            setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum })
                .context("cannot raise the limit of open files")?;
        }
        Ok(Arc::new(Limits { connections, open: AtomicUsize::new(0), unread: Mutex::default() }))
    }

    /// Takes a connection in, if there is room for it at all.
    fn admit(self: &Arc<Self>, io: TcpStream) -> Option<Connection> {
        let place = Place(Arc::clone(self));
        let before = self.open.fetch_add(1, Relaxed);
        if before == self.connections {
            tracing::warn!(limit = self.connections, "too many connections: further ones are answered with 503");
        }
        if before >= self.connections + self.connections.div_ceil(8) {
            return None;
        }
        // Only what the kernel holds for a peer grows without it.
        let _ = socket2::SockRef::from(&io).set_tcp_notsent_lowat(UNSENT);
        Some(Connection {
            io,
            exchange: Rc::new(Exchange { refused: before >= self.connections, ..Exchange::default() }),
            held: BytesMut::new(),
            after_newline: false,
            head: None,
            answered: false,
            idle: None,
            stalled: None,
            timer: None,
            place,
        })
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections.
struct Place(Arc<Limits>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Unread {
    /// Counts an answer in, and drops others if there are too many bytes.
    fn wait(&mut self, number: Option<u64>, bytes: usize, dropped: &Arc<AtomicBool>, connection: &Waker) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.leave(number);
        self.bytes += bytes;
        let waiting = Waiting { bytes, dropped: Arc::clone(dropped), connection: connection.clone() };
        self.waiting.insert(number, waiting);
        while self.bytes > UNREAD
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.bytes -= oldest.bytes;
            oldest.dropped.store(true, Relaxed);
            oldest.connection.wake();
        }
        number
    }

    fn leave(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.remove(&number) {
            self.bytes -= waiting.bytes;
        }
    }
}

/// What a connection and the request on it know of each other.
#[derive(Default)]
struct Exchange {
    /// A request is with its handler,
    under_way: Cell<bool>,
    /// which waits for more of the body,
    body_wanted: Cell<bool>,
    /// which is so long; `None`: it says itself where it ends.
    length: Cell<Option<usize>>,
    /// Whoever wanted to read, and was told to wait.
    reader: Cell<Option<Waker>>,
    /// The connection is one too many.
    refused: bool,
}

impl Exchange {
    fn may_read(&self) -> bool {
        !self.under_way.get() || self.body_wanted.get()
    }

    fn read_on(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A request's body, which tells the connection when its handler waits for more.
struct Body {
    body: Payload,
    exchange: Rc<Exchange>,
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        self.exchange.body_wanted.set(next.is_pending());
        if next.is_pending() {
            self.exchange.read_on();
        }
        next
    }
}

/// A TCP connection within the bounds that the module names.
struct Connection {
    io: TcpStream,
    exchange: Rc<Exchange>,
    /// What was read and is not for now.
    held: BytesMut,
    /// What was handed over ends in a line's end.
    after_newline: bool,
    /// Bytes handed over behind the last head; with whether that was in this turn of the dispatcher.
    head: Option<(usize, bool)>,
    /// Something was written since the last flush.
    answered: bool,
    idle: Option<Idle>,
    stalled: Option<Stalled>,
    /// May be set for an earlier time than is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    place: Place,
}

/// No request is under way.
struct Idle {
    until: Instant,
    /// The next one has begun.
    begun: bool,
}

/// An answer waits for its peer.
struct Stalled {
    until: Instant,
    /// What the peer took meanwhile.
    taken: usize,
    number: Option<u64>,
    dropped: Arc<AtomicBool>,
}

impl Connection {
    /// Whether it is that late; if not, the task is woken then.
    fn is_past(&mut self, time: Instant, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if timer.deadline() > time {
            timer.as_mut().reset(time);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= time {
                return true;
            }
            timer.as_mut().reset(time);
        }
        false
    }

    /// The peer took nothing, and so many bytes wait for it.
    fn stall(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let limits = Arc::clone(&self.place.0);
        let stalled = self.stalled.get_or_insert_with(|| Stalled {
            until: Instant::now() + PATIENCE,
            taken: 0,
            number: None,
            dropped: Arc::default(),
        });
        let (until, dropped) = (stalled.until, stalled.dropped.load(Relaxed));
        if !dropped {
            stalled.number = Some(limits.unread().wait(stalled.number, bytes, &stalled.dropped, cx.waker()));
        }
        if dropped || self.is_past(until, cx) {
            tracing::info!(peer = ?self.io.peer_addr().ok(), "closed a connection whose answers were not read");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    fn leave(&mut self) -> bool {
        let stalled = self.stalled.take();
        if let Some(number) = stalled.as_ref().and_then(|stalled| stalled.number) {
            self.place.0.unread().leave(number);
        }
        stalled.is_some()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.leave() {
            // Otherwise the kernel would go on offering the rest for minutes.
            let _ = self.io.set_zero_linger();
        }
    }
}

impl Connection {
    /// How much of what comes next may be handed over: up to the end of a head, or of the body that is waited for.
    fn allowed(&mut self, bytes: &[u8]) -> usize {
        let under_way = self.exchange.under_way.get();
        if under_way && let Some(length) = self.exchange.length.get() {
            let behind = self.head.map_or(0, |(behind, _)| behind);
            let count = bytes.len().min(length.saturating_sub(behind));
            self.head = Some((behind + count, true));
            return count;
        }
        // A head ends with an empty line (RFC 9112 §2.1), and so does a body in chunks (§7.1).
        let (mut start, mut end, mut count) = (0, None, bytes.len());
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let empty = (start > 0 || self.after_newline) && matches!(&bytes[start..newline], b"" | b"\r");
            start = newline + 1;
            if !empty {
                continue;
            }
            if under_way {
                count = start;
                break;
            }
            if let Some(end) = end {
                // With one head in it, the rest would be its body, or the beginning of another.
                count = end;
                break;
            }
            end = Some(start);
        }
        let last = bytes[..count].strip_suffix(b"\r").unwrap_or(&bytes[..count]);
        self.after_newline = last.last().map_or(self.after_newline, |last| *last == b'\n');
        if under_way {
            self.head = Some((0, true));
        } else if let Some(end) = end {
            self.head = Some((count - end, true));
        }
        count
    }

    /// Hands over what may be.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let mut held = std::mem::take(&mut self.held);
        let room = held.len().min(buf.remaining());
        let count = self.allowed(&held[..room]);
        buf.put_slice(&held[..count]);
        held.advance(count);
        if !held.is_empty() {
            self.held = held;
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let whole = this.exchange.under_way.get()
            && matches!((this.exchange.length.get(), this.head), (Some(length), Some((behind, _))) if behind >= length);
        if this.stalled.is_some() || whole || !this.exchange.may_read() {
            this.head = this.head.map(|(behind, _)| (behind, false));
            this.exchange.reader.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let handed = matches!(this.head, Some((_, true)));
        if !this.held.is_empty() {
            if handed {
                this.head = this.head.map(|(behind, _)| (behind, false));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match poll_read_buf(Pin::new(&mut this.io), cx, &mut (&mut *buf).limit(PORTION)) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(_)) => {
                if let Some(idle) = this.idle.as_mut().filter(|idle| !idle.begun) {
                    *idle = Idle { until: Instant::now() + IDLE, begun: true };
                }
                let count = if handed { 0 } else { this.allowed(&buf.filled()[before..]) };
                this.held.extend_from_slice(&buf.filled()[before + count..]);
                buf.set_filled(before + count);
                if count > 0 {
                    return Poll::Ready(Ok(()));
                }
                this.head = this.head.map(|(behind, _)| (behind, false));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.head = this.head.map(|(behind, _)| (behind, false));
                if let Some(idle) = &this.idle
                    && !this.exchange.under_way.get()
                {
                    let until = idle.until;
                    if this.is_past(until, cx) {
                        return Poll::Ready(Ok(())); // as if the peer had gone
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_write(cx, buf) {
            Poll::Ready(Ok(count)) => {
                this.answered = true;
                if let Some(stalled) = &mut this.stalled {
                    stalled.taken += count;
                    if stalled.taken >= PROGRESS {
                        stalled.until = Instant::now() + PATIENCE;
                        stalled.taken = 0;
                    }
                }
                Poll::Ready(Ok(count))
            }
            Poll::Pending => this.stall(buf.len(), cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    /// Comes at the end of each turn of the dispatcher, unless an answer waits.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        std::task::ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.leave();
        if std::mem::take(&mut this.answered) {
            this.idle = Some(Idle { until: Instant::now() + IDLE, begun: false });
        }
        if this.exchange.may_read() {
            this.exchange.read_on();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// HTTP on the connections of one address.
pub(crate) fn http<F, S, B>(
    app: F,
    limits: Arc<Limits>,
    address: SocketAddr,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::InitError: Debug,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let app = map_config(app.into_factory(), |()| AppConfig::default());
    let app = apply_fn_factory(app, |mut request: Request, app: &_| {
        let exchange = request.conn_data::<Rc<Exchange>>().cloned();
        let answer = match &exchange {
            Some(exchange) if exchange.refused => None,
            Some(exchange) => {
                exchange.under_way.set(true);
                exchange.body_wanted.set(false);
                exchange.length.set(length(&request));
                if !matches!(request.payload(), Payload::None) {
                    let body = Body { body: request.take_payload(), exchange: Rc::clone(exchange) };
                    let body: BoxedPayloadStream = Box::pin(body);
                    *request.payload() = Payload::Stream { payload: body };
                }
                Some((Arrived::new(&mut request), Service::call(app, request)))
            }
            None => Some((Arrived::new(&mut request), Service::call(app, request))),
        };
        async move {
            let Some((arrived, answer)) = answer else {
                return Err(InternalError::from_response("too many connections", too_many()).into());
            };
            let answer = arrived.answered(answer).await;
            if let Some(exchange) = exchange {
                exchange.under_way.set(false);
            }
            answer
        }
    });
    let app = app.map_err(|error: Error| error.error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KeepAlive::Os) // the connection sees to it
        .client_request_timeout(IDLE)
        .client_disconnect_timeout(Duration::from_secs(1))
        .local_addr(address)
        .on_connect_ext(|connection: &Connection, data| {
            data.insert(Rc::clone(&connection.exchange));
        })
        .h1(app);
    fn_service(move |io: TcpStream| {
        let peer = io.peer_addr().ok();
        let full = || DispatchError::Io(io::ErrorKind::ConnectionRefused.into());
        ready(limits.admit(io).map(|connection| (connection, peer)).ok_or_else(full))
    })
    .and_then(http)
}

/// How long a request's body is, if that is said beforehand.
fn length(request: &Request) -> Option<usize> {
    if request.head().headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    request.head().headers.get(header::CONTENT_LENGTH).map_or(Some(0), |length| length.to_str().ok()?.parse().ok())
}

fn too_many() -> HttpResponse {
    let mut answer =
        error_response(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many connections are open: try again.");
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER));
    answer.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    answer
}
