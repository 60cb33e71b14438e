//! `GET /health`: is the server up, which one is it, and what can it do?

use actix_web::{HttpResponse, web};
use serde::Serialize;

/// What `/health` says.
#[derive(Clone, Serialize)]
pub struct Health {
    status: &'static str,
    version: &'static str,
    step: u8,
    enabled: &'static [&'static str],
}

impl Health {
    /// `enabled`: the capabilities that `main.rs` has wired up.
    pub fn new(enabled: &'static [&'static str]) -> Self {
        let step = env!("CARGO_PKG_NAME").trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
        Health { status: "ok", version: env!("CARGO_PKG_VERSION"), step: step.unwrap_or_default(), enabled }
    }
}

pub async fn health(health: web::Data<Health>) -> HttpResponse {
    HttpResponse::Ok().json(&**health)
}
