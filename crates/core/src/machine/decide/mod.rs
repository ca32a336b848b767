//! What happens next: at most one derived event, from the state alone.
//!
//! The order is: ends of attempts; then what follows from them, oldest first; then ready steps; then, when nothing of this is
//! left, the end of the execution. In a pause there are only ends.

pub(crate) mod composite;
mod wait;

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, EventBody, Queued, Reuse, SkipReason},
    expression::{EvaluationError, Template},
    json_schema::Violations,
    policy::OnError,
    validate::ValidKind,
};
use serde_json::{Value, json};

use super::{
    Phase, State, Status,
    agenda::Consequence,
    compensation,
    hooks::{self, Turn},
    instance::Place,
    scope::StepScope,
};
use crate::plan::Plan;

/// Decides the next derived event; absent if nothing follows.
#[must_use]
pub fn decide(plan: &Plan, state: &State) -> Option<EventBody> {
    if let Some(&activation) = state.agenda.ends.front() {
        return Some(end_of_attempt(plan, state, activation));
    }
    match state.status {
        Status::Running if state.is_journal_full() => {
            Some(EventBody::ExecutionFailing { error: Arc::new(journal_full(state)) })
        }
        Status::Running => {
            if let Some(consequence) = state.agenda.consequences.front() {
                return follow(plan, state, consequence);
            }
            if let Some(ready) = state.agenda.ready.peek() {
                return Some(self::ready(plan, state, ready.0.1));
            }
            if state.live == 0 { completion(plan, state) } else { None }
        }
        Status::Failing | Status::Cancelling => ending(plan, state),
        Status::Queued | Status::Paused | Status::Completed | Status::Failed | Status::Cancelled => None,
    }
}

impl State {
    /// Whether the journal has no room but for the end of the execution.
    fn is_journal_full(&self) -> bool {
        const FOR_THE_END: u64 = 1_000;

        let most = self.queued.as_ref().and_then(|queued| queued.max_events).unwrap_or(<Queued>::DEFAULT_MAX_EVENTS);
        self.sequence + FOR_THE_END + u64::from(self.live) >= most
    }
}

fn journal_full(state: &State) -> Failure {
    let message = format!("the journal has {} events, and the rest is kept for the end", state.sequence);
    let mut error = Failure::new(ErrorKind::BudgetExceeded, message);
    (error.context, error.timestamp) = (Some(json!({ "budget": "maxEvents" })), Some(state.latest));
    error
}

/// What follows from an event.
fn follow(plan: &Plan, state: &State, consequence: &Consequence) -> Option<EventBody> {
    Some(match consequence {
        Consequence::Skip(activation, dependency) => EventBody::StepSkipped {
            activation: *activation,
            reason: SkipReason::DependencyNotCompleted,
            dependency: Some(*dependency),
        },
        Consequence::NotNeeded(activation) => {
            EventBody::StepSkipped { activation: *activation, reason: SkipReason::FallbackNotNeeded, dependency: None }
        }
        Consequence::Fallback(activation) => {
            EventBody::StepFallback { activation: *activation, fallback: state.fallback_of(plan, *activation)? }
        }
        Consequence::Rescued(activation) => {
            let (activation, fallback) = (*activation, state.fallback_of(plan, *activation)?);
            if state.steps[fallback.get()].is_satisfied() {
                EventBody::StepRecovered { activation, fallback }
            } else {
                EventBody::StepFallbackFailed { activation, fallback }
            }
        }
        Consequence::Open(activation) => match plan.valid_step(state.steps[activation.get()].step).kind {
            ValidKind::Wait(_) | ValidKind::Approval(_) => wait::begin(plan, state, *activation),
            _ => EventBody::StepStarted { activation: *activation },
        },
        Consequence::Ask(activation) => {
            EventBody::ApprovalRequested { activation: *activation, expires_at: state.steps[activation.get()].due_at }
        }
        Consequence::Deliver(name) => {
            let (activation, signal_sequence) = state.next_delivery(plan, name)?;
            EventBody::SignalDelivered { activation, signal_sequence }
        }
        Consequence::Decide(activation) => composite::way(plan, state, *activation),
        Consequence::Join(activation) => {
            EventBody::ParallelJoined { activation: *activation, completed: state.joined_count(*activation) }
        }
        Consequence::Abort(place) => cancelled(state, state.innermost(*place)?),
        Consequence::EndItem(place) => composite::item(plan, state, *place)?,
        Consequence::Close(activation) => match state.innermost_of(*activation) {
            Some(inner) => cancelled(state, inner),
            None => match hooks::turn(plan, state, *activation) {
                Turn::Decide(event) => event,
                Turn::Wait => return None,
                Turn::Over => composite::end(plan, state, *activation),
            },
        },
        Consequence::Hook(activation) => match hooks::turn(plan, state, *activation) {
            Turn::Decide(event) => event,
            Turn::Wait | Turn::Over => return None,
        },
        Consequence::Fail(error) => match state.untold(error) {
            Some(budget) => EventBody::BudgetExceeded { activation: Activation::EXECUTION, budget },
            None => EventBody::ExecutionFailing { error: Arc::clone(error) },
        },
    })
}

fn cancelled(state: &State, activation: Activation) -> EventBody {
    EventBody::StepCancelled { activation, forced: state.steps[activation.get()].phase.is_in_flight() }
}

impl State {
    /// Finds an activation below a scope instance that is not terminal and holds nothing open itself.
    fn innermost(&self, place: Place) -> Option<Activation> {
        let mut place = place;
        loop {
            let scope = &self.scopes[place as usize];
            let live = self.activations(place).skip(scope.swept as usize).map(Activation);
            let activation = live.into_iter().find(|activation| !self.steps[activation.get()].phase.is_terminal())?;
            match self.open_in(activation) {
                Some(inner) => place = inner,
                None => return Some(activation),
            }
        }
    }

    /// The same below a composite, itself excepted.
    fn innermost_of(&self, composite: Activation) -> Option<Activation> {
        self.innermost(self.open_in(composite)?)
    }

    fn open_in(&self, composite: Activation) -> Option<Place> {
        self.steps[composite.get()].composite.as_ref()?.open.last().copied()
    }
}

/// An attempt has begun for the first time, or ended for the last.
fn end_of_attempt(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    let step = &state.steps[activation.get()];
    if step.phase == Phase::Starting {
        return EventBody::StepStarted { activation };
    }
    if let Some(output) = &step.output {
        let is_known = step.reuse == Some(Reuse::Reused);
        return EventBody::StepCompleted { activation, output: (!is_known).then(|| Arc::clone(output)) };
    }
    if state.status.is_ending() {
        return EventBody::StepCancelled { activation, forced: false };
    }
    if let Some(budget) = step.error.as_ref().and_then(|error| state.untold(error)) {
        return EventBody::BudgetExceeded { activation, budget };
    }
    let mut error = match &step.error {
        Some(error) => Failure::clone(error),
        None => Failure::new(ErrorKind::Internal, "the call ended without an answer"),
    };
    error.attempts = step.attempts;
    if let Some(leaf) = &plan.steps()[step.step.get()].leaf {
        let most = leaf.policy.max_attempts;
        error.retry_exhausted =
            most > 1 && leaf.policy.retryable.contains(&error.code) && step.attempts + step.rejected >= most;
    }
    fail(plan, state, activation, error)
}

/// A step's turn has come: condition and input are evaluated, once.
fn ready(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    let step = state.steps[activation.get()].step;
    let (planned, valid) = (&plan.steps()[step.get()], plan.valid_step(step));
    let scope = StepScope::of_step(plan, state, activation);
    if let Some(condition) = &valid.condition {
        match condition.holds(&scope) {
            Ok(true) => {}
            Ok(false) => {
                return EventBody::StepSkipped { activation, reason: SkipReason::ConditionNotMet, dependency: None };
            }
            Err(error) => return fail(plan, state, activation, invalid("its condition", &error)),
        }
    }
    let served = planned.serves.filter(|_| !valid.input.is_declared());
    let served = served.and_then(|served| state.steps[state.sibling(plan, activation, served).get()].input.clone());
    let mut input = match served.map_or_else(|| valid.input.resolve(&scope).map(Arc::new), Ok) {
        Ok(input) => input,
        Err(error) => return fail(plan, state, activation, invalid("its input", &error)),
    };
    if let Some(leaf) = &planned.leaf
        && let Some(schema) = leaf.callee.input_schema()
        && let Err(violations) = schema.validate(&input)
    {
        let callee = leaf.callee.name();
        let message = format!("its input does not fit the schema of {callee}: {}", Violations(&violations));
        return fail(plan, state, activation, Failure::new(ErrorKind::Validation, message));
    }
    if let ValidKind::Workflow(child) = &valid.kind {
        match child.check_input(Arc::unwrap_or_clone(input)) {
            Ok(checked) => input = Arc::new(checked),
            Err(violations) => {
                let message = format!("its input does not fit `inputs` of {}: {}", child.id(), Violations(&violations));
                return fail(plan, state, activation, Failure::new(ErrorKind::Validation, message));
            }
        }
    }
    let idempotency_key = match valid.idempotency_key.as_ref().map(|key| key.resolve(&scope, Template::MAX_INPUT_SIZE))
    {
        None => None,
        Some(Ok(Value::String(key))) if !key.is_empty() && key.chars().count() <= 255 => Some(key.into()),
        Some(Ok(_)) => {
            let message = "its idempotency key is no text of 1 to 255 characters";
            return fail(plan, state, activation, Failure::new(ErrorKind::Validation, message));
        }
        Some(Err(error)) => return fail(plan, state, activation, invalid("its idempotency key", &error)),
    };
    let reuse = state.judge_reuse(plan, activation, &input);
    EventBody::StepScheduled { activation, input, idempotency_key, reuse }
}

pub(super) fn invalid(what: &str, error: &EvaluationError) -> Failure {
    Failure::new(ErrorKind::Validation, format!("{what} cannot be evaluated: {error}"))
}

/// A failure that says where and when.
fn located(plan: &Plan, state: &State, activation: Activation, mut error: Failure) -> Failure {
    error.step_path = Some(state.path_of(plan, activation));
    error.timestamp = Some(state.latest);
    error
}

fn fail(plan: &Plan, state: &State, activation: Activation, error: Failure) -> EventBody {
    let error = located(plan, state, activation, error);
    let planned = &plan.steps()[state.steps[activation.get()].step.get()];
    let fatal = match planned.on_error {
        // With a fallback it is fatal only if that fails, too.
        OnError::Continue | OnError::Fallback => false,
        // Where a fallback fails, the failure that it was called for is the fatal one.
        OnError::Fail | OnError::Retry => planned.serves.is_none(),
    };
    EventBody::StepFailed { activation, error: Arc::new(error), fatal }
}

/// Every step is terminal: the execution completes, or fails after all.
fn completion(plan: &Plan, state: &State) -> Option<EventBody> {
    if let Some(error) = &state.fatal {
        return Some(EventBody::ExecutionFailing { error: Arc::clone(error) });
    }
    Some(match plan.workflow().resolve_outputs(&StepScope::of_execution(plan, state)) {
        // The outcome is fixed, and the last hooks are told before it ends.
        Ok(outputs) => match hooks::turn(plan, state, Activation::EXECUTION) {
            Turn::Decide(event) => event,
            Turn::Wait => return None,
            Turn::Over => {
                EventBody::ExecutionCompleted { outputs: outputs.map(|outputs| Arc::new(Value::Object(outputs))) }
            }
        },
        Err(error) => {
            let message = format!("the workflow's outputs cannot be evaluated: {error}");
            let mut error = Failure::new(ErrorKind::Validation, message);
            error.timestamp = Some(state.latest);
            EventBody::ExecutionFailing { error: Arc::new(error) }
        }
    })
}

/// The execution ends: what does not run is ended step by step, then what runs is waited for, then composites are ended, the
/// inner ones first, then what was done is undone, hooks are told, and then it is over.
fn ending(plan: &Plan, state: &State) -> Option<EventBody> {
    let ending = state.ending.as_ref()?;
    if let Some(step) = state.steps.get(ending.cursor as usize) {
        let activation = Activation(ending.cursor);
        let pending =
            matches!(step.phase, Phase::Blocked | Phase::Ready | Phase::Before | Phase::Scheduled | Phase::Opening);
        return Some(if pending && state.status == Status::Failing && step.scope == 0 {
            EventBody::StepSkipped { activation, reason: SkipReason::WorkflowFailed, dependency: None }
        } else {
            EventBody::StepCancelled { activation, forced: step.phase.is_in_flight() }
        });
    }
    if state.in_flight > 0 {
        return None;
    }
    if let Some(composite) = ending.composites.checked_sub(1) {
        return Some(EventBody::StepCancelled { activation: Activation(composite), forced: false });
    }
    if state.live > 0 {
        return None;
    }
    let undo = compensation::next(plan, state);
    if undo.is_some() || state.is_compensating() {
        return undo;
    }
    match hooks::turn(plan, state, Activation::EXECUTION) {
        Turn::Decide(event) => Some(event),
        Turn::Wait => None,
        Turn::Over => Some(match state.status {
            Status::Failing => EventBody::ExecutionFailed,
            _ => EventBody::ExecutionCancelled { graceful: !ending.dropped },
        }),
    }
}
