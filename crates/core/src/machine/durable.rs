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
pub(super) type Durables = BTreeMap<CallId, Records>;

impl State {
    /// Returns what a call has recorded so far.
    pub(crate) fn records(&self, call: CallId) -> Option<&Records> {
        self.durables.get(&call)
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
        self.state.durables.entry(durable.call).or_default().push(Arc::clone(durable));
    }
}
