//! Pauses: from `execution.paused` to `execution.resumed` nothing starts, and deadlines stand still.
//!
//! Attempts in progress come to their end, waits go on, and both are recorded; what follows from them waits in the agenda. A call
//! without an attempt in progress is taken back, and asked for again when the execution is resumed, so that it comes with the
//! deadline that holds then and nothing is kept open meanwhile.

use std::time::Duration;

use orchestr8_schema::{
    Timestamp,
    event::{Activation, CallId},
};

use super::{Command, Phase, State, Status, command::Sink, fold::Fold};

/// The pauses of an execution, so that deadlines can be moved by their length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pauses {
    /// Since when it stands still. An execution that is cancelled in a pause never leaves it.
    since: Option<Timestamp>,
    /// Those that are over: when each began, and how long it took together with those before.
    over: Vec<(Timestamp, Duration)>,
}

impl Pauses {
    fn begin(&mut self, at: Timestamp) {
        self.since = Some(at);
    }

    fn end(&mut self, at: Timestamp) {
        if let Some(since) = self.since.take() {
            let before = self.length();
            self.over.push((since, before.saturating_add(at.since(since))));
        }
    }

    fn length(&self) -> Duration {
        self.over.last().map_or(Duration::ZERO, |(_, length)| *length)
    }

    /// Moves the end of a time limit by the pauses that have begun since it began to count.
    pub(super) fn moved(&self, from: Timestamp, limit: Duration) -> Timestamp {
        let earlier = self.over.partition_point(|(began, _)| *began < from);
        let before = earlier.checked_sub(1).map_or(Duration::ZERO, |last| self.over[last].1);
        from.plus(limit.saturating_add(self.length().saturating_sub(before)))
    }
}

impl State {
    /// Whether the driver holds a call.
    pub(crate) fn has_call(&self, call: CallId) -> bool {
        match call {
            CallId::Step(activation) => {
                self.steps.get(activation.get()).is_some_and(|step| self.is_called_in(step.phase))
            }
            CallId::Compensation(_) => self.compensation_call().is_some_and(|open| open.id == call),
            CallId::Hook(activation) => self.open_hook_call(activation).is_some(),
        }
    }

    /// Whether calls without an attempt in progress are taken back: in a pause, and in an end that came in one.
    pub(super) fn takes_back(&self) -> bool {
        self.pauses.since.is_some()
    }

    /// Whether the driver holds a call of a step in this phase: a pause takes back those without an attempt in progress.
    pub(super) fn is_called_in(&self, phase: Phase) -> bool {
        match phase {
            Phase::Scheduled | Phase::Backoff => !self.takes_back(),
            phase => phase.has_call(),
        }
    }
}

impl<S: Sink> Fold<'_, S> {
    pub(super) fn paused(&mut self) {
        self.clear_deadlines();
        for (index, step) in self.state.steps.iter().enumerate() {
            if matches!(step.phase, Phase::Scheduled | Phase::Backoff) {
                self.out.push(taken_back(Activation(index as u32)));
            }
        }
        self.take_back_hooks();
        self.state.pauses.begin(self.at);
        self.state.status = Status::Paused;
    }

    /// An attempt has failed, and its retry has to wait until the execution is resumed.
    pub(super) fn take_back(&mut self, activation: Activation) {
        self.out.push(taken_back(activation));
    }

    pub(super) fn resumed(&mut self) {
        self.state.pauses.end(self.at);
        self.state.status = if self.state.started_at.is_some() { Status::Running } else { Status::Queued };
        self.set_deadlines();
        for activation in (0..self.state.steps.len() as u32).map(Activation) {
            if matches!(self.state.steps[activation.get()].phase, Phase::Scheduled | Phase::Backoff) {
                self.call(activation);
            }
        }
        self.call_hooks_again();
    }
}

fn taken_back(activation: Activation) -> Command {
    Command::AbortCall { call: CallId::Step(activation), reason: "the execution is paused".into(), force: true }
}
