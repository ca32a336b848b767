//! `GET /health` and `GET /ready`

use axum::{Json, extract::State};
use orchestr8_core::bus::Bus;
use orchestr8_schema::api::Health;
use serde_json::{Value, json};

use super::{
    Service,
    problem::{ProblemCode, Rejection},
};

/// Says that the process lives, and which it is.
pub(super) async fn health(State(service): State<Service>) -> Json<Health> {
    let started_at = service.started_at();
    let uptime = service.now().since(started_at).as_millis();
    Json(Health {
        healthy: true,
        status: status(&service).to_owned(),
        service: "@orchestr8".to_owned(),
        name: "orchestr8".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at,
        uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
    })
}

/// Says how well the server does. It is critical if journals cannot be added to. Of those who listen it tells how well they keep up: over a
/// twentieth of the last minute's events dropped is a warning, over a fifth is critical, and a queue that is nine tenths full is a warning.
fn status(service: &Service) -> &'static str {
    if service.is_draining() {
        return "draining";
    }
    let listening = service.listening();
    if !service.engine().can_append() || listening.recently_dropped > 0.2 {
        "critical"
    } else if listening.recently_dropped > 0.05 || listening.queued * 10 >= Bus::QUEUE * 9 {
        "warning"
    } else {
        "healthy"
    }
}

/// Says whether executions are taken.
pub(super) async fn ready(State(service): State<Service>) -> Result<Json<Value>, Rejection> {
    if service.is_draining() {
        return Err(Rejection::shutting_down());
    }
    if !service.engine().can_append() {
        let detail = "nothing can be added to journals at the moment; the cause is in the server's log";
        return Err(Rejection::new(ProblemCode::ResourceExhausted, detail).retry_after(5));
    }
    Ok(Json(json!({ "ready": true })))
}
