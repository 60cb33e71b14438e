//! Security events (OWASP Logging Cheat Sheet): one line of the log each. All lines of a request have its correlation
//! id, which the answer has as `X-Correlation-Id`, and the peer's address, and from where they are known the client and the person. A password, code, token or
//! secret is in none of them, nor a name that nobody has: people type passwords into the wrong field. The log writes
//! texts as Rust writes literals, so that no control character of a client's gets into it.

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
    // A span is left out where its level is: of this one, that would be where no event is logged either.
    let id = Uuid::new_v4().to_string();
    let span = tracing::error_span!("request", correlation_id = %id, %peer, client = Empty, user = Empty);
    let mut response = next.call(request).instrument(span).await?;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-correlation-id"), id);
    }
    Ok(response)
}

/// From here on, what is logged of this request is about this client.
pub(crate) fn client(id: &str) {
    Span::current().record("client", id);
}

/// From here on, what is logged of this request is about this person.
pub(crate) fn user(sub: &str) {
    Span::current().record("user", sub);
}
