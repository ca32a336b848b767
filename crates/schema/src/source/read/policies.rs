//! The policies of a workflow and of its steps, with the spellings of earlier versions.

use super::{Field, Object, Reader};
use crate::{
    Code, Millis,
    policy::{
        Budget, BulkheadPolicy, CancellationPolicy, CircuitBreakerPolicy, CompensationPolicy, ConcurrencyPolicy,
        ErrorClassification, HalfOpenPolicy, JitterStrategy, KeyStrategy, OnFailure, RateLimitPolicy, ResiliencePolicy,
        RetryPolicy, RetryableError, StepPolicies, WorkflowPolicies, WorkflowTimeout,
    },
};

const LAYERS: [&str; 4] = ["retry", "circuitBreaker", "rateLimit", "bulkhead"];

impl Reader<'_> {
    pub(super) fn workflow_policies(&mut self, field: Option<Field<'_>>) -> WorkflowPolicies {
        let Some(policies) = self.object(field) else { return WorkflowPolicies::default() };
        let mut known = vec![
            "timeout",
            "resilience",
            "concurrency",
            "cancellation",
            "onFailure",
            "compensation",
            "budget",
            "resilienceBudget",
        ];
        let result = WorkflowPolicies {
            timeout: self.workflow_timeout(policies.get("timeout")),
            resilience: self.resilience(policies.get("resilience")),
            concurrency: self.concurrency(policies.get("concurrency")),
            cancellation: self.cancellation(policies.get("cancellation")),
            on_failure: self
                .choice(policies.get("onFailure"), &[("stop", OnFailure::Stop), ("continue", OnFailure::Continue)]),
            compensation: self.compensation(policies.get("compensation")),
            budget: self.budget(policies.get("budget")),
        };
        self.ignored(&policies, "resilienceBudget", "write `timeout.global` or a step's `deadline`");
        for layer in LAYERS {
            if let Some(field) = policies.get(layer) {
                let message = format!("unknown key `{layer}`");
                self.problems
                    .report(Code::UnknownKey, field.at, message)
                    .on_key()
                    .help(format!("write `resilience.{layer}`"));
                known.push(layer);
            }
        }
        self.unknown_keys(&policies, &known);
        result
    }

    fn workflow_timeout(&mut self, field: Option<Field<'_>>) -> Option<WorkflowTimeout> {
        let field = field?;
        if !field.value.is_object() {
            self.mismatch(field, "an object").help("`timeout: {perStep: …}`");
            return None;
        }
        let timeout = self.object(Some(field))?;
        let result = WorkflowTimeout {
            global: self.duration(timeout.get("global")),
            per_step: self.duration(timeout.get("perStep")),
        };
        self.unknown_keys(&timeout, &["global", "perStep"]);
        Some(result)
    }

    pub(super) fn step_policies(&mut self, field: Option<Field<'_>>) -> StepPolicies {
        let Some(policies) = self.object(field) else { return StepPolicies::default() };
        let nested = self.object(policies.get("resilience"));
        let mut resilience = self.layers(&policies);
        if let Some(nested) = &nested {
            for layer in LAYERS {
                let Some(field) = nested.get(layer) else { continue };
                if policies.contains(layer) {
                    let message = format!("both `{layer}` and `resilience.{layer}` are given");
                    self.problems.report(Code::AliasAndName, field.at, message).on_key().help("keep one");
                }
                self.renames.push((policies.at.key(layer).to_string(), field.at.to_string()));
            }
            let inner = self.layers(nested);
            resilience = ResiliencePolicy {
                retry: resilience.retry.or(inner.retry),
                circuit_breaker: resilience.circuit_breaker.or(inner.circuit_breaker),
                rate_limit: resilience.rate_limit.or(inner.rate_limit),
                bulkhead: resilience.bulkhead.or(inner.bulkhead),
            };
            self.composition_order(nested);
            self.unknown_keys(nested, &["retry", "circuitBreaker", "rateLimit", "bulkhead", "compositionOrder"]);
        }
        let result = StepPolicies {
            timeout: self.duration(policies.get("timeout")),
            deadline: self.duration(policies.get("deadline")),
            resilience,
            idempotency_key: self.owned(policies.get("idempotencyKey")),
        };
        self.ignored(&policies, "resilienceBudget", "write `timeout.global` or a step's `deadline`");
        let known = [
            "timeout",
            "deadline",
            "retry",
            "circuitBreaker",
            "rateLimit",
            "bulkhead",
            "idempotencyKey",
            "resilience",
            "resilienceBudget",
        ];
        self.unknown_keys(&policies, &known);
        result
    }

    fn resilience(&mut self, field: Option<Field<'_>>) -> ResiliencePolicy {
        let Some(object) = self.object(field) else { return ResiliencePolicy::default() };
        self.composition_order(&object);
        self.unknown_keys(&object, &["retry", "circuitBreaker", "rateLimit", "bulkhead", "compositionOrder"]);
        self.layers(&object)
    }

    fn composition_order(&mut self, object: &Object<'_>) {
        let Some(order) = object.get("compositionOrder") else { return };
        if order.value.as_str() == Some("retry-cb-timeout") {
            self.ignored(object, "compositionOrder", "the order is fixed");
        } else {
            self.problems
                .report(Code::CompositionOrder, order.at, "invalid composition order")
                .help("the order is fixed: retry, circuit breaker, timeout");
        }
    }

    fn layers(&mut self, object: &Object<'_>) -> ResiliencePolicy {
        ResiliencePolicy {
            retry: self.retry(object.get("retry")).map(Box::new),
            circuit_breaker: self.circuit_breaker(object.get("circuitBreaker")).map(Box::new),
            rate_limit: self.rate_limit(object.get("rateLimit")).map(Box::new),
            bulkhead: self.bulkhead(object.get("bulkhead")).map(Box::new),
        }
    }

    fn retry(&mut self, field: Option<Field<'_>>) -> Option<RetryPolicy> {
        let retry = self.object(field)?;
        let base_delay = self.aliased(&retry, "baseDelayMs", &["baseDelay", "initialDelay"]);
        let max_delay = self.aliased(&retry, "maxDelayMs", &["maxDelay"]);
        let mut result = RetryPolicy {
            max_attempts: self.integer(retry.get("maxAttempts")),
            base_delay_ms: self.duration(base_delay),
            max_delay_ms: self.duration(max_delay),
            jitter_strategy: None,
            jitter: self.boolean(retry.get("jitter")),
            retryable_errors: self.retryable_errors(retry.get("retryableErrors")),
        };
        if let Some(field) = retry.get("jitterStrategy") {
            match field.value.as_str() {
                Some("full") => {
                    self.old_value(field, "full-jitter");
                    result.jitter_strategy = Some(JitterStrategy::FullJitter);
                }
                Some("none") if result.jitter == Some(true) => {
                    let message = "both `jitter: true` and `jitterStrategy: none` are given";
                    self.problems.report(Code::AliasAndName, field.at, message).help("keep `jitter`");
                }
                Some("none") => {
                    self.problems
                        .report(Code::Alias, field.at, "`jitterStrategy: none` is now `jitter: false`")
                        .help("write `jitter: false`");
                    result.jitter = Some(false);
                }
                _ => result.jitter_strategy = self.choice(Some(field), &[("full-jitter", JitterStrategy::FullJitter)]),
            }
        }
        for key in ["multiplier", "backoffMultiplier"] {
            self.fixed(&retry, key, |value| value.as_f64() == Some(2.0), "the delay always doubles");
        }
        for key in ["backoff", "backoffStrategy"] {
            self.fixed(&retry, key, |value| value.as_str() == Some("exponential"), "the delay always doubles");
        }
        let known = [
            "maxAttempts",
            "baseDelayMs",
            "maxDelayMs",
            "jitterStrategy",
            "jitter",
            "retryableErrors",
            "baseDelay",
            "initialDelay",
            "maxDelay",
            "multiplier",
            "backoffMultiplier",
            "backoff",
            "backoffStrategy",
        ];
        self.unknown_keys(&retry, &known);
        Some(result)
    }

    /// A key whose only value is what happens anyway.
    fn fixed(&mut self, object: &Object<'_>, key: &str, is_default: fn(&serde_json::Value) -> bool, why: &str) {
        let Some(field) = object.get(key) else { return };
        if is_default(field.value) {
            self.ignored(object, key, why);
        } else {
            let message = format!("`{key}` cannot be {}", crate::problem::quote(&field.value.to_string()));
            self.problems.report(Code::OutOfRange, field.at, message).help(why);
        }
    }

    fn old_value(&mut self, field: Field<'_>, today: &str) {
        let old = field.value.as_str().unwrap_or_default();
        self.problems
            .report(Code::Alias, field.at, format!("`{old}` is now `{today}`"))
            .help(format!("write `{today}`"));
    }

    fn retryable_errors(&mut self, field: Option<Field<'_>>) -> Option<Vec<RetryableError>> {
        const NAMES: &[(&str, RetryableError)] = &[
            ("TimeoutError", RetryableError::Timeout),
            ("RetryableError", RetryableError::Retryable),
            ("NetworkError", RetryableError::Network),
            ("RateLimitedError", RetryableError::RateLimited),
            ("TIMEOUT", RetryableError::Timeout),
            ("RETRYABLE", RetryableError::Retryable),
            ("NETWORK", RetryableError::Network),
            ("RATE_LIMITED", RetryableError::RateLimited),
        ];
        let list = self.list(field)?;
        Some(list.items().filter_map(|item| self.choice(Some(item), NAMES)).collect())
    }

    fn circuit_breaker(&mut self, field: Option<Field<'_>>) -> Option<CircuitBreakerPolicy> {
        let breaker = self.object(field)?;
        let reset_timeout = self.aliased(&breaker, "resetTimeoutMs", &["resetTimeout", "recoveryTime"]);
        let half_open_policy = match breaker.get("halfOpenPolicy") {
            Some(field) if matches!(field.value.as_str(), Some("single-trial" | "gradual")) => {
                self.old_value(field, "single-probe");
                Some(HalfOpenPolicy::SingleProbe)
            }
            field => self.choice(field, &[("single-probe", HalfOpenPolicy::SingleProbe)]),
        };
        let result = CircuitBreakerPolicy {
            enabled: self.boolean(breaker.get("enabled")),
            failure_threshold: self.integer(breaker.get("failureThreshold")),
            reset_timeout_ms: self.duration(reset_timeout),
            half_open_policy,
            key_strategy: self.key_strategy(breaker.get("keyStrategy")),
            key: self.owned(breaker.get("key")),
            error_classification: self.error_classification(breaker.get("errorClassification")),
        };
        self.ignored(&breaker, "halfOpenRequests", "one probe is used");
        let known = [
            "enabled",
            "failureThreshold",
            "resetTimeoutMs",
            "halfOpenPolicy",
            "keyStrategy",
            "key",
            "errorClassification",
            "resetTimeout",
            "recoveryTime",
            "halfOpenRequests",
        ];
        self.unknown_keys(&breaker, &known);
        Some(result)
    }

    fn key_strategy(&mut self, field: Option<Field<'_>>) -> Option<KeyStrategy> {
        let object = self.object(field)?;
        let result = KeyStrategy {
            agent_id: self.boolean(object.get("agentId")),
            include_target: self.boolean(object.get("includeTarget")),
        };
        self.unknown_keys(&object, &["agentId", "includeTarget"]);
        Some(result)
    }

    fn error_classification(&mut self, field: Option<Field<'_>>) -> Option<ErrorClassification> {
        let object = self.object(field)?;
        let result = ErrorClassification {
            count_timeouts: self.boolean(object.get("countTimeouts")),
            count_network_errors: self.boolean(object.get("countNetworkErrors")),
            count_5xx_errors: self.boolean(object.get("count5xxErrors")),
            count_retryable_errors: self.boolean(object.get("countRetryableErrors")),
        };
        let known = ["countTimeouts", "countNetworkErrors", "count5xxErrors", "countRetryableErrors"];
        self.unknown_keys(&object, &known);
        Some(result)
    }

    fn rate_limit(&mut self, field: Option<Field<'_>>) -> Option<RateLimitPolicy> {
        let object = self.object(field)?;
        let result = RateLimitPolicy {
            key: self.owned(object.get("key")),
            requests_per_minute: self.integer(object.get("requestsPerMinute")),
            tokens_per_minute: self.integer(object.get("tokensPerMinute")),
            max_wait: self.duration(object.get("maxWait")),
        };
        self.unknown_keys(&object, &["key", "requestsPerMinute", "tokensPerMinute", "maxWait"]);
        Some(result)
    }

    fn bulkhead(&mut self, field: Option<Field<'_>>) -> Option<BulkheadPolicy> {
        let object = self.object(field)?;
        let result = BulkheadPolicy {
            key: self.owned(object.get("key")),
            max_concurrent: self.integer(object.get("maxConcurrent")),
            max_queue: self.integer(object.get("maxQueue")),
            queue_timeout: self.duration(object.get("queueTimeout")),
        };
        self.unknown_keys(&object, &["key", "maxConcurrent", "maxQueue", "queueTimeout"]);
        Some(result)
    }

    fn concurrency(&mut self, field: Option<Field<'_>>) -> Option<ConcurrencyPolicy> {
        let object = self.object(field)?;
        let result = ConcurrencyPolicy {
            max_concurrent_steps: self.integer(object.get("maxConcurrentSteps")),
            cleanup_timeout_ms: self.duration(object.get("cleanupTimeoutMs")),
        };
        self.ignored(&object, "abortOnSignal", "write `cancellation.propagate`");
        self.unknown_keys(&object, &["maxConcurrentSteps", "cleanupTimeoutMs", "abortOnSignal"]);
        Some(result)
    }

    fn cancellation(&mut self, field: Option<Field<'_>>) -> Option<CancellationPolicy> {
        let object = self.object(field)?;
        let grace_period = self.aliased(&object, "gracePeriod", &["timeout"]);
        let mut result = CancellationPolicy {
            grace_period: self.duration(grace_period),
            propagate: self.boolean(object.get("propagate")),
        };
        if let Some(field) = object.get("graceful") {
            match self.boolean(Some(field)) {
                Some(false) if result.grace_period.is_some() => {
                    let message = "both `gracePeriod` and `graceful: false` are given";
                    self.problems.report(Code::AliasAndName, field.at, message).on_key().help("keep `gracePeriod`");
                }
                Some(graceful) => {
                    self.problems
                        .report(Code::Alias, field.at, "`graceful` is now `gracePeriod`")
                        .on_key()
                        .help("write `gracePeriod`, 0 for no grace");
                    if !graceful {
                        result.grace_period = Some(Millis(0));
                    }
                }
                None => {}
            }
        }
        self.ignored(&object, "abortSignal", "write `cancellation.propagate`");
        self.unknown_keys(&object, &["gracePeriod", "propagate", "timeout", "graceful", "abortSignal"]);
        Some(result)
    }

    fn compensation(&mut self, field: Option<Field<'_>>) -> Option<CompensationPolicy> {
        let object = self.object(field)?;
        let result = CompensationPolicy {
            on_failure: self.boolean(object.get("onFailure")),
            on_cancel: self.boolean(object.get("onCancel")),
            timeout: self.duration(object.get("timeout")),
        };
        self.unknown_keys(&object, &["onFailure", "onCancel", "timeout"]);
        Some(result)
    }

    pub(super) fn budget(&mut self, field: Option<Field<'_>>) -> Option<Budget> {
        let object = self.object(field)?;
        let result = Budget {
            max_tokens: self.integer(object.get("maxTokens")),
            max_cost_usd: self.number(object.get("maxCostUsd")),
            max_steps: self.integer(object.get("maxSteps")),
            max_duration: self.duration(object.get("maxDuration")),
        };
        self.unknown_keys(&object, &["maxTokens", "maxCostUsd", "maxSteps", "maxDuration"]);
        Some(result)
    }
}
