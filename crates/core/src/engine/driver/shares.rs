//! The shares of sub-workflows: slots that their steps hold, where their own policies allow them fewer than there are.

use std::collections::HashMap;

use orchestr8_schema::event::CallId;

use super::Driver;
use crate::{machine::instance::Place, plan::Plan};

/// How many slots each run of a sub-workflow with a limit of its own holds.
#[derive(Default)]
pub(super) struct Shares(HashMap<Place, u32>);

impl Shares {
    /// Absent if no sub-workflow has a limit, and then nothing is counted.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        plan.units().iter().skip(1).any(|unit| unit.max_concurrent_steps.is_some()).then(Self::default)
    }
}

impl Driver {
    /// Whether the sub-workflows that a call stands in allow it to begin.
    pub(super) fn has_share(&self, call: CallId) -> bool {
        let (Some(shares), CallId::Step(activation)) = (&self.shares, call) else { return true };
        self.state
            .shares_of(&self.program.plan, activation)
            .all(|(place, limit)| shares.0.get(&place).is_none_or(|held| *held < limit))
    }

    /// Counts a slot that a call was given.
    pub(super) fn count_share(&mut self, call: CallId) {
        let (Some(shares), CallId::Step(activation)) = (&mut self.shares, call) else { return };
        for (place, _) in self.state.shares_of(&self.program.plan, activation) {
            *shares.0.entry(place).or_default() += 1;
        }
    }

    /// Counts a slot that a call gives back.
    pub(super) fn give_share_back(&mut self, call: CallId) {
        let (Some(shares), CallId::Step(activation)) = (&mut self.shares, call) else { return };
        for (place, _) in self.state.shares_of(&self.program.plan, activation) {
            if let Some(held) = shares.0.get_mut(&place) {
                *held -= 1;
            }
        }
    }
}
