//! What the two layers have in common.

use std::{mem, pin::Pin};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};

use crate::answer::Answer;

/// The body of an answer: ours, or that of the service behind.
pub type Body<B> = Either<Full<Bytes>, B>;

/// The future of a service's answer.
pub type Answering<B, E> = Pin<Box<dyn Future<Output = Result<Response<Body<B>>, E>> + Send>>;

/// Takes the service that was polled ready, and leaves a clone that was not.
pub fn ready<S: Clone>(inner: &mut S) -> S {
    let clone = inner.clone();
    mem::replace(inner, clone)
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Full::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in answer.headers {
            // All values are printable ASCII.
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response.extensions_mut().insert(answer.log);
        response
    }
}
