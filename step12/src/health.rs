//! `GET /health`: the process is alive; which one is it, what can it do, and has it the keys of those it trusts? `GET /ready`:
//! can it serve? Whoever restarts processes asks the first, whoever sends them requests the second: a replica whose database
//! is away must not be restarted.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use common::readiness::Readiness;
use resource_server::{KeyReport, KeyState, ResourceServer};
use serde::Serialize;

use crate::documents::OAuthUrls;

/// What `/health` says, besides the state of the issuers.
#[derive(Clone, Serialize)]
pub struct Health {
    version: &'static str,
    step: u8,
    enabled: Vec<&'static str>,
    oauth: OAuthUrls,
}

impl Health {
    /// `enabled`: the capabilities that `main.rs` has wired up.
    pub fn new(enabled: Vec<&'static str>, oauth: OAuthUrls) -> Self {
        let step = env!("CARGO_PKG_NAME").trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
        Health { version: env!("CARGO_PKG_VERSION"), step: step.unwrap_or_default(), enabled, oauth }
    }
}

/// Of `/ready`, `status` is `ok` if every issuer's keys are here, `degraded` if some are, and `unavailable` if none are (then
/// `/mcp` answers 503), a database cannot be used, or the server is about to stop.
#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    #[serde(flatten)]
    health: Option<&'a Health>,
    issuers: BTreeMap<&'a str, KeyReport>,
}

/// Whether there is an answer is what counts.
pub async fn health(health: web::Data<Health>, resource_server: web::Data<ResourceServer>) -> HttpResponse {
    HttpResponse::Ok().json(Answer {
        status: "ok",
        health: Some(&health),
        issuers: resource_server.issuers().collect(),
    })
}

/// 503 if `unavailable`: then no client should be sent here.
pub async fn ready(resource_server: web::Data<ResourceServer>, readiness: web::Data<Readiness>) -> HttpResponse {
    let issuers: BTreeMap<_, _> = resource_server.issuers().collect();
    let is_ready = |report: &KeyReport| report.state != KeyState::Waiting;
    let (all, any) = (issuers.values().all(is_ready), issuers.values().any(is_ready));
    let (mut response, status) = match (readiness.is_ready().await, all, any) {
        (true, true, _) => (HttpResponse::Ok(), "ok"),
        (true, _, true) => (HttpResponse::Ok(), "degraded"),
        _ => (HttpResponse::ServiceUnavailable(), "unavailable"),
    };
    response.json(Answer { status, health: None, issuers })
}
