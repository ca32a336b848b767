//! The workflow as its author wrote it: one tree for JSON, YAML and Rust.
//!
//! A [`Workflow`] may still be wrong. [`validate`](crate::validate::validate) turns it into a
//! [`ValidWorkflow`](crate::ValidWorkflow), the only thing an engine takes. Written as JSON it reads back as the same value.

mod approval;
mod branch;
mod compensation;
mod condition;
mod hook;
mod input;
mod leaf;
mod loop_;
mod map;
mod output;
mod parallel;
mod step;
mod sub_workflow;
mod version_range;
mod wait;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::{
    approval::{ApprovalStep, OnTimeout},
    branch::{BranchStep, Case, DefaultCase},
    compensation::{CompensateOn, Compensation},
    condition::{Comparison, Condition, Operator},
    hook::{Hook, HookMode, HookPoint, StepHooks, WorkflowHooks},
    input::{ExpressionSecurity, Input, StructuredInput},
    leaf::{AgentCall, AgentStep, Call, ToolCall, ToolStep},
    loop_::{LoopCondition, LoopStep, OnLimit},
    map::{Accumulator, MapStep, OnItemError},
    output::{Capture, Output},
    parallel::{Join, ParallelStep},
    step::{Step, StepKind},
    sub_workflow::WorkflowStep,
    version_range::{InvalidVersionRange, VersionRange},
    wait::{WaitDuration, WaitStep, WaitUntil},
};
use crate::{Timestamp, policy::WorkflowPolicies};

/// A workflow: which steps run, in what order, with what input, and what happens when they fail.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Workflow {
    /// The author's version of this workflow, `x.y.z`.
    #[schemars(regex(pattern = r"^\d+\.\d+\.\d+$"))]
    pub version: String,
    /// The version of the format, `x.y.z`; absent means `1.0.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^\d+\.\d+\.\d+$"))]
    pub schema_version: Option<String>,
    /// SHA-256 of the format's JSON Schema, 64 lowercase hex digits; compared in strict mode only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub schema_hash: Option<String>,
    /// What the workflow is.
    pub metadata: Metadata,
    /// JSON Schema (2020-12) of the execution's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub inputs: Option<Value>,
    /// Templates of what the execution answers; default every top-level step's output by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<IndexMap<String, Value>>,
    /// What expressions may read beside input and steps.
    #[serde(skip_serializing_if = "Context::is_empty")]
    #[schemars(default)]
    pub context: Context,
    /// Names of process variables that `env` may show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub allowed_env_vars: Vec<String>,
    /// The steps, at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// What is called around the whole workflow and all its steps.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub hooks: WorkflowHooks,
    /// What the whole workflow asks for.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub policies: WorkflowPolicies,
}

/// What a workflow is, for people and catalogues.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Metadata {
    /// The workflow's id, 1–255 characters.
    #[schemars(length(min = 1, max = 255))]
    pub id: String,
    /// Its name, 1–255 characters.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// What it is for, at most 1000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub tags: Vec<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// What expressions may read beside input and steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct Context {
    /// Texts under the root `env`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub environment: IndexMap<String, String>,
    /// Values under the root `variables`; not templates.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// References to secrets that agents may ask for: `secret://` and a path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_refs: Vec<String>,
}

impl Context {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
