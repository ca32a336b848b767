//! Signals that nobody has taken yet, and steps that wait for one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestr8_schema::event::{Activation, Signal};

/// Signals and those who wait for them, by name; first come, first served.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signals {
    boxes: BTreeMap<Arc<str>, SignalBox>,
    /// The ids of signals that were received.
    seen: BTreeSet<Arc<str>>,
    undelivered: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct SignalBox {
    /// With the sequence of the event that brought it.
    received: VecDeque<(u64, Arc<Signal>)>,
    waiting: VecDeque<Activation>,
}

impl Signals {
    /// Whether another signal can be kept.
    pub(super) fn is_full(&self) -> bool {
        self.undelivered >= Signal::MAX_UNDELIVERED
    }

    pub(super) fn has_seen(&self, signal: &Signal) -> bool {
        signal.signal_id.as_ref().is_some_and(|id| self.seen.contains(id))
    }

    pub(super) fn receive(&mut self, sequence: u64, signal: &Arc<Signal>) {
        self.seen.extend(signal.signal_id.clone());
        self.undelivered += 1;
        self.boxes.entry(Arc::clone(&signal.name)).or_default().received.push_back((sequence, Arc::clone(signal)));
    }

    pub(super) fn wait(&mut self, name: &str, activation: Activation) {
        self.boxes.entry(name.into()).or_default().waiting.push_back(activation);
    }

    pub(super) fn wait_no_longer(&mut self, name: &str, activation: Activation) {
        if let Some(found) = self.boxes.get_mut(name) {
            found.waiting.retain(|&waiting| waiting != activation);
            self.forget_if_empty(name);
        }
    }

    /// Finds who takes which signal of this name next; `is_for` tells whether a signal with a path is for an activation.
    pub(super) fn next(&self, name: &str, is_for: impl Fn(&Signal, Activation) -> bool) -> Option<(Activation, u64)> {
        let found = self.boxes.get(name)?;
        found.waiting.iter().find_map(|&activation| {
            let (sequence, _) = found.received.iter().find(|(_, signal)| is_for(signal, activation))?;
            Some((activation, *sequence))
        })
    }

    /// Whether a signal that was received will be taken by an activation once all are taken by whom they are for.
    pub(super) fn is_kept_for(
        &self,
        name: &str,
        activation: Activation,
        is_for: impl Fn(&Signal, Activation) -> bool,
    ) -> bool {
        let Some(found) = self.boxes.get(name) else { return false };
        let mut kept: Vec<_> = found.received.iter().collect();
        found.waiting.iter().any(|&waiting| {
            let place = kept.iter().position(|(_, signal)| is_for(signal, waiting));
            place.map(|place| kept.remove(place)).is_some() && waiting == activation
        })
    }

    /// Returns the signal that an event brought, if nobody has taken it.
    pub(super) fn get(&self, name: &str, sequence: u64) -> Option<&Arc<Signal>> {
        let received = &self.boxes.get(name)?.received;
        received.iter().find(|(found, _)| *found == sequence).map(|(_, signal)| signal)
    }

    /// Takes a signal out.
    pub(super) fn take(&mut self, name: &str, sequence: u64) -> Option<Arc<Signal>> {
        let received = &mut self.boxes.get_mut(name)?.received;
        let index = received.iter().position(|(found, _)| *found == sequence)?;
        let (_, signal) = received.remove(index)?;
        self.undelivered -= 1;
        self.forget_if_empty(name);
        Some(signal)
    }

    fn forget_if_empty(&mut self, name: &str) {
        if self.boxes.get(name).is_some_and(|found| found.received.is_empty() && found.waiting.is_empty()) {
            self.boxes.remove(name);
        }
    }
}
