//! What expressions see: the roots, shown from plan and state.

use std::borrow::Cow;

use orchestr8_schema::{
    StepIndex,
    expression::{ContextField, Root, Scope, StepField},
};
use serde_json::Value;

use super::{Phase, State, StepState};
use crate::plan::Plan;

/// The view that one step's expressions have, or that of the workflow's `outputs`.
#[derive(Clone, Copy, Debug)]
pub struct StepScope<'a> {
    plan: &'a Plan,
    state: &'a State,
    step: Option<StepIndex>,
}

impl<'a> StepScope<'a> {
    /// Makes the view of a step.
    #[must_use]
    pub fn of_step(plan: &'a Plan, state: &'a State, step: StepIndex) -> Self {
        Self { plan, state, step: Some(step) }
    }

    /// Makes the view of the workflow's `outputs`, which belong to no step.
    #[must_use]
    pub fn of_execution(plan: &'a Plan, state: &'a State) -> Self {
        Self { plan, state, step: None }
    }

    fn context(&self, field: ContextField) -> Option<Value> {
        let queued = self.state.queued.as_ref()?;
        Some(Value::String(match field {
            ContextField::ExecutionId => queued.execution_id.to_string(),
            ContextField::CorrelationId => queued.correlation_id.to_string(),
            ContextField::WorkflowId => self.plan.workflow().id().to_owned(),
            ContextField::StepId => self.plan.steps().get(self.step?.get())?.identity.step_id.to_string(),
            _ => return None,
        }))
    }
}

impl Scope for StepScope<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        match root {
            Root::Step { step, field } => field_of(self.state.steps.get(step.get())?, field),
            Root::Inputs => Some(Cow::Borrowed(&self.state.queued.as_ref()?.input)),
            Root::Variables => Some(Cow::Borrowed(&self.state.queued.as_ref()?.variables)),
            Root::Env => Some(Cow::Borrowed(&self.state.queued.as_ref()?.env)),
            Root::Context(field) => self.context(field).map(Cow::Owned),
            Root::Metadata => Some(Cow::Borrowed(self.plan.metadata())),
            _ => None,
        }
    }
}

/// Shows a step that is terminal; of any other, expressions see nothing.
fn field_of(step: &StepState, field: StepField) -> Option<Cow<'_, Value>> {
    if !step.phase.is_terminal() {
        return None;
    }
    match field {
        StepField::Output if step.phase == Phase::Completed => step.output.as_deref().map(Cow::Borrowed),
        StepField::Status => Some(Cow::Owned(step.phase.status().into())),
        StepField::Error => Some(Cow::Owned(serde_json::to_value(step.error.as_deref()?).ok()?)),
        StepField::Attempts => Some(Cow::Owned(step.attempts.into())),
        _ => None,
    }
}
