//! `GET /health`: is the server up, which one is it, and what can it do?

use actix_web::{HttpResponse, web};
use common::readiness::Readiness;
use serde::Serialize;

use crate::metadata::OAuthUrls;

/// What `/health` says.
#[derive(Clone, Serialize)]
pub struct Health {
    status: &'static str,
    version: &'static str,
    step: u8,
    enabled: &'static [&'static str],
    oauth: OAuthUrls,
}

impl Health {
    /// `enabled`: the capabilities that `main.rs` has wired up.
    pub fn new(enabled: &'static [&'static str], oauth: OAuthUrls) -> Self {
        let step = env!("CARGO_PKG_NAME").trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
        Health { status: "ok", version: env!("CARGO_PKG_VERSION"), step: step.unwrap_or_default(), enabled, oauth }
    }
}

/// 200 and `ok`, or 503 and `unavailable` if a database cannot be used: then no client should be sent here.
pub async fn health(health: web::Data<Health>, readiness: web::Data<Readiness>) -> HttpResponse {
    if readiness.is_ready().await {
        return HttpResponse::Ok().json(&**health);
    }
    HttpResponse::ServiceUnavailable().json(Health { status: "unavailable", ..Health::clone(&health) })
}
