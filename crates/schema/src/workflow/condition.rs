//! Whether a step runs, as its author wrote it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// Runs when `if` is true and `unless` is not; each may be absent.
    Predicates {
        /// A JMESPath condition, or exactly one expression.
        #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
        #[schemars(default)]
        if_: Option<String>,
        /// The same, negated.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(default)]
        unless: Option<String>,
    },
    /// Runs when a comparison holds.
    Comparison(Box<Comparison>),
}

/// A comparison of what a condition's expression gives with a fixed value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// A JMESPath condition, or exactly one expression.
    pub expression: String,
    /// How they are compared.
    pub operator: Operator,
    /// The fixed value; not needed with `not-empty`.
    #[serde(default, skip_serializing_if = "crate::policy::is_null")]
    #[schemars(default)]
    pub value: Value,
}

/// How a comparison compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// The same JSON value.
    Equals,
    /// Another JSON value.
    NotEquals,
    /// True in the sense of JMESPath.
    NotEmpty,
    /// Two numbers or two texts, otherwise false.
    GreaterThan,
    /// Two numbers or two texts, otherwise false.
    LessThan,
    /// An array's element, a part of a text, or an object's key.
    Contains,
}
