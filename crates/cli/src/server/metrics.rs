//! `GET /metrics`: what engine and server have counted, as Prometheus text
//!
//! Written here rather than by a crate: the numbers exist already, as a snapshot, and what is left of a registry is this page.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use orchestr8_core::metrics::{Attempts, BOUNDS, CalleeMetrics, Durations, MetricsSnapshot};

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
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text(&service)).into_response()
}

fn text(service: &Service) -> String {
    let mut page = Page::default();
    page.family("orchestr8_build_info", "gauge", "The version that runs.");
    page.sample("orchestr8_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(metrics) = service.engine().metrics() {
        executions(&metrics, &mut page);
        steps(&metrics, &mut page);
        models(&metrics, &mut page);
        circuits(&metrics, &mut page);
    }
    bus(service, &mut page);
    traffic(service, &mut page);
    page.0
}

fn executions(metrics: &MetricsSnapshot, page: &mut Page) {
    page.family("orchestr8_executions_total", "counter", "Executions that have ended.");
    for ((workflow, status), count) in &metrics.executions {
        page.sample("orchestr8_executions_total", &[("workflow", workflow), ("status", status)], count);
    }
    page.gauge("orchestr8_executions_active", "Executions that have had their turn and not ended.", metrics.active);
    page.gauge("orchestr8_executions_queued", "Executions that wait for their turn.", metrics.queued);
    page.family("orchestr8_execution_duration_seconds", "histogram", "How long executions took.");
    for (status, durations) in &metrics.execution_durations {
        page.histogram("orchestr8_execution_duration_seconds", &[("status", status)], durations);
    }
    page.gauge("orchestr8_approvals_waiting", "Approvals that wait for a person.", metrics.approvals_waiting);
    page.family("orchestr8_compensations_total", "counter", "Executions that were undone.");
    for (outcome, count) in &metrics.compensations {
        page.sample("orchestr8_compensations_total", &[("outcome", outcome)], count);
    }
    page.family("orchestr8_journal_append_seconds", "histogram", "How long appending to the journal took.");
    page.histogram("orchestr8_journal_append_seconds", &[], &metrics.appends);
}

fn steps(metrics: &MetricsSnapshot, page: &mut Page) {
    page.gauge("orchestr8_steps_running", "Attempts that hold a slot.", metrics.running);
    page.gauge("orchestr8_steps_ready", "Attempts that wait for a slot.", metrics.ready);
    let callees = &metrics.callees;
    page.family("orchestr8_steps_total", "counter", "Steps that have ended.");
    for (agent, callee) in callees {
        let CalleeMetrics { completed, failed, skipped, cancelled, .. } = *callee;
        let counts = [("completed", completed), ("failed", failed), ("skipped", skipped), ("cancelled", cancelled)];
        for (status, count) in counts {
            page.sample("orchestr8_steps_total", &[("agent", agent), ("status", status)], count);
        }
    }
    page.family("orchestr8_step_duration_seconds", "histogram", "From the first attempt of a step to its end.");
    for (agent, callee) in callees {
        page.histogram("orchestr8_step_duration_seconds", &[("agent", agent)], &callee.durations);
    }
    page.family("orchestr8_step_queue_seconds", "histogram", "From the turn of a step to its first attempt.");
    for (agent, callee) in callees {
        page.histogram("orchestr8_step_queue_seconds", &[("agent", agent)], &callee.queued);
    }
    page.family("orchestr8_attempts_total", "counter", "Attempts that have ended.");
    for (agent, callee) in callees {
        for (outcome, count) in outcomes(callee.attempts) {
            page.sample("orchestr8_attempts_total", &[("agent", agent), ("outcome", outcome)], count);
        }
    }
    page.family("orchestr8_retries_total", "counter", "Retries that were scheduled.");
    for (agent, callee) in callees {
        page.sample("orchestr8_retries_total", &[("agent", agent)], callee.retries);
    }
    page.family("orchestr8_timeouts_total", "counter", "Attempts that took too long.");
    for (agent, callee) in callees {
        page.sample("orchestr8_timeouts_total", &[("agent", agent)], callee.timeouts);
    }

    page.family("orchestr8_tool_calls_total", "counter", "Calls of tools by steps and by agents.");
    let mut tools = metrics.agents_tools.clone();
    for (tool, callee) in callees.iter().filter(|(_, callee)| callee.is_tool) {
        tools.entry(Arc::clone(tool)).or_default().add(callee.attempts);
    }
    for (tool, calls) in &tools {
        for (outcome, count) in outcomes(*calls) {
            page.sample("orchestr8_tool_calls_total", &[("tool", tool), ("outcome", outcome)], count);
        }
    }
}

fn models(metrics: &MetricsSnapshot, page: &mut Page) {
    let models = &metrics.models;
    page.family("orchestr8_model_calls_total", "counter", "Calls of models.");
    for ((provider, model), counted) in models {
        for (outcome, count) in [("success", counted.succeeded), ("failure", counted.failed)] {
            let labels = [("provider", &**provider), ("model", &**model), ("outcome", outcome)];
            page.sample("orchestr8_model_calls_total", &labels, count);
        }
    }
    page.family("orchestr8_model_tokens_total", "counter", "Tokens that models have read and written.");
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
            page.sample("orchestr8_model_tokens_total", &labels, count);
        }
    }
    page.family(
        "orchestr8_model_cost_usd_total",
        "counter",
        "What models have cost, as far as their prices are known.",
    );
    for ((provider, model), counted) in models {
        let labels = [("provider", &**provider), ("model", &**model)];
        page.sample("orchestr8_model_cost_usd_total", &labels, counted.usage.cost_usd);
    }
}

fn outcomes(attempts: Attempts) -> [(&'static str, u64); 3] {
    [("success", attempts.succeeded), ("failure", attempts.failed), ("rejected", attempts.rejected)]
}

fn circuits(metrics: &MetricsSnapshot, page: &mut Page) {
    page.family("orchestr8_circuit_state", "gauge", "1 for the state that a circuit is in.");
    for (key, now) in &metrics.circuits {
        for state in ["closed", "half-open", "open"] {
            page.sample("orchestr8_circuit_state", &[("key", key), ("state", state)], u8::from(state == *now));
        }
    }
    page.family("orchestr8_circuit_transitions_total", "counter", "Changes of circuits.");
    for ((from, to), count) in &metrics.circuit_transitions {
        page.sample("orchestr8_circuit_transitions_total", &[("from", from), ("to", to)], count);
    }
}

fn bus(service: &Service, page: &mut Page) {
    let bus = service.engine().bus().metrics(service.now());
    page.family("orchestr8_events_dropped_total", "counter", "Events that slow subscribers lost.");
    page.sample("orchestr8_events_dropped_total", &[], bus.dropped);
    page.gauge("orchestr8_event_queue_depth", "Events that wait in the longest queue.", bus.depth);
    page.gauge("orchestr8_event_queue_high_water", "The most events that ever waited in one queue.", bus.high_water);
    page.gauge("orchestr8_sse_streams", "Streams of events that are open.", service.streams());
}

fn traffic(service: &Service, page: &mut Page) {
    let answered = service.traffic().lock().clone();
    page.family("orchestr8_http_requests_total", "counter", "Requests that were answered.");
    for ((method, route, status), durations) in &answered {
        let labels = [("method", *method), ("route", route), ("status", &status.to_string())];
        page.sample("orchestr8_http_requests_total", &labels, durations.count());
    }
    page.family("orchestr8_http_request_duration_seconds", "histogram", "How long answering took.");
    for ((method, route, status), durations) in &answered {
        let labels = [("method", *method), ("route", route), ("status", &status.to_string())];
        page.histogram("orchestr8_http_request_duration_seconds", &labels, durations);
    }
}

/// A page in the text format of Prometheus.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A string takes everything.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], durations: &Durations) {
        let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string()).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, in_bucket) in bounds.zip(durations.buckets) {
            count += in_bucket;
            self.sample(&format!("{name}_bucket"), &[labels, &[("le", bound.as_str())]].concat(), count);
        }
        self.sample(&format!("{name}_sum"), labels, durations.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, count);
    }
}
