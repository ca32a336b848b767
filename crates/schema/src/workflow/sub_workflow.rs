//! Another workflow as a step.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::policy::is_null;

/// Runs another workflow, within the same execution.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct WorkflowStep {
    /// A path relative to this file, which begins with `./` or `../`, or the id of a workflow that the loader knows.
    #[serde(rename = "ref")]
    #[schemars(length(min = 1, max = 1024))]
    pub reference: String,
    /// The workflow's input, a template; default `{}`.
    #[serde(skip_serializing_if = "is_null")]
    #[schemars(default)]
    pub input: Value,
}

impl WorkflowStep {
    /// Names a workflow.
    #[must_use]
    pub fn new(reference: impl Into<String>, input: Value) -> Self {
        Self { reference: reference.into(), input }
    }

    /// Whether the reference is a path, not an id.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.reference.starts_with("./") || self.reference.starts_with("../")
    }
}
