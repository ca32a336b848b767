//! Budgets: what an execution has used up, what attempts in progress have reserved, and whether another may begin.
//!
//! Before an attempt its estimate is reserved; its end puts what was used in the place of that. An attempt that would pass a limit is
//! not made: if what is used stands in the way, never; if only what others have reserved, not yet. An attempt that is dropped without
//! an answer has used what it had reserved. Nothing lowers what is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orchestr8_agent_base::context::Reserved;
use orchestr8_schema::{
    ErrorKind, Failure,
    api::ExecutionUsage,
    event::{Activation, BudgetKind, CallId},
    policy::Budget,
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
    /// Steps that were counted before a reopening set them back, and are not counted again.
    counted: BTreeSet<Activation>,
    /// Limits in the place of the workflow's.
    instead: Option<BudgetLimits>,
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

impl BudgetLimits {
    /// Fills in what an agent leaves to the engine.
    pub(crate) fn fill_in(&self, estimate: Estimate) -> Estimate {
        estimate.under(self.tokens, self.cost.map(dollars))
    }
}

impl Amount {
    pub(crate) fn of(estimate: &Estimate) -> Self {
        Self { tokens: estimate.tokens, cost: nanos(estimate.cost_usd) }
    }

    /// What this much may be used for.
    pub(crate) fn estimate(self) -> Estimate {
        Estimate::new(self.tokens, dollars(self.cost))
    }

    pub(crate) fn used(usage: &Usage) -> Self {
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
    /// The limits that hold now: those of the workflow, or what a reopening put in their place.
    pub(crate) fn budget_limits(&self, plan: &Plan) -> Option<BudgetLimits> {
        self.ledger.instead.or(plan.limits().budget)
    }

    /// What of an estimate the limits are about, which is all that is really reserved.
    pub(crate) fn reserved_of(&self, plan: &Plan, estimate: &Estimate) -> Reserved {
        let limits = self.budget_limits(plan).unwrap_or_default();
        Reserved::new(limits.tokens.map(|_| estimate.tokens), limits.cost.map(|_| estimate.cost_usd))
    }

    /// Tells what keeps an attempt of a step from beginning, beside others that are about to begin and will reserve this much;
    /// absent if nothing does.
    pub(crate) fn shortage(
        &self,
        plan: &Plan,
        activation: Activation,
        reserved: Option<&Estimate>,
        claimed: Amount,
    ) -> Option<Shortage> {
        let limits = self.budget_limits(plan)?;
        let ledger = &self.ledger;
        let is_first =
            self.activation(activation).is_some_and(|step| step.attempts == 0) && !ledger.counted.contains(&activation);
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

    /// Returns what attempts in progress have reserved of the budget; nothing where there is none.
    #[must_use]
    pub fn reserved(&self) -> Estimate {
        self.ledger.held.estimate()
    }

    /// Returns what was used up so far, and by how many calls of models and tools.
    pub(crate) fn execution_usage(&self) -> ExecutionUsage {
        ExecutionUsage::new(self.usage(), self.model_calls, self.tool_calls)
    }

    /// Lists the limits of the execution, and how much of them is gone.
    pub(crate) fn balances(&self, plan: &Plan) -> Vec<Balance> {
        let Some(BudgetLimits { tokens, cost, steps, duration }) = self.budget_limits(plan) else { return Vec::new() };
        let Ledger { spent, held, .. } = &self.ledger;
        let ran = self.timed_from.map_or(Duration::ZERO, |start| self.latest.since(start)).as_millis();
        let of = |budget, limit: f64, reserved: f64, spent: f64| Balance { budget, limit, reserved, spent };
        let tokens = tokens.map(|limit| of(BudgetKind::Tokens, limit as f64, held.tokens as f64, spent.tokens as f64));
        let cost = cost.map(|limit| of(BudgetKind::Cost, dollars(limit), dollars(held.cost), dollars(spent.cost)));
        let steps = steps.map(|limit| of(BudgetKind::Steps, limit as f64, 0.0, self.ledger.steps as f64));
        let duration = duration.map(|limit| of(BudgetKind::Duration, limit.as_millis() as f64, 0.0, ran as f64));
        [tokens, cost, steps, duration].into_iter().flatten().collect()
    }

    /// Forgets what was used up.
    #[cfg(planted)]
    pub(crate) fn forget_spending(&mut self) {
        self.ledger = Ledger::default();
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

impl State {
    /// Has the tighter one of each limit hold from the beginning, that of the workflow or the one that was asked for.
    pub(super) fn tighten(&mut self, plan: &Plan, asked: &Budget) {
        fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }

        let (asked, own) = (BudgetLimits::from(asked), plan.limits().budget.unwrap_or_default());
        self.ledger.instead = Some(BudgetLimits {
            tokens: tighter(asked.tokens, own.tokens),
            cost: tighter(asked.cost, own.cost),
            steps: tighter(asked.steps, own.steps),
            duration: tighter(asked.duration, own.duration),
        });
    }
}

// === reopening ===

impl State {
    /// Tells which of the limits asked for is none to go on with: it is below the one that holds, or nothing is left of it.
    pub(super) fn lowered(&self, plan: &Plan, asked: &Budget) -> Option<BudgetKind> {
        let asked = BudgetLimits::from(asked);
        let known = self.budget_limits(plan).unwrap_or_default();
        let (spent, steps) = (&self.ledger.spent, self.begun_steps(plan));
        let is_low = |asked: Option<u64>, known: Option<u64>, used: u64| {
            asked.is_some_and(|asked| asked <= used || known.is_some_and(|known| asked < known))
        };
        let is_short = asked.duration.is_some_and(|asked| known.duration.is_some_and(|known| asked < known));
        [
            (BudgetKind::Tokens, is_low(asked.tokens, known.tokens, spent.tokens)),
            (BudgetKind::Cost, is_low(asked.cost, known.cost, spent.cost)),
            (BudgetKind::Steps, is_low(asked.steps, known.steps, steps)),
            (BudgetKind::Duration, is_short),
        ]
        .into_iter()
        .find_map(|(kind, is_low)| is_low.then_some(kind))
    }

    /// How many steps that call something have begun; nobody counts them as long as there is no limit.
    fn begun_steps(&self, plan: &Plan) -> u64 {
        match self.budget_limits(plan) {
            Some(_) => self.ledger.steps,
            None => self.steps.iter().filter(|step| step.attempts > 0).count() as u64,
        }
    }

    /// What is used stays so; limits may be other ones from here on.
    pub(super) fn reopen_ledger(&mut self, plan: &Plan, again: &[Activation], asked: Option<&Budget>) {
        let counted = again.iter().copied().filter(|activation| self.steps[activation.get()].attempts > 0);
        self.ledger.counted.extend(counted);
        self.ledger.exceeded.clear();
        if let Some(asked) = asked.map(BudgetLimits::from) {
            let known = self.budget_limits(plan).unwrap_or_default();
            self.ledger.steps = self.begun_steps(plan);
            self.ledger.instead = Some(BudgetLimits {
                tokens: asked.tokens.or(known.tokens),
                cost: asked.cost.or(known.cost),
                steps: asked.steps.or(known.steps),
                duration: asked.duration.or(known.duration),
            });
        }
    }
}

// === fold ===

impl<S: Sink> Fold<'_, S> {
    /// An attempt begins.
    pub(super) fn reserve(&mut self, call: CallId, estimate: Option<&Estimate>) {
        let (CallId::Step(activation), Some(_)) = (call, self.state.budget_limits(self.plan)) else { return };
        let is_first = self.state.steps[activation.get()].attempts == 0;
        let amount = estimate.map(Amount::of).unwrap_or_default();
        let ledger = &mut self.state.ledger;
        ledger.steps += u64::from(is_first && !ledger.counted.remove(&activation));
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

    /// A part of an attempt has ended, and this is what it used of what is reserved.
    pub(super) fn spend_of_reserved(&mut self, call: CallId, usage: &Usage) {
        let ledger = &mut self.state.ledger;
        let used = Amount::used(usage);
        ledger.used.add(usage);
        ledger.spent = ledger.spent.plus(used);
        if let Some(reserved) = ledger.reserved.get_mut(&call) {
            let left = reserved.minus(used);
            ledger.held = ledger.held.minus(*reserved).plus(left);
            *reserved = left;
        }
    }

    /// An attempt is dropped; what it has used is not known, so it is the most that it might have.
    pub(super) fn forfeit(&mut self, activation: Activation) {
        #[cfg(planted)]
        if crate::planted::Defect::ReservationKept.is_made() {
            return;
        }
        let lost = self.give_back(CallId::Step(activation));
        self.state.ledger.spent = self.state.ledger.spent.plus(lost);
    }

    fn give_back(&mut self, call: CallId) -> Amount {
        if self.state.budget_limits(self.plan).is_none() {
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
