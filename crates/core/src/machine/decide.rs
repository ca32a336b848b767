//! What happens next: at most one derived event, from the state alone.
//!
//! The order is: ends of attempts; then what follows from them, oldest first; then ready steps; then, when nothing of this is
//! left, the end of the execution.

use std::sync::Arc;

use orchestr8_schema::{
    ErrorKind, Failure, StepIndex,
    event::{Activation, EventBody, SkipReason},
    expression::{EvaluationError, Template},
    json_schema::Violations,
    policy::OnError,
};
use serde_json::Value;

use super::{Phase, State, Status, agenda::Consequence, scope::StepScope};
use crate::plan::Plan;

/// Decides the next derived event; absent if nothing follows.
#[must_use]
pub fn decide(plan: &Plan, state: &State) -> Option<EventBody> {
    if let Some(&activation) = state.agenda.ends.front() {
        return Some(end_of_attempt(plan, state, activation));
    }
    match state.status {
        Status::Running => {
            if let Some(consequence) = state.agenda.consequences.front() {
                return Some(match consequence {
                    Consequence::Skip(activation, dependency) => EventBody::StepSkipped {
                        activation: *activation,
                        reason: SkipReason::DependencyNotCompleted,
                        dependency: Some(*dependency),
                    },
                    Consequence::Fail(error) => EventBody::ExecutionFailing { error: Arc::clone(error) },
                });
            }
            if let Some(rank) = state.agenda.ready.peek() {
                return Some(ready(plan, state, plan.at_rank(rank.0)));
            }
            (state.live == 0).then(|| completion(plan, state))
        }
        Status::Failing | Status::Cancelling => ending(state),
        Status::Queued | Status::Completed | Status::Failed | Status::Cancelled => None,
    }
}

/// An attempt has begun for the first time, or ended for the last.
fn end_of_attempt(plan: &Plan, state: &State, activation: Activation) -> EventBody {
    let step = &state.steps[activation.get()];
    if step.phase == Phase::Starting {
        return EventBody::StepStarted { activation };
    }
    if let Some(output) = &step.output {
        return EventBody::StepCompleted { activation, output: Arc::clone(output) };
    }
    if state.status.is_ending() {
        return EventBody::StepCancelled { activation, forced: false };
    }
    let planned = &plan.steps()[activation.get()];
    let mut error = match &step.error {
        Some(error) => Failure::clone(error),
        None => Failure::new(ErrorKind::Internal, "the call ended without an answer"),
    };
    error.attempts = step.attempts;
    let most = planned.policy.max_attempts;
    error.retry_exhausted =
        most > 1 && planned.policy.retryable.contains(&error.code) && step.attempts + step.rejected >= most;
    fail(plan, state, activation, error)
}

/// A step's turn has come: condition and input are evaluated, once.
fn ready(plan: &Plan, state: &State, step: StepIndex) -> EventBody {
    let activation = Activation(step.0);
    let valid = plan.valid_step(step);
    let scope = StepScope::of_step(plan, state, step);
    if let Some(condition) = &valid.condition {
        match condition.holds(&scope) {
            Ok(true) => {}
            Ok(false) => {
                return EventBody::StepSkipped { activation, reason: SkipReason::ConditionNotMet, dependency: None };
            }
            Err(error) => return fail(plan, state, activation, invalid("its condition", &error)),
        }
    }
    let input = match valid.input.resolve(&scope) {
        Ok(input) => input,
        Err(error) => return fail(plan, state, activation, invalid("its input", &error)),
    };
    let agent = &plan.steps()[step.get()].agent;
    if let Some(schema) = agent.input_schema()
        && let Err(violations) = schema.validate(&input)
    {
        let message =
            format!("its input does not fit the schema of {}: {}", agent.manifest().id, Violations(&violations));
        return fail(plan, state, activation, Failure::new(ErrorKind::Validation, message));
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
    EventBody::StepScheduled { activation, input: Arc::new(input), idempotency_key }
}

fn invalid(what: &str, error: &EvaluationError) -> Failure {
    Failure::new(ErrorKind::Validation, format!("{what} cannot be evaluated: {error}"))
}

fn fail(plan: &Plan, state: &State, activation: Activation, mut error: Failure) -> EventBody {
    let step = &plan.steps()[activation.get()];
    error.step_path = Some(step.identity.step_path.clone());
    error.timestamp = Some(state.latest);
    let fatal = match step.on_error {
        OnError::Continue => false,
        OnError::Fail | OnError::Retry | OnError::Fallback => true,
    };
    EventBody::StepFailed { activation, error: Arc::new(error), fatal }
}

/// Every step is terminal: the execution completes, or fails after all.
fn completion(plan: &Plan, state: &State) -> EventBody {
    if let Some(error) = &state.fatal {
        return EventBody::ExecutionFailing { error: Arc::clone(error) };
    }
    match plan.workflow().resolve_outputs(&StepScope::of_execution(plan, state)) {
        Ok(outputs) => {
            EventBody::ExecutionCompleted { outputs: outputs.map(|outputs| Arc::new(Value::Object(outputs))) }
        }
        Err(error) => {
            let message = format!("the workflow's outputs cannot be evaluated: {error}");
            let mut error = Failure::new(ErrorKind::Validation, message);
            error.timestamp = Some(state.latest);
            EventBody::ExecutionFailing { error: Arc::new(error) }
        }
    }
}

/// The execution ends: what does not run is ended step by step, then what runs is waited for, then it is over.
fn ending(state: &State) -> Option<EventBody> {
    let ending = state.ending.as_ref()?;
    if let Some(step) = state.steps.get(ending.cursor as usize) {
        let activation = Activation(ending.cursor);
        let pending = matches!(step.phase, Phase::Blocked | Phase::Ready | Phase::Scheduled);
        return Some(if pending && state.status == Status::Failing {
            EventBody::StepSkipped { activation, reason: SkipReason::WorkflowFailed, dependency: None }
        } else {
            EventBody::StepCancelled { activation, forced: step.phase.is_in_flight() }
        });
    }
    (state.live == 0).then_some(match state.status {
        Status::Failing => EventBody::ExecutionFailed,
        _ => EventBody::ExecutionCancelled { graceful: !ending.dropped },
    })
}
