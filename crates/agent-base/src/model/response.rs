//! What a model answers.

use orchestr8_schema::usage::Usage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Message, Part, Role};

/// What a model answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChatResponse {
    /// What it says.
    pub message: Message,
    /// Why it stopped.
    pub stop_reason: StopReason,
    /// What it used up; the cost is in `cost_usd` beside it.
    #[serde(default)]
    pub usage: Usage,
    /// The model as it calls itself.
    #[serde(default)]
    pub model: String,
    /// US dollars; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The answer as JSON that fits the request's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// What the provider calls the request, to ask it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StopReason {
    /// It has said what it had to say.
    EndTurn,
    /// It waits for tools.
    ToolUse,
    /// It has used all tokens that it may.
    MaxTokens,
    /// It has written a text that ends answers.
    StopSequence,
    /// It does not want to.
    Refusal,
}

impl ChatResponse {
    /// Makes an answer.
    #[must_use]
    pub fn new(message: Message, stop_reason: StopReason) -> Self {
        Self {
            message,
            stop_reason,
            usage: Usage::default(),
            model: String::new(),
            cost_usd: None,
            structured: None,
            request_id: None,
        }
    }

    /// Makes an answer of text alone.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Message::assistant(text), StopReason::EndTurn)
    }

    /// Makes an answer that asks for calls of tools.
    #[must_use]
    pub fn tools(requests: impl IntoIterator<Item = super::ToolRequest>) -> Self {
        let parts = requests.into_iter().map(Part::ToolCall).collect();
        Self::new(Message::of(Role::Assistant, parts), StopReason::ToolUse)
    }

    /// Sets what it used up.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }
}
