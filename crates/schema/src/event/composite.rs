//! What is noted of maps and loops.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::present;
use crate::{Failure, Timestamp};

/// What a map runs for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapItems {
    /// The items.
    pub items: Vec<Value>,
    /// The items' names in step paths, one each; absent if they are counted.
    pub keys: Option<Vec<Arc<str>>>,
    /// What the accumulator starts with, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub accumulator: Option<Arc<Value>>,
}

/// How an item of a map ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemResult {
    /// Its value, or why it has none.
    pub outcome: Result<Arc<Value>, Arc<Failure>>,
    /// What the accumulator is from then on, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub accumulator: Option<Arc<Value>>,
}

/// Whether a loop goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopDecision {
    /// The number of the iteration that begins, or would have.
    pub index: u32,
    /// What was decided, and why.
    pub verdict: LoopVerdict,
    /// The loop's value from then on.
    pub value: Arc<Value>,
}

/// What is decided about a loop before each iteration and at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LoopVerdict {
    /// Another iteration begins.
    Continue {
        /// When, if not at once.
        due_at: Option<Timestamp>,
    },
    /// It ends: the condition says so.
    Condition,
    /// It ends: there are no iterations left.
    Limit,
}
