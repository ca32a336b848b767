//! How the effect of a step is undone.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Call, is_default};
use crate::policy::{StepPolicies, is_null};

/// A call that undoes what a step did, when its execution fails or is cancelled later.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Compensation {
    /// What is called.
    #[serde(flatten)]
    pub call: Call,
    /// What it is given, a template that may read `self.input` and `self.output`; default `{}`.
    #[serde(skip_serializing_if = "is_null")]
    #[schemars(default)]
    pub input: Value,
    /// What the call asks for beyond the default policies.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub policies: StepPolicies,
    /// Which ends of the step it is for; default `completed`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub on: CompensateOn,
}

impl Compensation {
    /// Makes a compensation of completed steps.
    #[must_use]
    pub fn new(call: Call, input: Value) -> Self {
        Self { call, input, policies: StepPolicies::default(), on: CompensateOn::Completed }
    }
}

/// Which ends of a step are compensated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CompensateOn {
    /// Completed.
    #[default]
    Completed,
    /// Every end, if an attempt was made: a call that failed may have had an effect.
    Attempt,
}
