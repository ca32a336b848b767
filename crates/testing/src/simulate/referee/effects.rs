//! The effects that a driver holds, by what it was told to do, beside those that the machine calls outstanding.

use std::collections::{BTreeMap, BTreeSet};

use orchestr8_core::{
    machine::{Command, Commands, State, outstanding},
    plan::Plan,
};
use orchestr8_schema::{
    Timestamp,
    event::{Activation, CallId, EventBody, Timer},
};

#[derive(Debug, Default, PartialEq)]
pub(super) struct Effects {
    calls: BTreeSet<CallId>,
    timers: BTreeMap<Timer, Timestamp>,
    approvals: BTreeSet<Activation>,
}

impl Effects {
    /// Does as commands say.
    pub(super) fn carry_out(&mut self, commands: Commands) {
        for command in commands {
            match command {
                Command::Call(call) => {
                    self.calls.insert(call.id);
                }
                Command::AbortCall { call, force: true, .. } => {
                    self.calls.remove(&call);
                }
                Command::SetTimer { timer, due_at } => {
                    self.timers.insert(timer, due_at);
                }
                Command::ClearTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Command::RequestApproval { activation, .. } => {
                    self.approvals.insert(activation);
                }
                Command::WithdrawApproval { activation } => {
                    self.approvals.remove(&activation);
                }
                Command::Finish(_) => *self = Self::default(),
                _ => {}
            }
        }
    }

    /// A process that takes the execution up holds what is outstanding, and nothing else.
    pub(super) fn forget(&mut self, plan: &Plan, state: &State) {
        *self = Self::outstanding(plan, state);
    }

    /// Lets go of what an event says is over: a timer that has fired, a call whose last answer is in.
    pub(super) fn let_go(&mut self, event: &EventBody) {
        match event {
            EventBody::TimerFired { timer } => {
                self.timers.remove(timer);
            }
            EventBody::AttemptFinished { call, is_final: true, .. }
            | EventBody::AttemptRejected { call, is_final: true, .. } => {
                self.calls.remove(call);
            }
            _ => {}
        }
    }

    /// Says how what is held differs from what is outstanding; absent if it does not.
    pub(super) fn differ(&mut self, plan: &Plan, state: &State) -> Option<String> {
        let wanted = Self::outstanding(plan, state);
        if *self == wanted {
            return None;
        }
        let difference = match () {
            () if self.calls != wanted.calls => format!("calls {:?}, not {:?}", self.calls, wanted.calls),
            () if self.timers != wanted.timers => format!("timers {:?}, not {:?}", self.timers, wanted.timers),
            () => format!("approvals {:?}, not {:?}", self.approvals, wanted.approvals),
        };
        // Told once.
        *self = wanted;
        Some(format!("the driver holds {difference}"))
    }

    fn outstanding(plan: &Plan, state: &State) -> Self {
        let mut commands = Commands::new();
        outstanding(plan, state, &mut commands);
        let mut effects = Self::default();
        effects.carry_out(commands);
        effects
    }
}
