//! The same steps for each item of a list.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Step, is_default};
use crate::{id::ItemName, policy::is_null};

/// Runs its steps once for each item, each time in a scope of its own.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MapStep {
    /// A template giving the list.
    pub items: Value,
    /// The root under which the body sees the item; default `item`.
    #[serde(rename = "as", skip_serializing_if = "is_item")]
    #[schemars(default = "ItemName::item")]
    pub item: ItemName,
    /// The root under which the body sees the item's index; default `index`.
    #[serde(rename = "indexAs", skip_serializing_if = "is_index")]
    #[schemars(default = "ItemName::index")]
    pub index: ItemName,
    /// A template giving each item a name of its own: a text of at most 128 characters, or an integer; default its index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// How many items are open at once, 1–10000; default 1.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(default = "one", range(min = 1, max = 10_000))]
    pub concurrency: u32,
    /// The steps, at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// A template of an item's value; default the object of the inner outputs by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What the failure of an item means; default `fail`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub on_item_error: OnItemError,
    /// A value that runs through all items in input order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accumulator: Option<Accumulator>,
    /// The most items, 1–100000; default 10000.
    #[serde(skip_serializing_if = "is_default_max_items")]
    #[schemars(default = "default_max_items", range(min = 1, max = 100_000))]
    pub max_items: u32,
}

impl MapStep {
    /// How many items there may be where nothing else is said.
    pub const DEFAULT_MAX_ITEMS: u32 = 10_000;

    /// Makes a map that takes one item after the other.
    #[must_use]
    pub fn new(items: Value, steps: Vec<Step>) -> Self {
        Self {
            items,
            item: ItemName::item(),
            index: ItemName::index(),
            key: None,
            concurrency: 1,
            steps,
            output: None,
            on_item_error: OnItemError::Fail,
            accumulator: None,
            max_items: Self::DEFAULT_MAX_ITEMS,
        }
    }
}

/// What the failure of an item means for a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnItemError {
    /// The map fails.
    #[default]
    Fail,
    /// `{error}` stands in the item's place.
    Continue,
    /// The item is left out.
    Skip,
}

/// A value that runs through all items of a map, in input order whatever order they end in.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Accumulator {
    /// A template of the value before the first item; default null.
    #[serde(skip_serializing_if = "is_null")]
    #[schemars(default)]
    pub init: Value,
    /// A template of the value after an item; it reads `accumulator`, the item and the body's steps.
    pub value: Value,
}

impl Accumulator {
    /// Makes an accumulator.
    #[must_use]
    pub fn new(init: Value, value: Value) -> Self {
        Self { init, value }
    }
}

fn is_item(name: &ItemName) -> bool {
    *name == ItemName::item()
}

fn is_index(name: &ItemName) -> bool {
    *name == ItemName::index()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_default_max_items(count: &u32) -> bool {
    *count == MapStep::DEFAULT_MAX_ITEMS
}

fn default_max_items() -> u32 {
    MapStep::DEFAULT_MAX_ITEMS
}
