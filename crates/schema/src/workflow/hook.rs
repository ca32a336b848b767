//! What is called around executions and steps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, is_default};
use crate::Millis;

/// What is called around the whole workflow and all its steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct WorkflowHooks {
    /// Before the first step; guards are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_execution: Vec<Hook>,
    /// At the very end, however the execution ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_execution: Vec<Hook>,
    /// After a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_error: Vec<Hook>,
    /// After a cancellation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_cancel: Vec<Hook>,
    /// Before each step, inner ones included; guards are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_step: Vec<Hook>,
    /// After each step that completed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_step: Vec<Hook>,
    /// After the final failure of each step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_step_error: Vec<Hook>,
}

impl WorkflowHooks {
    /// Returns every list of hooks with its point, in the order of the specification.
    pub fn iter(&self) -> impl Iterator<Item = (HookPoint, &[Hook])> {
        [
            (HookPoint::BeforeExecution, &*self.before_execution),
            (HookPoint::AfterExecution, &*self.after_execution),
            (HookPoint::OnError, &*self.on_error),
            (HookPoint::OnCancel, &*self.on_cancel),
            (HookPoint::BeforeStep, &*self.before_step),
            (HookPoint::AfterStep, &*self.after_step),
            (HookPoint::OnStepError, &*self.on_step_error),
        ]
        .into_iter()
    }
}

/// What is called around one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(default)]
#[non_exhaustive]
pub struct StepHooks {
    /// Once its input is resolved; guards are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// When it has completed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
    /// After its final failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_error: Vec<Hook>,
}

impl StepHooks {
    /// Returns every list of hooks with its point, in the order of the specification.
    pub fn iter(&self) -> impl Iterator<Item = (HookPoint, &[Hook])> {
        [(HookPoint::Before, &*self.before), (HookPoint::After, &*self.after), (HookPoint::OnError, &*self.on_error)]
            .into_iter()
    }
}

/// Where a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookPoint {
    /// `beforeExecution` of a workflow.
    BeforeExecution,
    /// `afterExecution` of a workflow.
    AfterExecution,
    /// `onCancel` of a workflow.
    OnCancel,
    /// `beforeStep` of a workflow.
    BeforeStep,
    /// `afterStep` of a workflow.
    AfterStep,
    /// `onStepError` of a workflow.
    OnStepError,
    /// `before` of a step.
    Before,
    /// `after` of a step.
    After,
    /// `onError` of a workflow or a step.
    OnError,
}

impl HookPoint {
    /// Returns the key that its hooks are written under.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::BeforeExecution => "beforeExecution",
            Self::AfterExecution => "afterExecution",
            Self::OnCancel => "onCancel",
            Self::BeforeStep => "beforeStep",
            Self::AfterStep => "afterStep",
            Self::OnStepError => "onStepError",
            Self::Before => "before",
            Self::After => "after",
            Self::OnError => "onError",
        }
    }

    /// Whether a guard can prevent something there.
    #[must_use]
    pub fn allows_guards(self) -> bool {
        matches!(self, Self::BeforeExecution | Self::BeforeStep | Self::Before)
    }
}

/// A call of an agent or a tool at one point.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Hook {
    /// What is called.
    #[serde(flatten)]
    pub call: Call,
    /// What it is given, a template; default `self`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Whether it only looks on; default `observer`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub mode: HookMode,
    /// How long it may take; default [`Hook::DEFAULT_TIMEOUT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
}

impl Hook {
    /// Five seconds.
    pub const DEFAULT_TIMEOUT: Millis = Millis(5_000);

    /// Makes an observer.
    #[must_use]
    pub fn new(call: Call) -> Self {
        Self { call, input: None, mode: HookMode::Observer, timeout: None }
    }
}

/// What a hook's answer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HookMode {
    /// Nothing.
    #[default]
    Observer,
    /// It allows or denies what comes next.
    Guard,
}

impl HookMode {
    /// Returns the mode as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Guard => "guard",
        }
    }
}
