//! Durable inner calls: what agents have recorded, for the attempts that come.
//!
//! What a call has recorded is kept until its step completes: one that failed or was cancelled may be asked for again when the execution
//! is reopened, and then goes on where it was.

use std::{collections::BTreeMap, sync::Arc};

use orchestr8_agent_base::context::Records;
use orchestr8_schema::{
    event::{CallId, Durable},
    usage::Estimate,
};

use super::{State, budget::Amount, command::Sink, fold::Fold};

/// What was recorded, by call.
pub(super) type Durables = BTreeMap<CallId, Recorded>;

/// What a call has recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Recorded {
    records: Records,
    /// The attempt that recorded last, and how often it had been begun again by then.
    latest: (u32, u32),
}

impl State {
    /// Returns what a call has recorded so far.
    pub(crate) fn records(&self, call: CallId) -> Option<&Records> {
        self.durables.get(&call).map(|known| &known.records)
    }

    /// Tells how many processes have ended in an attempt since it recorded something, when it is begun again for this time. What was
    /// asked in each of them may have been answered, and nobody heard it.
    pub(crate) fn interruptions(&self, call: CallId, attempt: u32, restart: u32) -> u32 {
        match self.durables.get(&call).map(|known| known.latest) {
            Some((of, restarts)) if of == attempt => restart.saturating_sub(restarts),
            _ => restart,
        }
    }

    /// Lessens what a call's agent expects to use by what it has recorded already, and so will not pay for again.
    pub(crate) fn still_to_pay(&self, call: CallId, estimate: Estimate) -> Estimate {
        let recorded = self.records(call).into_iter().flat_map(Records::iter).filter_map(|durable| durable.usage);
        let paid = recorded.fold(Amount::default(), |paid, usage| paid.plus(Amount::used(&usage)));
        Amount::of(&estimate).minus(paid).estimate()
    }
}

impl<S: Sink> Fold<'_, S> {
    /// An inner call has succeeded: what it used up counts from here on, and no longer as reserved.
    pub(super) fn durable_recorded(&mut self, durable: &Arc<Durable>) {
        if let Some(usage) = &durable.usage {
            self.spend_of_reserved(durable.call, usage);
        }
        let restarts = match durable.call {
            CallId::Step(activation) => self.state.steps[activation.get()].restarts,
            CallId::Compensation(_) | CallId::Hook(_) => 0,
        };
        let known = self.state.durables.entry(durable.call).or_default();
        known.records.push(Arc::clone(durable));
        known.latest = (durable.attempt, restarts);
    }
}
