//! What a server says of refusals and of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CorrelationId, Diagnostic, ExecutionId, Timestamp};

/// The body of every answer with a status of 400 or more (`application/problem+json`, RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Problem {
    /// `urn:orchestr8:problem:` and the code in kebab-case.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, the same for every problem of a code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The code, such as `NOT_FOUND`.
    pub code: String,
    /// Whether asking again may help.
    pub is_retryable: bool,
    /// All problems of a workflow or an input at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Diagnostic>,
    /// What ties it to the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The execution, when one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// Further members, such as `checkUrl` and `elapsedTime` of a synchronous wait that took too long.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// Makes a problem; everything that depends on the occurrence is absent.
    #[must_use]
    pub fn new(code: &str, title: &str, status: u16, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:orchestr8:problem:{}", code.to_ascii_lowercase().replace('_', "-")),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            instance: None,
            code: code.to_owned(),
            is_retryable: false,
            issues: Vec::new(),
            correlation_id: None,
            timestamp: None,
            execution_id: None,
            extensions: Map::new(),
        }
    }
}

/// Whether the server lives (`GET /health`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// True while the process lives.
    pub healthy: bool,
    /// `healthy`, `warning`, `critical` or `draining`.
    pub status: String,
    /// `@orchestr8`.
    pub service: String,
    /// `orchestr8`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Milliseconds since then.
    pub uptime: u64,
}
