//! What is asked of a server, and what it answers.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ExecutionStatus, ExecutionUsage, WorkflowSummary};
use crate::{CorrelationId, Diagnostic, ExecutionId, Failure, Timestamp, policy::Budget};

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
    /// Limits that tighten the workflow's `policies.budget`; looser ones have no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
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
    /// Its events as they happen.
    pub events: String,
    /// Where it is cancelled.
    pub cancel: String,
    /// Where people see it.
    pub dashboard: String,
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
    /// What its calls used up, and how many of them there were.
    pub usage: ExecutionUsage,
    /// What is probably not meant so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
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
    /// What of the request is probably not meant so: keys that are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}
