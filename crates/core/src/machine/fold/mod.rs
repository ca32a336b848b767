//! What each event changes, and what is to be done once it is stored.
//!
//! Nothing is evaluated and nothing is decided here: a journal that is replayed goes through this file alone, with its commands
//! going nowhere.

mod composite;
mod ending;
mod recovery;
mod step;

use std::{sync::Arc, time::Duration};

use orchestr8_schema::{
    ErrorKind, Failure, Millis, Timestamp,
    event::{Activation, BudgetKind, CallId, Event, EventBody, Timer},
    policy::WorkflowTimeout,
    validate::ValidKind,
};

pub(super) use self::{recovery::interrupted_too_often, step::approval_result};
use super::{
    Call, Command, Phase, State, Status,
    accept::accept,
    agenda::Consequence,
    budget::exceeded,
    command::{Discard, Sink},
    hooks::Stage,
    instance::Place,
};
use crate::plan::Plan;

/// Changes the state as an event says; an event that does not fit changes nothing. All that replay needs.
pub fn fold(plan: &Plan, state: &mut State, event: &Event) {
    if accept(plan, state, &event.body).is_ok() {
        apply(plan, state, event, &mut Discard);
    }
}

/// Changes the state as an event that fits says, and puts out what is to be done.
pub(super) fn apply(plan: &Plan, state: &mut State, event: &Event, out: &mut impl Sink) {
    Fold { plan, state, at: event.at, out }.apply(&event.body);
}

/// Tells when an open timer is due; absent if it is not open.
pub(super) fn timer_due(plan: &Plan, state: &State, timer: Timer) -> Option<Timestamp> {
    let is_running = state.status == Status::Running;
    match timer {
        Timer::ExecutionDeadline if is_running && !state.hooks.outcome_is_fixed() => {
            Some(state.pauses.moved(state.timed_from?, time_limit(plan, state)?))
        }
        Timer::StepDeadline(activation) if is_running => {
            let step = state.steps.get(activation.get()).filter(|step| step.phase.has_deadline())?;
            let limit = plan.steps()[step.step.get()].deadline?;
            Some(state.pauses.moved(step.scheduled_at?, limit))
        }
        Timer::Wait(activation) if state.status.is_underway() => {
            let step = state.steps.get(activation.get())?;
            step.due_at.filter(|_| matches!(step.phase, Phase::Waiting | Phase::Open))
        }
        Timer::Grace => state.ending.as_ref().filter(|ending| !ending.forced)?.grace_until,
        Timer::Compensation => state.compensation_due(),
        // Deadlines stand still in a pause, and nothing is waited for at the end.
        Timer::ExecutionDeadline | Timer::StepDeadline(_) | Timer::Wait(_) => None,
    }
}

/// Tells how long the execution may take: as the workflow says, else as its engine says; or less if its caller asked for less.
pub(crate) fn time_limit(plan: &Plan, state: &State) -> Option<Duration> {
    let queued = state.queued.as_ref();
    let asked = queued.and_then(|queued| queued.timeout);
    let limits = plan.limits();
    let default = queued.and_then(|queued| queued.default_timeout);
    let default = default.unwrap_or(WorkflowTimeout::DEFAULT_GLOBAL.as_duration());
    let own = limits.timeout.or((!limits.waits).then_some(default));
    let budget = state.budget_limits(plan).and_then(|budget| budget.duration);
    asked.into_iter().chain(own).chain(budget).min()
}

/// Describes the call that a step waits for; absent if it waits for none.
pub(super) fn open_call(plan: &Plan, state: &State, activation: Activation) -> Option<Call> {
    let step = state.steps.get(activation.get()).filter(|step| state.is_called_in(step.phase))?;
    let (attempt, restart) = match step.phase {
        Phase::Scheduled | Phase::Between | Phase::Backoff => (step.attempts.saturating_add(1), 0),
        Phase::Starting | Phase::Running => (step.attempts, step.restarts.saturating_add(1)),
        _ => return None,
    };
    Some(Call {
        id: CallId::Step(activation),
        attempt,
        restart,
        tries_used: attempt.saturating_sub(1).saturating_add(step.rejected),
        not_before: step.due_at,
        deadline_at: deadline(plan, state, activation),
    })
}

/// The first of the deadlines of a step, of what is around it, and of the execution.
fn deadline(plan: &Plan, state: &State, activation: Activation) -> Option<Timestamp> {
    let outer =
        state.around(state.steps[activation.get()].scope).filter_map(|place| state.scopes[place as usize].opened_by);
    let timers = std::iter::once(activation).chain(outer).map(Timer::StepDeadline);
    timers.chain([Timer::ExecutionDeadline]).filter_map(|timer| timer_due(plan, state, timer)).min()
}

/// Whether an approval is open, which somebody is to be asked for.
pub(super) fn is_asked(plan: &Plan, state: &State, activation: Activation) -> bool {
    let step = &state.steps[activation.get()];
    step.phase == Phase::Waiting
        && step.started_at.is_some()
        && matches!(plan.valid_step(step.step).kind, ValidKind::Approval(_))
}

/// An event being folded.
pub(super) struct Fold<'a, S> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'a mut State,
    pub(super) at: Timestamp,
    pub(super) out: &'a mut S,
}

impl<S: Sink> Fold<'_, S> {
    fn apply(&mut self, body: &EventBody) {
        self.state.sequence += 1;
        self.state.latest = self.at;
        match body {
            EventBody::ExecutionQueued(queued) => {
                self.state.hooks.any = !self.plan.hooks().is_empty() || !queued.hooks.is_empty();
                self.state.queued = Some(Arc::clone(queued));
                if let Some(budget) = &queued.budget {
                    self.state.tighten(self.plan, budget);
                }
            }
            EventBody::ExecutionStarted { .. } => self.execution_started(),
            EventBody::ExecutionRecovered { .. } => self.execution_recovered(),
            EventBody::ExecutionPaused { .. } => self.paused(),
            EventBody::ExecutionResumed { .. } => self.resumed(),
            EventBody::ExecutionReopened(reopening) => self.reopened(reopening),
            EventBody::ExecutionCancelling(cancelling) => self.cancelling(cancelling),
            EventBody::ExecutionFailing { error } => self.failing(error),
            EventBody::ExecutionCompleted { outputs } => {
                self.state.outputs.clone_from(outputs);
                self.finish(Status::Completed);
            }
            EventBody::ExecutionFailed => self.finish(Status::Failed),
            EventBody::ExecutionCancelled { .. } => self.finish(Status::Cancelled),

            EventBody::StepScheduled { activation, input, idempotency_key, reuse } => {
                self.scheduled(*activation, input, idempotency_key.as_ref(), *reuse);
            }
            EventBody::StepStarted { activation } => self.started(*activation),
            EventBody::StepWaiting { activation, due_at } => self.waiting(*activation, *due_at),
            EventBody::StepCompleted { activation, output } => self.completed(*activation, output.as_ref()),
            EventBody::StepFailed { activation, error, fatal } => self.failed(*activation, error, *fatal),
            EventBody::StepSkipped { activation, reason, dependency } => {
                self.skipped(*activation, *reason, *dependency);
            }
            EventBody::StepCancelled { activation, forced } => self.cancelled(*activation, *forced),
            EventBody::StepFallback { activation, fallback } => self.call_fallback(*activation, *fallback),
            EventBody::StepRecovered { activation, .. } => self.recovered(*activation),
            EventBody::StepFallbackFailed { activation, .. } => self.not_recovered(*activation),

            EventBody::BranchDecided { activation, case } => self.branch_decided(*activation, *case),
            EventBody::ParallelJoined { activation, .. } => self.joined(*activation),
            EventBody::MapOpened { activation, items } => self.map_opened(*activation, items),
            EventBody::MapItemFinished { activation, index, result } => {
                self.item_finished(*activation, *index, result);
            }
            EventBody::LoopDecided { activation, decision } => self.loop_decided(*activation, decision),

            EventBody::SignalReceived(signal) => {
                self.state.signals.receive(self.state.sequence, signal);
                self.follow(Consequence::Deliver(Arc::clone(&signal.name)));
            }
            EventBody::SignalDelivered { activation, signal_sequence } => {
                self.signal_delivered(*activation, *signal_sequence);
            }
            EventBody::ApprovalRequested { activation, expires_at } => {
                self.state.steps[activation.get()].started_at = Some(self.at);
                self.out.push(Command::RequestApproval { activation: *activation, expires_at: *expires_at });
            }
            EventBody::ApprovalAnswered { activation, answer } => self.approval_answered(*activation, answer),

            EventBody::CompensationStarted { .. }
            | EventBody::CompensationStepStarted { .. }
            | EventBody::CompensationStepCompleted { .. }
            | EventBody::CompensationStepFailed { .. }
            | EventBody::CompensationFinished { .. } => self.compensation(body),
            EventBody::HookStarted { activation, hook, input } => self.hook_started(*activation, hook, input),
            EventBody::HookFinished { activation, hook, result } => self.hook_finished(*activation, hook, result),

            EventBody::AttemptStarted { call, attempt, restart, reserved, .. } => match *call {
                CallId::Hook(activation) => self.hook_attempt(activation, body),
                CallId::Step(activation) => {
                    self.reserve(*call, reserved.as_deref());
                    self.attempt_started(activation, *attempt, *restart);
                }
                CallId::Compensation(_) => self.compensation(body),
            },
            EventBody::AttemptFinished { call, result, is_final, usage, .. } => {
                self.spend(*call, usage.as_deref());
                match *call {
                    CallId::Hook(activation) => self.hook_attempt(activation, body),
                    CallId::Step(activation) => self.attempt_finished(activation, result, *is_final),
                    CallId::Compensation(_) => self.compensation(body),
                }
            }
            EventBody::AttemptDeferred { call: CallId::Step(activation) } => self.attempt_deferred(*activation),
            EventBody::AttemptDeferred { call: CallId::Hook(_) | CallId::Compensation(_) } => {}
            EventBody::BudgetExceeded { budget, .. } => self.budget_exceeded(*budget),
            EventBody::AttemptRejected { call, error, is_final } => match *call {
                CallId::Hook(activation) => self.hook_attempt(activation, body),
                CallId::Step(activation) => self.attempt_rejected(activation, error, *is_final),
                CallId::Compensation(_) => self.compensation(body),
            },
            EventBody::RetryScheduled { call, due_at, .. } => match *call {
                // Hooks are tried once.
                CallId::Hook(_) => {}
                CallId::Step(activation) => self.retry_scheduled(activation, *due_at),
                CallId::Compensation(_) => self.compensation(body),
            },
            EventBody::TimerFired { timer } => self.timer_fired(*timer),
            EventBody::DurableRecorded(durable) => self.durable_recorded(durable),
            EventBody::LogEntry(_) => self.state.remarks += 1,
            EventBody::ModelCalled(_) => self.state.model_calls += 1,
            EventBody::ToolCalled(_) => self.state.tool_calls += 1,
            EventBody::TimeoutExceeded { .. } | EventBody::CircuitChanged(_) | EventBody::PermitWaited(_) => {}
        }
        self.state.trim(self.plan);
        self.move_sweep();
    }

    fn execution_started(&mut self) {
        self.state.status = Status::Running;
        self.state.started_at = Some(self.at);
        self.state.timed_from = Some(self.at);
        self.set(Timer::ExecutionDeadline);
        if !self.begin_hooks(Activation::EXECUTION, Stage::Opening) {
            self.release_all(0);
        }
    }

    /// Makes the steps of a scope instance ready that wait for nothing.
    pub(super) fn release_all(&mut self, place: Place) {
        for activation in self.state.activations(place) {
            self.release(Activation(activation));
        }
    }

    fn timer_fired(&mut self, timer: Timer) {
        match timer {
            Timer::ExecutionDeadline => {
                let limit = time_limit(self.plan, self.state).unwrap_or_default();
                let budget = self.state.budget_limits(self.plan).and_then(|budget| budget.duration);
                let mut error = if budget == Some(limit) {
                    exceeded(BudgetKind::Duration)
                } else {
                    let limit = Millis::from(limit);
                    Failure::new(ErrorKind::Timeout, format!("the execution took longer than {limit}"))
                };
                error.timestamp = Some(self.at);
                self.follow(Consequence::Fail(Arc::new(error)));
            }
            Timer::StepDeadline(activation) => self.step_late(activation),
            Timer::Wait(activation) => self.wait_over(activation),
            Timer::Grace => self.end_grace(),
            Timer::Compensation => self.compensation_late(),
        }
    }

    /// Notes what follows, unless the execution is ending, when nothing follows any more.
    pub(super) fn follow(&mut self, consequence: Consequence) {
        if self.state.status.is_underway() {
            self.state.agenda.consequences.push_back(consequence);
        }
    }

    /// Asks for the call that a step waits for. True if it waits for one.
    pub(super) fn call(&mut self, activation: Activation) -> bool {
        let call = open_call(self.plan, self.state, activation);
        let waits = call.is_some();
        if let Some(call) = call {
            self.out.push(Command::Call(call));
        }
        waits
    }

    fn abort(&mut self, activation: Activation, reason: &str, force: bool) {
        self.out.push(Command::AbortCall { call: CallId::Step(activation), reason: reason.into(), force });
    }

    /// Sets a timer if it is open.
    pub(super) fn set(&mut self, timer: Timer) {
        if let Some(due_at) = timer_due(self.plan, self.state, timer) {
            self.out.push(Command::SetTimer { timer, due_at });
        }
    }

    /// Sets the deadlines of the execution and of all steps that have one.
    pub(super) fn set_deadlines(&mut self) {
        self.set(Timer::ExecutionDeadline);
        for activation in 0..self.state.steps.len() as u32 {
            self.set(Timer::StepDeadline(Activation(activation)));
        }
    }

    pub(super) fn clear_deadlines(&mut self) {
        self.clear(Timer::ExecutionDeadline);
        for activation in 0..self.state.steps.len() as u32 {
            self.clear(Timer::StepDeadline(Activation(activation)));
        }
    }

    /// Clears a timer if it is open.
    pub(super) fn clear(&mut self, timer: Timer) {
        if timer_due(self.plan, self.state, timer).is_some() {
            self.out.push(Command::ClearTimer { timer });
        }
    }
}
