//! Attempts and budgets: what is reserved for one, and those that wait for what others have reserved.

use std::sync::Arc;

use orchestr8_schema::{
    Failure,
    event::{Activation, CallId, EventBody},
    usage::Estimate,
};

use super::{Driver, calls::Work};
use crate::{
    engine::stack::{self, CallLimits},
    machine::budget::{Amount, Shortage, exceeded},
};

impl Driver {
    /// What the agent of a step says that an attempt may use up; absent where there is no budget.
    pub(super) fn estimate(&self, call: CallId) -> Option<Arc<Estimate>> {
        let plan = &self.program.plan;
        let (CallId::Step(activation), Some(_)) = (call, self.state.budget_limits(plan)) else { return None };
        let step = self.state.activation(activation)?;
        let leaf = plan.steps()[step.step.get()].leaf.as_ref()?;
        let input = step.input.as_deref()?;
        let limits = self.state.budget_limits(plan)?;
        let estimate = limits.fill_in(stack::estimate(&leaf.callee, input, &leaf.config));
        Some(Arc::new(self.state.still_to_pay(call, estimate)))
    }

    /// Tells what keeps the next attempt of a call from beginning.
    pub(super) fn shortage(&self, key: usize, activation: Activation, estimate: Option<&Estimate>) -> Option<Shortage> {
        let others = self.claimed.minus(self.calls[key].claim);
        self.state.shortage(&self.program.plan, activation, estimate, others)
    }

    /// Lets an attempt wait until others have given back what they reserved.
    ///
    /// It holds nothing meanwhile: its slot, its permits and the probe of its circuit are for others to have, who may be just those
    /// that it waits for. Afterwards it asks for them again.
    pub(super) fn defer(&mut self, key: usize) {
        self.free_slot(key);
        let call = self.calls[key].id;
        if let Some(queues) = self.places_of(call).queues {
            queues.give_back();
        }
        let entry = &mut self.calls[key];
        (entry.deferred, entry.work) = (true, Work::Away);
        entry.state.take_slot_back();
        self.deferred.push_back(key);
        self.tell(EventBody::AttemptDeferred { call });
    }

    /// Ends a call whose attempt is not made.
    pub(super) fn reject(&mut self, key: usize, mut error: Failure) {
        let entry = &self.calls[key];
        let call = entry.id;
        error.attempts = entry.state.attempt() - 1;
        self.close(key);
        self.tell(EventBody::AttemptRejected { call, error: Arc::new(error), is_final: true });
    }

    /// Has those ask again that wait, first come, first served, as far as the budget allows. What they need of it is theirs until
    /// they begin.
    pub(super) fn offer_deferred(&mut self) {
        while let Some(&key) = self.deferred.front() {
            // What was aborted meanwhile waits no longer; another call may have its place.
            let waiting = self.calls.get(key).filter(|entry| entry.deferred).map(|entry| entry.id);
            if let Some(call @ CallId::Step(activation)) = waiting {
                let estimate = self.estimate(call);
                match self.shortage(key, activation, estimate.as_deref()) {
                    Some(Shortage::Taken) => return,
                    Some(Shortage::Spent(budget)) => self.reject(key, exceeded(budget)),
                    None => self.reopen(key, estimate.as_deref()),
                }
            }
            self.deferred.pop_front();
        }
    }

    fn reopen(&mut self, key: usize, estimate: Option<&Estimate>) {
        let places = self.places_of(self.calls[key].id);
        let entry = &mut self.calls[key];
        let Some(stack) = entry.stack else { return };
        let limits = CallLimits { not_before: None, ..entry.limits };
        let (program, state) = (Arc::clone(&self.program), Arc::clone(&entry.state));
        entry.work = Work::Layered(stack::call(program, stack, state, places, limits, None));
        entry.deferred = false;
        entry.claim = estimate.map(Amount::of).unwrap_or_default();
        self.claimed = self.claimed.plus(entry.claim);
        self.runnable.push_back(key);
    }

    /// Keeps nothing for a call any more: it has reserved what it needs, or needs none.
    pub(super) fn drop_claim(&mut self, key: usize) {
        let claim = std::mem::take(&mut self.calls[key].claim);
        self.claimed = self.claimed.minus(claim);
    }
}
