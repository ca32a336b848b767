//! What is said of a workflow that is not started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Warning;
use crate::Diagnostic;

/// What is wrong with a workflow, and how large it is (`POST /v1/workflows/validate`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// Whether it can be started.
    pub valid: bool,
    /// Everything that was found, in the order of the document.
    pub diagnostics: Vec<Diagnostic>,
    /// How large it is; absent if it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<WorkflowStats>,
    /// What of the request is probably not meant so: keys that are unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// How large a workflow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStats {
    /// How many steps it has.
    pub steps: usize,
    /// The longest chain of steps that wait for each other.
    pub max_depth: usize,
}
