//! One of several ways.

use schemars::JsonSchema;
use serde::Serialize;

use super::Step;

/// Runs the steps of the first case that holds.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BranchStep {
    /// The cases, at least one, asked in this order.
    #[schemars(length(min = 1))]
    pub cases: Vec<Case>,
    /// What runs when no case holds; without it that is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultCase>,
}

impl BranchStep {
    /// Makes a branch without a default.
    #[must_use]
    pub fn new(cases: Vec<Case>) -> Self {
        Self { cases, default: None }
    }
}

/// A way, and when it is taken.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Case {
    /// What `steps.<id>.case` shows when it is taken, 1–255 characters, not `default`; default `case-<index>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// A JMESPath condition, or exactly one expression.
    pub when: String,
    /// The steps, at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

impl Case {
    /// Makes a case without a name.
    #[must_use]
    pub fn new(when: impl Into<String>, steps: Vec<Step>) -> Self {
        Self { name: None, when: when.into(), steps }
    }
}

/// What runs when no case holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DefaultCase {
    /// The steps; there may be none.
    pub steps: Vec<Step>,
}

impl DefaultCase {
    /// What the default is called where cases are named.
    pub const NAME: &'static str = "default";

    /// Makes a default case.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }
}
