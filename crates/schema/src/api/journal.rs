//! The journal of an execution as people see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ExecutionStatus;
use crate::{CorrelationId, ExecutionId, Timestamp};

/// One entry of a journal as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Entry {
    /// The place in the journal, counted from 1.
    pub sequence: u64,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Milliseconds since the execution was queued; never falls.
    pub elapsed_ms: u64,
    /// Milliseconds since the entry before.
    pub delta_ms: u64,
    /// The event's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// How much it matters.
    pub level: Level,
    /// What happened, for people.
    pub message: String,
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its workflow.
    pub workflow_id: String,
    /// What ties it to its cause.
    pub correlation_id: CorrelationId,
    /// The step, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<String>,
    /// Its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_path: Option<String>,
    /// How often the place was entered before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<u32>,
    /// The attempt, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Everything else that the event says.
    pub data: Map<String, Value>,
    /// What was too long to be shown whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncated>,
}

/// How far an attempt has come (`step.progress`), or what a model has written in it since the last time (`model.delta`): told to those who
/// follow at the moment, and kept in no journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StepProgress {
    /// When it was told.
    pub timestamp: Timestamp,
    /// `step.progress` or `model.delta`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its workflow.
    pub workflow_id: String,
    /// What ties it to its cause.
    pub correlation_id: CorrelationId,
    /// The step.
    pub step_id: String,
    /// Its place.
    pub step_path: String,
    /// How often the place was entered before.
    pub visit: u32,
    /// The attempt.
    pub attempt: u32,
    /// `fraction`, from 0 to 1, where it is known, and `message`; or `text`.
    pub data: Map<String, Value>,
}

impl StepProgress {
    /// The type of what says how far an attempt has come.
    pub const OF_A_STEP: &str = "step.progress";
    /// The type of what says what a model has written.
    pub const OF_A_MODEL: &str = "model.delta";

    /// Tells something of an attempt.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "an event is about all of them, and only the engine makes one")]
    pub fn new(
        timestamp: Timestamp,
        kind: &str,
        execution_id: ExecutionId,
        workflow_id: &str,
        correlation_id: CorrelationId,
        (step_id, step_path, visit): (&str, &str, u32),
        attempt: u32,
        data: Map<String, Value>,
    ) -> Self {
        Self {
            timestamp,
            kind: kind.to_owned(),
            execution_id,
            workflow_id: workflow_id.to_owned(),
            correlation_id,
            step_id: step_id.to_owned(),
            step_path: step_path.to_owned(),
            visit,
            attempt,
            data,
        }
    }
}

/// What is not shown of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Truncated {
    /// The bytes of message and data before.
    pub original_size: u64,
    /// The fields of `data` that were cut, and `message` if it was.
    pub truncated_fields: Vec<String>,
    /// SHA-256, in hex, of message and data before, as key-sorted JSON.
    pub checksum: String,
}

impl Entry {
    /// Makes an entry that says only when and what.
    #[must_use]
    pub fn new(
        sequence: u64,
        timestamp: Timestamp,
        kind: impl Into<String>,
        level: Level,
        execution_id: ExecutionId,
        workflow_id: impl Into<String>,
        correlation_id: CorrelationId,
    ) -> Self {
        Self {
            sequence,
            timestamp,
            elapsed_ms: 0,
            delta_ms: 0,
            kind: kind.into(),
            level,
            message: String::new(),
            execution_id,
            workflow_id: workflow_id.into(),
            correlation_id,
            step_id: None,
            step_path: None,
            visit: None,
            attempt: None,
            data: Map::new(),
            truncated: None,
        }
    }
}

/// How much an entry of a journal matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Timers and remarks.
    Debug,
    /// What happens when all goes well.
    Info,
    /// Retries, timeouts, circuits, denials.
    Warn,
    /// Failures.
    Error,
}

/// What a journal amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalSummary {
    /// Entries in the whole journal.
    pub total_entries: u64,
    /// Steps that have an entry.
    pub step_count: u32,
    /// Entries of level `error`.
    pub errors: u32,
    /// Entries of level `warn`.
    pub warnings: u32,
    /// Retries that were scheduled.
    pub retries: u32,
    /// The execution's status.
    pub status: ExecutionStatus,
    /// How long it has taken, in milliseconds.
    pub duration: u64,
}

/// A page of a journal (`GET /v1/executions/{id}/journal`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalPage {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// How to go on.
    pub pagination: Pagination,
    /// What the whole journal amounts to.
    pub summary: JournalSummary,
}

/// How to go on behind a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// What to give as `cursor`; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
    /// The most entries of a page.
    pub limit: u32,
}

/// A whole journal, as exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalExport {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its workflow.
    pub workflow_id: String,
    /// What ties it to its cause.
    pub correlation_id: CorrelationId,
    /// Its status.
    pub status: ExecutionStatus,
    /// When a driver took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long it took, in milliseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// What they amount to.
    pub summary: JournalSummary,
}
