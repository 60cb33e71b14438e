//! What the peers of a server may cost it: how many there are, how far ahead they may send, how long an answer may wait
//! for them. No step sees any of it.
//!
//! actix-http alone is generous. It decodes all that it has read, up to 128 KiB, into requests (kilobytes each) before
//! it answers the first, reads on while an answer cannot leave, and waits for a peer that takes nothing for as long as the
//! peer likes. So it reads through a [`Connection`], with these bounds
//! (each constant is in the file that keeps it):
//!
//! - **One request at a time.** While a request is being answered or an answer waits for its peer, actix-http gets nothing
//!   more, except the body that the request's handler waits for; and what was read, `PORTION` at most, is handed over up
//!   to the end of one head. (It would also close a connection on which a later request's body has begun to arrive.) What
//!   else a peer sends stays in the kernel's buffer, and then with the peer.
//! - **Answers leave.** A peer takes `PROGRESS` bytes, or all that waits for it, in each `PATIENCE`, or its connection
//!   is reset. The kernel holds at most `UNSENT` bytes that it cannot send.
//! - **Answers that wait share `UNREAD` bytes** in the whole process. Beyond, those that have waited longest are dropped
//!   with their connections.
//! - **Requests come.** An idle connection is closed after `IDLE`; so is one whose next request does not arrive whole
//!   within `IDLE` of its first byte. (The first one's limit is actix-http's, which answers 408.)
//! - **Connections are counted**, in the whole process. Requests on one too many are answered with 503 and
//!   `Retry-After`; beyond an eighth more, connections are closed at once.
//!
//! What remains: the limits do not tell peers apart. Somebody with many connections takes them from others; where that
//! matters, a proxy in front limits each address.

mod connection;
mod limits;
mod portions;
mod turn;

use std::{fmt::Debug, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_http::{HttpService, KeepAlive, Request, error::DispatchError};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::{
    Error, HttpResponse,
    body::MessageBody,
    dev::{AppConfig, ServiceResponse},
    error::InternalError,
    http::{StatusCode, header},
};
use futures_util::future::ready;
use tokio::net::TcpStream;

pub(crate) use self::limits::Limits;
use self::{
    connection::{Connection, IDLE},
    turn::{Body, Turn},
};
use crate::{
    http::{error_response, wrap_body},
    proxy::{self, ProxyArgs},
    requests::Arrived,
};

/// How long, in seconds, a client that was told 503 should wait.
const RETRY_AFTER: &str = "5";

/// HTTP on the connections of one address. `path`: that of the public URL.
pub(crate) fn http<F, S, B>(
    app: F,
    limits: Arc<Limits>,
    address: SocketAddr,
    proxy: Option<Arc<ProxyArgs>>,
    path: String,
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
    let app = apply_fn_factory(app, move |mut request: Request, app: &_| {
        if let Some(proxy) = &proxy {
            proxy.apply(request.head_mut());
        }
        proxy::take_off(&path, request.head_mut());
        let turn = request.conn_data::<Rc<Turn>>().cloned();
        let refused = turn.as_ref().is_some_and(|turn| turn.refused);
        if let Some(turn) = &turn
            && !refused
        {
            turn.under_way.set(true);
            turn.body_wanted.set(false);
            turn.length.set(length(&request));
            wrap_body(&mut request, |body| Body { body, turn: Rc::clone(turn) });
        }
        let answer = (!refused).then(|| (Arrived::new(&mut request), Service::call(app, request)));
        async move {
            let Some((arrived, answer)) = answer else {
                return Err(InternalError::from_response("too many connections", too_many()).into());
            };
            let answer = arrived.answered(answer).await;
            if let Some(turn) = turn {
                turn.under_way.set(false);
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
            data.insert(Rc::clone(&connection.turn));
        })
        .h1(app);
    fn_service(move |io: TcpStream| {
        let peer = io.peer_addr().ok();
        let full = || DispatchError::Io(io::ErrorKind::ConnectionRefused.into());
        ready(Connection::admit(&limits, io).map(|connection| (connection, peer)).ok_or_else(full))
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
