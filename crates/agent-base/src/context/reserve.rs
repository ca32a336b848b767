//! What a budget has reserved for an attempt, and how much of that calls of models may still use.

use orchestr8_schema::usage::Estimate;
#[cfg(feature = "model")]
use orchestr8_schema::usage::Usage;

use super::AgentContext;

/// What a budget has reserved for an attempt; absent is what it does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Reserved {
    /// Tokens of all kinds.
    pub tokens: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// How many processes have ended in this attempt since something of it was recorded; default none. What a model was asked in each of
    /// them it may have answered, so the first question of the attempt counts once more for each.
    pub interruptions: u32,
}

impl Reserved {
    /// Makes one.
    #[must_use]
    pub fn new(tokens: Option<u64>, cost_usd: Option<f64>) -> Self {
        Self { tokens, cost_usd, interruptions: 0 }
    }

    /// Says how many processes have ended in this attempt since something of it was recorded.
    #[must_use]
    pub fn interrupted(mut self, interruptions: u32) -> Self {
        self.interruptions = interruptions;
        self
    }
}

/// Why a budget does not allow a call.
#[cfg(feature = "model")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Too many tokens.
    Tokens,
    /// Too many dollars.
    Cost,
    /// Nobody knows how many dollars.
    Price,
}

/// Dollars that come of rounding alone.
#[cfg(feature = "model")]
const DUST: f64 = 1e-9;

impl AgentContext {
    /// Sets what a budget has reserved for the attempt that begins now.
    pub fn set_reserved(&self, reserved: Reserved) {
        self.with_extras(|extras| (extras.reserved, extras.used) = (Some(reserved), Estimate::default()));
    }
}

#[cfg(feature = "model")]
impl AgentContext {
    /// Takes the most that a call may use of what is reserved, or says why it cannot.
    pub(crate) fn take_of_reserved(&self, most: Estimate, has_price: bool) -> Result<(), Lack> {
        let taken = self.peek_extras(|extras| {
            let Some(reserved) = extras.reserved else { return Ok(()) };
            let used = extras.used;
            if reserved.tokens.is_some_and(|limit| used.tokens.saturating_add(most.tokens) > limit) {
                return Err(Lack::Tokens);
            }
            match reserved.cost_usd {
                Some(_) if !has_price => return Err(Lack::Price),
                Some(limit) if used.cost_usd + most.cost_usd > limit + DUST => return Err(Lack::Cost),
                _ => {}
            }
            extras.used = Estimate::new(used.tokens.saturating_add(most.tokens), used.cost_usd + most.cost_usd);
            Ok(())
        });
        taken.unwrap_or(Ok(()))
    }

    /// Counts what earlier processes may have used for this question without living to record it: as often as they ended, the most
    /// that it can use, and no more than is left. What it gives has to be reported.
    pub(crate) fn count_interruptions(&self, most: Usage) -> Option<Usage> {
        let lost = self.peek_extras(|extras| {
            let reserved = extras.reserved.as_mut()?;
            let times = u64::from(std::mem::take(&mut reserved.interruptions));
            let left = |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit.saturating_sub(extras.used.tokens));
            let tokens = most.tokens().saturating_mul(times).min(left(reserved.tokens));
            let dollars = reserved.cost_usd.map_or(f64::INFINITY, |limit| (limit - extras.used.cost_usd).max(0.0));
            let input = most.input_tokens.saturating_mul(times).min(tokens);
            let lost = Usage::new(input, tokens - input, (most.cost_usd * times as f64).min(dollars));
            (times > 0).then_some(lost)
        });
        let lost = lost.flatten()?;
        self.count_of_reserved(&lost);
        Some(lost)
    }

    /// Gives back what a call might have used.
    pub(crate) fn give_back_to_reserved(&self, most: Estimate) {
        self.peek_extras(|extras| {
            let used = extras.used;
            let cost = (used.cost_usd - most.cost_usd).max(0.0);
            extras.used = Estimate::new(used.tokens.saturating_sub(most.tokens), cost);
        });
    }

    /// Counts what a call has used of what is reserved.
    pub(crate) fn count_of_reserved(&self, usage: &Usage) {
        self.peek_extras(|extras| {
            let used = extras.used;
            extras.used = Estimate::new(used.tokens.saturating_add(usage.tokens()), used.cost_usd + usage.cost_usd);
        });
    }
}
