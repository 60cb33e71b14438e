//! The body of a request: at most 1 MiB, within ten seconds. The endpoints set lower limits for what they accept.

use std::{fmt, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpRequest, ResponseError,
    dev::Payload,
    http::{StatusCode, header},
    web::{self, Bytes},
};

/// The largest body that is read, in bytes. This is far above the limits of the endpoints, so that a client that sends
/// too much can still read the answer.
const MAX: usize = 1024 * 1024;
/// How long a client may take to send a body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body.
pub(crate) struct Body(pub Bytes);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::TooLarge => "A request body is at most 1 MiB.",
            BodyError::TooSlow => "The body did not arrive within 10 seconds.",
            BodyError::Broken => "The body could not be read.",
        })
    }
}

impl ResponseError for BodyError {
    fn status_code(&self) -> StatusCode {
        match self {
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

impl FromRequest for Body {
    type Error = BodyError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, BodyError>>>>;

    fn from_request(http: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let announced =
            http.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let payload = web::Payload::from_request(http, payload).into_inner();
        Box::pin(async move {
            if announced.is_some_and(|length| length > MAX as u64) {
                return Err(BodyError::TooLarge);
            }
            let payload = payload.map_err(|_| BodyError::Broken)?;
            match tokio::time::timeout(TIMEOUT, payload.to_bytes_limited(MAX)).await {
                Ok(Ok(Ok(bytes))) => Ok(Body(bytes)),
                Ok(Ok(Err(_))) => Err(BodyError::Broken),
                Ok(Err(_)) => Err(BodyError::TooLarge),
                Err(_) => Err(BodyError::TooSlow),
            }
        })
    }
}

/// Whether a request sends this media type, once, and not compressed.
pub(crate) fn sends(http: &HttpRequest, media_type: &str) -> bool {
    let mut types = http.headers().get_all(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = types.next().and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    types.next().is_none()
        && essence.eq_ignore_ascii_case(media_type)
        && !http.headers().contains_key(header::CONTENT_ENCODING)
}
