//! The end of an execution before its steps have come to theirs.

use std::{sync::Arc, time::Duration};

use orchestr8_schema::{
    Failure,
    event::{Activation, CallId, Cancelling, Timer},
};

use super::Fold;
use crate::machine::{Command, Phase, Status, command::Sink, state::Ending};

impl<S: Sink> Fold<'_, S> {
    pub(super) fn cancelling(&mut self, cancelling: &Arc<Cancelling>) {
        if self.state.status == Status::Cancelling {
            self.clear(Timer::Grace);
            return self.end_grace();
        }
        self.state.cancelling = Some(Arc::clone(cancelling));
        let propagate = self.plan.limits().propagate;
        self.begin_ending(Status::Cancelling, propagate.then_some(cancelling.grace_period), &cancelling.reason);
    }

    pub(super) fn failing(&mut self, error: &Arc<Failure>) {
        self.state.fatal = Some(Arc::clone(error));
        self.begin_ending(Status::Failing, Some(self.plan.limits().grace_period), "the workflow failed");
    }

    /// Ends an execution: nothing starts any more, running attempts are told, and a sweep ends the rest.
    fn begin_ending(&mut self, status: Status, grace: Option<Duration>, reason: &str) {
        self.clear_deadlines();
        for index in 0..self.state.steps.len() as u32 {
            self.clear(Timer::Wait(Activation(index)));
        }
        self.state.status = status;
        self.state.agenda.consequences.clear();
        self.state.agenda.ready.clear();
        self.drop_all_hooks();
        let grace_until = grace.filter(|_| self.state.in_flight > 0).map(|grace| self.at.plus(grace));
        self.state.ending = Some(Ending {
            cursor: 0,
            composites: self.state.steps.len() as u32,
            grace_until,
            propagate: grace.is_some(),
            forced: false,
            dropped: false,
        });
        let Some(due_at) = grace_until else { return };
        let reason: Arc<str> = reason.into();
        for (index, step) in self.state.steps.iter().enumerate() {
            if step.phase.is_in_flight() {
                let call = CallId::Step(Activation(index as u32));
                self.out.push(Command::AbortCall { call, reason: Arc::clone(&reason), force: false });
            }
        }
        self.out.push(Command::SetTimer { timer: Timer::Grace, due_at });
    }

    /// Running attempts have had their grace: the sweep goes over them once more.
    pub(super) fn end_grace(&mut self) {
        if let Some(ending) = &mut self.state.ending {
            ending.forced = true;
            ending.cursor = 0;
        }
    }

    pub(super) fn finish(&mut self, status: Status) {
        self.clear(Timer::ExecutionDeadline);
        self.clear(Timer::Grace);
        self.state.status = status;
        self.state.ended_at = Some(self.at);
        self.out.push(Command::Finish(status));
    }

    /// Moves the sweep over what needs nothing done.
    pub(super) fn move_sweep(&mut self) {
        let steps = &self.state.steps;
        let Some(ending) = &mut self.state.ending else { return };
        let kept = |phase: Phase| {
            phase.is_terminal()
                || phase.is_open()
                || phase == Phase::Answered
                || (phase.is_in_flight() && !ending.forced)
        };
        let rest = steps.get(ending.cursor as usize..).unwrap_or_default();
        let passed = rest.iter().take_while(|step| kept(step.phase)).count();
        let composites = steps.get(..ending.composites as usize).unwrap_or_default();
        let ended = composites.iter().rev().take_while(|step| !step.phase.is_open()).count();
        ending.cursor += passed as u32;
        ending.composites -= ended as u32;
    }
}
