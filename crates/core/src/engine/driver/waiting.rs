//! Who waits for a slot, and what this execution holds.

use std::sync::Arc;

use orchestr8_schema::event::CallId;
use slab::Slab;

use super::{Driver, EngineShared, calls::Entry};
use crate::{
    engine::stack::Places,
    execution::Shared,
    machine::{Call, Command, Commands, State, Status},
};

/// Who waits for a slot.
pub(super) enum Waiter {
    /// A call that has not begun, and what it shares with others.
    New(Call, Places),
    /// A call before its first attempt, after other waits, or between two.
    Parked(usize),
}

/// Whether somebody waits for a slot still: what was aborted meanwhile does not.
pub(super) fn waits(waiter: &Waiter, state: &State, calls: &Slab<Entry>) -> bool {
    match waiter {
        Waiter::New(call, _) => state.has_call(call.id),
        Waiter::Parked(key) => calls.get(*key).is_some_and(|entry| entry.wants_slot),
    }
}

/// Slots that this execution holds; given back when dropped.
pub(super) struct Held {
    pub(super) engine: Arc<EngineShared>,
    pub(super) shared: Arc<Shared>,
    pub(super) count: u32,
}

impl Held {
    fn give_back(&mut self) {
        self.count -= 1;
        #[cfg(planted)]
        if crate::planted::Defect::SlotsLeak.is_made() {
            return;
        }
        self.engine.slots.give_back();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.engine.slots.wait_for(self.shared.mailbox(), 0);
        for _ in 0..self.count + self.shared.mailbox().take_slots() {
            self.engine.slots.give_back();
        }
    }
}

impl Driver {
    /// Queues the calls that the machine asks for, and begins those that have a slot; everything else waits until the batch is
    /// stored.
    pub(super) fn begin_calls(&mut self) {
        while !self.commands.is_empty() {
            let mut commands = std::mem::take(&mut self.commands);
            leave_out_taken_back(&mut commands);
            for command in commands.drain(..) {
                match command {
                    Command::Call(call) => self.begin_call(call),
                    // Another hook about the same thing may be called within the same batch, so its end cannot wait for the batch's.
                    Command::AbortCall { call: call @ CallId::Hook(_), force, .. } => self.abort(call, force),
                    effect => self.effects.push(effect),
                }
            }
            if self.commands.is_empty() {
                // The buffer was lent out, so that its memory is used again.
                self.commands = commands;
            }
            self.give_slots();
        }
    }

    /// Queues a call for a slot, unless its circuit would reject it, it is not due, or it may have to wait for something else.
    fn begin_call(&mut self, call: Call) {
        if !self.state.has_call(call.id) {
            return;
        }
        if let CallId::Hook(_) = call.id {
            return self.begin_hook(call);
        }
        let places = self.places_of(call.id);
        let rejected = places.circuit.as_ref().is_some_and(|circuit| circuit.rejection().is_some());
        if rejected || call.not_before.is_some() || places.queues.is_some() {
            self.open(call, places, false);
        } else {
            self.waiting.push_back(Waiter::New(call, places));
        }
    }

    /// How many slots this execution may hold.
    fn slot_limit(&self) -> u32 {
        if self.state.status() == Status::Paused {
            return 0;
        }
        self.most_slots
    }

    /// Takes a slot, within the limits of engine and workflow.
    pub(super) fn take_slot(&mut self) -> bool {
        let taken = self.slots.count < self.slot_limit() && self.engine.slots.try_take();
        if taken {
            self.slots.count += 1;
        }
        taken
    }

    /// Gives slots to those who wait for them, as many as there are.
    pub(super) fn give_slots(&mut self) {
        let mut spare = self.shared.mailbox().take_slots();
        if self.waiting.is_empty() && self.asked == 0 && spare == 0 {
            return;
        }
        let limit = self.slot_limit();
        self.asked = self.asked.saturating_sub(spare);
        // Those whose sub-workflow has used its share up; others may overtake them.
        let mut held_back = Vec::new();
        while let Some(waiter) = self.waiting.front() {
            if !waits(waiter, &self.state, &self.calls) {
                self.waiting.pop_front();
                continue;
            }
            let call = match waiter {
                Waiter::New(call, _) => call.id,
                Waiter::Parked(key) => self.calls[*key].id,
            };
            if !self.has_share(call) {
                held_back.extend(self.waiting.pop_front());
                continue;
            }
            if spare > 0 && self.slots.count < limit {
                spare -= 1;
                self.slots.count += 1;
            } else if !self.take_slot() {
                break;
            }
            self.count_share(call);
            match self.waiting.pop_front() {
                Some(Waiter::New(call, places)) => {
                    self.open(call, places, true);
                }
                Some(Waiter::Parked(key)) => {
                    let entry = &mut self.calls[key];
                    (entry.has_slot, entry.wants_slot) = (true, false);
                    entry.state.grant_slot();
                    self.runnable.push_back(key);
                }
                None => {}
            }
        }
        for _ in 0..spare {
            self.engine.slots.give_back();
        }
        let wanted = (self.waiting.len() as u32).min(limit.saturating_sub(self.slots.count));
        for waiter in held_back.into_iter().rev() {
            self.waiting.push_front(waiter);
        }
        if wanted != self.asked {
            self.asked = wanted;
            self.engine.slots.wait_for(self.shared.mailbox(), wanted);
        }
    }

    pub(super) fn free_slot(&mut self, key: usize) {
        if std::mem::take(&mut self.calls[key].has_slot) {
            self.slots.give_back();
            self.give_share_back(self.calls[key].id);
        }
    }
}

/// Leaves out hooks whose calls are taken back before they could begin: by now another one about the same thing may have its turn,
/// which goes by the same name.
fn leave_out_taken_back(commands: &mut Commands) {
    let mut taken_back = Vec::new();
    for index in (0..commands.len()).rev() {
        match &commands[index] {
            Command::AbortCall { call: call @ CallId::Hook(_), force: true, .. } => taken_back.push(*call),
            Command::Call(call) if taken_back.contains(&call.id) => {
                commands.remove(index);
            }
            _ => {}
        }
    }
}
