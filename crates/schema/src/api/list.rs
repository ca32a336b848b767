//! Lists: executions, steps, approvals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ExecutionStatus, Progress, StepResult, WorkflowSummary};
use crate::{CorrelationId, ExecutionId, Failure, Timestamp};

/// What a list tells of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// What runs.
    pub workflow: WorkflowSummary,
    /// Its status.
    pub status: ExecutionStatus,
    /// How far it has come.
    pub progress: Progress,
    /// What ties it to its cause.
    pub correlation_id: CorrelationId,
    /// When a driver took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long it took, in milliseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Unrecovered, fatal failures.
    pub error_count: u32,
    /// Steps that wait.
    pub waiting_count: u32,
}

/// A page of executions, newest first (`GET /v1/executions`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionList {
    /// The executions.
    pub executions: Vec<ExecutionSummary>,
    /// What to give as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// A page of steps in step-path order (`GET /v1/executions/{id}/steps`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepList {
    /// The steps, without input and output.
    pub steps: Vec<StepResult>,
    /// What to give as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// One step in full (`GET /v1/executions/{id}/steps/{stepPath}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StepDetail {
    /// What lists tell of it, and its output.
    #[serde(flatten)]
    pub step: StepResult,
    /// Its resolved input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Its attempts, oldest first.
    pub resilience: Vec<AttemptRecord>,
    /// True where input or output are cut because they are over 512 KB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The bytes of the longer one of those that were cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_size: Option<u64>,
}

impl StepDetail {
    /// Makes the body of a step of which no more is known than lists tell.
    #[must_use]
    pub fn new(step: StepResult) -> Self {
        Self { step, input: None, resilience: Vec::new(), truncated: false, original_size: None }
    }
}

/// One attempt of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AttemptRecord {
    /// Its number, counted from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// How long the next one waits, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl AttemptRecord {
    /// Makes the record of an attempt that has begun.
    #[must_use]
    pub fn started(attempt: u32, started_at: Timestamp) -> Self {
        Self { attempt, started_at, completed_at: None, error: None, delay_ms: None }
    }
}

/// An approval that a step waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The execution.
    pub execution_id: ExecutionId,
    /// What runs.
    pub workflow: WorkflowSummary,
    /// The step that waits.
    pub step_path: String,
    /// What a person is asked.
    pub prompt: String,
    /// JSON Schema of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Since when it waits.
    pub requested_at: Timestamp,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What happens then: `fail`, `reject` or `answer`.
    pub on_timeout: String,
}

/// A page of approvals, oldest first (`GET /v1/approvals`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalList {
    /// The approvals.
    pub approvals: Vec<Approval>,
    /// What to give as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}
