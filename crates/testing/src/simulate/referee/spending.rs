//! What an execution uses up of its budget.

use std::collections::{BTreeSet, HashMap};

use orchestr8_core::{machine::State, plan::Plan};
use orchestr8_schema::{
    event::{Activation, CallId, Event, EventBody},
    policy::Budget,
};

use super::steps::Blames;
use crate::simulate::invariant::Invariant;

/// What was seen of an execution's budget.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// What agents have said that they used up: what else counts makes it more.
    tokens: u64,
    /// What attempts in progress have reserved.
    reserved: HashMap<CallId, u64>,
    begun: BTreeSet<Activation>,
    /// Something is reserved for nobody, which was told.
    is_kept: bool,
    /// Limits that a reopening has raised.
    raised: Budget,
}

impl Spending {
    /// Looks at an event that was folded into the state just now.
    pub(super) fn take(&mut self, plan: &Plan, state: &State, event: &Event, blames: &mut Blames) {
        let Some(mut limits) = plan.limits().budget else { return };
        if let EventBody::ExecutionReopened(reopening) = &event.body {
            let asked = reopening.budget.clone().unwrap_or_default();
            self.raised.max_tokens = asked.max_tokens.or(self.raised.max_tokens);
            self.raised.max_steps = asked.max_steps.or(self.raised.max_steps);
        }
        limits.tokens = self.raised.max_tokens.or(limits.tokens);
        limits.steps = self.raised.max_steps.or(limits.steps);
        let mut blame = |message: String| blames.push((Invariant::BudgetHolds, message));
        match &event.body {
            EventBody::AttemptStarted { call: call @ CallId::Step(activation), restart, reserved, .. } => {
                self.begun.insert(*activation);
                let begun = self.begun.len() as u64;
                if let Some(limit) = limits.steps.filter(|limit| begun > *limit) {
                    blame(format!("{begun} steps have begun, of {limit}"));
                }
                let asked = reserved.as_ref().map_or(0, |reserved| reserved.tokens);
                self.reserved.insert(*call, asked);
                let held: u64 = self.reserved.values().sum();
                let tokens = self.tokens.saturating_add(held);
                // One that is begun again after a crash was let through before.
                let is_over = |limit: &u64| *restart == 0 && (self.tokens >= *limit || tokens > *limit);
                if let Some(limit) = limits.tokens.filter(is_over) {
                    blame(format!("an attempt begins with {tokens} tokens used and reserved, of {limit}"));
                }
            }
            EventBody::AttemptFinished { call, usage, .. } => {
                self.reserved.remove(call);
                self.tokens = self.tokens.saturating_add(usage.as_ref().map_or(0, |usage| usage.tokens()));
            }
            EventBody::StepFailed { activation, .. } | EventBody::StepCancelled { activation, .. } => {
                self.reserved.remove(&CallId::Step(*activation));
            }
            _ => {}
        }
        let held = state.reserved().tokens;
        if held > 0 && state.in_flight() == 0 && !self.is_kept {
            blame(format!("{held} tokens are reserved, and no attempt is in progress"));
            // Told once.
            self.is_kept = true;
        }
        let counted = state.usage().tokens();
        if counted < self.tokens {
            blame(format!("{counted} tokens count as used, and agents have used {}", self.tokens));
            // Told once.
            self.tokens = counted;
        }
    }

    /// Attempts in progress are gone with their process, and what they had reserved counts as used or not.
    pub(super) fn crashed(&mut self) {
        self.reserved.clear();
    }
}
