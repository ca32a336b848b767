//! What calls use up: tokens of models, and money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was used up: tokens of models by kind, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Tokens of input that were not cached.
    pub input_tokens: u64,
    /// Tokens of output.
    pub output_tokens: u64,
    /// Tokens of input that were read from a cache.
    pub cache_read_tokens: u64,
    /// Tokens of input that were written to a cache.
    pub cache_creation_tokens: u64,
    /// US dollars; 0 where no price is known.
    pub cost_usd: f64,
}

impl Usage {
    /// Makes a usage of input and output tokens at a cost.
    #[must_use]
    pub fn new(input_tokens: u64, output_tokens: u64, cost_usd: f64) -> Self {
        Self { input_tokens, output_tokens, cost_usd, ..Self::default() }
    }

    /// Returns the tokens of all kinds.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        [self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_creation_tokens]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Adds another usage; what is too much stays at the largest number.
    pub fn add(&mut self, other: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cache_read_tokens = self.cache_read_tokens.saturating_add(other.cache_read_tokens);
        self.cache_creation_tokens = self.cache_creation_tokens.saturating_add(other.cache_creation_tokens);
        self.cost_usd += other.cost_usd;
    }
}

/// The most that a call may use up, as whoever makes it expects: what a budget reserves for an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Estimate {
    /// Tokens of all kinds.
    pub tokens: u64,
    /// US dollars.
    pub cost_usd: f64,
}

impl Estimate {
    /// Makes an estimate.
    #[must_use]
    pub fn new(tokens: u64, cost_usd: f64) -> Self {
        Self { tokens, cost_usd }
    }

    /// Leaves both to the engine, which takes a tenth of the budget's limits.
    #[must_use]
    pub fn open() -> Self {
        Self { tokens: u64::MAX, cost_usd: f64::INFINITY }
    }

    /// Fills in what is left to the engine, under these limits of a budget; 0 where it has none.
    #[must_use]
    pub fn under(self, tokens: Option<u64>, cost_usd: Option<f64>) -> Self {
        let open = Self::open();
        Self {
            tokens: if self.tokens == open.tokens { tokens.map_or(0, |limit| limit / 10) } else { self.tokens },
            cost_usd: if self.cost_usd.is_finite() {
                self.cost_usd
            } else {
                cost_usd.map_or(0.0, |limit| limit / 10.0)
            },
        }
    }
}
