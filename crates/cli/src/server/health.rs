//! `GET /health` and `GET /ready`

use axum::{Json, extract::State};
use orchestr8_schema::api::Health;
use serde_json::{Value, json};

use super::{Service, problem::Rejection};

/// Says that the process lives, and which it is.
pub(super) async fn health(State(service): State<Service>) -> Json<Health> {
    let started_at = service.started_at();
    let uptime = service.now().since(started_at).as_millis();
    Json(Health {
        healthy: true,
        status: if service.is_draining() { "draining" } else { "healthy" }.to_owned(),
        service: "@orchestr8".to_owned(),
        name: "orchestr8".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at,
        uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
    })
}

/// Says whether executions are taken.
pub(super) async fn ready(State(service): State<Service>) -> Result<Json<Value>, Rejection> {
    if service.is_draining() { Err(Rejection::shutting_down()) } else { Ok(Json(json!({ "ready": true }))) }
}
