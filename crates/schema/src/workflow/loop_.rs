//! The same steps again and again.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Step, is_default};
use crate::{Millis, policy::is_null};

/// Runs its steps until a condition says that it is enough.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LoopStep {
    /// When it ends.
    #[serde(flatten)]
    pub condition: LoopCondition,
    /// The most iterations, 1–10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_iterations: u32,
    /// The steps, at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// A template of the first `loop.value`; default null.
    #[serde(skip_serializing_if = "is_null")]
    #[schemars(default)]
    pub init: Value,
    /// A template of the next `loop.value`; default the object of the inner outputs by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The time between iterations; default none.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub delay: Millis,
    /// What it means that there are no iterations left; default `fail`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub on_limit: OnLimit,
}

impl LoopStep {
    /// Makes a loop that starts from null.
    #[must_use]
    pub fn new(condition: LoopCondition, max_iterations: u32, steps: Vec<Step>) -> Self {
        Self {
            condition,
            max_iterations,
            steps,
            init: Value::Null,
            value: None,
            delay: Millis(0),
            on_limit: OnLimit::Fail,
        }
    }
}

/// When a loop ends: a JMESPath condition, or exactly one expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoopCondition {
    /// Checked before each iteration, which runs if it holds.
    While(String),
    /// Checked after each iteration, which was the last if it holds.
    Until(String),
}

impl LoopCondition {
    /// Returns the key that it is written under.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::While(_) => "while",
            Self::Until(_) => "until",
        }
    }

    /// Returns the condition.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::While(text) | Self::Until(text) => text,
        }
    }
}

/// What it means that a loop has no iterations left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnLimit {
    /// The step fails with LOOP_LIMIT.
    #[default]
    Fail,
    /// The step completes with reason `limit`.
    Accept,
}
