//! Why a step is as it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a step is as it is: the slice of workflow and journal that led there (`GET …/steps/{stepPath}/why`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The step.
    pub step_path: String,
    /// How often the place was entered before.
    pub visit: u32,
    /// Its status; `pending` of a step whose composite has not opened, `skipped` if it never will.
    pub status: String,
    /// What led there, nearest cause first: each is followed by its own causes, which are one deeper.
    pub causes: Vec<Cause>,
}

impl Why {
    /// The most causes that are told.
    pub const MAX_CAUSES: usize = 100;
}

/// Something that led to something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// 0 for what led to the step as it is, 1 for what led to that, and so on.
    pub depth: u32,
    /// The event that tells of it, the newest if there are several; absent for what stands in the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// All events that tell of it, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<u64>,
    /// The type of the event; `workflow` or `policy` for what stands in the workflow.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, for people.
    pub text: String,
    /// The path of another step that it is about.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}
