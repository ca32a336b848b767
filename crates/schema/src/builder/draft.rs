//! A step before it is added.

use std::{marker::PhantomData, time::Duration};

use super::{Step, state::State, value::Read};
use crate::{
    StepId,
    policy::{OnError, StepPolicies},
    validate::CallSchemas,
    workflow::{self, Compensation, Condition, StepHooks, StepKind},
};

/// A step that is being described, whose output will be an `O`.
#[derive(Debug)]
#[must_use = "a step does nothing until it is added"]
pub struct Draft<K, O> {
    pub(super) kind: K,
    pub(super) common: Common,
    output: PhantomData<fn() -> O>,
}

#[derive(Debug, Default)]
pub(super) struct Common {
    name: Option<String>,
    condition: Option<Condition>,
    policies: StepPolicies,
    on_error: OnError,
    fallback: Option<StepId>,
    pub(super) compensate: Option<Compensation>,
    pub(super) hooks: StepHooks,
    pub(super) reads: Vec<Read>,
    pub(super) errors: Vec<String>,
    pub(super) callees: Vec<(workflow::Call, CallSchemas)>,
}

/// What a step does. The kinds are those of this module.
pub trait Kind: Lower {}

impl<K: Lower> Kind for K {}

/// Turns what was described into a part of the workflow. Out of reach, so that nobody else makes kinds.
pub trait Lower {
    fn into_kind(self, state: &mut State) -> (StepKind, Vec<Read>);
}

impl<K, O> Draft<K, O> {
    pub(super) fn new(kind: K) -> Self {
        Self { kind, common: Common::default(), output: PhantomData }
    }

    /// Sets the step's name for people; default its id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.common.name = Some(name.into());
        self
    }

    /// Waits for a step that is not read.
    pub fn after<P>(mut self, step: &Step<P>) -> Self {
        self.common.reads.push(step.read());
        self
    }

    /// Runs only if a JMESPath condition holds, such as ``inputs.amount > `1000` ``; steps named in it are waited for.
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.common.condition = Some(Condition::Predicates { if_: Some(condition.into()), unless: None });
        self
    }

    /// Limits the whole step: all attempts and the time between them.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.policies(|policies| policies.deadline = Some(deadline.into()))
    }

    /// Changes what the step asks for.
    pub fn policies(mut self, change: impl FnOnce(&mut StepPolicies)) -> Self {
        change(&mut self.common.policies);
        self
    }

    /// Lets the workflow go on when the step fails; what waits for it is skipped.
    pub fn continue_on_error(mut self) -> Self {
        self.common.on_error = OnError::Continue;
        self
    }

    /// Lets another step, added before to the same list, stand in when this one fails.
    pub fn fallback(mut self, step: &Step<O>) -> Self {
        self.common.on_error = OnError::Fallback;
        self.common.fallback = Some(step.id().clone());
        self
    }
}

impl<K: Kind, O> Draft<K, O> {
    pub(super) fn into_step(self, id: StepId, state: &mut State) -> (workflow::Step, Vec<Read>, Vec<String>) {
        let Common { name, condition, policies, on_error, fallback, compensate, hooks, mut reads, errors, callees } =
            self.common;
        let (kind, read) = self.kind.into_kind(state);
        reads.extend(read);
        for (callee, schemas) in callees {
            state.know(&callee, schemas);
        }
        let mut step = workflow::Step::new(id, kind);
        step.name = name;
        step.condition = condition;
        step.policies = policies;
        step.on_error = on_error;
        step.fallback_step_id = fallback;
        step.compensate = compensate.map(Box::new);
        step.hooks = hooks;
        (step, reads, errors)
    }
}
