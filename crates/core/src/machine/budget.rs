//! Budgets: what an execution has used up, what attempts in progress have reserved, and whether another may begin.
//!
//! Before an attempt its estimate is reserved; its end puts what was used in the place of that. An attempt that would pass a limit is
//! not made: if what is used stands in the way, never; if only what others have reserved, not yet. An attempt that is dropped without
//! an answer has used what it had reserved. Nothing lowers what is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, BudgetKind, CallId},
    usage::{Estimate, Usage},
};
use serde_json::json;

use super::{State, command::Sink, fold::Fold};
use crate::plan::{BudgetLimits, Plan};

/// What is known of an execution's budget.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    used: Usage,
    spent: Amount,
    /// Activations of steps that call something, once their first attempt has begun.
    steps: u64,
    reserved: BTreeMap<CallId, Amount>,
    /// The sum of them.
    held: Amount,
    /// Steps that wait for what others have reserved.
    deferred: BTreeSet<Activation>,
    /// The limits that were reached, each told once.
    exceeded: BTreeSet<BudgetKind>,
}

/// What budgets count: tokens, and billionths of a dollar, which add up exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    tokens: u64,
    cost: u64,
}

/// Why an attempt cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// What others have reserved stands in the way.
    Taken,
    /// What is used stands in the way.
    Spent(BudgetKind),
}

/// A limit, and how much of it is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Balance {
    pub(crate) budget: BudgetKind,
    pub(crate) limit: f64,
    pub(crate) reserved: f64,
    pub(crate) spent: f64,
}

/// Billionths of a dollar; what is no amount is nothing.
pub(crate) fn nanos(dollars: f64) -> u64 {
    (dollars * 1e9).round() as u64
}

fn dollars(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl Amount {
    pub(crate) fn of(estimate: &Estimate) -> Self {
        Self { tokens: estimate.tokens, cost: nanos(estimate.cost_usd) }
    }

    fn used(usage: &Usage) -> Self {
        Self { tokens: usage.tokens(), cost: nanos(usage.cost_usd) }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_add(other.tokens), cost: self.cost.saturating_add(other.cost) }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_sub(other.tokens), cost: self.cost.saturating_sub(other.cost) }
    }
}

impl State {
    /// Tells what keeps an attempt of a step from beginning, beside others that are about to begin and will reserve this much;
    /// absent if nothing does.
    pub(crate) fn shortage(
        &self,
        plan: &Plan,
        activation: Activation,
        reserved: Option<&Estimate>,
        claimed: Amount,
    ) -> Option<Shortage> {
        let limits = plan.limits().budget?;
        let ledger = &self.ledger;
        let is_first = self.activation(activation).is_some_and(|step| step.attempts == 0);
        if is_first && limits.steps.is_some_and(|limit| ledger.steps >= limit) {
            return Some(Shortage::Spent(BudgetKind::Steps));
        }
        let asked = reserved.map(Amount::of).unwrap_or_default();
        let own = ledger.reserved.get(&CallId::Step(activation)).copied().unwrap_or_default();
        let held = ledger.held.minus(own).plus(claimed);
        let tokens = (BudgetKind::Tokens, limits.tokens, ledger.spent.tokens, held.tokens, asked.tokens);
        let cost = (BudgetKind::Cost, limits.cost, ledger.spent.cost, held.cost, asked.cost);
        let mut taken = false;
        for (kind, limit, spent, held, asked) in [tokens, cost] {
            let Some(limit) = limit else { continue };
            if spent >= limit || spent.saturating_add(asked) > limit {
                return Some(Shortage::Spent(kind));
            }
            taken |= spent.saturating_add(held).saturating_add(asked) > limit;
        }
        taken.then_some(Shortage::Taken)
    }

    /// Whether a step waits for what others have reserved.
    pub(crate) fn is_deferred(&self, activation: Activation) -> bool {
        self.ledger.deferred.contains(&activation)
    }

    /// Returns what was used up so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage { cost_usd: dollars(self.ledger.spent.cost), ..self.ledger.used }
    }

    /// Lists the limits of the execution, and how much of them is gone.
    pub(crate) fn balances(&self, plan: &Plan) -> Vec<Balance> {
        let Some(BudgetLimits { tokens, cost, steps, duration }) = plan.limits().budget else { return Vec::new() };
        let Ledger { spent, held, .. } = &self.ledger;
        let ran = self.started_at.map_or(Duration::ZERO, |start| self.latest.since(start)).as_millis();
        let of = |budget, limit: f64, reserved: f64, spent: f64| Balance { budget, limit, reserved, spent };
        let tokens = tokens.map(|limit| of(BudgetKind::Tokens, limit as f64, held.tokens as f64, spent.tokens as f64));
        let cost = cost.map(|limit| of(BudgetKind::Cost, dollars(limit), dollars(held.cost), dollars(spent.cost)));
        let steps = steps.map(|limit| of(BudgetKind::Steps, limit as f64, 0.0, self.ledger.steps as f64));
        let duration = duration.map(|limit| of(BudgetKind::Duration, limit.as_millis() as f64, 0.0, ran as f64));
        [tokens, cost, steps, duration].into_iter().flatten().collect()
    }

    /// The limit that a failure is about, if nobody has been told of it.
    pub(super) fn untold(&self, error: &Failure) -> Option<BudgetKind> {
        if error.code != ErrorKind::BudgetExceeded {
            return None;
        }
        let named = error.context.as_ref()?.get("budget")?.as_str()?;
        let kind = BudgetKind::ALL.into_iter().find(|kind| kind.key() == named)?;
        self.can_exceed(kind).then_some(kind)
    }

    pub(super) fn can_exceed(&self, kind: BudgetKind) -> bool {
        self.status.is_underway() && !self.ledger.exceeded.contains(&kind)
    }
}

/// The failure of what a spent budget prevents.
pub(crate) fn exceeded(kind: BudgetKind) -> Failure {
    let mut failure = Failure::new(ErrorKind::BudgetExceeded, format!("the budget's `{}` is spent", kind.key()));
    failure.context = Some(json!({ "budget": kind.key() }));
    failure
}

impl<S: Sink> Fold<'_, S> {
    /// An attempt begins.
    pub(super) fn reserve(&mut self, call: CallId, estimate: Option<&Estimate>) {
        let (CallId::Step(activation), Some(_)) = (call, self.plan.limits().budget) else { return };
        let is_first = self.state.steps[activation.get()].attempts == 0;
        let amount = estimate.map(Amount::of).unwrap_or_default();
        let ledger = &mut self.state.ledger;
        ledger.steps += u64::from(is_first);
        ledger.deferred.remove(&activation);
        let before = ledger.reserved.insert(call, amount).unwrap_or_default();
        ledger.held = ledger.held.minus(before).plus(amount);
    }

    /// An attempt has ended, and this is what it used.
    pub(super) fn spend(&mut self, call: CallId, usage: Option<&Usage>) {
        self.give_back(call);
        if let Some(usage) = usage {
            let ledger = &mut self.state.ledger;
            ledger.used.add(usage);
            ledger.spent = ledger.spent.plus(Amount::used(usage));
        }
    }

    /// An attempt is dropped; what it has used is not known, so it is the most that it might have.
    pub(super) fn forfeit(&mut self, activation: Activation) {
        let lost = self.give_back(CallId::Step(activation));
        self.state.ledger.spent = self.state.ledger.spent.plus(lost);
    }

    fn give_back(&mut self, call: CallId) -> Amount {
        if self.plan.limits().budget.is_none() {
            return Amount::default();
        }
        let ledger = &mut self.state.ledger;
        let amount = ledger.reserved.remove(&call).unwrap_or_default();
        ledger.held = ledger.held.minus(amount);
        amount
    }

    pub(super) fn attempt_deferred(&mut self, activation: Activation) {
        self.state.ledger.deferred.insert(activation);
    }

    /// A step waits for nobody's reservation any more.
    pub(super) fn no_longer_deferred(&mut self, activation: Activation) {
        self.state.ledger.deferred.remove(&activation);
    }

    pub(super) fn budget_exceeded(&mut self, kind: BudgetKind) {
        self.state.ledger.exceeded.insert(kind);
    }
}
