//! A request's body, all of it, in bounds.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// The largest body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of a body, exactly as they came.
///
/// # Errors
/// If it is too large (413), too slow (408), or breaks off (400).
pub async fn read<B>(body: B) -> Result<Bytes, Refusal>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let refusal = |status, error, why: &str| Refusal::new(status, Some(error), "request_malformed", why);
    let too_large = || refusal(413, "payload_too_large", "A request body is at most 1 MiB.");
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(refusal(400, "bad_request", "The body could not be read.")),
        Err(_) => Err(refusal(408, "request_timeout", "The body did not arrive within 10 seconds.")),
    }
}
