//! When an event fits the state, and when it is refused.

use std::borrow::Cow;

use orchestr8_schema::{
    event::{Activation, ApprovalAnswer, ApprovalDecision, CallId, EventBody, LogEntry, Reuse, TimeoutScope, Timer},
    json_schema::Violations,
    validate::{ValidKind, ValidWait},
};

use super::{
    Phase, Rescue, State, Status, StepState,
    budget::Amount,
    compensation,
    composite::Progress,
    fold::{approval_result, timer_due},
    reopening,
};
use crate::plan::Plan;

/// Why an event was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Refusal {
    /// What kind of misfit it is.
    pub kind: RefusalKind,
    /// What does not fit, for people.
    pub message: Cow<'static, str>,
}

/// Why an event does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The state forbids it.
    Conflict,
    /// What it says is not valid.
    Invalid,
    /// There is no room for it.
    Full,
    /// It was told before, so there is nothing to do.
    Repeated,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: RefusalKind::Conflict, message: message.into() }
    }

    pub(super) fn of_kind(kind: RefusalKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Checks that an event fits the state, whoever made it. An event that fits can be folded.
///
/// # Errors
///
/// [`Refusal`] if it does not fit: an answer of a call that was aborted, a timer that was cleared, a request that the status
/// forbids, anything after the terminal event.
pub fn accept(plan: &Plan, state: &State, body: &EventBody) -> Result<(), Refusal> {
    if let EventBody::ExecutionReopened(reopening) = body {
        return reopening::fits(plan, state, reopening);
    }
    if state.status.is_terminal() {
        return Err(Refusal::new("the execution has ended"));
    }
    if state.sequence == 0 && !matches!(body, EventBody::ExecutionQueued(_)) {
        return Err(Refusal::new("the execution does not exist yet"));
    }
    let fits = match body {
        EventBody::ExecutionQueued(_) => state.sequence == 0,
        EventBody::ExecutionStarted { .. } => state.status == Status::Queued,
        EventBody::ExecutionRecovered { .. } => true,
        // Of what has ended only; see above.
        EventBody::ExecutionReopened(_) => false,
        EventBody::ExecutionPaused { .. } => {
            return match state.status {
                Status::Queued | Status::Running => Ok(()),
                Status::Paused => Err(Refusal::of_kind(RefusalKind::Repeated, "the execution is paused already")),
                _ => Err(Refusal::new("the execution is ending")),
            };
        }
        EventBody::ExecutionResumed { .. } => {
            return match state.status {
                Status::Paused => Ok(()),
                _ => Err(Refusal::new("the execution is not paused")),
            };
        }
        EventBody::ExecutionCancelling(_) if state.hooks.outcome_is_fixed() && state.status.is_underway() => {
            return Err(Refusal::new("the outcome of the execution is fixed"));
        }
        EventBody::ExecutionCancelling(request) => {
            let forces = request.grace_period.is_zero() && state.ending.as_ref().is_some_and(|ending| !ending.forced);
            return match state.status {
                Status::Queued | Status::Running | Status::Paused => Ok(()),
                // The first request wins, but for its grace: a later one may end that.
                Status::Cancelling if forces && state.in_flight > 0 => Ok(()),
                _ => Err(Refusal::new("the execution is ending already")),
            };
        }
        EventBody::ExecutionFailing { .. } => matches!(state.status, Status::Queued | Status::Running),
        EventBody::ExecutionCompleted { .. } => state.status == Status::Running && state.live == 0,
        EventBody::ExecutionFailed => state.status == Status::Failing && state.live == 0 && !state.is_compensating(),
        EventBody::ExecutionCancelled { .. } => {
            state.status == Status::Cancelling && state.live == 0 && !state.is_compensating()
        }

        EventBody::StepScheduled { activation, .. } => {
            running(state) && is(state, *activation, |phase| phase == Phase::Ready)
        }
        EventBody::StepStarted { activation } => step(state, *activation).is_some_and(|step| match step.phase {
            Phase::Starting => true,
            Phase::Opening => running(state) && is_composite(&plan.valid_step(step.step).kind),
            _ => false,
        }),
        EventBody::StepWaiting { activation, .. } => {
            running(state)
                && step(state, *activation).is_some_and(|step| {
                    step.phase == Phase::Opening
                        && matches!(plan.valid_step(step.step).kind, ValidKind::Wait(_) | ValidKind::Approval(_))
                })
        }
        EventBody::StepCompleted { activation, output } => {
            step(state, *activation).is_some_and(|step| match step.phase {
                Phase::Answered => step.output.is_some() && (output.is_some() || step.reuse == Some(Reuse::Reused)),
                Phase::Closing => running(state) && is_empty(step),
                _ => false,
            })
        }
        EventBody::StepFailed { activation, .. } => step(state, *activation).is_some_and(|step| match step.phase {
            Phase::Answered => state.status.is_underway(),
            Phase::Ready | Phase::Opening => running(state),
            phase => running(state) && phase.is_open() && is_empty(step),
        }),
        EventBody::StepSkipped { activation, .. } => is(state, *activation, |phase| {
            matches!(phase, Phase::Blocked | Phase::Ready | Phase::Before | Phase::Scheduled | Phase::Opening)
        }),
        EventBody::StepCancelled { activation, .. } => step(state, *activation).is_some_and(|step| {
            !step.phase.is_terminal() && is_empty(step) && (state.status.is_ending() || state.is_aborted(*activation))
        }),

        EventBody::StepFallback { activation, fallback } => {
            running(state)
                && step(state, *activation).is_some_and(|step| step.rescue == Rescue::Wanted)
                && state.fallback_of(plan, *activation) == Some(*fallback)
        }
        EventBody::StepRecovered { activation, fallback } | EventBody::StepFallbackFailed { activation, fallback } => {
            running(state)
                && step(state, *activation).is_some_and(|step| step.rescue == Rescue::Called)
                && state.fallback_of(plan, *activation) == Some(*fallback)
        }
        EventBody::BranchDecided { activation, case } => {
            deciding(state, *activation, |progress| matches!(progress, Progress::Branch { .. }))
                && match &plan.valid_step(state.steps[activation.get()].step).kind {
                    ValidKind::Branch(branch) => *case as usize <= branch.cases.len(),
                    _ => false,
                }
        }
        EventBody::ParallelJoined { activation, .. } => {
            running(state)
                && step(state, *activation).is_some_and(|step| {
                    let group = step.composite.as_ref().map(|composite| &composite.progress);
                    step.phase == Phase::Open && matches!(group, Some(Progress::Group { joined: false, .. }))
                })
        }
        EventBody::MapOpened { activation, items } => {
            deciding(state, *activation, |progress| matches!(progress, Progress::Map(_)))
                && items.keys.as_ref().is_none_or(|keys| keys.len() == items.items.len())
        }
        EventBody::MapItemFinished { activation, index, .. } => {
            running(state)
                && step(state, *activation).is_some_and(|step| {
                    let map = step.composite.as_ref().map(|composite| &composite.progress);
                    step.phase == Phase::Open && matches!(map, Some(Progress::Map(map)) if map.is_open(*index))
                })
        }
        EventBody::LoopDecided { activation, .. } => {
            deciding(state, *activation, |progress| matches!(progress, Progress::Loop(_)))
        }
        EventBody::SignalReceived(signal) => {
            if !matches!(state.status, Status::Queued | Status::Running | Status::Paused) {
                return Err(Refusal::new("the execution is ending"));
            }
            if state.signals.has_seen(signal) {
                return Err(Refusal::of_kind(RefusalKind::Repeated, "the signal was received before"));
            }
            if state.signals.is_full() {
                return Err(Refusal::of_kind(RefusalKind::Full, "too many signals wait for somebody to take them"));
            }
            true
        }
        EventBody::SignalDelivered { activation, signal_sequence } => {
            running(state)
                && step(state, *activation).is_some_and(|step| match &plan.valid_step(step.step).kind {
                    ValidKind::Wait(ValidWait::Signal { name, .. }) => {
                        step.phase == Phase::Waiting && state.signals.get(name.as_str(), *signal_sequence).is_some()
                    }
                    _ => false,
                })
        }
        EventBody::ApprovalRequested { activation, .. } => {
            running(state)
                && step(state, *activation).is_some_and(|step| {
                    step.phase == Phase::Waiting
                        && step.started_at.is_none()
                        && matches!(plan.valid_step(step.step).kind, ValidKind::Approval(_))
                })
        }
        EventBody::ApprovalAnswered { activation, answer } => {
            let waits = |step: &&StepState| state.status.is_underway() && step.phase == Phase::Waiting;
            let Some(step) = step(state, *activation).filter(waits) else {
                return Err(Refusal::new("nobody waits for this answer"));
            };
            let ValidKind::Approval(approval) = &plan.valid_step(step.step).kind else {
                return Err(Refusal::new("the step asks for no approval"));
            };
            if answer.decision == ApprovalDecision::Approve
                && let Some(schema) = &approval.schema
                && let Err(violations) = schema.validate(&answer.answer)
            {
                let message = format!("the answer does not fit the approval's schema: {}", Violations(&violations));
                return Err(Refusal::of_kind(RefusalKind::Invalid, message));
            }
            true
        }

        EventBody::CompensationStarted { .. }
        | EventBody::CompensationStepStarted { .. }
        | EventBody::CompensationStepCompleted { .. }
        | EventBody::CompensationStepFailed { .. }
        | EventBody::CompensationFinished { .. }
        | EventBody::AttemptStarted { call: CallId::Compensation(_), .. }
        | EventBody::AttemptFinished { call: CallId::Compensation(_), .. }
        | EventBody::AttemptRejected { call: CallId::Compensation(_), .. }
        | EventBody::RetryScheduled { call: CallId::Compensation(_), .. } => compensation::fits(plan, state, body),

        EventBody::HookStarted { activation, hook, .. } => state.accepts_hook(plan, *activation, hook, false),
        EventBody::HookFinished { activation, hook, .. } => state.accepts_hook(plan, *activation, hook, true),
        EventBody::AttemptStarted { call: CallId::Hook(activation), .. }
        | EventBody::AttemptFinished { call: CallId::Hook(activation), .. }
        | EventBody::AttemptRejected { call: CallId::Hook(activation), .. }
        | EventBody::RetryScheduled { call: CallId::Hook(activation), .. } => {
            state.accepts_hook_attempt(*activation, body)
        }
        EventBody::AttemptDeferred { call: CallId::Hook(_) | CallId::Compensation(_) } => false,
        EventBody::AttemptDeferred { call: call @ CallId::Step(activation) } => {
            let waits = is(state, *activation, |phase| matches!(phase, Phase::Scheduled | Phase::Backoff));
            waits && running(state) && state.has_call(*call)
        }
        EventBody::BudgetExceeded { activation, budget } => {
            let is_known = *activation == Activation::EXECUTION || step(state, *activation).is_some();
            is_known && state.can_exceed(*budget)
        }
        EventBody::AttemptStarted { call: CallId::Step(activation), reserved, .. }
            if !is(state, *activation, Phase::is_in_flight)
                && state.shortage(plan, *activation, reserved.as_deref(), Amount::default()).is_some() =>
        {
            return Err(Refusal::new("the budget does not allow it"));
        }
        EventBody::AttemptStarted { call: CallId::Step(activation), attempt, restart, .. } => {
            running(state)
                && step(state, *activation).is_some_and(|step| match step.phase {
                    Phase::Scheduled | Phase::Backoff => {
                        step.attempts.checked_add(1) == Some(*attempt) && *restart == 0
                    }
                    // The process that had begun it is gone.
                    Phase::Running => {
                        step.attempts == *attempt && *restart == step.restarts + 1 && *restart <= State::MAX_RESTARTS
                    }
                    _ => false,
                })
        }
        EventBody::AttemptFinished { call: CallId::Step(activation), attempt, .. } => {
            step(state, *activation).is_some_and(|step| step.phase.is_in_flight() && step.attempts == *attempt)
        }
        EventBody::AttemptRejected { call: call @ CallId::Step(activation), .. } => {
            let waits = is(state, *activation, |phase| matches!(phase, Phase::Scheduled | Phase::Backoff));
            waits && state.has_call(*call)
        }
        EventBody::RetryScheduled { call: CallId::Step(activation), attempt, .. } => {
            state.status.is_underway()
                && step(state, *activation)
                    .is_some_and(|step| step.phase == Phase::Between && step.attempts.checked_add(1) == Some(*attempt))
        }
        EventBody::DurableRecorded(durable) => match durable.call {
            CallId::Step(activation) => step(state, activation)
                .is_some_and(|step| step.phase.is_in_flight() && step.attempts == durable.attempt),
            CallId::Compensation(activation) => {
                state.undoing(activation).is_some_and(compensation::Undoing::is_in_attempt)
            }
            // They are tried once.
            CallId::Hook(_) => false,
        },
        EventBody::LogEntry(_) if state.remarks >= LogEntry::MAX => {
            return Err(Refusal::of_kind(RefusalKind::Full, "the execution keeps no more remarks"));
        }
        EventBody::LogEntry(entry) => names(state, entry.call),
        EventBody::ModelCalled(called) => names(state, called.call),
        EventBody::ToolCalled(called) => names(state, called.call),
        EventBody::TimerFired { timer } => timer_due(plan, state, *timer).is_some(),

        EventBody::TimeoutExceeded { scope, .. } => match scope {
            TimeoutScope::Attempt(call, _) => names(state, *call),
            TimeoutScope::Step(activation) => step(state, *activation).is_some(),
            TimeoutScope::Execution => true,
        },
        EventBody::CircuitChanged(change) => names(state, change.call),
        EventBody::PermitWaited(wait) => names(state, wait.call),
    };
    if fits { Ok(()) } else { Err(refusal(body)) }
}

fn refusal(body: &EventBody) -> Refusal {
    match body {
        EventBody::TimerFired { timer: Timer::Grace } => Refusal::new("nothing waits for the end of the grace"),
        body => Refusal::new(format!("{} does not fit the state", body.name())),
    }
}

/// Finds the approval that an answer is for.
///
/// # Errors
///
/// [`Refusal`] if no step at this place waits for an answer; of kind [`RefusalKind::Repeated`] if this very answer was given.
pub fn approval_at(
    plan: &Plan,
    state: &State,
    step_path: &str,
    answer: &ApprovalAnswer,
) -> Result<Activation, Refusal> {
    let found = state.steps.iter().enumerate().filter_map(|(index, step)| {
        let activation = Activation(index as u32);
        let asks = matches!(plan.valid_step(step.step).kind, ValidKind::Approval(_));
        (asks && state.path_of(plan, activation).as_str() == step_path).then_some((activation, step))
    });
    match found.into_iter().next() {
        Some((activation, step)) if step.phase == Phase::Waiting => Ok(activation),
        Some((_, step)) if gives(answer, step) => {
            Err(Refusal::of_kind(RefusalKind::Repeated, "the answer was given before"))
        }
        Some(_) => Err(Refusal::new(format!("`{step_path}` waits for no answer"))),
        None => Err(Refusal::new(format!("there is no approval at `{step_path}`"))),
    }
}

/// Whether a step has ended as this answer has it end.
fn gives(answer: &ApprovalAnswer, step: &StepState) -> bool {
    match (approval_result(answer), &step.output, &step.error) {
        (Ok(output), Some(given), _) => output == **given,
        (Err(error), None, Some(given)) => error.code == given.code && error.message == given.message,
        _ => false,
    }
}

fn is_composite(kind: &ValidKind) -> bool {
    match kind {
        ValidKind::Parallel(_)
        | ValidKind::Branch(_)
        | ValidKind::Map(_)
        | ValidKind::Loop(_)
        | ValidKind::Workflow(_) => true,
        ValidKind::Agent | ValidKind::Tool | ValidKind::Wait(_) | ValidKind::Approval(_) => false,
        _ => false,
    }
}

/// Whether nothing inside of it is open.
fn is_empty(step: &StepState) -> bool {
    step.composite.as_ref().is_none_or(|composite| composite.open.is_empty())
}

fn deciding(state: &State, activation: Activation, is_of: impl Fn(&Progress) -> bool) -> bool {
    running(state)
        && step(state, activation).is_some_and(|step| {
            step.phase == Phase::Deciding && step.composite.as_ref().is_some_and(|composite| is_of(&composite.progress))
        })
}

impl State {
    /// Whether something around an activation is ending, so that it ends with it.
    pub(super) fn is_aborted(&self, activation: Activation) -> bool {
        self.around(self.steps[activation.get()].scope).any(|place| {
            let scope = &self.scopes[place as usize];
            scope.aborting
                || scope.opened_by.is_some_and(|composite| self.steps[composite.get()].phase == Phase::Closing)
        })
    }

    /// The activation that stands in for another when that fails.
    pub(super) fn fallback_of(&self, plan: &Plan, activation: Activation) -> Option<Activation> {
        let fallback = plan.steps()[self.steps[activation.get()].step.get()].fallback?;
        Some(self.sibling(plan, activation, fallback))
    }
}

fn running(state: &State) -> bool {
    state.status == Status::Running
}

/// Whether what a call is about exists.
fn names(state: &State, call: CallId) -> bool {
    call.activation().is_none_or(|activation| step(state, activation).is_some())
}

fn step(state: &State, activation: Activation) -> Option<&StepState> {
    state.steps.get(activation.get())
}

fn is(state: &State, activation: Activation, phase: impl Fn(Phase) -> bool) -> bool {
    step(state, activation).is_some_and(|step| phase(step.phase))
}
