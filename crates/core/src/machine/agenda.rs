//! What is to be decided next, as hints.
//!
//! An entry is never a promise: the state may have moved on since it was written. So each kind of entry has a predicate on the
//! state, and folding an event drops entries from the heads until each head holds. That keeps deciding free of changes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use orchestr8_schema::{Failure, StepIndex, event::Activation};

use super::{Phase, Rescue, State, composite::Progress, instance::Place};
use crate::plan::Plan;

/// Three queues, in the order in which they are served.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    /// Steps whose attempt has begun for the first time or ended for the last.
    pub(super) ends: VecDeque<Activation>,
    /// What follows from that, oldest first.
    pub(super) consequences: VecDeque<Consequence>,
    /// Steps whose turn has come, by rank in the plan, then activation.
    pub(super) ready: BinaryHeap<Reverse<(u32, Activation)>>,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Consequence {
    /// A step is skipped, since this dependency was not satisfied.
    Skip(Activation, StepIndex),
    /// A fallback is skipped, since the step that it serves did not need it.
    NotNeeded(Activation),
    /// The fallback of a failed step is called for.
    Fallback(Activation),
    /// The fallback of a failed step has ended.
    Rescued(Activation),
    /// A composite opens, or a wait begins.
    Open(Activation),
    /// A person is asked.
    Ask(Activation),
    /// Somebody may take a signal of this name.
    Deliver(Arc<str>),
    /// A branch, a map or a loop takes its next way.
    Decide(Activation),
    /// Enough of a parallel group has completed.
    Join(Activation),
    /// All that is open in a scope instance is cancelled.
    Abort(Place),
    /// An item of a map has ended.
    EndItem(Place),
    /// A composite ends, once all that is open inside was cancelled.
    Close(Activation),
    /// It is the turn of a hook about this, or of its answer.
    Hook(Activation),
    /// The execution fails.
    Fail(Arc<Failure>),
}

impl Consequence {
    /// Whether there is still something to decide.
    pub(super) fn holds(&self, plan: &Plan, state: &State) -> bool {
        let phase = |activation: &Activation| state.steps[activation.get()].phase;
        match self {
            Self::Skip(activation, _) | Self::NotNeeded(activation) => {
                matches!(phase(activation), Phase::Blocked | Phase::Ready)
            }
            Self::Fallback(activation) => state.steps[activation.get()].rescue == Rescue::Wanted,
            Self::Rescued(activation) => state.steps[activation.get()].rescue == Rescue::Called,
            Self::Open(activation) => phase(activation) == Phase::Opening,
            Self::Ask(activation) => {
                phase(activation) == Phase::Waiting && state.steps[activation.get()].started_at.is_none()
            }
            Self::Deliver(name) => state.next_delivery(plan, name).is_some(),
            Self::Decide(activation) => phase(activation) == Phase::Deciding,
            Self::Join(activation) => {
                phase(activation) == Phase::Open
                    && matches!(state.progress(*activation), Some(Progress::Group { joined: false, .. }))
            }
            Self::Abort(place) => state.scopes[*place as usize].live > 0,
            Self::EndItem(place) => {
                let scope = &state.scopes[*place as usize];
                scope.opened_by.is_some_and(|map| match state.progress(map) {
                    Some(Progress::Map(progress)) => phase(&map) == Phase::Open && progress.is_open(scope.number),
                    _ => false,
                })
            }
            Self::Close(activation) => phase(activation) == Phase::Closing && !state.hooks.are_about(*activation),
            Self::Hook(activation) => state.hooks.have_a_turn(*activation),
            Self::Fail(_) => true,
        }
    }
}

impl State {
    /// Drops entries from the heads of the agenda until each head holds.
    pub(super) fn trim(&mut self, plan: &Plan) {
        while let Some(activation) = self.agenda.ends.front() {
            if matches!(self.steps[activation.get()].phase, Phase::Starting | Phase::Answered) {
                break;
            }
            self.agenda.ends.pop_front();
        }
        while let Some(head) = self.agenda.consequences.front() {
            if head.holds(plan, self) {
                break;
            }
            self.agenda.consequences.pop_front();
        }
        while let Some(Reverse((_, activation))) = self.agenda.ready.peek() {
            if self.status.is_underway() && self.steps[activation.get()].phase == Phase::Ready {
                break;
            }
            self.agenda.ready.pop();
        }
    }
}

/// Heaps of the same content may differ in layout, so they are compared in order.
impl PartialEq for Agenda {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends
            && self.consequences == other.consequences
            && self.ready.clone().into_sorted_vec() == other.ready.clone().into_sorted_vec()
    }
}
