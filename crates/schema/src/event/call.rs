//! Calls, and what stands between them and the callee: circuits and queues.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use super::Activation;
use crate::Timestamp;

/// A call, named by what it is for. One call is all attempts of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CallId {
    /// The agent or tool of a step.
    Step(Activation),
    /// What undoes a step.
    Compensation(Activation),
    /// A hook about a step, or about [`Activation::EXECUTION`].
    Hook(Activation),
}

impl CallId {
    /// Returns the step that the call is about, if it is about one.
    #[must_use]
    pub fn activation(self) -> Option<Activation> {
        match self {
            Self::Step(activation) | Self::Compensation(activation) => Some(activation),
            Self::Hook(activation) => Some(activation).filter(|activation| *activation != Activation::EXECUTION),
        }
    }
}

/// A circuit breaker's change of state, as one execution caused it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitChange {
    /// The call that caused it.
    pub call: CallId,
    /// The circuit's key.
    pub key: String,
    /// The state it is in now.
    pub state: CircuitStateName,
    /// Why, in a few words.
    pub reason: Cow<'static, str>,
    /// When an open circuit lets a probe through.
    pub reopens_at: Option<Timestamp>,
}

/// The state of a circuit breaker by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CircuitStateName {
    /// Calls go through.
    Closed,
    /// Calls are rejected.
    Open,
    /// One probe goes through.
    HalfOpen,
}

/// A wait of an attempt for its permit, which it has now or was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermitWait {
    /// The call that waited.
    pub call: CallId,
    /// What was waited for.
    pub queue: QueueName,
    /// Who shares the permits.
    pub key: String,
    /// How long it took.
    pub waited: Duration,
    /// Whether the attempt was refused.
    pub rejected: bool,
}

/// What an attempt may have to wait for, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QueueName {
    /// Calls may come only so often.
    RateLimit,
    /// Only so many calls may be in progress.
    Bulkhead,
}
