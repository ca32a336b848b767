//! How things fail: one kind from the agent to the journal, the REST answer and the exit code.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{StepPath, Timestamp};

/// The kind of a failure, which decides whether it is retried, what a circuit breaker makes of it, and what people see.
///
/// In JSON it is the code in capitals, such as `RATE_LIMITED`. No decision anywhere is made by the text of a message. The set is
/// closed on purpose: whoever adds a kind is led by the compiler to every place that must say what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorKind {
    /// An attempt, a step or the execution took longer than allowed.
    Timeout,
    /// The circuit breaker of what is called is open.
    CircuitOpen,
    /// The work was cancelled from outside.
    Cancelled,
    /// Input, output, configuration or an expression does not fit.
    Validation,
    /// The other side failed in a way that may pass.
    Retryable,
    /// The connection failed: DNS, TLS, a broken body.
    Network,
    /// The other side asks for fewer calls.
    RateLimited,
    /// A policy, a person or the other side refuses.
    Denied,
    /// What was asked for does not exist.
    NotFound,
    /// A budget does not allow the call.
    BudgetExceeded,
    /// No case of a branch matched, and it has no default.
    NoBranchMatched,
    /// A loop reached its limit and its condition wants more.
    LoopLimit,
    /// A defect: a panic, or an error of no other kind.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the specification.
    pub const ALL: [Self; 13] = [
        Self::Timeout,
        Self::CircuitOpen,
        Self::Cancelled,
        Self::Validation,
        Self::Retryable,
        Self::Network,
        Self::RateLimited,
        Self::Denied,
        Self::NotFound,
        Self::BudgetExceeded,
        Self::NoBranchMatched,
        Self::LoopLimit,
        Self::Internal,
    ];

    /// Returns the code as it stands in JSON.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Timeout => "TIMEOUT",
            Self::CircuitOpen => "CIRCUIT_OPEN",
            Self::Cancelled => "CANCELLED",
            Self::Validation => "VALIDATION",
            Self::Retryable => "RETRYABLE",
            Self::Network => "NETWORK",
            Self::RateLimited => "RATE_LIMITED",
            Self::Denied => "DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
            Self::NoBranchMatched => "NO_BRANCH_MATCHED",
            Self::LoopLimit => "LOOP_LIMIT",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether trying again may help: true of TIMEOUT, RETRYABLE, NETWORK and RATE_LIMITED.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Timeout | Self::Retryable | Self::Network | Self::RateLimited => true,
            Self::CircuitOpen
            | Self::Cancelled
            | Self::Validation
            | Self::Denied
            | Self::NotFound
            | Self::BudgetExceeded
            | Self::NoBranchMatched
            | Self::LoopLimit
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A failure as recorded: in the journal, in results, in REST answers.
///
/// Messages hold no secret. The chain of causes is at most [`Failure::MAX_CAUSES`] deep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure it is.
    pub code: ErrorKind,
    /// What was attempted and why it failed, for people.
    pub message: String,
    /// Whether trying again may help; see [`ErrorKind::is_retryable`].
    pub is_retryable: bool,
    /// How many calls reached the agent.
    pub attempts: u32,
    /// True when every allowed attempt was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_exhausted: bool,
    /// What led here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Arc<Failure>>,
    /// Further facts, such as the HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
    /// The step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_path: Option<StepPath>,
    /// The attempt that failed, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// How long the other side asks to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// How deep a chain of causes may be.
    pub const MAX_CAUSES: usize = 8;

    /// Makes a failure of a kind; everything else is absent, `isRetryable` follows from the kind.
    #[must_use]
    pub fn new(code: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            is_retryable: code.is_retryable(),
            attempts: 0,
            retry_exhausted: false,
            cause: None,
            context: None,
            step_path: None,
            attempt: None,
            timestamp: None,
            retry_after_ms: None,
        }
    }

    /// Adds what led to this failure; links beyond [`Failure::MAX_CAUSES`] are dropped.
    #[must_use]
    pub fn caused_by(mut self, cause: Arc<Failure>) -> Self {
        fn clip(failure: Arc<Failure>, left: usize) -> Option<Arc<Failure>> {
            if left == 0 {
                return None;
            }
            match &failure.cause {
                None => Some(failure),
                Some(cause) if depth(cause) < left => Some(failure),
                Some(cause) => {
                    Some(Arc::new(Failure { cause: clip(Arc::clone(cause), left - 1), ..Failure::clone(&failure) }))
                }
            }
        }
        fn depth(failure: &Failure) -> usize {
            let mut count = 1;
            let mut next = failure.cause.as_deref();
            while let Some(cause) = next {
                count += 1;
                next = cause.cause.as_deref();
            }
            count
        }
        self.cause = clip(cause, Self::MAX_CAUSES);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}
