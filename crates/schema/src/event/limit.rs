//! What bounds an execution and its steps: timers, timeouts, budgets.

use serde::{Deserialize, Serialize};

use super::{Activation, CallId};

/// A timer of an execution, named by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Timer {
    /// The whole execution has taken too long.
    ExecutionDeadline,
    /// One step has taken too long, all attempts and waits included.
    StepDeadline(Activation),
    /// A wait is over, a signal or an answer is late, or the next iteration of a loop is due.
    Wait(Activation),
    /// Running attempts have had their grace.
    Grace,
    /// Compensation has taken too long.
    Compensation,
}

/// One of the limits of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BudgetKind {
    /// `maxTokens`.
    Tokens,
    /// `maxCostUsd`.
    Cost,
    /// `maxSteps`.
    Steps,
    /// `maxDuration`.
    Duration,
}

impl BudgetKind {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::Tokens, Self::Cost, Self::Steps, Self::Duration];

    /// Returns the key that the limit is written under.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Tokens => "maxTokens",
            Self::Cost => "maxCostUsd",
            Self::Steps => "maxSteps",
            Self::Duration => "maxDuration",
        }
    }
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeoutScope {
    /// One attempt of a call.
    Attempt(CallId, u32),
    /// A step with all its attempts and waits.
    Step(Activation),
    /// The execution.
    Execution,
}
