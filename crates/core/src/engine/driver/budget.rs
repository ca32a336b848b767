//! Attempts and budgets: what is reserved for one, and those that wait for what others have reserved.

use std::sync::Arc;

use orchestr8_schema::{
    Failure,
    event::{CallId, EventBody},
    usage::Estimate,
};

use super::Driver;
use crate::{engine::stack, machine::budget::Shortage};

impl Driver {
    /// What the agent of a step says that an attempt may use up; absent where there is no budget.
    pub(super) fn estimate(&self, call: CallId) -> Option<Arc<Estimate>> {
        let plan = &self.program.plan;
        let (CallId::Step(activation), Some(_)) = (call, plan.limits().budget) else { return None };
        let step = self.state.activation(activation)?;
        let leaf = plan.steps()[step.step.get()].leaf.as_ref()?;
        let input = step.input.as_deref()?;
        Some(Arc::new(stack::estimate(&leaf.callee, input, &leaf.config)))
    }

    /// Lets an attempt wait, without a slot, until others have given back what they reserved.
    pub(super) fn defer(&mut self, key: usize) {
        self.free_slot(key);
        let entry = &mut self.calls[key];
        if !entry.deferred {
            entry.deferred = true;
            let call = entry.id;
            self.deferred.push_back(key);
            self.tell(EventBody::AttemptDeferred { call });
        }
    }

    /// Ends a call whose attempt is not made.
    pub(super) fn reject(&mut self, key: usize, mut error: Failure) {
        let entry = &self.calls[key];
        let call = entry.id;
        error.attempts = entry.state.attempt() - 1;
        self.close(key);
        self.tell(EventBody::AttemptRejected { call, error: Arc::new(error), is_final: true });
    }

    /// Begins those that wait, first come, first served, as far as the budget allows.
    pub(super) fn offer_deferred(&mut self) {
        while let Some(&key) = self.deferred.front() {
            // What was aborted meanwhile waits no longer; another call may have its place.
            let waiting = self.calls.get(key).filter(|entry| entry.deferred).map(|entry| entry.id);
            if let Some(call @ CallId::Step(activation)) = waiting {
                let estimate = self.estimate(call);
                if self.state.shortage(&self.program.plan, activation, estimate.as_deref()) == Some(Shortage::Taken) {
                    return;
                }
                self.calls[key].deferred = false;
            }
            self.deferred.pop_front();
            if waiting.is_some() {
                self.announce(key);
            }
        }
    }
}
