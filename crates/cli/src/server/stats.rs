//! `GET /v1/stats`: what engine and server have counted, for people

use std::time::Duration;

use axum::{Json, extract::State};
use orchestr8_core::{
    metrics::{Durations, MetricsSnapshot},
    resilience::circuit_breaker::CircuitState,
};
use orchestr8_schema::api::{
    AgentStats, CircuitStats, ErrorStats, EventStats, ExecutionStats, Percentiles, RecentError, Stats, SystemStats,
};
use tokio::time::Instant;

use super::Service;

/// Shows what is counted; of executions and agents nothing, if the engine does not count.
pub(super) async fn read(State(service): State<Service>) -> Json<Stats> {
    Json(stats(&service))
}

pub(super) fn stats(service: &Service) -> Stats {
    let metrics = service.engine().metrics().unwrap_or_default();
    let listening = service.listening();
    Stats {
        executions: executions(&metrics),
        agents: agents(&metrics),
        circuits: circuits(service),
        errors: errors(&metrics),
        events: EventStats {
            queued: listening.queued as u64,
            dropped: listening.dropped,
            high_water: listening.high_water as u64,
        },
        usage: metrics.usage,
        system: system(service),
    }
}

fn executions(metrics: &MetricsSnapshot) -> ExecutionStats {
    let mut by_status = std::collections::BTreeMap::<String, u64>::new();
    for ((_, status), count) in &metrics.executions {
        *by_status.entry((*status).to_owned()).or_default() += count;
    }
    let count = |status| by_status.get(status).copied().unwrap_or(0);
    let (completed, failed) = (count("completed"), count("failed"));
    let mut durations = Durations::default();
    metrics.execution_durations.values().for_each(|ended| durations.add_all(ended));
    ExecutionStats {
        active: metrics.active,
        queued: metrics.queued,
        waiting: metrics.waiting,
        total: by_status.values().sum::<u64>() + metrics.active + metrics.queued,
        success_rate: (completed + failed > 0).then(|| completed as f64 / (completed + failed) as f64),
        by_status,
        duration_ms: percentiles(&durations),
    }
}

fn agents(metrics: &MetricsSnapshot) -> Vec<AgentStats> {
    let callees = metrics.callees.iter();
    callees
        .map(|(id, callee)| AgentStats {
            id: id.to_string(),
            calls: callee.attempts.succeeded + callee.attempts.failed + callee.attempts.cancelled,
            failures: callee.attempts.failed,
            duration_ms: percentiles(&callee.durations),
        })
        .collect()
}

fn circuits(service: &Service) -> Vec<CircuitStats> {
    let (now, today) = (Instant::now(), service.now());
    let circuits = service.engine().circuits().into_iter();
    circuits
        .map(|(key, state)| {
            let (failures, reopens_at) = match state {
                CircuitState::Closed { failures } => (failures, None),
                CircuitState::Open { until } => (0, Some(today.plus(until.saturating_duration_since(now)))),
                CircuitState::HalfOpen { .. } => (0, None),
            };
            CircuitStats { key: key.to_string(), state: state.name().to_owned(), failures, reopens_at }
        })
        .collect()
}

fn errors(metrics: &MetricsSnapshot) -> ErrorStats {
    let recent = metrics.recent_failures.iter().map(|failure| RecentError {
        execution_id: failure.execution_id,
        step_path: failure.step_path.to_string(),
        code: failure.code.to_string(),
        message: failure.message.clone(),
        timestamp: failure.at,
    });
    ErrorStats {
        total: metrics.failures.values().sum(),
        by_code: metrics.failures.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        recent: recent.collect(),
    }
}

fn percentiles(durations: &Durations) -> Percentiles {
    let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
    let at = |share| milliseconds(durations.quantile(share));
    Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

fn system(service: &Service) -> SystemStats {
    let uptime = service.now().since(service.started_at()).as_millis();
    SystemStats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
        memory_bytes: memory(),
        cpu_count: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// What the process occupies; Linux tells it in kibibytes.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
