//! An execution as people see it: status, progress, steps, outputs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CorrelationId, ExecutionId, Failure, Timestamp, event::ForkedFrom, usage::Usage};

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
    /// What agents said that they used up, and how often models and tools were called; absent if none said or called anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ExecutionUsage>,
    /// The limits of the workflow's budget by name, and how much of them is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub budget: BTreeMap<String, BudgetState>,
    /// The execution that it was made from, and where it begins; absent if it is no fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
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
            usage: None,
            budget: BTreeMap::new(),
            forked_from: None,
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

/// A limit of a budget, in the unit of the limit: tokens, US dollars, steps or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetState {
    /// The limit.
    pub limit: f64,
    /// What attempts in progress have reserved.
    pub reserved: f64,
    /// What is used up.
    pub spent: f64,
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
    /// The name of the signal that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl WaitingFor {
    /// Makes an entry for a step that waits for a thing of this kind.
    #[must_use]
    pub fn new(kind: impl Into<String>, step_path: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self { kind: kind.into(), step_path: step_path.into(), name: None, until }
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
    /// `agent`, `tool`, `parallel`, `branch`, `map`, `loop`, `workflow`, `wait` or `approval`.
    pub kind: String,
    /// The agent that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The tool that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
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
    /// The id of the step that this one stood in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_for: Option<String>,
    /// Whether a fork has taken the result over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// The id of the step that stood in for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_by: Option<String>,
    /// The case that a branch took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Calls that reached the agent.
    pub attempts: u32,
    /// What became of its compensation, where it is to be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<StepCompensation>,
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

/// The status of a step, as [`StepResult::status`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// It runs.
    Running,
    /// It waits for a time, a signal or a person.
    Waiting,
    /// It ended well.
    Completed,
    /// It ended by a failure.
    Failed,
    /// It did not run.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl StepStatus {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Waiting, Self::Completed, Self::Failed, Self::Skipped, Self::Cancelled];

    /// Returns the status as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the step has come to an end.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled => true,
            Self::Pending | Self::Running | Self::Waiting => false,
        }
    }

    /// Reads a status as it stands in JSON; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What became of the compensation of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StepCompensation {
    /// `pending`, `running`, `completed` or `failed`.
    pub status: String,
    /// Calls that reached the agent.
    pub attempts: u32,
    /// Why the step was not undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl StepCompensation {
    /// Makes an entry.
    #[must_use]
    pub fn new(status: impl Into<String>, attempts: u32, error: Option<Failure>) -> Self {
        Self { status: status.into(), attempts, error }
    }
}

/// What the calls of an execution used up, and how many of them there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ExecutionUsage {
    /// What they used up.
    #[serde(flatten)]
    pub used: Usage,
    /// Calls of models that agents made, failed ones included.
    pub model_calls: u64,
    /// Calls of tools that agents made, refused ones included; steps that call a tool are none of them.
    pub tool_calls: u64,
}

impl ExecutionUsage {
    /// Makes one of its parts.
    #[must_use]
    pub fn new(used: Usage, model_calls: u64, tool_calls: u64) -> Self {
        Self { used, model_calls, tool_calls }
    }
}

impl std::ops::Deref for ExecutionUsage {
    type Target = Usage;

    fn deref(&self) -> &Usage {
        &self.used
    }
}
