//! Steps side by side.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Step, is_default};

/// Runs its steps as soon as they are ready, and ends when enough of them have completed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ParallelStep {
    /// The steps, at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// How many of the joined steps it takes; default `all`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub join: Join,
    /// Whether what still runs is cancelled when the join is met; default true.
    #[serde(skip_serializing_if = "is_true")]
    #[schemars(default = "yes")]
    pub cancel_remaining: bool,
}

impl ParallelStep {
    /// Makes a group that waits for all its steps.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps, join: Join::All, cancel_remaining: true }
    }
}

/// How many joined steps complete a parallel group. Joined are those on which no other step of the group depends, fallbacks
/// excepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Join {
    /// All of them.
    #[default]
    All,
    /// The first one that completes.
    Any,
    /// This many, 1 to the number of joined steps.
    AtLeast(#[schemars(range(min = 1))] u32),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_true(flag: &bool) -> bool {
    *flag
}

fn yes() -> bool {
    true
}
