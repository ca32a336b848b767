//! A question to a person.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::is_default;
use crate::Millis;

/// Asks a person, and completes when they approve.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ApprovalStep {
    /// What they are asked, a template.
    pub prompt: String,
    /// JSON Schema of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub schema: Option<Value>,
    /// How long they have; default no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// What it means that they did not answer; default `fail`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(default)]
    pub on_timeout: OnTimeout,
}

impl ApprovalStep {
    /// Makes a question that may stay open for ever.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), schema: None, timeout: None, on_timeout: OnTimeout::Fail }
    }
}

/// What it means that nobody answered in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimeout {
    /// The step fails with TIMEOUT.
    #[default]
    Fail,
    /// It fails with DENIED.
    Reject,
    /// It completes with this answer.
    Answer(Value),
}
