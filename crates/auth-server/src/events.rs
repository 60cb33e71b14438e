//! Security events (OWASP Logging Cheat Sheet): one line of the log each. All lines of a request have the peer's
//! address and the correlation id that the answer has as `X-Correlation-Id`; and the client and the person, once they
//! are known. No line has a password, code, token or secret, or a name that does not exist: people type passwords into
//! the wrong field. The log writes texts as Rust literals, so that no client can put control characters into it.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
};
use tracing::{Instrument, Span, field::Empty};
use uuid::Uuid;

use crate::peer;

/// Middleware that gives all lines of a request what they have in common.
pub(crate) async fn request<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let peer = peer::address(request.request());
    // Filtering by level also drops spans. At the level `error`, this one is dropped only if no event is logged either.
    let id = Uuid::new_v4().to_string();
    let span = tracing::error_span!("request", correlation_id = %id, %peer, client = Empty, user = Empty);
    let mut response = next.call(request).instrument(span).await?;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-correlation-id"), id);
    }
    Ok(response)
}

/// From here on, the log lines of this request name this client.
pub(crate) fn client(id: &str) {
    Span::current().record("client", id);
}

/// From here on, the log lines of this request name this person.
pub(crate) fn user(sub: &str) {
    Span::current().record("user", sub);
}
