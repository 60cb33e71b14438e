//! What a run tells its observer: each exchange, and each comparison that was really made. Secrets are masked already.
//! A server chose much of the rest, so [`escape`](crate::escape) it before you print it.

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request is about to be sent.
    Request {
        /// Its number in this run, from 1.
        exchange: u32,
        /// What it is for, in one line.
        why: &'a str,
        /// Method and URL, each header, and the body: JSON in one line, or a line for each member of a form.
        lines: Vec<String>,
    },
    /// A response has begun: its status, and the headers that the flow depends on.
    Response {
        /// One line each.
        lines: Vec<String>,
    },
    /// The body of a response, or one message of its stream; empty, if it has none.
    Body(String),
    /// The browser goes to the authorization server.
    BrowserLeaves {
        /// Its number in this run: it counts as an exchange.
        exchange: u32,
        /// What it is for, in one line.
        why: &'a str,
        /// Where it goes.
        url: String,
    },
    /// The browser is back, with an answer that may be used.
    BrowserReturns {
        /// Where it came to.
        url: String,
    },
    /// A comparison that a client must make was made, and held.
    Checked(String),
    /// What happens next, and why.
    Note(String),
}

/// Sees what happens.
pub trait Observer: Send + Sync {
    /// Is called at once, before the run goes on.
    fn observe(&self, event: Event<'_>);
}
