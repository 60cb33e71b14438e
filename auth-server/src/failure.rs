//! What goes back when a request at an endpoint for programs fails (RFC 6749 §5.2).

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use serde::Serialize;

/// An OAuth error: a code for programs, a sentence for people.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    /// Whether the client tried HTTP Basic, and is to be told so (RFC 6749 §5.2, `invalid_client`).
    basic: bool,
}

impl Failure {
    pub fn bad(error: &'static str, description: &'static str) -> Self {
        Failure { status: StatusCode::BAD_REQUEST, error, description, basic: false }
    }

    pub fn client(description: &'static str, basic: bool) -> Self {
        Failure { status: StatusCode::UNAUTHORIZED, error: "invalid_client", description, basic }
    }

    pub fn too_many(description: &'static str) -> Self {
        Failure { status: StatusCode::TOO_MANY_REQUESTS, error: "temporarily_unavailable", description, basic: false }
    }

    pub fn unavailable(description: &'static str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Failure { status, error: "temporarily_unavailable", description, basic: false }
    }

    pub fn respond(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Body {
            error: &'static str,
            error_description: &'static str,
        }
        let mut response = HttpResponseBuilder::new(self.status);
        response.insert_header(("Cache-Control", "no-store"));
        if self.basic {
            response.insert_header(("WWW-Authenticate", "Basic realm=\"token endpoint\""));
        }
        response.json(Body { error: self.error, error_description: self.description })
    }
}

/// Our own fault: the cause goes to the log, never to the client.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(cause: E) -> Self {
        tracing::error!(cause = %cause.into(), "a request failed");
        Failure {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: "server_error",
            description: "Something went wrong here.",
            basic: false,
        }
    }
}
