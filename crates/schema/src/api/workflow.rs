//! The catalogue: workflows that a server knows from its own files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Diagnostic;

/// A page of the catalogue (`GET /v1/workflows`), and what could not be taken into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowList {
    /// The workflows in the order of their ids.
    pub workflows: Vec<WorkflowEntry>,
    /// Files that offer no workflow, the same on each page.
    pub unusable: Vec<UnusableFile>,
    /// What to give as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// What the catalogue tells of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowEntry {
    /// Its id, to be given as `workflowId`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its file.
    pub file: String,
    /// How many steps it has.
    pub steps: usize,
    /// The longest chain of steps that wait for each other.
    pub max_depth: usize,
    /// JSON Schema of its input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
    /// What is probably not meant so.
    pub warnings: Vec<Diagnostic>,
}

/// A workflow of the catalogue in full (`GET /v1/workflows/{id}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowDetail {
    /// What lists tell of it.
    #[serde(flatten)]
    pub entry: WorkflowEntry,
    /// The document, with sub-workflows under `x-workflows`. Secrets are hidden.
    pub workflow: Value,
}

/// A file that offers no workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnusableFile {
    /// The file, or the folder that cannot be read.
    pub file: String,
    /// The id that the workflow would have, if that much can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why, for people.
    pub reason: String,
    /// Everything that is wrong with the workflow.
    pub diagnostics: Vec<Diagnostic>,
}
