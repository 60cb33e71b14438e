//! A TCP connection that hands over one request at a time, and does not outlive the patience with its peer.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::BufMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::io::poll_read_buf;

use super::{
    limits::{Limits, Place},
    portions::Portions,
    turn::Turn,
};

/// Bytes that are read at once.
const PORTION: usize = 8 * 1024;
/// How long a connection may be idle, and how long a request's head may take.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// In this time a peer takes so many bytes of what waits for it, or all.
const PATIENCE: Duration = Duration::from_secs(10);
const PROGRESS: usize = 64 * 1024;
/// Bytes that the kernel keeps for one peer and cannot send yet.
const UNSENT: u32 = 128 * 1024;

/// A TCP connection within the bounds that the module names.
pub(super) struct Connection {
    io: TcpStream,
    pub turn: Rc<Turn>,
    portions: Portions,
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
    /// Takes a connection in, if there is room for it at all.
    pub fn admit(limits: &Arc<Limits>, io: TcpStream) -> Option<Self> {
        let place = limits.place()?;
        // Only what the kernel holds for a peer grows without it.
        let _ = socket2::SockRef::from(&io).set_tcp_notsent_lowat(UNSENT);
        Some(Connection {
            io,
            turn: Rc::new(Turn { refused: place.refused, ..Turn::default() }),
            portions: Portions::default(),
            answered: false,
            idle: None,
            stalled: None,
            timer: None,
            place,
        })
    }

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
        let stalled = self.stalled.get_or_insert_with(|| Stalled {
            until: Instant::now() + PATIENCE,
            taken: 0,
            number: None,
            dropped: Arc::default(),
        });
        let (until, dropped) = (stalled.until, stalled.dropped.load(Relaxed));
        if !dropped {
            stalled.number = Some(self.place.unread().wait(stalled.number, bytes, &stalled.dropped, cx.waker()));
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
            self.place.unread().leave(number);
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

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stalled.is_some() || this.portions.are_whole(&this.turn) || !this.turn.may_read() {
            this.portions.end_round();
            this.turn.reader.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let handed = this.portions.were_handed();
        if !this.portions.held.is_empty() {
            if handed {
                this.portions.end_round();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.portions.hand_over(&this.turn, buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match poll_read_buf(Pin::new(&mut this.io), cx, &mut (&mut *buf).limit(PORTION)) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(_)) => {
                if let Some(idle) = this.idle.as_mut().filter(|idle| !idle.begun) {
                    *idle = Idle { until: Instant::now() + IDLE, begun: true };
                }
                let count = if handed { 0 } else { this.portions.allowed(&this.turn, &buf.filled()[before..]) };
                this.portions.held.extend_from_slice(&buf.filled()[before + count..]);
                buf.set_filled(before + count);
                if count > 0 {
                    return Poll::Ready(Ok(()));
                }
                this.portions.end_round();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                this.portions.end_round();
                if let Some(idle) = &this.idle
                    && !this.turn.under_way.get()
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

    /// Comes at the end of each round of the dispatcher, unless an answer waits.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        std::task::ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.leave();
        if std::mem::take(&mut this.answered) {
            this.idle = Some(Idle { until: Instant::now() + IDLE, begun: false });
        }
        if this.turn.may_read() {
            this.turn.read_on();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
