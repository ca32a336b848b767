//! Steps: they are scheduled, called, retried, waited for, and they end.

use std::{cmp::Reverse, sync::Arc};

use orchestr8_schema::{
    ErrorKind, Failure, StepIndex, Timestamp,
    event::{Activation, ApprovalAnswer, ApprovalDecision, CallId, Reuse, SkipReason, Timer},
    policy::OnError,
    validate::{ValidKind, ValidWait},
    workflow::OnTimeout,
};
use serde_json::{Value, json};

use super::{Fold, is_asked};
use crate::machine::{Command, Phase, Rescue, Status, StepState, agenda::Consequence, command::Sink, hooks::Stage};

impl<S: Sink> Fold<'_, S> {
    fn step(&mut self, activation: Activation) -> &mut StepState {
        &mut self.state.steps[activation.get()]
    }

    pub(super) fn scheduled(
        &mut self,
        activation: Activation,
        input: &Arc<Value>,
        key: Option<&Arc<str>>,
        reuse: Option<Reuse>,
    ) {
        let at = self.at;
        let step = self.step(activation);
        step.phase = Phase::Before;
        step.input = Some(Arc::clone(input));
        step.idempotency_key = key.cloned();
        step.reuse = reuse;
        step.scheduled_at = Some(at);
        self.set(Timer::StepDeadline(activation));
        if !self.begin_hooks(activation, Stage::Before) {
            self.proceed(activation);
        }
    }

    /// Nothing stands before a step any more: it is called, opens, or takes its result over.
    pub(in crate::machine) fn proceed(&mut self, activation: Activation) {
        if self.take_over(activation) {
            return;
        }
        let is_leaf = self.plan.steps()[self.state.steps[activation.get()].step.get()].leaf.is_some();
        self.step(activation).phase = if is_leaf { Phase::Scheduled } else { Phase::Opening };
        if !self.call(activation) {
            self.follow(Consequence::Open(activation));
        }
    }

    pub(super) fn started(&mut self, activation: Activation) {
        let at = self.at;
        let step = self.step(activation);
        step.started_at = Some(at);
        if step.phase == Phase::Starting {
            step.phase = Phase::Running;
        } else {
            self.open(activation);
        }
    }

    pub(super) fn waiting(&mut self, activation: Activation, due_at: Option<Timestamp>) {
        let (plan, at) = (self.plan, self.at);
        let step = self.step(activation);
        step.phase = Phase::Waiting;
        step.due_at = due_at;
        match &plan.valid_step(step.step).kind {
            ValidKind::Approval(_) => self.follow(Consequence::Ask(activation)),
            ValidKind::Wait(ValidWait::Signal { name, .. }) => {
                step.started_at = Some(at);
                self.state.signals.wait(name.as_str(), activation);
                self.follow(Consequence::Deliver(name.as_str().into()));
            }
            _ => step.started_at = Some(at),
        }
        self.set(Timer::Wait(activation));
    }

    /// The time of a wait is over, or the next iteration of a loop is due.
    pub(super) fn wait_over(&mut self, activation: Activation) {
        let plan = self.plan;
        let step = self.step(activation);
        step.due_at = None;
        let kind = &plan.valid_step(step.step).kind;
        let result = match kind {
            // It came in time, and is delivered as soon as the pause is over.
            ValidKind::Wait(ValidWait::Signal { name, .. })
                if self.state.is_signal_kept_for(plan, name.as_str(), activation) =>
            {
                return;
            }
            ValidKind::Wait(ValidWait::Signal { name, .. }) => {
                Err(Failure::new(ErrorKind::Timeout, format!("no signal `{}` came in time", name.as_str())))
            }
            ValidKind::Wait(_) => Ok(json!({ "reason": "elapsed" })),
            ValidKind::Approval(approval) => match &approval.on_timeout {
                OnTimeout::Fail => Err(Failure::new(ErrorKind::Timeout, "nobody answered in time")),
                OnTimeout::Reject => Err(Failure::new(ErrorKind::Denied, "nobody approved in time")),
                OnTimeout::Answer(answer) => Ok(approved(answer, None, None)),
            },
            _ => return self.begin_iteration(activation),
        };
        self.answer(activation, result);
    }

    pub(super) fn signal_delivered(&mut self, activation: Activation, sequence: u64) {
        let plan = self.plan;
        let ValidKind::Wait(ValidWait::Signal { name, .. }) = &plan.valid_step(self.step(activation).step).kind else {
            return;
        };
        if let Some(signal) = self.state.signals.take(name.as_str(), sequence) {
            self.answer(activation, Ok(json!({ "reason": "signal", "payload": signal.payload })));
            self.follow(Consequence::Deliver(name.as_str().into()));
        }
    }

    pub(super) fn approval_answered(&mut self, activation: Activation, answer: &ApprovalAnswer) {
        self.answer(activation, approval_result(answer));
    }

    /// A wait or an approval has its result.
    fn answer(&mut self, activation: Activation, result: Result<Value, Failure>) {
        let step = self.step(activation);
        match result {
            Ok(output) => step.output = Some(Arc::new(output)),
            Err(error) => step.error = Some(Arc::new(error)),
        }
        self.answered(activation);
    }

    pub(super) fn attempt_started(&mut self, activation: Activation, attempt: u32, restart: u32) {
        let at = self.at;
        let step = self.step(activation);
        if step.phase.is_in_flight() {
            // Begun again: nothing has changed but when.
            (step.restarts, step.attempt_at) = (restart, Some(at));
            return;
        }
        self.state.in_flight += 1;
        let step = self.step(activation);
        step.attempts = attempt;
        step.restarts = restart;
        step.attempt_at = Some(at);
        step.due_at = None;
        if step.started_at.is_none() {
            step.phase = Phase::Starting;
            self.state.agenda.ends.push_back(activation);
        } else {
            step.phase = Phase::Running;
        }
    }

    pub(super) fn attempt_finished(
        &mut self,
        activation: Activation,
        result: &Result<Arc<Value>, Arc<Failure>>,
        is_final: bool,
    ) {
        self.state.in_flight -= 1;
        let ending = self.state.status.is_ending();
        let step = self.step(activation);
        match result {
            Ok(output) => step.output = Some(Arc::clone(output)),
            Err(error) => step.error = Some(Arc::clone(error)),
        }
        if is_final || ending {
            self.answered(activation);
            if !is_final {
                self.abort(activation, "no further attempt is made", true);
            }
        } else {
            step.phase = Phase::Between;
        }
    }

    pub(super) fn attempt_rejected(&mut self, activation: Activation, error: &Arc<Failure>, is_final: bool) {
        let step = self.step(activation);
        step.rejected = step.rejected.saturating_add(1);
        step.error = Some(Arc::clone(error));
        if is_final {
            self.answered(activation);
        } else {
            step.phase = Phase::Between;
        }
    }

    pub(super) fn retry_scheduled(&mut self, activation: Activation, due_at: Timestamp) {
        let step = self.step(activation);
        step.phase = Phase::Backoff;
        step.due_at = Some(due_at);
        if self.state.status == Status::Paused {
            self.take_back(activation);
        }
    }

    /// A step has taken longer than its deadline allows.
    pub(super) fn step_late(&mut self, activation: Activation) {
        let step = self.step(activation);
        let phase = step.phase;
        let mut error = Failure::new(ErrorKind::Timeout, "the step's deadline has passed");
        if let Some(last) = step.error.take() {
            error = error.caused_by(last);
        }
        let error = Arc::new(error);
        if phase.is_open() {
            return self.close(activation, Err(error));
        }
        step.error = Some(error);
        step.output = None;
        if phase.is_in_flight() {
            self.state.in_flight -= 1;
            self.forfeit(activation);
        }
        if phase.has_call() {
            self.abort(activation, "the step's deadline has passed", true);
        }
        self.drop_hooks(activation);
        self.answered(activation);
    }

    /// The final answer of a step is in: its end is to be decided.
    pub(in crate::machine) fn answered(&mut self, activation: Activation) {
        self.no_longer_deferred(activation);
        self.withdraw(activation);
        self.step(activation).phase = Phase::Answered;
        self.state.agenda.ends.push_back(activation);
    }

    /// Takes back what is open for a step besides its call.
    pub(super) fn withdraw(&mut self, activation: Activation) {
        self.clear_deadline(activation);
        self.clear(Timer::Wait(activation));
        if is_asked(self.plan, self.state, activation) {
            self.out.push(Command::WithdrawApproval { activation });
        }
        let plan = self.plan;
        let step = self.step(activation);
        if step.phase == Phase::Waiting
            && let ValidKind::Wait(ValidWait::Signal { name, .. }) = &plan.valid_step(step.step).kind
        {
            self.state.signals.wait_no_longer(name.as_str(), activation);
        }
    }

    /// Clears a step's deadline. An attempt may have ended within the event that is folded, so the phase says nothing.
    pub(super) fn clear_deadline(&mut self, activation: Activation) {
        let step = &self.state.steps[activation.get()];
        let open = step.scheduled_at.is_some() && step.phase.has_deadline();
        if open && self.state.status == Status::Running && self.plan.steps()[step.step.get()].deadline.is_some() {
            self.out.push(Command::ClearTimer { timer: Timer::StepDeadline(activation) });
        }
    }

    pub(super) fn completed(&mut self, activation: Activation, output: Option<&Arc<Value>>) {
        let output = match output {
            Some(output) => Arc::clone(output),
            None if self.step(activation).reuse == Some(Reuse::Reused) => {
                self.step(activation).output.take().unwrap_or_default()
            }
            None => Arc::new(crate::machine::decide::composite::default_output(self.plan, self.state, activation)),
        };
        self.end(activation, Phase::Completed);
        self.state.durables.remove(&CallId::Step(activation));
        let step = self.step(activation);
        step.output = Some(output);
        step.error = None;
        if !self.begin_hooks(activation, Stage::After) {
            self.conclude(activation, None);
        }
    }

    pub(super) fn failed(&mut self, activation: Activation, error: &Arc<Failure>, fatal: bool) {
        self.end(activation, Phase::Failed);
        let step = self.step(activation);
        step.error = Some(Arc::clone(error));
        step.output = None;
        if !self.begin_hooks(activation, Stage::Failed { fatal }) {
            self.conclude(activation, Some(fatal));
        }
    }

    /// A step has completed or failed, and its hooks have been called: what follows from its end. A failure is fatal for its scope, or
    /// it is not.
    pub(in crate::machine) fn conclude(&mut self, activation: Activation, fatal: Option<bool>) {
        let planned = &self.plan.steps()[self.state.steps[activation.get()].step.get()];
        match fatal {
            Some(_) if planned.on_error == OnError::Fallback && planned.fallback.is_some() => {
                self.step(activation).rescue = Rescue::Wanted;
                self.follow(Consequence::Fallback(activation));
            }
            Some(true) => {
                if let Some(error) = self.step(activation).error.clone() {
                    self.fatal(activation, &error);
                }
            }
            _ => self.settle(activation),
        }
        self.depart(activation);
    }

    pub(super) fn skipped(&mut self, activation: Activation, reason: SkipReason, dependency: Option<StepIndex>) {
        self.end(activation, Phase::Skipped);
        let step = self.step(activation);
        step.skip_reason = Some(reason);
        step.blocked_by = dependency;
        self.settle(activation);
        self.depart(activation);
    }

    pub(super) fn cancelled(&mut self, activation: Activation, forced: bool) {
        if let (true, Some(ending)) = (forced, &mut self.state.ending) {
            ending.dropped = true;
        }
        self.end(activation, Phase::Cancelled);
        self.depart(activation);
    }

    pub(super) fn call_fallback(&mut self, activation: Activation, fallback: Activation) {
        self.step(activation).rescue = Rescue::Called;
        let step = self.step(fallback);
        if step.phase.is_terminal() {
            self.follow(Consequence::Rescued(activation));
        } else {
            step.waits_for -= 1;
            self.release(fallback);
        }
    }

    pub(super) fn recovered(&mut self, activation: Activation) {
        self.step(activation).rescue = Rescue::Recovered;
        self.settle(activation);
    }

    pub(super) fn not_recovered(&mut self, activation: Activation) {
        let step = self.step(activation);
        step.rescue = Rescue::Lost;
        if let Some(error) = step.error.clone() {
            self.fatal(activation, &error);
        }
    }

    /// Makes a step terminal, and drops what is still open for it.
    fn end(&mut self, activation: Activation, phase: Phase) {
        self.withdraw(activation);
        let at = self.at;
        let step = self.step(activation);
        let before = std::mem::replace(&mut step.phase, phase);
        step.ended_at = Some(at);
        step.due_at = None;
        let has_own_effect = self.step(activation).reuse != Some(Reuse::Reused);
        #[cfg(planted)]
        let has_own_effect = has_own_effect || crate::planted::Defect::ReusedUndone.is_made();
        if has_own_effect {
            self.note_end(activation);
        }
        if before.is_in_flight() {
            self.state.in_flight -= 1;
            self.forfeit(activation);
        }
        if self.state.is_called_in(before) {
            self.abort(activation, "the step has ended", true);
        }
        self.drop_hooks(activation);
        self.no_longer_deferred(activation);
    }

    /// A step that is terminal holds nothing up any more.
    pub(in crate::machine) fn depart(&mut self, activation: Activation) {
        let place = self.step(activation).scope;
        self.state.live -= 1;
        let range = self.state.activations(place);
        let scope = &mut self.state.scopes[place as usize];
        scope.live -= 1;
        let rest = &self.state.steps[(scope.base + scope.swept) as usize..range.end as usize];
        scope.swept += rest.iter().take_while(|step| step.phase.is_terminal()).count() as u32;
        self.leave(activation);
    }

    /// Tells those that wait for a step how it has ended.
    pub(super) fn settle(&mut self, activation: Activation) {
        if !self.state.status.is_underway() {
            return;
        }
        let (plan, state) = (self.plan, &*self.state);
        let step = &state.steps[activation.get()];
        let (from, satisfied) = (step.step, step.is_satisfied());
        let served = plan.steps()[from.get()].serves.map(|served| state.sibling(plan, activation, served));
        let spare = state.fallback_of(plan, activation).filter(|_| step.rescue == Rescue::None);
        for edge in plan.graph().successors(from) {
            let to = self.state.sibling(plan, activation, edge.to);
            let step = self.step(to);
            if edge.hard && !satisfied {
                if step.blocked_by.is_none() && !step.phase.is_terminal() {
                    step.blocked_by = Some(from);
                    self.follow(Consequence::Skip(to, from));
                }
            } else {
                step.waits_for -= 1;
                self.release(to);
            }
        }
        if let Some(spare) = spare {
            self.follow(Consequence::NotNeeded(spare));
        }
        if let Some(served) = served {
            self.follow(Consequence::Rescued(served));
        }
        self.count_joined(activation);
    }

    /// Makes a step ready if it waits for nothing.
    pub(super) fn release(&mut self, activation: Activation) {
        let plan = self.plan;
        let step = self.step(activation);
        if step.phase == Phase::Blocked && step.waits_for == 0 && step.blocked_by.is_none() {
            step.phase = Phase::Ready;
            let rank = plan.steps()[step.step.get()].rank;
            self.state.agenda.ready.push(Reverse((rank, activation)));
        }
    }
}

/// What an answer makes of the step that asked.
pub(in crate::machine) fn approval_result(answer: &ApprovalAnswer) -> Result<Value, Failure> {
    let ApprovalAnswer { decision, answer, comment, by } = answer;
    match decision {
        ApprovalDecision::Approve => Ok(approved(answer, comment.as_deref(), by.as_deref())),
        ApprovalDecision::Reject => {
            let who = by.as_deref().map_or_else(String::new, |by| format!(" by {by}"));
            let why = comment.as_deref().map_or_else(String::new, |comment| format!(": {comment}"));
            Err(Failure::new(ErrorKind::Denied, format!("rejected{who}{why}")))
        }
    }
}

/// The output of an approval.
fn approved(answer: &Value, comment: Option<&str>, by: Option<&str>) -> Value {
    json!({ "approved": true, "answer": answer, "comment": comment, "by": by })
}
