//! Bodies of the REST interface, shared by server, client commands and tests.
//!
//! JSON is camelCase; times are RFC 3339 UTC with milliseconds; `duration` and `…Ms` are integer milliseconds. Absent fields are
//! left out.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CorrelationId, Diagnostic, ExecutionId, Failure, Timestamp};

/// The status of an execution as people see it; the machine's internal `failing` shows as `running`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutionStatus {
    /// No driver has taken it up yet.
    Queued,
    /// Steps run, or running ones end after a failure.
    Running,
    /// Nothing new starts until it is resumed.
    Paused,
    /// Running steps end on request.
    Cancelling,
    /// Ended well.
    Completed,
    /// Ended by a failure.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl ExecutionStatus {
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Returns the status as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of compensation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compensation {
    /// Nothing to do.
    #[default]
    None,
    /// All of it succeeded.
    Complete,
    /// Some of it failed.
    Incomplete,
}

/// An execution: status, progress, outputs (`GET /v1/executions/{id}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Execution {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// What ties it to the request that caused it.
    pub correlation_id: CorrelationId,
    /// What runs.
    pub workflow: WorkflowSummary,
    /// Its status.
    pub status: ExecutionStatus,
    /// What became of compensation.
    pub compensation: Compensation,
    /// How far it has come.
    pub progress: Progress,
    /// What it waits for; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<WaitingFor>,
    /// The workflow's outputs, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// True where the outputs are left out because they are over 1 MB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The variables, captures included, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// The unrecovered, fatal failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Failure>,
    /// The steps in step-path order, at most 1000.
    pub steps: Vec<StepResult>,
    /// True where there are more steps than shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub steps_truncated: bool,
    /// The sequence of the newest event.
    pub last_sequence: u64,
    /// When a driver took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long it took, in milliseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
}

impl Execution {
    /// Makes the body of an execution about which nothing else is known yet.
    #[must_use]
    pub fn new(
        execution_id: ExecutionId,
        correlation_id: CorrelationId,
        workflow: WorkflowSummary,
        status: ExecutionStatus,
    ) -> Self {
        Self {
            execution_id,
            correlation_id,
            workflow,
            status,
            compensation: Compensation::None,
            progress: Progress::default(),
            waiting_for: Vec::new(),
            outputs: None,
            truncated: false,
            variables: None,
            errors: Vec::new(),
            steps: Vec::new(),
            steps_truncated: false,
            last_sequence: 0,
            started_at: None,
            completed_at: None,
            duration: None,
        }
    }
}

/// Which workflow runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its author's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How far an execution has come, in steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Progress {
    /// Step paths known so far.
    pub total: u32,
    /// Those that ended well.
    pub completed: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that did not run.
    pub skipped: u32,
    /// Those that were cancelled.
    pub cancelled: u32,
    /// Those that run or wait.
    pub running: u32,
    /// The share of those that are terminal, 0–100.
    pub percent: u32,
}

/// What an execution waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WaitingFor {
    /// `backoff`, `timer`, `signal`, `approval` or `budget`.
    pub kind: String,
    /// Which step waits.
    pub step_path: String,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl WaitingFor {
    /// Makes an entry for a step that waits for its next attempt.
    #[must_use]
    pub fn backoff(step_path: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self { kind: "backoff".to_owned(), step_path: step_path.into(), until }
    }
}

/// What became of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StepResult {
    /// The step's id.
    pub step_id: String,
    /// Its place.
    pub step_path: String,
    /// How often the place was entered before.
    pub visit: u32,
    /// Its name for people.
    pub name: String,
    /// `agent`, the only kind so far.
    pub kind: String,
    /// The agent that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// `pending`, `running`, `waiting`, `completed`, `failed`, `skipped` or `cancelled`.
    pub status: String,
    /// What a waiting step waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Its output; left out of lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Why it did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,
    /// Calls that reached the agent.
    pub attempts: u32,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// From the first attempt to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
}

/// The body of a request to execute a workflow, apart from the bare document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ExecuteRequest {
    /// The workflow document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Value>,
    /// The id of a workflow in the catalogue, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// The execution's input; default `{}`.
    #[serde(alias = "inputs", skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Overrides of `context.variables`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// Values of the names in `allowedEnvVars`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, String>,
    /// Facts about the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<RequestContext>,
}

/// Facts about a request to execute a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RequestContext {
    /// What ties the execution to its cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// A cap on the whole execution, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<crate::Millis>,
    /// Who asks, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// The answer to a request to execute a workflow asynchronously: 202.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// Its status.
    pub status: ExecutionStatus,
    /// `Execution started`.
    pub message: String,
    /// What runs.
    pub workflow: WorkflowSummary,
    /// What ties it to its cause.
    pub correlation_id: CorrelationId,
    /// Where its status is read.
    pub check_url: String,
    /// What is probably not meant so.
    pub warnings: Vec<Warning>,
    /// Where everything else is read.
    pub links: Links,
}

/// Something in a request or a workflow that is probably not meant so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Warning {
    /// About the workflow.
    Workflow(Diagnostic),
    /// About the request.
    Request {
        /// What, for people.
        message: String,
    },
}

/// Where the parts of an execution are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The execution.
    #[serde(rename = "self")]
    pub itself: String,
    /// Its journal.
    pub journal: String,
    /// Where it is cancelled.
    pub cancel: String,
}

/// The answer to a request to execute a workflow synchronously: 200.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncResult {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// Its terminal status.
    pub status: ExecutionStatus,
    /// The workflow's outputs, if it completed and they are at most 1 MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// True where the outputs are left out because of their size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Where they are read then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_url: Option<String>,
    /// The unrecovered, fatal failures.
    pub errors: Vec<Failure>,
    /// How long it took, in milliseconds.
    pub duration: u64,
    /// When this was said.
    pub timestamp: Timestamp,
}

/// The body of a request to cancel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct CancelRequest {
    /// Why; default `User requested cancellation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// False gives running attempts no grace; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graceful: Option<bool>,
}

/// The answer to a request to cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelAnswer {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// Its status now.
    pub status: ExecutionStatus,
    /// What happens, for people.
    pub message: String,
    /// Whether running attempts have a grace.
    pub graceful: bool,
}

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

/// The body of every answer with a status of 400 or more (`application/problem+json`, RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Problem {
    /// `urn:orchestr8:problem:` and the code in kebab-case.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, the same for every problem of a code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The code, such as `NOT_FOUND`.
    pub code: String,
    /// Whether asking again may help.
    pub is_retryable: bool,
    /// All problems of a workflow or an input at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Diagnostic>,
    /// What ties it to the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The execution, when one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// Further members, such as `checkUrl` and `elapsedTime` of a synchronous wait that took too long.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// Makes a problem; everything that depends on the occurrence is absent.
    #[must_use]
    pub fn new(code: &str, title: &str, status: u16, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:orchestr8:problem:{}", code.to_ascii_lowercase().replace('_', "-")),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            instance: None,
            code: code.to_owned(),
            is_retryable: false,
            issues: Vec::new(),
            correlation_id: None,
            timestamp: None,
            execution_id: None,
            extensions: Map::new(),
        }
    }
}

/// Whether the server lives (`GET /health`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// True while the process lives.
    pub healthy: bool,
    /// `healthy`, `warning`, `critical` or `draining`.
    pub status: String,
    /// `@orchestr8`.
    pub service: String,
    /// `orchestr8`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Milliseconds since then.
    pub uptime: u64,
}
