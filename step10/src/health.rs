//! `GET /health`: is the server up, which one is it, what can it do, and has it the keys of those it trusts?

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::{jwks_client::Report, metadata::OAuthUrls, providers::Providers};

/// What `/health` says, beside how the issuers are.
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

/// `status` is `ok` if every issuer's keys are here, `degraded` if some are, and `unavailable` if none are: then
/// `/mcp` answers 503.
#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    #[serde(flatten)]
    health: &'a Health,
    issuers: BTreeMap<&'a str, Report>,
}

pub async fn health(health: web::Data<Health>, providers: web::Data<Providers>) -> HttpResponse {
    let all = providers.iter().all(|provider| provider.keys.is_ready());
    let status = match (all, providers.any_ready()) {
        (true, _) => "ok",
        (_, true) => "degraded",
        _ => "unavailable",
    };
    let issuers = providers.iter().map(|provider| (provider.issuer.as_str(), provider.keys.report())).collect();
    HttpResponse::Ok().json(Answer { status, health: &health, issuers })
}
