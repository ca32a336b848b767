//! Forks: new executions that begin with what another one has come to.

use std::{collections::HashMap, sync::Arc};

use orchestr8_schema::{
    CorrelationId, ExecutionId, IdempotencyKey, StepId, StepIndex, StepPath, ValidWorkflow,
    event::{Activation, EventBody, ForkedFrom},
    validate::ScopeIndex,
};
use serde_json::{Map, Value};

use super::{
    Engine,
    request::{NamedRequest, StartError, StartRequest, Submission},
};
use crate::{
    execution::Snapshot,
    machine::{self, State},
    plan::Plan,
    store::StoreError,
};

/// Where in the life of an execution a fork begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checkpoint {
    /// Where it has come to.
    Latest,
    /// Behind the event of this number.
    Sequence(u64),
    /// Just before this step was first scheduled.
    Before(StepPath),
}

/// A request for a fork.
///
/// ```
/// use orchestr8_core::engine::{Checkpoint, ForkRequest};
///
/// // Everything that has completed is taken over, if its step gets the same input from this one.
/// let request = ForkRequest::at(Checkpoint::Latest).input(serde_json::json!({ "depth": 3 }));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ForkRequest {
    at: Checkpoint,
    input: Option<Value>,
    workflow: Option<ValidWorkflow>,
    correlation_id: Option<CorrelationId>,
    idempotency: Option<NamedRequest>,
}

/// A fork.
#[derive(Debug)]
#[non_exhaustive]
pub struct Forked {
    /// The new execution.
    pub submission: Submission,
    /// Where it begins.
    pub from: ForkedFrom,
    /// How many results it may take over.
    pub retained: u32,
    /// Results that have no place in the other workflow, in step-path order.
    pub dropped: Vec<Dropped>,
}

/// What is known of a fork before it is started.
pub(super) struct Prepared {
    from: ForkedFrom,
    retained: u32,
    pub(super) dropped: Vec<Dropped>,
}

/// A result that a fork cannot take over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The step that had it.
    pub step_path: StepPath,
    /// Why, for people.
    pub because: &'static str,
}

/// Why there is no fork.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// The journal is not so long.
    #[error("the journal has events 1 to {latest}, and none of the number {sequence}")]
    NoSuchSequence {
        /// The number that was asked for.
        sequence: u64,
        /// The number of the last event.
        latest: u64,
    },
    /// The step's turn has never come.
    #[error("`{0}` was never scheduled")]
    NeverScheduled(StepPath),
    /// What was done is being undone there, or was undone since.
    #[error("{0}")]
    Undone(String),
    /// The new execution could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed, or has no such execution.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ForkRequest {
    /// Makes a request for a fork with the input and the workflow of the other execution.
    pub fn at(at: Checkpoint) -> Self {
        Self { at, input: None, workflow: None, correlation_id: None, idempotency: None }
    }

    /// Puts another input in the place of the execution's.
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
        self
    }

    /// Puts another workflow in the place of the execution's: a repaired one goes on where the broken one stopped.
    pub fn workflow(mut self, workflow: ValidWorkflow) -> Self {
        self.workflow = Some(workflow);
        self
    }

    /// Sets what ties the new execution to its cause; default a fresh id.
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Names the request, as [`StartRequest::idempotency`] does.
    pub fn idempotency(mut self, key: IdempotencyKey, digest: impl Into<String>) -> Self {
        self.idempotency = Some((key, digest.into()));
        self
    }
}

impl Engine {
    /// Starts a new execution from a checkpoint of another one, which stays as it is.
    ///
    /// Results of steps that had completed there are taken over, each when its step's turn has come and its resolved input, agent,
    /// version and configuration are unchanged; any other step runs. Variables that the caller of the other execution had set, its
    /// environment and its time limit are taken over, too. Results that are taken over are not undone by the fork.
    ///
    /// # Errors
    ///
    /// [`ForkError`] if there is no such checkpoint, what had completed there was undone, or the new execution cannot be started. None
    /// exists then.
    pub async fn fork(&self, id: ExecutionId, request: ForkRequest) -> Result<Forked, ForkError> {
        self.fork_of(&self.snapshot(id).await?, request).await
    }

    pub(super) async fn fork_of(&self, known: &Snapshot, request: ForkRequest) -> Result<Forked, ForkError> {
        let (start, prepared) = self.prepare(known, request)?;
        let submission = self.submit(start).await?;
        let Prepared { from, retained, dropped } = prepared;
        Ok(Forked { submission, from, retained, dropped })
    }

    /// Puts together what a fork begins with.
    pub(super) fn prepare(
        &self,
        known: &Snapshot,
        request: ForkRequest,
    ) -> Result<(StartRequest, Prepared), ForkError> {
        let sequence = position(known, &request.at)?;
        let plan = Arc::clone(known.plan());
        let mut then = State::new(&plan);
        let count = usize::try_from(sequence).unwrap_or(usize::MAX);
        #[cfg(planted)]
        let count = if crate::planted::Defect::ForkOfTheEnd.is_made() { usize::MAX } else { count };
        for event in known.events().iter().take(count) {
            machine::fold(&plan, &mut then, event);
        }
        if then.is_compensating() {
            return Err(ForkError::Undone("what the execution had done is being undone there".to_owned()));
        }
        let mut retained = machine::retained(&plan, &then);
        for activation in (0..known.state().steps().len() as u32).map(Activation) {
            let path = known.state().path_of(&plan, activation);
            if known.state().is_undone(activation) && retained.contains_key(&path) {
                return Err(ForkError::Undone(format!("`{path}` was undone since")));
            }
        }
        let Some(queued) = known.state().queued() else { unreachable!("a snapshot begins with `execution.queued`") };
        let workflow = request.workflow.unwrap_or_else(|| queued.workflow.clone());
        let mut dropped = Vec::new();
        if !workflow.is_same(&queued.workflow) {
            let program = self.program(&workflow).map_err(StartError::Plan)?;
            let steps = StepsById::new(&program.plan);
            for activation in (0..then.steps().len() as u32).map(Activation) {
                let path = then.path_of(&plan, activation);
                let because = match steps.find(&program.plan, &chain(&plan, &then, activation)) {
                    None => "the workflow has no such step",
                    Some(step)
                        if program.plan.declaration(step).kind.key()
                            != plan.declaration(then.steps()[activation.get()].step).kind.key() =>
                    {
                        "the step is of another kind"
                    }
                    Some(_) => continue,
                };
                if retained.remove(&path).is_some() {
                    dropped.push(Dropped { step_path: path, because });
                }
            }
            dropped.sort_unstable_by(|one, other| one.step_path.cmp(&other.step_path));
        }
        let count = retained.len() as u32;
        let from = ForkedFrom { execution_id: queued.execution_id, sequence };
        let own = own_variables(&queued.workflow, &queued.input, &queued.variables);
        let input = request.input.unwrap_or_else(|| Value::clone(&queued.input));
        let env = queued.env.as_object().into_iter().flatten();
        let env: Vec<_> = env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        let mut start = StartRequest::new(&workflow, input).variables(own).env(env).forked(from, retained);
        if let Some(timeout) = queued.timeout {
            start = start.timeout(timeout);
        }
        if let Some(count) = queued.max_concurrent_steps {
            start = start.max_concurrent_steps(count);
        }
        if let Some(budget) = &queued.budget {
            start = start.budget(budget.clone());
        }
        if let Some(id) = request.correlation_id {
            start = start.correlation_id(id);
        }
        if let Some((key, digest)) = request.idempotency {
            start = start.idempotency(key, digest);
        }
        Ok((start, Prepared { from, retained: count, dropped }))
    }
}

/// Finds the number of events before a checkpoint.
fn position(known: &Snapshot, at: &Checkpoint) -> Result<u64, ForkError> {
    let latest = known.events().len() as u64;
    match at {
        Checkpoint::Latest => Ok(latest),
        Checkpoint::Sequence(sequence) if (1..=latest).contains(sequence) => Ok(*sequence),
        Checkpoint::Sequence(sequence) => Err(ForkError::NoSuchSequence { sequence: *sequence, latest }),
        Checkpoint::Before(path) => {
            let state = known.state();
            let mut steps = (0..state.steps().len() as u32).map(Activation);
            let of_path = steps.find(|activation| state.path_of(known.plan(), *activation) == *path);
            let scheduled = known.events().iter().position(|event| {
                matches!(&event.body, EventBody::StepScheduled { activation, .. } if Some(*activation) == of_path)
            });
            scheduled.map(|before| before as u64).ok_or_else(|| ForkError::NeverScheduled(path.clone()))
        }
    }
}

/// The variables that were neither declared with their value nor given as input: those that the caller has set.
pub(crate) fn own_variables(workflow: &ValidWorkflow, input: &Value, variables: &Value) -> Map<String, Value> {
    let declared = &workflow.workflow().context.variables;
    let is_given = |name: &str, value: &Value| workflow.inputs().is_none() && input.get(name) == Some(value);
    let variables = variables.as_object().into_iter().flatten();
    let own = variables.filter(|(name, value)| declared.get(*name) != Some(*value) && !is_given(name, value));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The ids of the steps around an activation, the outermost first, and its own.
pub(super) fn chain(plan: &Plan, state: &State, activation: Activation) -> Vec<StepId> {
    let outer = std::iter::successors(Some(activation), |inner| state.parent_of(*inner));
    let mut ids: Vec<_> = outer.map(|around| plan.steps()[state.steps()[around.get()].step.get()].id.clone()).collect();
    ids.reverse();
    ids
}

/// The steps of a plan by the scopes that they stand in.
pub(super) struct StepsById(HashMap<(ScopeIndex, StepId), StepIndex>);

impl StepsById {
    pub(super) fn new(plan: &Plan) -> Self {
        let steps = (0..).map(StepIndex).zip(plan.steps());
        Self(steps.map(|(index, step)| ((step.scope, step.id.clone()), index)).collect())
    }

    /// Finds the step at the end of a chain of ids.
    pub(super) fn find(&self, plan: &Plan, ids: &[StepId]) -> Option<StepIndex> {
        let mut scopes = vec![ScopeIndex::ROOT];
        let mut found = None;
        for id in ids {
            let step = scopes.iter().find_map(|scope| self.0.get(&(*scope, id.clone())).copied())?;
            scopes = plan.scopes_inside(step);
            found = Some(step);
        }
        found
    }
}
