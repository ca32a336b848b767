//! Budgets, counted a second time: from the journal and from what was asked for, as an accountant would who knows no machine.

use std::collections::{BTreeMap, BTreeSet};

use orchestr8_core::machine::{Command, Commands};
use orchestr8_schema::event::{BudgetKind, CallId, Event, EventBody};

use crate::world::World;

/// What is used, and what attempts in progress have reserved.
#[derive(Default)]
pub(crate) struct Account {
    used: u64,
    held: BTreeMap<CallId, u64>,
    steps: BTreeSet<CallId>,
}

/// Why an attempt cannot begin.
pub(crate) enum Shortage {
    /// What others have reserved stands in the way.
    Taken,
    /// What is used stands in the way.
    Spent(BudgetKind),
}

impl Account {
    pub(crate) fn of(world: &World<'_>) -> Self {
        let mut account = Self::default();
        for (event, asked) in world.journal.iter().zip(&world.asked) {
            account.note(event, asked);
        }
        account
    }

    fn note(&mut self, event: &Event, asked: &Commands) {
        match &event.body {
            EventBody::AttemptStarted { call: call @ CallId::Step(_), reserved, .. } => {
                self.steps.insert(*call);
                self.held.insert(*call, reserved.as_ref().map_or(0, |estimate| estimate.tokens));
            }
            EventBody::AttemptFinished { call, usage, .. } => {
                self.held.remove(call);
                self.used += usage.as_ref().map_or(0, |usage| usage.tokens());
            }
            _ => {}
        }
        for command in asked {
            if let Command::AbortCall { call, force: true, .. } = command {
                // Nobody knows what it has used, so it is what it had reserved.
                self.used += self.held.remove(call).unwrap_or(0);
            }
        }
    }

    /// Tells what keeps an attempt from beginning.
    pub(crate) fn shortage(&self, world: &World<'_>, call: CallId, asked: u64) -> Option<Shortage> {
        let limits = world.plan.workflow().workflow().policies.budget.as_ref()?;
        if limits.max_steps.is_some_and(|limit| !self.steps.contains(&call) && self.steps.len() as u64 >= limit) {
            return Some(Shortage::Spent(BudgetKind::Steps));
        }
        let limit = limits.max_tokens?;
        if self.used >= limit || self.used + asked > limit {
            return Some(Shortage::Spent(BudgetKind::Tokens));
        }
        (self.used + self.held.values().sum::<u64>() + asked > limit).then_some(Shortage::Taken)
    }
}

/// No attempt begins that a limit forbids, and what the machine says to be used is what was used.
pub(crate) fn is_kept(world: &World<'_>) {
    let limits = world.plan.workflow().workflow().policies.budget.as_ref();
    let mut account = Account::default();
    for (event, asked) in world.journal.iter().zip(&world.asked) {
        account.note(event, asked);
        if let (EventBody::AttemptStarted { call: CallId::Step(_), .. }, Some(limits)) = (&event.body, limits) {
            let held: u64 = account.held.values().sum();
            let (tokens, steps) = (account.used + held, account.steps.len() as u64);
            assert!(limits.max_tokens.is_none_or(|limit| tokens <= limit), "{} used, {held} reserved", account.used);
            assert!(limits.max_steps.is_none_or(|limit| steps <= limit), "{steps} steps");
        }
    }
}
