//! What has become of a step, and of what that comes.

use std::sync::Arc;

use orchestr8_schema::{
    Failure, Millis,
    event::{Activation, ApprovalDecision, CallId, EventBody, LoopVerdict, Reuse, SkipReason, Timer},
    validate::{ValidKind, ValidWait},
};

use super::Slice;
use crate::{
    machine::{Phase, Rescue, Status},
    view,
};

/// Steps inside of an open composite that are named at most.
const MAX_INSIDE: usize = 5;

impl Slice<'_> {
    /// Tells what led a step to its present phase.
    pub(super) fn course(&mut self, activation: Activation, depth: u32) {
        match self.state.steps()[activation.get()].phase {
            Phase::Completed => self.completed(activation, depth),
            Phase::Failed => self.failed(activation, depth),
            Phase::Skipped => self.skipped(activation, depth),
            Phase::Cancelled => self.cancelled(activation, depth),
            Phase::Blocked => self.blocked(activation, depth),
            Phase::Ready | Phase::Before | Phase::Scheduled | Phase::Opening => self.held_up(activation, depth),
            Phase::Starting | Phase::Running | Phase::Answered | Phase::Between | Phase::Backoff => {
                self.under_way(activation, depth);
            }
            Phase::Waiting => self.waiting(activation, depth),
            Phase::Deciding | Phase::Open | Phase::Closing => self.open(activation, depth),
        }
    }

    fn completed(&mut self, activation: Activation, depth: u32) {
        let step = &self.state.steps()[activation.get()];
        if step.reuse == Some(Reuse::Reused) {
            let from = self.state.queued().and_then(|queued| queued.forked_from);
            let from = from
                .map_or_else(String::new, |from| format!(" from {} at {}", from.execution_id.short(), from.sequence));
            if let Some(sequence) = self.scheduled(activation) {
                self.tell(
                    depth,
                    sequence,
                    format!("its result was taken over{from}: input, agent, version and config are unchanged"),
                );
            }
            return;
        }
        let is_success =
            |body: &EventBody| matches!(body, EventBody::AttemptFinished { call: CallId::Step(_), result: Ok(_), .. });
        if let Some((sequence, EventBody::AttemptFinished { attempt, .. })) = self.last(activation, is_success) {
            self.tell(depth, sequence, format!("attempt {attempt} succeeded"));
            return self.tries(activation, depth + 1);
        }
        match &self.plan.valid_step(step.step).kind {
            ValidKind::Approval(_) => self.approval(activation, depth),
            ValidKind::Wait(_) => self.wait_over(activation, depth),
            ValidKind::Branch(_) => self.way(activation, depth),
            ValidKind::Loop(_) => self.last_iteration(activation, depth),
            ValidKind::Parallel(_) => {
                match self.last(activation, |body| matches!(body, EventBody::ParallelJoined { .. })) {
                    Some((sequence, EventBody::ParallelJoined { completed, .. })) => {
                        self.tell(depth, sequence, format!("enough of its steps had completed: {completed}"));
                    }
                    _ => self.all_inside(activation, depth),
                }
            }
            _ => self.all_inside(activation, depth),
        }
    }

    fn all_inside(&mut self, activation: Activation, depth: u32) {
        if let Some(sequence) = self.end(activation) {
            self.tell(depth, sequence, "everything inside had come to its end");
        }
    }

    fn skipped(&mut self, activation: Activation, depth: u32) {
        let Some(end) = self.end(activation) else { return };
        let step = &self.state.steps()[activation.get()];
        match step.skip_reason {
            Some(SkipReason::DependencyNotCompleted) => {
                let Some(dependency) = step.blocked_by.map(|dependency| self.beside(activation, dependency)) else {
                    return;
                };
                let became = self.became(dependency);
                let text = format!("its dependency {} {became}", self.path(dependency));
                self.tell_of(depth, self.end(dependency).unwrap_or(end), text, dependency);
                self.follow(dependency, depth + 1);
            }
            Some(SkipReason::ConditionNotMet) => {
                let condition = self.condition(activation).map(|text| format!(": {text}")).unwrap_or_default();
                self.tell(depth, end, format!("its condition did not hold{condition}"));
                self.dependencies(activation, depth + 1);
            }
            Some(SkipReason::FallbackNotNeeded) => {
                let Some(served) = self.planned(activation).serves.map(|served| self.beside(activation, served)) else {
                    return;
                };
                let text = format!("it stands in for {}, which {}", self.path(served), self.became(served));
                self.tell_of(depth, self.end(served).unwrap_or(end), text, served);
                self.follow(served, depth + 1);
            }
            Some(SkipReason::WorkflowFailed) | None => {
                self.workflow_failed(depth, "the workflow failed before its turn");
            }
        }
    }

    /// Tells of the failure of the execution, and of the step that it comes from.
    fn workflow_failed(&mut self, depth: u32, text: &str) {
        let failing = self.last_of_all(|body| matches!(body, EventBody::ExecutionFailing { .. }));
        if let Some((sequence, EventBody::ExecutionFailing { error })) = failing {
            match self.origin(error) {
                Some(origin) => {
                    self.tell(depth, sequence, text);
                    self.step_failed(origin, depth + 1);
                }
                None => self.tell(depth, sequence, format!("{text}: {error}")),
            }
        }
    }

    /// Tells that another step failed, and why.
    pub(super) fn step_failed(&mut self, other: Activation, depth: u32) {
        let Some(end) = self.end(other) else { return };
        let text = format!("{} {}", self.path(other), self.became(other));
        self.tell_of(depth, end, text, other);
        self.follow(other, depth + 1);
    }

    /// The step that a failure comes from.
    pub(super) fn origin(&self, error: &Arc<Failure>) -> Option<Activation> {
        self.find(error.step_path.as_ref()?.as_str())
    }

    fn cancelled(&mut self, activation: Activation, depth: u32) {
        let Some(end) = self.end(activation) else { return };
        if let Some(around) = self.state.parent_of(activation) {
            let joined = self.last(around, |body| matches!(body, EventBody::ParallelJoined { .. }));
            if let Some((sequence, _)) = joined.filter(|(sequence, _)| *sequence < end) {
                let text = format!("enough of {} had completed without it", self.path(around));
                return self.tell_of(depth, sequence, text, around);
            }
            let culprit = self.state.siblings(activation).find(|other| {
                let failed = self.last(*other, |body| matches!(body, EventBody::StepFailed { fatal: true, .. }));
                *other != activation && failed.is_some_and(|(sequence, _)| sequence < end)
            });
            if let Some(culprit) = culprit {
                return self.step_failed(culprit, depth);
            }
        }
        if self.state.cancelling().is_some() {
            return self.execution_cancelled(depth);
        }
        match self.last_of_all(|body| matches!(body, EventBody::ExecutionFailing { .. })) {
            Some((sequence, _)) if sequence < end => self.workflow_failed(depth, "the workflow failed while it ran"),
            _ => {
                let Some(around) = self.state.parent_of(activation) else { return };
                let text = format!("{}, which it stands in, {}", self.path(around), self.became(around));
                self.tell_of(depth, self.end(around).unwrap_or(end), text, around);
                self.follow(around, depth + 1);
            }
        }
    }

    fn execution_cancelled(&mut self, depth: u32) {
        let asked = self.last_of_all(|body| matches!(body, EventBody::ExecutionCancelling(_)));
        if let Some((sequence, EventBody::ExecutionCancelling(request))) = asked {
            let by = request.requested_by.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
            self.tell(depth, sequence, format!("the execution was cancelled{by}: {}", request.reason));
        }
    }

    fn blocked(&mut self, activation: Activation, depth: u32) {
        self.paused(depth);
        if self.state.status() == Status::Queued {
            self.note(depth, "workflow", "no driver has taken the execution up yet");
        }
        let planned = self.planned(activation);
        if let Some(served) = planned.serves.map(|served| self.beside(activation, served)) {
            let text = format!("it stands in for {}, and runs only if that fails", self.path(served));
            return self.tell_of_plan(depth, text, served);
        }
        let step = &self.state.steps()[activation.get()];
        let (unit, valid) = (self.plan.unit_of(step.step), self.plan.valid_step(step.step));
        let needed = valid.dependencies.iter().chain(&valid.soft);
        let needed: Vec<_> = needed.map(|other| self.beside(activation, unit.global(*other))).collect();
        for other in needed {
            let known = &self.state.steps()[other.get()];
            if !known.phase.is_terminal() || matches!(known.rescue, Rescue::Wanted | Rescue::Called) {
                let text = format!("it waits for {}, which {}", self.path(other), self.became(other));
                self.tell_of_plan(depth, text, other);
                self.follow(other, depth + 1);
            }
        }
    }

    /// Tells of another step what no event tells.
    fn tell_of_plan(&mut self, depth: u32, text: String, other: Activation) {
        let path = self.path(other);
        self.tell_all(depth, &[], text, Some(path));
    }

    fn paused(&mut self, depth: u32) {
        if self.state.status() == Status::Paused
            && let Some((sequence, _)) = self.last_of_all(|body| matches!(body, EventBody::ExecutionPaused { .. }))
        {
            self.tell(depth, sequence, "the execution is paused");
        }
    }

    /// Tells what keeps a step from starting whose turn has come.
    fn held_up(&mut self, activation: Activation, depth: u32) {
        self.paused(depth);
        let deferred = self.last(activation, |body| matches!(body, EventBody::AttemptDeferred { .. }));
        match deferred.filter(|_| self.state.is_deferred(activation)) {
            Some((sequence, _)) => {
                self.tell(depth, sequence, "others have reserved what is left of the budget, and it waits for that");
            }
            None => match self.last(activation, |body| matches!(body, EventBody::HookStarted { .. })) {
                Some((sequence, _)) if self.state.steps()[activation.get()].phase == Phase::Before => {
                    self.tell(depth, sequence, "a hook before it is being called");
                }
                _ if self.state.status() == Status::Running => {
                    let sequence = self.scheduled(activation);
                    self.tell_all(depth, sequence.as_slice(), "it waits for a slot", None);
                }
                _ => {}
            },
        }
    }

    fn under_way(&mut self, activation: Activation, depth: u32) {
        let step = &self.state.steps()[activation.get()];
        if matches!(step.phase, Phase::Between | Phase::Backoff) {
            self.paused(depth);
            let retry = self.last(activation, |body| matches!(body, EventBody::RetryScheduled { .. }));
            if let Some((sequence, EventBody::RetryScheduled { attempt, delay, due_at, .. })) = retry {
                let delay = Millis::from(*delay);
                self.tell(
                    depth,
                    sequence,
                    format!("attempt {attempt} comes {delay} after the one before, at {due_at}"),
                );
            }
            return self.tries(activation, depth + 1);
        }
        let begun =
            self.last(activation, |body| matches!(body, EventBody::AttemptStarted { call: CallId::Step(_), .. }));
        if let Some((sequence, EventBody::AttemptStarted { attempt, restart, .. })) = begun {
            let again = match restart {
                0 => String::new(),
                _ => format!(", begun again after a crash, for the {restart}. time"),
            };
            self.tell(depth, sequence, format!("attempt {attempt} is in progress{again}"));
        }
        self.tries(activation, depth + 1);
    }

    fn waiting(&mut self, activation: Activation, depth: u32) {
        let step = &self.state.steps()[activation.get()];
        let until = step.due_at.map_or_else(|| " without a limit".to_owned(), |due_at| format!(" until {due_at}"));
        let text = match &self.plan.valid_step(step.step).kind {
            ValidKind::Approval(_) => format!("nobody has answered it yet; it asks{until}"),
            ValidKind::Wait(ValidWait::Signal { name, .. }) => {
                format!("no signal {name} has come for it yet; it waits{until}")
            }
            _ => format!("it waits{until}"),
        };
        let since = self.last(activation, |body| {
            matches!(body, EventBody::StepWaiting { .. } | EventBody::ApprovalRequested { .. })
        });
        self.tell_all(depth, since.map(|(sequence, _)| sequence).as_slice(), text, None);
    }

    /// Tells of an open composite what is open inside.
    fn open(&mut self, activation: Activation, depth: u32) {
        let inside = self.state.inside(activation);
        let open: Vec<_> =
            inside.into_iter().filter(|inner| !self.state.steps()[inner.get()].phase.is_terminal()).collect();
        let blocked = |inner: &Activation| self.state.steps()[inner.get()].phase == Phase::Blocked;
        let (later, now): (Vec<_>, Vec<_>) = open.into_iter().partition(blocked);
        for &inner in now.iter().take(MAX_INSIDE) {
            let text = format!("{} {}", self.path(inner), self.became(inner));
            self.tell_of_plan(depth, text, inner);
            self.follow(inner, depth + 1);
        }
        let more = now.len().saturating_sub(MAX_INSIDE) + later.len();
        if more > 0 {
            self.note(depth, "workflow", format!("{more} more inside have not come to their end"));
        }
    }

    pub(super) fn approval(&mut self, activation: Activation, depth: u32) {
        let answered = self.last(activation, |body| matches!(body, EventBody::ApprovalAnswered { .. }));
        if let Some((sequence, EventBody::ApprovalAnswered { answer, .. })) = answered {
            let decided = match answer.decision {
                ApprovalDecision::Approve => "approved",
                ApprovalDecision::Reject => "rejected",
            };
            let by = answer.by.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
            let comment = answer.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
            return self.tell(depth, sequence, format!("it was {decided}{by}{comment}"));
        }
        self.wait_over(activation, depth);
    }

    /// Tells how a wait came to its end.
    pub(super) fn wait_over(&mut self, activation: Activation, depth: u32) {
        let over = self.last(activation, |body| {
            matches!(body, EventBody::SignalDelivered { .. } | EventBody::TimerFired { timer: Timer::Wait(_) })
        });
        match over {
            Some((sequence, EventBody::SignalDelivered { signal_sequence, .. })) => {
                let name = match self.events.get((*signal_sequence as usize).wrapping_sub(1)).map(|event| &event.body) {
                    Some(EventBody::SignalReceived(signal)) => format!(" {}", signal.name),
                    _ => String::new(),
                };
                self.tell_all(
                    depth,
                    &[*signal_sequence, sequence],
                    format!("the signal{name} was delivered to it"),
                    None,
                );
            }
            Some((sequence, _)) => self.tell(depth, sequence, "its time was over"),
            None => {
                if let Some(end) = self.end(activation) {
                    self.tell(depth, end, "its time was over when its turn came");
                }
            }
        }
    }

    /// Tells which case a branch took.
    pub(super) fn way(&mut self, branch: Activation, depth: u32) {
        let decided = self.last(branch, |body| matches!(body, EventBody::BranchDecided { .. }));
        if let Some((sequence, _)) = decided {
            let case = self.state.case_of(self.plan, branch).unwrap_or_default();
            self.tell(
                depth,
                sequence,
                format!("its case {case} was taken, and everything in there had come to its end"),
            );
        }
    }

    fn last_iteration(&mut self, looped: Activation, depth: u32) {
        let decided = self.last(looped, |body| matches!(body, EventBody::LoopDecided { .. }));
        if let Some((sequence, EventBody::LoopDecided { decision, .. })) = decided {
            let (count, why) = (
                decision.index,
                match decision.verdict {
                    LoopVerdict::Limit => "there were no more to come",
                    LoopVerdict::Condition | LoopVerdict::Continue { .. } => "its condition said so",
                },
            );
            let count = if count == 1 { "1 iteration".to_owned() } else { format!("{count} iterations") };
            self.tell(depth, sequence, format!("it ended after {count}: {why}"));
        }
    }

    /// What has become of a step, as the end of a sentence about it.
    pub(super) fn became(&self, activation: Activation) -> String {
        let step = &self.state.steps()[activation.get()];
        match step.phase {
            Phase::Completed if step.reuse == Some(Reuse::Reused) => "was reused".to_owned(),
            Phase::Completed => "completed".to_owned(),
            Phase::Failed if step.rescue == Rescue::Recovered => "failed and was recovered".to_owned(),
            Phase::Failed => "failed".to_owned(),
            Phase::Skipped => "was skipped".to_owned(),
            Phase::Cancelled => "was cancelled".to_owned(),
            _ => match view::waiting_for(self.plan, self.state, activation) {
                Some(kind) => format!("waits ({kind})"),
                None if view::step_status(self.state, activation) == "running" => "is running".to_owned(),
                None => "has not had its turn".to_owned(),
            },
        }
    }
}
