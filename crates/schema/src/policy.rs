//! Policies as data: how long, how often, how many, and what a failure means.
//!
//! Every field may be absent; a step's field overrides the workflow's, which overrides the engine's default. The defaults are
//! constants beside the fields they belong to. What a policy *does* is the business of other crates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ErrorKind, Millis};

/// What a whole workflow asks for (`policies` of the root).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct WorkflowPolicies {
    /// Time limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<WorkflowTimeout>,
    /// Retry, circuit breaker, rate limit and bulkhead of every leaf step.
    #[serde(skip_serializing_if = "ResiliencePolicy::is_empty")]
    pub resilience: ResiliencePolicy,
    /// How much may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyPolicy>,
    /// How an execution ends when it is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<CancellationPolicy>,
    /// What a fatal failure does to the steps that could still run; default `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// When compensation runs, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<CompensationPolicy>,
    /// What the execution may use up; no limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// Time limits of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct WorkflowTimeout {
    /// The whole execution, 1 ms – 30 days; default [`WorkflowTimeout::DEFAULT_GLOBAL`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<Millis>,
    /// One attempt, 1 ms – 24 h; default the agent's own, else [`WorkflowTimeout::DEFAULT_PER_STEP`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_step: Option<Millis>,
}

impl WorkflowTimeout {
    /// Five minutes.
    pub const DEFAULT_GLOBAL: Millis = Millis(300_000);
    /// Thirty seconds.
    pub const DEFAULT_PER_STEP: Millis = Millis(30_000);
}

/// What one step asks for. The resilience policies may also be nested under `resilience` in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StepPolicies {
    /// One attempt, 1 ms – 24 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// The whole step, all attempts and waits included, 1 ms – 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Millis>,
    /// Retry, circuit breaker, rate limit and bulkhead.
    #[serde(flatten)]
    pub resilience: ResiliencePolicy,
    /// A template giving the idempotency key instead of the structural one; ≤ 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The policies of the resilience layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ResiliencePolicy {
    /// Trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<RetryPolicy>>,
    /// Not calling what keeps failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<Box<CircuitBreakerPolicy>>,
    /// Calling less often; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Box<RateLimitPolicy>>,
    /// Calling less at once; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulkhead: Option<Box<BulkheadPolicy>>,
}

impl ResiliencePolicy {
    /// Takes what is absent here from `fallback`, field by field in each of the policies.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        fn each<T: Clone>(
            own: &Option<Box<T>>,
            other: &Option<Box<T>>,
            or: impl FnOnce(&T, &T) -> T,
        ) -> Option<Box<T>> {
            match (own, other) {
                (Some(own), Some(other)) => Some(Box::new(or(own, other))),
                (one, other) => one.clone().or_else(|| other.clone()),
            }
        }
        Self {
            retry: each(&self.retry, &fallback.retry, RetryPolicy::or),
            circuit_breaker: each(&self.circuit_breaker, &fallback.circuit_breaker, CircuitBreakerPolicy::or),
            rate_limit: each(&self.rate_limit, &fallback.rate_limit, RateLimitPolicy::or),
            bulkhead: each(&self.bulkhead, &fallback.bulkhead, BulkheadPolicy::or),
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How often and how soon a failed attempt is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, the first included, 1–10; default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The delay after the first failure, 100 ms – 10 min; it doubles with each further one; default 1 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_delay_ms: Option<Millis>,
    /// The cap of the delay before jitter, at least the base and at most 1 h; default 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<Millis>,
    /// The only strategy there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_strategy: Option<JitterStrategy>,
    /// Whether the delay is multiplied by a random number in [0.5, 1.5]; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<bool>,
    /// Which failures are tried again; default all four that can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable_errors: Option<Vec<RetryableError>>,
}

impl RetryPolicy {
    /// Attempts in all.
    pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
    /// One second.
    pub const DEFAULT_BASE_DELAY: Millis = Millis(1_000);
    /// Half a minute.
    pub const DEFAULT_MAX_DELAY: Millis = Millis(30_000);
    /// The cap when a step says `onError: retry` and nobody gives a retry policy: ten seconds.
    pub const ON_ERROR_MAX_DELAY: Millis = Millis(10_000);

    /// Takes what is absent here from `fallback`.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            max_attempts: self.max_attempts.or(fallback.max_attempts),
            base_delay_ms: self.base_delay_ms.or(fallback.base_delay_ms),
            max_delay_ms: self.max_delay_ms.or(fallback.max_delay_ms),
            jitter_strategy: self.jitter_strategy.or(fallback.jitter_strategy),
            jitter: self.jitter.or(fallback.jitter),
            retryable_errors: self.retryable_errors.clone().or_else(|| fallback.retryable_errors.clone()),
        }
    }
}

/// How the delay is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JitterStrategy {
    /// Multiplied by a random number in [0.5, 1.5].
    FullJitter,
}

/// A failure that may be tried again, by the name or the code that files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryableError {
    /// An attempt took too long.
    #[serde(rename = "TimeoutError", alias = "TIMEOUT")]
    Timeout,
    /// The other side failed in a way that may pass.
    #[serde(rename = "RetryableError", alias = "RETRYABLE")]
    Retryable,
    /// The connection failed.
    #[serde(rename = "NetworkError", alias = "NETWORK")]
    Network,
    /// The other side asks for fewer calls.
    #[serde(rename = "RateLimitedError", alias = "RATE_LIMITED")]
    RateLimited,
}

impl RetryableError {
    /// All that may be listed.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Retryable, Self::Network, Self::RateLimited];

    /// Returns the kind of failure that is meant.
    #[must_use]
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Timeout => ErrorKind::Timeout,
            Self::Retryable => ErrorKind::Retryable,
            Self::Network => ErrorKind::Network,
            Self::RateLimited => ErrorKind::RateLimited,
        }
    }
}

/// When calls to something that keeps failing are stopped, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct CircuitBreakerPolicy {
    /// Whether there is a circuit breaker; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Consecutive failures that open the circuit, at least 1; default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// How long it stays open, at least 1 s; default 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_timeout_ms: Option<Millis>,
    /// The only policy there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_open_policy: Option<HalfOpenPolicy>,
    /// What the key of the circuit is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_strategy: Option<KeyStrategy>,
    /// An explicit key, 1–255 characters, instead of the made one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which failures are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_classification: Option<ErrorClassification>,
}

impl CircuitBreakerPolicy {
    /// Consecutive failures that open the circuit.
    pub const DEFAULT_FAILURE_THRESHOLD: u32 = 5;
    /// One minute.
    pub const DEFAULT_RESET_TIMEOUT: Millis = Millis(60_000);

    /// Takes what is absent here from `fallback`.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            enabled: self.enabled.or(fallback.enabled),
            failure_threshold: self.failure_threshold.or(fallback.failure_threshold),
            reset_timeout_ms: self.reset_timeout_ms.or(fallback.reset_timeout_ms),
            half_open_policy: self.half_open_policy.or(fallback.half_open_policy),
            key_strategy: merged(self.key_strategy, fallback.key_strategy, KeyStrategy::or),
            key: self.key.clone().or_else(|| fallback.key.clone()),
            error_classification: merged(
                self.error_classification,
                fallback.error_classification,
                ErrorClassification::or,
            ),
        }
    }
}

/// How a circuit that was open is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HalfOpenPolicy {
    /// One call at a time goes through until one succeeds.
    SingleProbe,
}

/// What the key of a circuit is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyStrategy {
    /// The agent's id; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<bool>,
    /// What the agent calls for this input, such as a host; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_target: Option<bool>,
}

impl KeyStrategy {
    /// Takes what is absent here from `fallback`.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        Self {
            agent_id: self.agent_id.or(fallback.agent_id),
            include_target: self.include_target.or(fallback.include_target),
        }
    }
}

/// Which failures a circuit breaker counts; all by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorClassification {
    /// TIMEOUT; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_timeouts: Option<bool>,
    /// NETWORK; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_network_errors: Option<bool>,
    /// RETRYABLE with an HTTP status of 500 or more; default true.
    #[serde(rename = "count5xxErrors", skip_serializing_if = "Option::is_none")]
    pub count_5xx_errors: Option<bool>,
    /// RETRYABLE without one; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_retryable_errors: Option<bool>,
}

impl ErrorClassification {
    /// Takes what is absent here from `fallback`.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        Self {
            count_timeouts: self.count_timeouts.or(fallback.count_timeouts),
            count_network_errors: self.count_network_errors.or(fallback.count_network_errors),
            count_5xx_errors: self.count_5xx_errors.or(fallback.count_5xx_errors),
            count_retryable_errors: self.count_retryable_errors.or(fallback.count_retryable_errors),
        }
    }
}

/// How often something may be called. At least one of the rates is given, by the step or the workflow, each at least 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RateLimitPolicy {
    /// Who shares the limit; default the circuit breaker's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Attempts per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Model tokens per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// The longest wait for a permit; default 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Millis>,
}

impl RateLimitPolicy {
    /// Half a minute.
    pub const DEFAULT_MAX_WAIT: Millis = Millis(30_000);

    /// Takes what is absent here from `fallback`.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            key: self.key.clone().or_else(|| fallback.key.clone()),
            requests_per_minute: self.requests_per_minute.or(fallback.requests_per_minute),
            tokens_per_minute: self.tokens_per_minute.or(fallback.tokens_per_minute),
            max_wait: self.max_wait.or(fallback.max_wait),
        }
    }
}

/// How much may be called at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct BulkheadPolicy {
    /// Who shares the limit; default the circuit breaker's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Calls at once, at least 1; required, of the step or of the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Calls that may wait, 0–10000; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queue: Option<u32>,
    /// The longest wait; default 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Millis>,
}

impl BulkheadPolicy {
    /// Calls that may wait.
    pub const DEFAULT_MAX_QUEUE: u32 = 100;
    /// Half a minute.
    pub const DEFAULT_QUEUE_TIMEOUT: Millis = Millis(30_000);

    /// Takes what is absent here from `fallback`.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            key: self.key.clone().or_else(|| fallback.key.clone()),
            max_concurrent: self.max_concurrent.or(fallback.max_concurrent),
            max_queue: self.max_queue.or(fallback.max_queue),
            queue_timeout: self.queue_timeout.or(fallback.queue_timeout),
        }
    }
}

/// How much of a workflow may run at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ConcurrencyPolicy {
    /// Attempts in progress, 1–10000; default the engine's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_steps: Option<u32>,
    /// How long cleanup handlers of agents may take within the grace, at least 1 s; default 5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup_timeout_ms: Option<Millis>,
}

impl ConcurrencyPolicy {
    /// How long a cleanup may take if nobody says.
    pub const DEFAULT_CLEANUP_TIMEOUT: Millis = Millis(5_000);
}

/// How an execution ends when it is cancelled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct CancellationPolicy {
    /// How long running attempts may take to end; default [`CancellationPolicy::DEFAULT_GRACE_PERIOD`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Millis>,
    /// Whether running attempts are told; false lets them run to their end. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagate: Option<bool>,
}

impl CancellationPolicy {
    /// Five seconds.
    pub const DEFAULT_GRACE_PERIOD: Millis = Millis(5_000);
}

/// What a fatal failure at top level does to the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The execution ends at once; pending steps are skipped.
    #[default]
    Stop,
    /// All that can still run ends first; then the execution fails.
    Continue,
}

/// When compensation runs, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct CompensationPolicy {
    /// After a failure; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<bool>,
    /// After a cancellation; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_cancel: Option<bool>,
    /// All of it; default [`CompensationPolicy::DEFAULT_TIMEOUT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
}

impl CompensationPolicy {
    /// One minute.
    pub const DEFAULT_TIMEOUT: Millis = Millis(60_000);
}

/// What an execution may use up; each limit is greater than 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Budget {
    /// Model tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<f64>,
    /// Leaf activations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Time from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Millis>,
}

/// What a final failure of a step means for its scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Fatal for the scope.
    #[default]
    Fail,
    /// Not fatal; dependents are skipped.
    Continue,
    /// As `fail`, with the default retry policy, and INTERNAL is tried again too.
    Retry,
    /// Another step stands in.
    Fallback,
}

/// Merges two of which each may be absent.
fn merged<T>(own: Option<T>, fallback: Option<T>, or: impl FnOnce(T, T) -> T) -> Option<T> {
    match (own, fallback) {
        (Some(own), Some(fallback)) => Some(or(own, fallback)),
        (one, other) => one.or(other),
    }
}

/// Whether a JSON value is absent or null, which serialisation leaves out.
pub(crate) fn is_null(value: &Value) -> bool {
    value.is_null()
}
