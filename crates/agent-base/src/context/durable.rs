//! Durable inner calls: what they give, and what is kept of them.

use std::sync::Arc;

use orchestr8_schema::{event::Durable, usage::Usage};
use serde_json::Value;

/// What an inner call gave, and what it used up.
///
/// A plain [`Value`] is one that used up nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// What it gave.
    pub value: Value,
    /// What it used up.
    pub usage: Option<Usage>,
}

impl Outcome {
    /// Makes the outcome of a call that used something up.
    #[must_use]
    pub fn new(value: Value, usage: Usage) -> Self {
        Self { value, usage: Some(usage) }
    }
}

impl From<Value> for Outcome {
    fn from(value: Value) -> Self {
        Self { value, usage: None }
    }
}

/// What was recorded within one call, in the order in which it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(Vec<Arc<Durable>>);

impl Records {
    /// Adds a record. Another one of this key is dropped, and with it all that were recorded later.
    pub fn push(&mut self, durable: Arc<Durable>) {
        self.forget_from(&durable.key);
        self.0.push(durable);
    }

    /// Finds what was answered to this under this key.
    #[must_use]
    pub fn find(&self, key: &str, digest: &str) -> Option<&Arc<Durable>> {
        self.0.iter().find(|known| *known.key == *key && *known.digest == *digest)
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists the records.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Durable>> {
        self.0.iter()
    }

    fn forget_from(&mut self, key: &str) {
        if let Some(place) = self.0.iter().position(|known| *known.key == *key) {
            self.0.truncate(place);
        }
    }
}
