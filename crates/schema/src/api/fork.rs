//! What is said about forks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Accepted;
use crate::{StepPath, event::ForkedFrom};

/// The body of a request for a fork: exactly one of `fromStep` and `sequence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ForkBody {
    /// Begin just before this step was first scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_step: Option<StepPath>,
    /// Begin behind the event of this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Another input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// An edited workflow document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Value>,
    /// The documents that the workflow refers to, by reference; at most 100.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub bundle: Map<String, Value>,
}

/// The answer to a request for a fork: 202.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForkAnswer {
    /// The new execution.
    #[serde(flatten)]
    pub accepted: Accepted,
    /// Where it begins.
    pub forked_from: ForkedFrom,
    /// How many results it may take over.
    pub retained: u32,
    /// Results that have no place in the other workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<NotRetained>,
}

/// A result that a fork cannot take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotRetained {
    /// The step that had it.
    pub step_path: StepPath,
    /// Why, for people.
    pub because: String,
}
