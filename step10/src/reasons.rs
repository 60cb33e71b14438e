//! Errors for people: why a request was refused, as a sentence with what to do, as a code to search for, and with an
//! id that the response and the log share. So whoever is refused can ask whoever runs the server, and neither has to
//! see the token.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue, RETRY_AFTER},
    },
};
use serde::Serialize;

/// A refusal that is not yet an answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    /// The code of RFC 6750 §3.1, if there is one for it.
    pub error: Option<&'static str>,
    /// Our own code, which is finer.
    pub reason: &'static str,
    /// Sentences for people. Nothing of the token is in them.
    pub description: String,
    /// What only the log is told: what the token said that did not fit, in quotes and not too long.
    pub detail: String,
    /// After how many seconds it is worth trying again.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(
        status: StatusCode,
        error: Option<&'static str>,
        reason: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Refusal { status, error, reason, description: description.into(), detail: String::new(), retry_after: None }
    }

    /// A token that fails: 401 `invalid_token`.
    pub fn token(reason: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Some("invalid_token"), reason, description)
    }

    /// It is not the token's fault: 503.
    pub fn unavailable(reason: &'static str, description: impl Into<String>, retry_after: u64) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable"), reason, description);
        Refusal { retry_after: Some(retry_after.max(1)), ..refusal }
    }

    /// A refusal that no other token of this person would cure: 403.
    pub fn forbidden(reason: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Some("forbidden"), reason, description)
    }

    /// Adds what to do about it.
    pub fn advise(mut self, advice: &str) -> Self {
        if !advice.is_empty() {
            self.description = format!("{} {advice}", self.description);
        }
        self
    }

    /// Adds what the token said, for the log only.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let short: String = value.chars().take(200).collect();
        let space = if self.detail.is_empty() { "" } else { " " };
        self.detail = format!("{}{space}{name}={short:?}", self.detail);
        self
    }

    /// The answer, which the log knows by its id.
    pub fn respond(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            error_description: &'a str,
            reason: &'a str,
            correlation_id: &'a str,
        }
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let Refusal { reason, description, detail, .. } = self;
        tracing::info!(correlation_id, reason, "refused: {description} {detail}");
        let mut response = HttpResponseBuilder::new(self.status).json(Body {
            error: self.error.unwrap_or("unauthorized"),
            error_description: description,
            reason,
            correlation_id: &correlation_id,
        });
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&correlation_id) {
            headers.insert(HeaderName::from_static("x-correlation-id"), id);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
