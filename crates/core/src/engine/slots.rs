//! The engine's slots: how many attempts may be in progress at once, over all executions.
//!
//! Slots are given round-robin over the executions that wait for one; within an execution its driver decides, first in, first
//! out. With nobody waiting, taking a slot is a counter under a lock that is never held across an await.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::mailbox::Mailbox;

/// The slots of an engine.
#[derive(Debug)]
pub(crate) struct Slots {
    count: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    free: u32,
    /// Executions that wait, each with the number of slots that it waits for.
    waiting: VecDeque<(Arc<Mailbox>, u32)>,
}

impl Slots {
    pub(crate) fn new(count: u32) -> Self {
        Self { count, inner: Mutex::new(Inner { free: count, waiting: VecDeque::new() }) }
    }

    /// Returns how many slots are taken, and how many are waited for.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let inner = self.inner();
        let waiting = inner.waiting.iter().map(|(_, count)| u64::from(*count)).sum();
        (u64::from(self.count.saturating_sub(inner.free)), waiting)
    }

    /// Takes a slot; false if none is free or somebody waits for one already.
    pub(crate) fn try_take(&self) -> bool {
        #[cfg(planted)]
        if crate::planted::Defect::SlotsWithoutEnd.is_made() {
            return true;
        }
        let mut inner = self.inner();
        let taken = inner.free > 0 && inner.waiting.is_empty();
        if taken {
            inner.free -= 1;
        }
        taken
    }

    /// Queues an execution for this many slots, in place of what it was queued for. Each comes through
    /// [`Mailbox::grant_slot`] and is then its own to give back.
    pub(crate) fn wait_for(&self, execution: &Arc<Mailbox>, count: u32) {
        let mut inner = self.inner();
        let place = inner.waiting.iter().position(|(waiting, _)| Arc::ptr_eq(waiting, execution));
        match (place, count) {
            (Some(place), 0) => {
                inner.waiting.remove(place);
            }
            (Some(place), count) => inner.waiting[place].1 = count,
            (None, 0) => {}
            (None, count) => inner.waiting.push_back((Arc::clone(execution), count)),
        }
        inner.serve();
    }

    /// Gives a slot back.
    pub(crate) fn give_back(&self) {
        let mut inner = self.inner();
        inner.free += 1;
        inner.serve();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn serve(&mut self) {
        while self.free > 0 {
            let Some((execution, count)) = self.waiting.pop_front() else { return };
            self.free -= 1;
            execution.grant_slot();
            if count > 1 {
                self.waiting.push_back((execution, count - 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_go_round_robin_over_executions_that_wait() {
        let slots = Slots::new(1);
        let [first, second] = [Arc::new(Mailbox::default()), Arc::new(Mailbox::default())];
        assert!(slots.try_take());
        slots.wait_for(&first, 3);
        slots.wait_for(&second, 1);
        assert!(!slots.try_take(), "nobody passes those who wait");

        let mut order = Vec::new();
        for _ in 0..4 {
            slots.give_back();
            for (name, execution) in [("first", &first), ("second", &second)] {
                for _ in 0..execution.take_slots() {
                    order.push(name);
                }
            }
        }
        assert_eq!(order, ["first", "second", "first", "first"]);
        slots.give_back();
        assert!(slots.try_take(), "nobody waits any more");
    }
}
