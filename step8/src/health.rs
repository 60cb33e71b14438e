//! `GET /health`: can the server serve, which one is it, and what can it do?

use actix_web::{HttpResponse, web};
use common::readiness::Readiness;
use serde::Serialize;

use crate::metadata::OAuthUrls;

/// What `/health` says, beside whether the server can serve.
#[derive(Clone, Serialize)]
pub struct Health {
    version: &'static str,
    step: u8,
    enabled: &'static [&'static str],
    oauth: OAuthUrls,
}

impl Health {
    /// `enabled`: the capabilities that `main.rs` has wired up.
    pub fn new(enabled: &'static [&'static str], oauth: OAuthUrls) -> Self {
        let step = env!("CARGO_PKG_NAME").trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
        Health { version: env!("CARGO_PKG_VERSION"), step: step.unwrap_or_default(), enabled, oauth }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    #[serde(flatten)]
    health: &'a Health,
}

/// 200 and `ok`, or 503 and `unavailable` if a database cannot be used: then nothing should be sent here.
pub async fn health(health: web::Data<Health>, readiness: web::Data<Readiness>) -> HttpResponse {
    let (mut response, status) = if readiness.is_ready().await {
        (HttpResponse::Ok(), "ok")
    } else {
        (HttpResponse::ServiceUnavailable(), "unavailable")
    };
    response.json(Answer { status, health: &health })
}
