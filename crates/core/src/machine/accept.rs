//! When an event fits the state, and when it is refused.

use std::borrow::Cow;

use orchestr8_schema::event::{Activation, EventBody, TimeoutScope, Timer};

use super::{Phase, State, Status, StepState, fold::timer_due};
use crate::plan::Plan;

/// Why an event was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Refusal {
    /// What does not fit, for people.
    pub message: Cow<'static, str>,
}

impl Refusal {
    fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into() }
    }
}

/// Checks that an event fits the state, whoever made it. An event that fits can be folded.
///
/// # Errors
///
/// [`Refusal`] if it does not fit: an answer of a call that was aborted, a timer that was cleared, a request that the status
/// forbids, anything after the terminal event.
pub fn accept(plan: &Plan, state: &State, body: &EventBody) -> Result<(), Refusal> {
    if state.status.is_terminal() {
        return Err(Refusal::new("the execution has ended"));
    }
    if state.sequence == 0 && !matches!(body, EventBody::ExecutionQueued(_)) {
        return Err(Refusal::new("the execution does not exist yet"));
    }
    let fits = match body {
        EventBody::ExecutionQueued(_) => state.sequence == 0,
        EventBody::ExecutionStarted { .. } => state.status == Status::Queued,
        EventBody::ExecutionCancelling(request) => {
            let forces = request.grace_period.is_zero() && state.ending.as_ref().is_some_and(|ending| !ending.forced);
            return match state.status {
                Status::Queued | Status::Running => Ok(()),
                // The first request wins, but for its grace: a later one may end that.
                Status::Cancelling if forces && state.in_flight > 0 => Ok(()),
                _ => Err(Refusal::new("the execution is ending already")),
            };
        }
        EventBody::ExecutionFailing { .. } => matches!(state.status, Status::Queued | Status::Running),
        EventBody::ExecutionCompleted { .. } => state.status == Status::Running && state.live == 0,
        EventBody::ExecutionFailed => state.status == Status::Failing && state.live == 0,
        EventBody::ExecutionCancelled { .. } => state.status == Status::Cancelling && state.live == 0,

        EventBody::StepScheduled { activation, .. } => {
            running(state) && is(state, *activation, |phase| phase == Phase::Ready)
        }
        EventBody::StepStarted { activation } => is(state, *activation, |phase| phase == Phase::Starting),
        EventBody::StepCompleted { activation, .. } => {
            step(state, *activation).is_some_and(|step| step.phase == Phase::Answered && step.output.is_some())
        }
        EventBody::StepFailed { activation, .. } => {
            running(state) && is(state, *activation, |phase| matches!(phase, Phase::Ready | Phase::Answered))
        }
        EventBody::StepSkipped { activation, .. } => {
            is(state, *activation, |phase| matches!(phase, Phase::Blocked | Phase::Ready | Phase::Scheduled))
        }
        EventBody::StepCancelled { activation, .. } => {
            state.status.is_ending() && is(state, *activation, |phase| !phase.is_terminal())
        }

        EventBody::AttemptStarted { activation, attempt, .. } => {
            running(state)
                && step(state, *activation).is_some_and(|step| match step.phase {
                    Phase::Scheduled | Phase::Backoff => step.attempts.checked_add(1) == Some(*attempt),
                    _ => false,
                })
        }
        EventBody::AttemptFinished { activation, attempt, .. } => {
            step(state, *activation).is_some_and(|step| step.phase.is_in_flight() && step.attempts == *attempt)
        }
        EventBody::AttemptRejected { activation, .. } => {
            is(state, *activation, |phase| matches!(phase, Phase::Scheduled | Phase::Backoff))
        }
        EventBody::RetryScheduled { activation, attempt, .. } => {
            running(state)
                && step(state, *activation)
                    .is_some_and(|step| step.phase == Phase::Between && step.attempts.checked_add(1) == Some(*attempt))
        }
        EventBody::TimerFired { timer } => timer_due(plan, state, *timer).is_some(),

        EventBody::TimeoutExceeded { scope, .. } => match scope {
            TimeoutScope::Attempt(activation, _) | TimeoutScope::Step(activation) => step(state, *activation).is_some(),
            TimeoutScope::Execution => true,
        },
        EventBody::CircuitChanged(change) => step(state, change.activation).is_some(),
    };
    if fits { Ok(()) } else { Err(refusal(body)) }
}

fn refusal(body: &EventBody) -> Refusal {
    match body {
        EventBody::TimerFired { timer: Timer::Grace } => Refusal::new("nothing waits for the end of the grace"),
        body => Refusal::new(format!("{} does not fit the state", body.name())),
    }
}

fn running(state: &State) -> bool {
    state.status == Status::Running
}

fn step(state: &State, activation: Activation) -> Option<&StepState> {
    state.steps.get(activation.get())
}

fn is(state: &State, activation: Activation, phase: impl Fn(Phase) -> bool) -> bool {
    step(state, activation).is_some_and(|step| phase(step.phase))
}
