//! What a server has counted, for people: `GET /v1/stats`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ExecutionId, Timestamp, usage::Usage};

/// What a server has counted since it started (`GET /v1/stats`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Executions.
    pub executions: ExecutionStats,
    /// What was called, by id of the agent or name of the tool.
    pub agents: Vec<AgentStats>,
    /// Circuit breakers, by key.
    pub circuits: Vec<CircuitStats>,
    /// Steps that failed.
    pub errors: ErrorStats,
    /// Live events.
    pub events: EventStats,
    /// What was used up, as far as agents have reported it.
    pub usage: Usage,
    /// The process.
    pub system: SystemStats,
}

/// Executions, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStats {
    /// Those that are being driven, waiting ones included.
    pub active: u64,
    /// Those that wait for their turn.
    pub queued: u64,
    /// Those of the active ones that only wait: for people, signals, timers or the end of a pause.
    pub waiting: u64,
    /// Those that have ended, and those that have not.
    pub total: u64,
    /// Those that have ended, by status.
    pub by_status: BTreeMap<String, u64>,
    /// The share of completed ones among those that completed or failed, 0 to 1; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<f64>,
    /// How long those that have ended took.
    pub duration_ms: Percentiles,
}

/// Percentiles of durations in milliseconds, read off the buckets of a histogram: between two bounds they are drawn as a line.
/// All are 0 if there is nothing to tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// Half take at most so long.
    pub p50: f64,
    /// 95 of 100 take at most so long.
    pub p95: f64,
    /// 99 of 100 take at most so long.
    pub p99: f64,
}

/// What was called, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStats {
    /// The agent's id, or the tool's name.
    pub id: String,
    /// Attempts that have ended.
    pub calls: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// How long its steps took, retries and waits included.
    pub duration_ms: Percentiles,
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitStats {
    /// Its key.
    pub key: String,
    /// `closed`, `open` or `half-open`.
    pub state: String,
    /// How many attempts failed in a row; 0 unless it is closed.
    pub failures: u32,
    /// When an open one lets a probe through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopens_at: Option<Timestamp>,
}

/// Steps that failed, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorStats {
    /// How many.
    pub total: u64,
    /// How many, by kind of failure.
    pub by_code: BTreeMap<String, u64>,
    /// The latest, newest first; at most 20.
    pub recent: Vec<RecentError>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentError {
    /// Of which execution.
    pub execution_id: ExecutionId,
    /// Which step.
    pub step_path: String,
    /// The kind of failure.
    pub code: String,
    /// What was attempted and why it failed.
    pub message: String,
    /// When it failed.
    pub timestamp: Timestamp,
}

/// Live events, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventStats {
    /// Those that wait in the longest queue.
    pub queued: u64,
    /// Those that slow subscribers lost.
    pub dropped: u64,
    /// The most that ever waited in one queue.
    pub high_water: u64,
}

/// The process of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemStats {
    /// The version that runs.
    pub version: String,
    /// How long it has run, in milliseconds.
    pub uptime: u64,
    /// The memory that it occupies; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// How many threads can run at once.
    pub cpu_count: u64,
    /// System and architecture, such as `linux-x86_64`.
    pub platform: String,
}
