//! The error response of an endpoint for programs (RFC 6749 §5.2).

use std::borrow::Cow;

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{StatusCode, header::RETRY_AFTER},
};
use serde::Serialize;

use crate::{body::BodyError, store};

/// An OAuth error: a code for programs, a sentence for people.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    /// Whether the client tried HTTP Basic, and is to be told so (RFC 6749 §5.2, `invalid_client`).
    basic: bool,
    /// After how many seconds to try again, if our load is the reason.
    retry_after: Option<u64>,
}

impl Failure {
    fn new(status: StatusCode, error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Failure { status, error, description: description.into(), basic: false, retry_after: None }
    }

    pub fn bad(error: &'static str, description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, description)
    }

    pub fn client(description: impl Into<Cow<'static, str>>, basic: bool) -> Self {
        Failure { basic, ..Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description) }
    }

    /// The client, or its network, asks for too much.
    pub fn too_many(description: &'static str, retry_after: u64) -> Self {
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description);
        Failure { retry_after: Some(retry_after), ..failure }
    }

    /// We, or a server that we ask, cannot do it at the moment.
    pub fn unavailable(description: &'static str, retry_after: u64) -> Self {
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
        Failure { retry_after: Some(retry_after), ..failure }
    }

    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "The body may have at most 16 KiB.")
    }

    /// A body that is not JSON (415).
    pub fn not_json() -> Self {
        let description = "Send Content-Type: application/json, not compressed.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", description)
    }

    /// A body that is too large (413) or too slow (408).
    pub fn body(error: BodyError) -> Self {
        Self::new(error.status_code(), "invalid_request", error.to_string())
    }

    /// Logs that something was refused or throttled, and why, but nothing that the client sent. The cause of our own
    /// failures is in the log already.
    pub fn log(&self, what: &'static str) {
        if self.status.is_client_error() {
            let how = if self.retry_after.is_some() { "throttled" } else { "refused" };
            let (event, why) = (format!("{what}_{how}"), &*self.description);
            tracing::warn!(event, error = self.error, why, "a request was not granted");
        }
    }

    pub fn respond(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'static str,
            error_description: &'a str,
        }
        let mut response = HttpResponseBuilder::new(self.status);
        response.insert_header(("Cache-Control", "no-store"));
        if self.basic {
            response.insert_header(("WWW-Authenticate", "Basic realm=\"token endpoint\""));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        response.json(Body { error: self.error, error_description: &self.description })
    }
}

/// Our own fault: the cause goes to the log, never to the client.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(cause: E) -> Self {
        let cause = cause.into();
        if store::is_busy(&cause) {
            tracing::warn!(%cause, "the database is busy");
            return Failure::unavailable("The server is busy; try again in a moment.", store::RETRY_AFTER);
        }
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Something went wrong here.")
    }
}
