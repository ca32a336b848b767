//! What models cost: the shipped list, and what settings put over it.

use std::{collections::BTreeMap, sync::LazyLock};

use indexmap::IndexMap;
use orchestr8_schema::{config::Price, usage::Usage};
use serde::Deserialize;

/// US dollars for a million tokens of each kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    input: f64,
    output: f64,
    cache_write: f64,
    cache_read: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shipped {
    input: f64,
    output: f64,
    cache_write: Option<f64>,
    cache_read: Option<f64>,
}

static SHIPPED: LazyLock<BTreeMap<String, BTreeMap<String, Shipped>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("prices.json")).unwrap_or_default());

impl Rates {
    /// Makes rates; a cache is written at 1.25 times the price of input and read at a tenth of it, unless said otherwise.
    #[must_use]
    pub fn new(input: f64, output: f64, cache_write: Option<f64>, cache_read: Option<f64>) -> Self {
        let (cache_write, cache_read) = (cache_write.unwrap_or(1.25 * input), cache_read.unwrap_or(0.1 * input));
        Self { input, output, cache_write, cache_read }
    }

    /// Finds the rates of a model: those of the settings, else the shipped ones of this kind of provider. A date at the end of the name
    /// makes no difference.
    pub(super) fn find(kind: &str, model: &str, settings: &IndexMap<String, Price>) -> Option<Self> {
        let names = || [model, without_date(model)];
        if let Some(price) = names().into_iter().find_map(|name| settings.get(name)) {
            return Some(Self::new(price.input, price.output, price.cache_write, price.cache_read));
        }
        let shipped = SHIPPED.get(kind)?;
        let price = names().into_iter().find_map(|name| shipped.get(name))?;
        Some(Self::new(price.input, price.output, price.cache_write, price.cache_read))
    }

    /// Returns what this usage costs in US dollars.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> f64 {
        let of = |tokens: u64, rate: f64| tokens as f64 * rate / 1e6;
        of(usage.input_tokens, self.input)
            + of(usage.output_tokens, self.output)
            + of(usage.cache_creation_tokens, self.cache_write)
            + of(usage.cache_read_tokens, self.cache_read)
    }

    /// Returns the most that this many tokens of input and of output can cost.
    #[must_use]
    pub fn most(&self, input: u64, output: u64) -> f64 {
        let dearest = self.input.max(self.cache_write).max(self.cache_read);
        (input as f64 * dearest + output as f64 * self.output) / 1e6
    }
}

/// `claude-sonnet-4-5-20250929` and `gpt-4o-2024-08-06` without their dates.
fn without_date(model: &str) -> &str {
    let is_date = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    for length in [9, 11] {
        if let Some((name, date)) = model.len().checked_sub(length).and_then(|at| model.split_at_checked(at))
            && date.starts_with('-')
            && is_date(date)
        {
            return name;
        }
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_rates_are_found_with_and_without_a_date_and_settings_go_first() {
        let none = IndexMap::new();
        let dated = Rates::find("anthropic", "claude-sonnet-4-5-20250929", &none);
        assert_eq!(dated, Some(Rates::new(3.0, 15.0, None, None)));
        assert_eq!(Rates::find("openai", "gpt-4o-2024-08-06", &none), Rates::find("openai", "gpt-4o", &none));
        assert_eq!(Rates::find("openai", "nobody", &none), None);
        let used = Usage {
            cache_read_tokens: 1_000_000,
            cache_creation_tokens: 1_000_000,
            ..Usage::new(1_000_000, 1_000_000, 0.0)
        };
        assert!((dated.map_or(0.0, |rates| rates.cost(&used)) - (3.0 + 15.0 + 3.75 + 0.3)).abs() < 1e-9);
    }
}
