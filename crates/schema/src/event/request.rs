//! What an execution is told or asked from outside: signals, answers, its end, its reopening.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Activation;
use crate::{ExecutionId, StepPath, policy::Budget};

/// Something told to a running execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// Its name.
    pub name: Arc<str>,
    /// What it says, at most [`Signal::MAX_PAYLOAD`] bytes of JSON.
    pub payload: Value,
    /// A name of its own, so that it can be sent again without being told twice.
    pub signal_id: Option<Arc<str>>,
    /// The one step that it is for; absent means any that waits for its name.
    pub step_path: Option<StepPath>,
}

impl Signal {
    /// The most bytes of JSON of a payload: 64 KB.
    pub const MAX_PAYLOAD: usize = 64 * 1024;
    /// The most signals that an execution keeps until somebody waits for them.
    pub const MAX_UNDELIVERED: usize = 1000;
}

/// The answer of a person who was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalAnswer {
    /// What they decided.
    pub decision: ApprovalDecision,
    /// What they answered, as the step's schema asks.
    pub answer: Value,
    /// What they remarked.
    pub comment: Option<String>,
    /// Who it was, if known.
    pub by: Option<String>,
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApprovalDecision {
    /// It may go on.
    Approve,
    /// It may not.
    Reject,
}

impl ApprovalDecision {
    /// Returns the decision as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// A request for the end of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancelling {
    /// Why, for people.
    pub reason: String,
    /// How long running attempts may take to end.
    pub grace_period: Duration,
    /// Who asks, if known.
    pub requested_by: Option<String>,
    /// The fork that goes on in its place, and for which its effects stand: nothing is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<ExecutionId>,
}

/// What goes on of an execution that had failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Reopening {
    /// The steps that are pending again, as if their turn had never come. Composites that only go on are not among them.
    pub rerun: Vec<Activation>,
    /// Limits in the place of those that held before; absent ones hold on.
    #[serde(default)]
    pub budget: Option<Budget>,
}

impl Reopening {
    /// Makes one that leaves the limits as they are.
    #[must_use]
    pub fn new(rerun: Vec<Activation>) -> Self {
        Self { rerun, budget: None }
    }
}
