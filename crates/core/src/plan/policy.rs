//! How the calls of one step are made: its own policies over the workflow's over the defaults.

use std::time::Duration;

use orchestr8_agent_base::Callee;
use orchestr8_schema::{
    ErrorKind, Millis, StepId, ValidWorkflow,
    policy::{
        BulkheadPolicy, CircuitBreakerPolicy, ErrorClassification, OnError, RateLimitPolicy, ResiliencePolicy,
        RetryPolicy, RetryableError, WorkflowTimeout,
    },
    validate::ValidCompensation,
    workflow::Step,
};

/// How the calls of one leaf step are made; every field is decided.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LeafPolicy {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// The delay after the first failure; it doubles with each further one.
    pub base_delay: Duration,
    /// The cap of the delay before jitter.
    pub max_delay: Duration,
    /// Whether the delay is varied.
    pub jitter: bool,
    /// The kinds that are tried again.
    pub retryable: Vec<ErrorKind>,
    /// What a call belongs to, unless one of the following says otherwise.
    pub key: SharedKey,
    /// The circuit breaker, unless it is switched off.
    pub circuit_breaker: Option<CircuitPolicy>,
    /// How often calls may be made, if that is limited.
    pub rate_limit: Option<RateLimit>,
    /// How many calls may be in progress, if that is limited.
    pub bulkhead: Option<Bulkhead>,
}

/// The circuit breaker of one step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CircuitPolicy {
    /// Consecutive failures that open the circuit.
    pub failure_threshold: u32,
    /// How long it stays open.
    pub reset_timeout: Duration,
    /// Which failures are counted.
    pub counted: Counted,
}

/// Which failures a circuit breaker counts; every field is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// TIMEOUT.
    pub count_timeouts: bool,
    /// NETWORK.
    pub count_network_errors: bool,
    /// RETRYABLE with an HTTP status of 500 or more.
    pub count_5xx_errors: bool,
    /// RETRYABLE without one.
    pub count_retryable_errors: bool,
}

/// How often the calls of one step may be made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Attempts per minute, if they are limited.
    pub requests_per_minute: Option<u32>,
    /// Tokens per minute, if they are limited: what the agent estimates, then what it reports.
    pub tokens_per_minute: Option<u32>,
    /// The longest wait for a permit.
    pub max_wait: Duration,
    /// Who shares the permits.
    pub key: SharedKey,
}

/// How many calls of one step may be in progress at once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bulkhead {
    /// Attempts at once.
    pub max_concurrent: u32,
    /// Attempts that may wait.
    pub max_queue: u32,
    /// The longest wait.
    pub queue_timeout: Duration,
    /// Who shares the permits.
    pub key: SharedKey,
}

/// Which circuit, rate limit, bulkhead or counts a call belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedKey {
    /// Always this one.
    Fixed(String),
    /// This prefix, and the target that the agent names for its input.
    PerTarget(String),
}

/// What the author of a call asks for.
pub(super) struct Asked<'a> {
    /// The step that the call belongs to.
    pub(super) step: &'a StepId,
    timeout: Option<Millis>,
    resilience: ResiliencePolicy,
    on_error: OnError,
}

impl<'a> Asked<'a> {
    pub(super) fn of_step(step: &'a Step, workflow: &ValidWorkflow) -> Self {
        let resilience = step.policies.resilience.or(&workflow.workflow().policies.resilience);
        Self { step: &step.id, timeout: step.policies.timeout, resilience, on_error: step.on_error }
    }

    /// A compensation is tried again by its own policy or the default one, whatever holds for steps.
    pub(super) fn of_compensation(step: &'a Step, compensation: &ValidCompensation, workflow: &ValidWorkflow) -> Self {
        let own = &compensation.policies;
        let outer = &workflow.workflow().policies.resilience;
        let mut resilience = own.resilience.or(outer);
        resilience.retry.clone_from(&own.resilience.retry);
        Self { step: &step.id, timeout: own.timeout, resilience, on_error: OnError::Fail }
    }
}

impl LeafPolicy {
    pub(super) fn resolve(asked: &Asked<'_>, workflow: &ValidWorkflow, callee: &Callee) -> Self {
        let per_step = workflow.workflow().policies.timeout.as_ref().and_then(|timeout| timeout.per_step);
        let timeout = asked.timeout.or(per_step).map(Millis::as_duration);
        let timeout = timeout.or(callee.timeout()).unwrap_or(WorkflowTimeout::DEFAULT_PER_STEP.as_duration());

        let asks = &asked.resilience;
        let default_cap = match (&asks.retry, asked.on_error) {
            (None, OnError::Retry) => RetryPolicy::ON_ERROR_MAX_DELAY,
            _ => RetryPolicy::DEFAULT_MAX_DELAY,
        };
        let retry = asks.retry.as_deref().cloned().unwrap_or_default();
        let mut retryable: Vec<_> = retry
            .retryable_errors
            .as_deref()
            .unwrap_or(&RetryableError::ALL)
            .iter()
            .map(|error| error.kind())
            .collect();
        if asked.on_error == OnError::Retry {
            retryable.push(ErrorKind::Internal);
        }
        let breaker = asks.circuit_breaker.as_deref().cloned().unwrap_or_default();
        let key = SharedKey::resolve(&breaker, callee);
        let base_delay = retry.base_delay_ms.unwrap_or(RetryPolicy::DEFAULT_BASE_DELAY).as_duration();

        Self {
            timeout,
            max_attempts: if callee.is_retryable() {
                retry.max_attempts.unwrap_or(RetryPolicy::DEFAULT_MAX_ATTEMPTS)
            } else {
                1
            },
            base_delay,
            max_delay: retry.max_delay_ms.unwrap_or(default_cap).as_duration().max(base_delay),
            jitter: retry.jitter.unwrap_or(true),
            retryable,
            rate_limit: asks.rate_limit.as_deref().map(|policy| RateLimit::resolve(policy, &key)),
            bulkhead: asks.bulkhead.as_deref().map(|policy| Bulkhead::resolve(policy, &key)),
            circuit_breaker: CircuitPolicy::resolve(&breaker),
            key,
        }
    }
}

impl LeafPolicy {
    /// A hook is tried once, and keeps to the circuit of what it calls.
    pub(super) fn of_hook(timeout: Duration, workflow: &ValidWorkflow, callee: &Callee) -> Self {
        let breaker = workflow.workflow().policies.resilience.circuit_breaker.as_deref().cloned().unwrap_or_default();
        let key = SharedKey::resolve(&breaker, callee);
        Self { circuit_breaker: CircuitPolicy::resolve(&breaker), key, ..Self::once(callee.name(), timeout) }
    }

    /// One attempt, without a circuit breaker.
    pub(crate) fn once(name: &str, timeout: Duration) -> Self {
        Self {
            timeout,
            max_attempts: 1,
            base_delay: RetryPolicy::DEFAULT_BASE_DELAY.as_duration(),
            max_delay: RetryPolicy::DEFAULT_MAX_DELAY.as_duration(),
            jitter: true,
            retryable: Vec::new(),
            key: SharedKey::Fixed(format!("cb:{name}")),
            circuit_breaker: None,
            rate_limit: None,
            bulkhead: None,
        }
    }
}

impl CircuitPolicy {
    fn resolve(policy: &CircuitBreakerPolicy) -> Option<Self> {
        (policy.enabled != Some(false)).then(|| Self {
            failure_threshold: policy.failure_threshold.unwrap_or(CircuitBreakerPolicy::DEFAULT_FAILURE_THRESHOLD),
            reset_timeout: policy.reset_timeout_ms.unwrap_or(CircuitBreakerPolicy::DEFAULT_RESET_TIMEOUT).as_duration(),
            counted: Counted::resolve(policy.error_classification.unwrap_or_default()),
        })
    }
}

impl Counted {
    fn resolve(policy: ErrorClassification) -> Self {
        Self {
            count_timeouts: policy.count_timeouts.unwrap_or(true),
            count_network_errors: policy.count_network_errors.unwrap_or(true),
            count_5xx_errors: policy.count_5xx_errors.unwrap_or(true),
            count_retryable_errors: policy.count_retryable_errors.unwrap_or(true),
        }
    }
}

impl RateLimit {
    fn resolve(policy: &RateLimitPolicy, key: &SharedKey) -> Self {
        Self {
            requests_per_minute: policy.requests_per_minute,
            tokens_per_minute: policy.tokens_per_minute,
            max_wait: policy.max_wait.unwrap_or(RateLimitPolicy::DEFAULT_MAX_WAIT).as_duration(),
            key: key.or_explicit(policy.key.as_deref()),
        }
    }
}

impl Bulkhead {
    fn resolve(policy: &BulkheadPolicy, key: &SharedKey) -> Self {
        Self {
            // A valid workflow says how many.
            max_concurrent: policy.max_concurrent.unwrap_or(1),
            max_queue: policy.max_queue.unwrap_or(BulkheadPolicy::DEFAULT_MAX_QUEUE),
            queue_timeout: policy.queue_timeout.unwrap_or(BulkheadPolicy::DEFAULT_QUEUE_TIMEOUT).as_duration(),
            key: key.or_explicit(policy.key.as_deref()),
        }
    }
}

impl SharedKey {
    /// The key of the circuit that a policy asks for, whether or not it is switched off.
    fn resolve(policy: &CircuitBreakerPolicy, callee: &Callee) -> Self {
        let strategy = policy.key_strategy.unwrap_or_default();
        match &policy.key {
            Some(key) => Self::Fixed(key.clone()),
            None => {
                let id = if strategy.agent_id.unwrap_or(true) { &**callee.name() } else { "" };
                let prefix = format!("cb:{id}");
                if strategy.include_target.unwrap_or(true) { Self::PerTarget(prefix) } else { Self::Fixed(prefix) }
            }
        }
    }

    fn or_explicit(&self, key: Option<&str>) -> Self {
        key.map_or_else(|| self.clone(), |key| Self::Fixed(key.to_owned()))
    }

    /// Returns the key for a call whose agent names this target: `<id>` or `<id>:<target>` behind `cb:`.
    #[must_use]
    pub fn of(&self, target: Option<&str>) -> String {
        match (self, target) {
            (Self::Fixed(key), _) | (Self::PerTarget(key), None) => key.clone(),
            (Self::PerTarget(prefix), Some(target)) if prefix == "cb:" => format!("cb:{target}"),
            (Self::PerTarget(prefix), Some(target)) => format!("{prefix}:{target}"),
        }
    }
}
