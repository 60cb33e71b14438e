//! The pages for requests that cannot continue.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::RETRY_AFTER},
};

use crate::{
    pages::{self, ErrorPage},
    store,
};

pub(crate) fn error_page(status: StatusCode, problem: &str, hint: &'static str) -> HttpResponse {
    pages::respond(&ErrorPage { problem: problem.to_owned(), hint }, status, None)
}

/// The page for a temporary problem.
pub(crate) fn busy_page(problem: &str, retry_after: u64) -> HttpResponse {
    let mut page = error_page(StatusCode::SERVICE_UNAVAILABLE, problem, "Try again in a moment.");
    page.headers_mut().insert(RETRY_AFTER, retry_after.into());
    page
}

pub(crate) fn internal(cause: &anyhow::Error) -> HttpResponse {
    if store::is_busy(cause) {
        tracing::warn!(%cause, "the database is busy");
        return busy_page("The server is busy.", store::RETRY_AFTER);
    }
    tracing::error!(%cause, "a request failed");
    error_page(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.", "Try again.")
}
