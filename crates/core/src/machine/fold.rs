//! What each event changes, and what is to be done once it is stored.
//!
//! Nothing is evaluated and nothing is decided here: a journal that is replayed goes through this file alone, with its commands
//! going nowhere.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use orchestr8_schema::{
    ErrorKind, Failure, Millis, StepIndex, Timestamp,
    event::{Activation, Event, EventBody, Timer},
    policy::OnFailure,
};

use super::{
    Call, Command, Phase, State, Status,
    accept::accept,
    agenda::Consequence,
    command::{Discard, Sink},
    state::Ending,
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
    match timer {
        Timer::ExecutionDeadline if state.status == Status::Running => {
            Some(state.started_at?.plus(time_limit(plan, state)))
        }
        Timer::Grace => state.ending.as_ref().filter(|ending| !ending.forced)?.grace_until,
        Timer::StepDeadline(activation) if state.status == Status::Running => {
            let step = state.steps.get(activation.get()).filter(|step| step.phase.has_call())?;
            let deadline = plan.steps().get(activation.get())?.policy.deadline?;
            Some(step.scheduled_at?.plus(deadline))
        }
        Timer::ExecutionDeadline | Timer::StepDeadline(_) => None,
    }
}

/// Tells how long the execution may take: as the workflow says, or less if its caller asked for less.
pub(crate) fn time_limit(plan: &Plan, state: &State) -> Duration {
    let asked = state.queued.as_ref().and_then(|queued| queued.timeout);
    asked.map_or(plan.limits().timeout, |asked| asked.min(plan.limits().timeout))
}

/// Describes the call that a step waits for; absent if it waits for none.
pub(super) fn open_call(plan: &Plan, state: &State, activation: Activation) -> Option<Call> {
    let step = state.steps.get(activation.get())?;
    let (attempt, restart) = match step.phase {
        Phase::Scheduled | Phase::Between | Phase::Backoff => (step.attempts.saturating_add(1), 0),
        Phase::Starting | Phase::Running => (step.attempts, step.restarts.saturating_add(1)),
        _ => return None,
    };
    let deadlines =
        [timer_due(plan, state, Timer::ExecutionDeadline), timer_due(plan, state, Timer::StepDeadline(activation))];
    Some(Call {
        activation,
        attempt,
        restart,
        tries_used: attempt.saturating_sub(1).saturating_add(step.rejected),
        not_before: step.due_at,
        deadline_at: deadlines.into_iter().flatten().min(),
    })
}

struct Fold<'a, S> {
    plan: &'a Plan,
    state: &'a mut State,
    at: Timestamp,
    out: &'a mut S,
}

impl<S: Sink> Fold<'_, S> {
    fn apply(&mut self, body: &EventBody) {
        self.state.sequence += 1;
        self.state.latest = self.at;
        match body {
            EventBody::ExecutionQueued(queued) => self.state.queued = Some(Arc::clone(queued)),
            EventBody::ExecutionStarted { .. } => self.execution_started(),
            EventBody::ExecutionCancelling(_) if self.state.status == Status::Cancelling => {
                self.clear(Timer::Grace);
                self.end_grace();
            }
            EventBody::ExecutionCancelling(cancelling) => {
                self.state.cancelling = Some(Arc::clone(cancelling));
                let propagate = self.plan.limits().propagate;
                self.begin_ending(Status::Cancelling, propagate.then_some(cancelling.grace_period), &cancelling.reason);
            }
            EventBody::ExecutionFailing { error } => {
                self.state.fatal = Some(Arc::clone(error));
                self.begin_ending(Status::Failing, Some(self.plan.limits().grace_period), "the workflow failed");
            }
            EventBody::ExecutionCompleted { outputs } => {
                self.state.outputs.clone_from(outputs);
                self.finish(Status::Completed);
            }
            EventBody::ExecutionFailed => self.finish(Status::Failed),
            EventBody::ExecutionCancelled { .. } => self.finish(Status::Cancelled),

            EventBody::StepScheduled { activation, input, idempotency_key } => {
                let step = &mut self.state.steps[activation.get()];
                step.phase = Phase::Scheduled;
                step.input = Some(Arc::clone(input));
                step.idempotency_key.clone_from(idempotency_key);
                step.scheduled_at = Some(self.at);
                let timer = Timer::StepDeadline(*activation);
                if let Some(due_at) = timer_due(self.plan, self.state, timer) {
                    self.out.push(Command::SetTimer { timer, due_at });
                }
                if let Some(call) = open_call(self.plan, self.state, *activation) {
                    self.out.push(Command::Call(call));
                }
            }
            EventBody::StepStarted { activation } => {
                let step = &mut self.state.steps[activation.get()];
                step.phase = Phase::Running;
                step.started_at = Some(self.at);
            }
            EventBody::StepCompleted { activation, output } => {
                self.end_step(*activation, Phase::Completed);
                let step = &mut self.state.steps[activation.get()];
                step.output = Some(Arc::clone(output));
                step.error = None;
                self.settle(*activation, true);
            }
            EventBody::StepFailed { activation, error, fatal } => self.step_failed(*activation, error, *fatal),
            EventBody::StepSkipped { activation, reason, dependency } => {
                self.end_step(*activation, Phase::Skipped);
                let step = &mut self.state.steps[activation.get()];
                step.skip_reason = Some(*reason);
                step.blocked_by = *dependency;
                self.settle(*activation, false);
            }
            EventBody::StepCancelled { activation, forced } => {
                if let (true, Some(ending)) = (*forced, &mut self.state.ending) {
                    ending.dropped = true;
                }
                self.end_step(*activation, Phase::Cancelled);
            }

            EventBody::AttemptStarted { activation, attempt, restart, .. } => {
                self.state.in_flight += 1;
                let step = &mut self.state.steps[activation.get()];
                step.attempts = *attempt;
                step.restarts = *restart;
                step.attempt_at = Some(self.at);
                step.due_at = None;
                if step.started_at.is_none() {
                    step.phase = Phase::Starting;
                    self.state.agenda.ends.push_back(*activation);
                } else {
                    step.phase = Phase::Running;
                }
            }
            EventBody::AttemptFinished { activation, result, is_final, .. } => {
                self.state.in_flight -= 1;
                let ending = self.state.status.is_ending();
                let step = &mut self.state.steps[activation.get()];
                match result {
                    Ok(output) => step.output = Some(Arc::clone(output)),
                    Err(error) => step.error = Some(Arc::clone(error)),
                }
                if *is_final || ending {
                    self.answered(*activation);
                    if !is_final {
                        self.abort(*activation, "no further attempt is made", true);
                    }
                } else {
                    step.phase = Phase::Between;
                }
            }
            EventBody::AttemptRejected { activation, error, is_final } => {
                let step = &mut self.state.steps[activation.get()];
                step.rejected = step.rejected.saturating_add(1);
                step.error = Some(Arc::clone(error));
                if *is_final {
                    self.answered(*activation);
                } else {
                    step.phase = Phase::Between;
                }
            }
            EventBody::RetryScheduled { activation, due_at, .. } => {
                let step = &mut self.state.steps[activation.get()];
                step.phase = Phase::Backoff;
                step.due_at = Some(*due_at);
            }
            EventBody::TimerFired { timer } => self.timer_fired(*timer),
            EventBody::TimeoutExceeded { .. } | EventBody::CircuitChanged(_) => {}
        }
        self.trim();
    }

    fn execution_started(&mut self) {
        self.state.status = Status::Running;
        self.state.started_at = Some(self.at);
        let timer = Timer::ExecutionDeadline;
        if let Some(due_at) = timer_due(self.plan, self.state, timer) {
            self.out.push(Command::SetTimer { timer, due_at });
        }
        for index in 0..self.state.steps.len() {
            self.release(StepIndex(index as u32));
        }
    }

    /// Ends an execution: nothing starts any more, running attempts are told, and a sweep ends the rest.
    fn begin_ending(&mut self, status: Status, grace: Option<Duration>, reason: &str) {
        self.clear(Timer::ExecutionDeadline);
        let deadlines = (0..self.state.steps.len()).map(|index| Timer::StepDeadline(Activation(index as u32)));
        if self.plan.steps().iter().any(|step| step.policy.deadline.is_some()) {
            deadlines.for_each(|timer| self.clear(timer));
        }
        self.state.status = status;
        self.state.agenda.consequences.clear();
        self.state.agenda.ready.clear();
        let grace_until = grace.filter(|_| self.state.in_flight > 0).map(|grace| self.at.plus(grace));
        self.state.ending =
            Some(Ending { cursor: 0, grace_until, propagate: grace.is_some(), forced: false, dropped: false });
        let Some(due_at) = grace_until else { return };
        let reason: Arc<str> = reason.into();
        for (index, step) in self.state.steps.iter().enumerate() {
            if step.phase.is_in_flight() {
                let activation = Activation(index as u32);
                self.out.push(Command::AbortCall { activation, reason: Arc::clone(&reason), force: false });
            }
        }
        self.out.push(Command::SetTimer { timer: Timer::Grace, due_at });
    }

    fn finish(&mut self, status: Status) {
        self.clear(Timer::ExecutionDeadline);
        self.clear(Timer::Grace);
        self.state.status = status;
        self.state.ended_at = Some(self.at);
        self.out.push(Command::Finish(status));
    }

    fn step_failed(&mut self, activation: Activation, error: &Arc<Failure>, fatal: bool) {
        self.end_step(activation, Phase::Failed);
        self.state.steps[activation.get()].error = Some(Arc::clone(error));
        if fatal && self.plan.limits().on_failure == OnFailure::Stop {
            // What depends on it is skipped with everything else that is pending, not by the cascade.
            self.state.agenda.consequences.push_back(Consequence::Fail(Arc::clone(error)));
            return;
        }
        if fatal && self.state.fatal.is_none() {
            self.state.fatal = Some(Arc::clone(error));
        }
        self.settle(activation, false);
    }

    fn timer_fired(&mut self, timer: Timer) {
        match timer {
            Timer::ExecutionDeadline => {
                let limit = Millis::from(time_limit(self.plan, self.state));
                let mut error = Failure::new(ErrorKind::Timeout, format!("the execution took longer than {limit}"));
                error.timestamp = Some(self.at);
                self.state.agenda.consequences.push_back(Consequence::Fail(Arc::new(error)));
            }
            Timer::StepDeadline(activation) => {
                let in_flight = self.state.steps[activation.get()].phase.is_in_flight();
                if in_flight {
                    self.state.in_flight -= 1;
                }
                self.abort(activation, "the step's deadline has passed", true);
                let step = &mut self.state.steps[activation.get()];
                let mut error = Failure::new(ErrorKind::Timeout, "the step's deadline has passed");
                if let Some(last) = step.error.take() {
                    error = error.caused_by(last);
                }
                step.error = Some(Arc::new(error));
                self.answered(activation);
            }
            Timer::Grace => self.end_grace(),
        }
    }

    /// Running attempts have had their grace: the sweep goes over them once more.
    fn end_grace(&mut self) {
        if let Some(ending) = &mut self.state.ending {
            ending.forced = true;
            ending.cursor = 0;
        }
    }

    /// The final answer of a step is in: its end is to be decided.
    fn answered(&mut self, activation: Activation) {
        self.state.steps[activation.get()].phase = Phase::Answered;
        self.state.agenda.ends.push_back(activation);
        self.clear_step_deadline(activation);
    }

    /// Makes a step terminal, and drops its call if it still has one.
    fn end_step(&mut self, activation: Activation, phase: Phase) {
        let step = &mut self.state.steps[activation.get()];
        let before = std::mem::replace(&mut step.phase, phase);
        step.ended_at = Some(self.at);
        step.due_at = None;
        self.state.live -= 1;
        if before.is_in_flight() {
            self.state.in_flight -= 1;
        }
        if before.has_call() {
            self.abort(activation, "the step has ended", true);
        }
    }

    /// Tells those that wait for a step that it has ended.
    fn settle(&mut self, activation: Activation, satisfied: bool) {
        if self.state.status != Status::Running {
            return;
        }
        let plan = self.plan;
        let from = StepIndex(activation.0);
        for edge in plan.graph().successors(from) {
            let step = &mut self.state.steps[edge.to.get()];
            if edge.hard && !satisfied {
                if step.blocked_by.is_none() && !step.phase.is_terminal() {
                    step.blocked_by = Some(from);
                    self.state.agenda.consequences.push_back(Consequence::Skip(Activation(edge.to.0), from));
                }
            } else {
                step.waits_for -= 1;
                self.release(edge.to);
            }
        }
    }

    /// Makes a step ready if it waits for nothing.
    fn release(&mut self, index: StepIndex) {
        let step = &mut self.state.steps[index.get()];
        if step.phase == Phase::Blocked && step.waits_for == 0 && step.blocked_by.is_none() {
            step.phase = Phase::Ready;
            self.state.agenda.ready.push(Reverse(self.plan.steps()[index.get()].rank));
        }
    }

    fn abort(&mut self, activation: Activation, reason: &str, force: bool) {
        self.out.push(Command::AbortCall { activation, reason: reason.into(), force });
    }

    fn clear(&mut self, timer: Timer) {
        if timer_due(self.plan, self.state, timer).is_some() {
            self.out.push(Command::ClearTimer { timer });
        }
    }

    /// Unlike [`clear`](Self::clear), for a step that has just left the phases in which its deadline is open.
    fn clear_step_deadline(&mut self, activation: Activation) {
        if self.state.status == Status::Running && self.plan.steps()[activation.get()].policy.deadline.is_some() {
            self.out.push(Command::ClearTimer { timer: Timer::StepDeadline(activation) });
        }
    }

    /// Drops entries from the heads of the agenda until each head holds, and moves the sweep on.
    fn trim(&mut self) {
        let State { agenda, steps, status, ending, .. } = &mut *self.state;
        while agenda.ends.front().is_some_and(|at| !matches!(steps[at.get()].phase, Phase::Starting | Phase::Answered))
        {
            agenda.ends.pop_front();
        }
        while let Some(Consequence::Skip(activation, _)) = agenda.consequences.front() {
            if matches!(steps[activation.get()].phase, Phase::Blocked | Phase::Ready) {
                break;
            }
            agenda.consequences.pop_front();
        }
        while let Some(Reverse(rank)) = agenda.ready.peek() {
            if *status == Status::Running && steps[self.plan.at_rank(*rank).get()].phase == Phase::Ready {
                break;
            }
            agenda.ready.pop();
        }
        if let Some(ending) = ending {
            let kept = |phase: Phase| {
                phase.is_terminal() || phase == Phase::Answered || (phase.is_in_flight() && !ending.forced)
            };
            let rest = steps.get(ending.cursor as usize..).unwrap_or_default();
            ending.cursor += rest.iter().take_while(|step| kept(step.phase)).count() as u32;
        }
    }
}
