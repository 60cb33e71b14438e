//! Whose turn it is on a connection: the peer's, which may send, or the handler's, whose answer comes first.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_http::Payload;
use actix_web::{error::PayloadError, web::Bytes};
use futures_util::Stream;

/// What a connection and the request on it know of each other.
#[derive(Default)]
pub(super) struct Turn {
    /// A request is with its handler,
    pub under_way: Cell<bool>,
    /// which waits for more of the body,
    pub body_wanted: Cell<bool>,
    /// which is so long; `None`: it says itself where it ends.
    pub length: Cell<Option<usize>>,
    /// The reader that was told to wait.
    pub reader: Cell<Option<Waker>>,
    /// The connection is one too many.
    pub refused: bool,
}

impl Turn {
    pub fn may_read(&self) -> bool {
        !self.under_way.get() || self.body_wanted.get()
    }

    pub fn read_on(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// A request's body, which tells the connection when its handler waits for more.
pub(super) struct Body {
    pub body: Payload,
    pub turn: Rc<Turn>,
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        self.turn.body_wanted.set(next.is_pending());
        if next.is_pending() {
            self.turn.read_on();
        }
        next
    }
}
