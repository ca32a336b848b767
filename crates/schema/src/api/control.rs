//! What is told to a running execution, and what it answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ExecutionStatus, Warning};
use crate::{ExecutionId, StepPath, policy::Budget};

/// The body of a request to pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PauseRequest {
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to a request to pause: 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseAnswer {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its status now.
    pub status: ExecutionStatus,
    /// What of the request is probably not meant so: keys that are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// The body of a request to resume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResumeRequest {
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Limits in the place of those that a failed execution had; none is lower than before, or at what is used already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// The answer to a request to resume: 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResumeAnswer {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its status now.
    pub status: ExecutionStatus,
    /// How many steps had completed, and are not run again.
    pub reused: u32,
    /// What runs again, in step-path order, at most 1000.
    pub rerun: Vec<Rerun>,
    /// What of the request is probably not meant so: keys that are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// A step that runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rerun {
    /// Its place.
    pub step_path: StepPath,
    /// Why, for people: `failed with NETWORK`.
    pub because: String,
}

impl ResumeAnswer {
    /// The most steps that are listed.
    pub const MAX_RERUN: usize = 1000;
}

/// The body of a signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SignalRequest {
    /// What is told, at most 64 KB; default null.
    pub payload: Value,
    /// Tells repetitions: one that was received before is not told again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_id: Option<String>,
    /// The only step that may take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_path: Option<StepPath>,
}

/// The answer to a signal: 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalAnswer {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The place of `signal.received` in the journal.
    pub sequence: u64,
    /// Whether a step has taken it; otherwise it is kept until one does.
    pub delivered: bool,
    /// What of the request is probably not meant so: keys that are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// The answer of a person to an approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequest {
    /// `approve` or `reject`.
    pub decision: Decision,
    /// What the step's schema asks for.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// A remark, at most 4000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who answers, as they say; at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may go on.
    Approve,
    /// It may not.
    Reject,
}

/// What is said of an answer to an approval: 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalResult {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The step that waited.
    pub step_path: String,
    /// What was decided.
    pub decision: Decision,
    /// The place of `approval.answered` in the journal.
    pub sequence: u64,
    /// What of the request is probably not meant so: keys that are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}
