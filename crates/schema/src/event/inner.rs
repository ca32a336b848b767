//! What happens within an attempt: results that are kept, calls of models and tools, remarks.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CallId;
use crate::{Failure, usage::Usage};

/// The result of an inner call, kept for later attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Durable {
    /// The call that made it.
    pub call: CallId,
    /// The number of the attempt.
    pub attempt: u32,
    /// What the agent calls it, unique within the call.
    pub key: Arc<str>,
    /// SHA-256, in hex, of what was asked.
    pub digest: Arc<str>,
    /// What was answered.
    pub value: Arc<Value>,
    /// What it used up, which counts from here on.
    #[serde(default)]
    pub usage: Option<Usage>,
}

/// A call of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelCall {
    /// The call that made it.
    pub call: CallId,
    /// The number of the attempt.
    pub attempt: u32,
    /// Who was asked.
    pub provider: Arc<str>,
    /// Which model.
    pub model: Arc<str>,
    /// How the model was chosen, the first word first.
    #[serde(default)]
    pub chain: Arc<[String]>,
    /// The number of the turn, where there are several.
    #[serde(default)]
    pub turn: Option<u32>,
    /// What it used up, as far as it is known.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Arc<Failure>>,
}

/// A call of a tool by an agent, or one that was not let through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// The call that made it.
    pub call: CallId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The tool's name, as it was asked for.
    pub tool: Arc<str>,
    /// The number of the turn that asked for it, where there are several.
    #[serde(default)]
    pub turn: Option<u32>,
    /// How long it took; absent if it was not called.
    #[serde(default)]
    pub duration: Option<Duration>,
    /// Why it failed, or was not let through.
    #[serde(default)]
    pub error: Option<Arc<Failure>>,
    /// Whether it was not let through.
    #[serde(default)]
    pub is_denied: bool,
}

/// A remark of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// The call that made it.
    pub call: CallId,
    /// The number of the attempt.
    pub attempt: u32,
    /// How much it matters.
    pub level: LogLevel,
    /// What it says, for people.
    pub message: Arc<str>,
    /// Further facts.
    pub data: Arc<Value>,
}

impl LogEntry {
    /// The most remarks of one execution that are kept.
    pub const MAX: u32 = 1000;
}

/// How much a remark matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    /// For whoever looks for a mistake.
    Debug,
    /// For whoever looks on.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
}

impl LogLevel {
    /// Returns the level as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
