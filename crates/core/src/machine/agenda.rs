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

/// Three queues, in the order in which they are served.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    /// Steps whose attempt has begun for the first time or ended for the last.
    pub(super) ends: VecDeque<Activation>,
    /// What follows from that, oldest first.
    pub(super) consequences: VecDeque<Consequence>,
    /// The ranks of steps whose turn has come.
    pub(super) ready: BinaryHeap<Reverse<u32>>,
}

/// What follows from the end of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Consequence {
    /// A step is skipped, since this dependency was not satisfied.
    Skip(Activation, StepIndex),
    /// The execution fails.
    Fail(Arc<Failure>),
}

/// Heaps of the same content may differ in layout, so they are compared in order.
impl PartialEq for Agenda {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends
            && self.consequences == other.consequences
            && self.ready.clone().into_sorted_vec() == other.ready.clone().into_sorted_vec()
    }
}
