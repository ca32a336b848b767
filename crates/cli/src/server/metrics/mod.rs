//! What engine and server have counted: `GET /metrics`, and the same for [export](crate::telemetry)
//!
//! Put together here rather than by a crate: the numbers exist already, as a snapshot, and what is left of a registry is a list.

mod family;
mod page;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use orchestr8_core::metrics::{Attempts, CalleeMetrics, Durations, MetricsSnapshot};

use self::family::Families;
#[cfg(feature = "otel")]
pub(crate) use self::family::Value;
pub(crate) use self::family::{Family, Kind};
use super::Service;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The requests that were answered, by method, template of the route, and status.
#[derive(Debug, Default)]
pub(super) struct Traffic(Mutex<BTreeMap<(&'static str, String, u16), Durations>>);

impl Traffic {
    /// The route is its template, of which there are few.
    pub(super) fn count(&self, method: &Method, route: String, status: u16, took: Duration) {
        self.lock().entry((name(method), route, status)).or_default().add(took);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String, u16), Durations>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Anybody can make up methods.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Shows everything that is counted.
pub(super) async fn read(State(service): State<Service>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page::text(&families(&service))).into_response()
}

/// Lists everything that is counted.
pub(super) fn families(service: &Service) -> Vec<Family> {
    let mut all = Families::default();
    all.family("orchestr8_build_info", Kind::Gauge, "The version that runs.");
    all.sample(&[("version", env!("CARGO_PKG_VERSION"))], true);
    if let Some(metrics) = service.engine().metrics() {
        executions(&metrics, &mut all);
        steps(&metrics, &mut all);
        models(&metrics, &mut all);
        circuits(&metrics, &mut all);
    }
    bus(service, &mut all);
    traffic(service, &mut all);
    all.0
}

fn executions(metrics: &MetricsSnapshot, all: &mut Families) {
    all.family("orchestr8_executions_total", Kind::Counter, "Executions that have ended.");
    for ((workflow, status), count) in &metrics.executions {
        all.sample(&[("workflow", workflow), ("status", status)], *count);
    }
    all.gauge("orchestr8_executions_active", "Executions that have had their turn and not ended.", metrics.active);
    all.gauge("orchestr8_executions_queued", "Executions that wait for their turn.", metrics.queued);
    all.family("orchestr8_execution_duration_seconds", Kind::Histogram, "How long executions took.");
    for (status, durations) in &metrics.execution_durations {
        all.sample(&[("status", status)], durations);
    }
    all.gauge("orchestr8_approvals_waiting", "Approvals that wait for a person.", metrics.approvals_waiting);
    all.family(
        "orchestr8_remarks_left_out_total",
        Kind::Counter,
        "Remarks of agents beyond those that an execution keeps.",
    );
    all.sample(&[], metrics.remarks_left_out);
    all.family("orchestr8_compensations_total", Kind::Counter, "Executions that were undone.");
    for (outcome, count) in &metrics.compensations {
        all.sample(&[("outcome", outcome)], *count);
    }
    all.family("orchestr8_journal_append_seconds", Kind::Histogram, "How long appending to the journal took.");
    all.sample(&[], &metrics.appends);
    if let Some(bytes) = metrics.journal_bytes {
        all.family("orchestr8_journal_bytes_total", Kind::Counter, "Bytes of events that were written.");
        all.sample(&[], bytes);
    }
}

fn steps(metrics: &MetricsSnapshot, all: &mut Families) {
    all.gauge("orchestr8_steps_running", "Attempts that hold a slot.", metrics.running);
    all.gauge("orchestr8_steps_ready", "Attempts that wait for a slot.", metrics.ready);
    let callees = &metrics.callees;
    all.family("orchestr8_steps_total", Kind::Counter, "Steps that have ended.");
    for (agent, callee) in callees {
        let CalleeMetrics { completed, failed, skipped, cancelled, .. } = *callee;
        let counts = [("completed", completed), ("failed", failed), ("skipped", skipped), ("cancelled", cancelled)];
        for (status, count) in counts {
            all.sample(&[("agent", agent), ("status", status)], count);
        }
    }
    all.family("orchestr8_step_duration_seconds", Kind::Histogram, "From the first attempt of a step to its end.");
    for (agent, callee) in callees {
        all.sample(&[("agent", agent)], &callee.durations);
    }
    all.family("orchestr8_step_queue_seconds", Kind::Histogram, "From the turn of a step to its first attempt.");
    for (agent, callee) in callees {
        all.sample(&[("agent", agent)], &callee.queued);
    }
    all.family("orchestr8_attempts_total", Kind::Counter, "Attempts that have ended.");
    for (agent, callee) in callees {
        for (outcome, count) in outcomes(callee.attempts) {
            all.sample(&[("agent", agent), ("outcome", outcome)], count);
        }
    }
    all.family("orchestr8_retries_total", Kind::Counter, "Retries that were scheduled.");
    for (agent, callee) in callees {
        all.sample(&[("agent", agent)], callee.retries);
    }
    all.family("orchestr8_timeouts_total", Kind::Counter, "Attempts that took too long.");
    for (agent, callee) in callees {
        all.sample(&[("agent", agent)], callee.timeouts);
    }

    all.family("orchestr8_tool_calls_total", Kind::Counter, "Calls of tools by steps and by agents.");
    let mut tools = metrics.agents_tools.clone();
    for (tool, callee) in callees.iter().filter(|(_, callee)| callee.is_tool) {
        tools.entry(Arc::clone(tool)).or_default().add(callee.attempts);
    }
    for (tool, calls) in &tools {
        for (outcome, count) in outcomes(*calls) {
            all.sample(&[("tool", tool), ("outcome", outcome)], count);
        }
    }
}

fn models(metrics: &MetricsSnapshot, all: &mut Families) {
    let models = &metrics.models;
    all.family("orchestr8_model_calls_total", Kind::Counter, "Calls of models.");
    for ((provider, model), counted) in models {
        for (outcome, count) in [("success", counted.succeeded), ("failure", counted.failed)] {
            let labels = [("provider", &**provider), ("model", &**model), ("outcome", outcome)];
            all.sample(&labels, count);
        }
    }
    all.family("orchestr8_model_tokens_total", Kind::Counter, "Tokens that models have read and written.");
    for ((provider, model), counted) in models {
        let usage = counted.usage;
        let kinds = [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_creation", usage.cache_creation_tokens),
        ];
        for (kind, count) in kinds {
            let labels = [("provider", &**provider), ("model", &**model), ("kind", kind)];
            all.sample(&labels, count);
        }
    }
    all.family(
        "orchestr8_model_cost_usd_total",
        Kind::Counter,
        "What models have cost, as far as their prices are known.",
    );
    for ((provider, model), counted) in models {
        let labels = [("provider", &**provider), ("model", &**model)];
        all.sample(&labels, counted.usage.cost_usd);
    }
}

fn outcomes(attempts: Attempts) -> [(&'static str, u64); 4] {
    let Attempts { succeeded, failed, rejected, cancelled } = attempts;
    [("success", succeeded), ("failure", failed), ("rejected", rejected), ("cancelled", cancelled)]
}

fn circuits(metrics: &MetricsSnapshot, all: &mut Families) {
    all.family("orchestr8_circuit_state", Kind::Gauge, "1 for the state that a circuit is in.");
    for (key, now) in &metrics.circuits {
        for state in ["closed", "half-open", "open"] {
            all.sample(&[("key", key), ("state", state)], state == *now);
        }
    }
    all.family("orchestr8_circuit_transitions_total", Kind::Counter, "Changes of circuits.");
    for ((from, to), count) in &metrics.circuit_transitions {
        all.sample(&[("from", from), ("to", to)], *count);
    }
}

fn bus(service: &Service, all: &mut Families) {
    let listening = service.listening();
    all.family("orchestr8_events_dropped_total", Kind::Counter, "Events that slow subscribers lost.");
    all.sample(&[], listening.dropped);
    all.gauge("orchestr8_event_queue_depth", "Events that wait in the longest queue.", listening.queued);
    all.gauge(
        "orchestr8_event_queue_high_water",
        "The most events that ever waited in one queue.",
        listening.high_water,
    );
    all.gauge("orchestr8_sse_streams", "Streams of events that are open.", service.streams());
}

fn traffic(service: &Service, all: &mut Families) {
    let answered = service.traffic().lock().clone();
    all.family("orchestr8_http_requests_total", Kind::Counter, "Requests that were answered.");
    for ((method, route, status), durations) in &answered {
        let labels = [("method", *method), ("route", route), ("status", &status.to_string())];
        all.sample(&labels, durations.count());
    }
    all.family("orchestr8_http_request_duration_seconds", Kind::Histogram, "How long answering took.");
    for ((method, route, status), durations) in &answered {
        let labels = [("method", *method), ("route", route), ("status", &status.to_string())];
        all.sample(&labels, durations);
    }
}
