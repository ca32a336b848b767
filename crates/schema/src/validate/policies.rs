//! Ranges and contradictions of policies.

use super::outline::Outline;
use crate::{
    Code, Millis, StepIndex,
    policy::{
        BulkheadPolicy, CircuitBreakerPolicy, RateLimitPolicy, ResiliencePolicy, RetryPolicy, StepPolicies,
        WorkflowPolicies,
    },
    problem::{At, Problems},
    workflow::{StepKind, WaitDuration, WaitStep},
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// From the beginning of 2026 to that of 10000, which times of RFC 3339 do not reach.
const EVER: Millis = Millis(251_635_075_200_000);

/// Checks the policies of the workflow and of all its steps.
pub(super) fn check(outline: &Outline<'_>, problems: &mut Problems) {
    let root = At::ROOT;
    let workflow = outline.workflow;
    workflow_policies(&workflow.policies, &root.key("policies"), problems);
    for (index, placed) in outline.iter() {
        if placed.broken {
            continue;
        }
        let step = placed.step;
        if step.policies != StepPolicies::default() {
            let pointer = outline.pointer(index);
            let at = At::pointer(&pointer);
            step_policies(&step.policies, &workflow.policies.resilience, &at.key("policies"), problems);
            if !step.kind.is_leaf() {
                no_effect(&step.policies, step.kind.key(), step.kind.is_composite(), &at.key("policies"), problems);
            }
        }
        if let Some(compensation) = &step.compensate
            && compensation.policies != StepPolicies::default()
        {
            let pointer = outline.pointer(index);
            let at = At::pointer(&pointer);
            let at = at.key("compensate");
            // It is tried again by its own policy or the default one.
            let outer = ResiliencePolicy { retry: None, ..workflow.policies.resilience.clone() };
            step_policies(&compensation.policies, &outer, &at.key("policies"), problems);
        }
        waits(index, outline, problems);
    }
}

/// Reports what only calls have.
fn no_effect(policies: &StepPolicies, kind: &str, is_composite: bool, at: &At<'_>, problems: &mut Problems) {
    let layers = &policies.resilience;
    let article = if kind.starts_with('a') { "an" } else { "a" };
    let given = [
        ("timeout", policies.timeout.is_some()),
        ("idempotencyKey", policies.idempotency_key.is_some()),
        ("retry", layers.retry.is_some()),
        ("circuitBreaker", layers.circuit_breaker.is_some()),
        ("rateLimit", layers.rate_limit.is_some()),
        ("bulkhead", layers.bulkhead.is_some()),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        let help = if is_composite { "put it on the inner step, or use `deadline`" } else { "use `deadline`" };
        problems.report(Code::NoEffect, at.key(key), format!("`{key}` on {article} {kind}")).on_key().help(help);
    }
}

/// Reports a wait that is longer than the time that there is for it.
fn waits(index: StepIndex, outline: &Outline<'_>, problems: &mut Problems) {
    let step = outline.step(index);
    let (place, wait) = match &step.kind {
        StepKind::Wait(WaitStep::Duration { duration: WaitDuration::Fixed(wait) }) => ("wait/duration", *wait),
        StepKind::Wait(WaitStep::Signal { timeout: Some(wait), .. }) => ("wait/timeout", *wait),
        StepKind::Approval(approval) => match approval.timeout {
            Some(wait) => ("approval/timeout", wait),
            None => return,
        },
        StepKind::Loop(looped) if looped.max_iterations > 1 => ("loop/delay", looped.delay),
        _ => return,
    };
    let path = format!("{}/{place}", outline.pointer(index));
    if wait >= EVER {
        problems.report(Code::OutOfRange, path, "this wait ends after the year 9999");
        return;
    }
    let around = outline.composites(outline.scope_of(index)).map(|composite| outline.step(composite));
    let deadlines = std::iter::once(step)
        .chain(around)
        .filter_map(|step| Some((step.policies.deadline?, format!("raise `deadline` of `{}`", step.id))));
    let global = outline.workflow.policies.timeout.as_ref().and_then(|timeout| timeout.global);
    let limits = deadlines.chain(global.map(|global| (global, "raise timeout.global".to_owned())));
    if let Some((limit, help)) = limits.min_by_key(|(limit, _)| *limit)
        && limit < wait
    {
        problems.report(Code::ShortDeadline, path, format!("waits {wait}, limit {limit}")).help(help);
    }
}

fn workflow_policies(policies: &WorkflowPolicies, at: &At<'_>, problems: &mut Problems) {
    if let Some(timeout) = &policies.timeout {
        let at = at.key("timeout");
        duration(timeout.global, 1, 30 * DAY, &at.key("global"), problems);
        attempt_timeout(timeout.per_step, &at.key("perStep"), problems);
    }
    resilience(&policies.resilience, &ResiliencePolicy::default(), &at.key("resilience"), problems);
    if let Some(concurrency) = &policies.concurrency {
        let at = at.key("concurrency");
        count(concurrency.max_concurrent_steps, 1, 10_000, &at.key("maxConcurrentSteps"), problems);
        duration(concurrency.cleanup_timeout_ms, 1_000, u64::MAX, &at.key("cleanupTimeoutMs"), problems);
    }
    if let Some(compensation) = &policies.compensation {
        let at = at.key("compensation");
        duration(compensation.timeout, 1, u64::MAX, &at.key("timeout"), problems);
    }
    if let Some(budget) = &policies.budget {
        let at = at.key("budget");
        range(budget.max_tokens, 1, u64::MAX, &at.key("maxTokens"), problems);
        range(budget.max_steps, 1, u64::MAX, &at.key("maxSteps"), problems);
        duration(budget.max_duration, 1, u64::MAX, &at.key("maxDuration"), problems);
        if budget.max_cost_usd.is_some_and(|cost| cost.is_nan() || cost <= 0.0) {
            problems.report(Code::OutOfRange, at.key("maxCostUsd"), "maxCostUsd is greater than 0");
        }
    }
}

/// Checks what a call asks for; `outer` is what it does not say itself.
fn step_policies(policies: &StepPolicies, outer: &ResiliencePolicy, at: &At<'_>, problems: &mut Problems) {
    attempt_timeout(policies.timeout, &at.key("timeout"), problems);
    duration(policies.deadline, 1, 30 * DAY, &at.key("deadline"), problems);
    resilience(&policies.resilience, outer, at, problems);
    if let Some(key) = &policies.idempotency_key
        && (key.is_empty() || (!key.contains("${") && key.chars().count() > 255))
    {
        problems.report(Code::WrongForm, at.key("idempotencyKey"), "an idempotency key has 1 to 255 characters");
    }
}

fn resilience(policies: &ResiliencePolicy, outer: &ResiliencePolicy, at: &At<'_>, problems: &mut Problems) {
    if let Some(policy) = &policies.retry {
        retry(policy, outer.retry.as_deref(), &at.key("retry"), problems);
    }
    if let Some(policy) = &policies.circuit_breaker {
        circuit_breaker(policy, &at.key("circuitBreaker"), problems);
    }
    if let Some(policy) = &policies.rate_limit {
        rate_limit(policy, outer.rate_limit.as_deref(), &at.key("rateLimit"), problems);
    }
    if let Some(policy) = &policies.bulkhead {
        bulkhead(policy, outer.bulkhead.as_deref(), &at.key("bulkhead"), problems);
    }
}

fn retry(policy: &RetryPolicy, outer: Option<&RetryPolicy>, at: &At<'_>, problems: &mut Problems) {
    let errors = problems.errors();
    if policy.max_attempts.is_some_and(|attempts| !(1..=10).contains(&attempts)) {
        problems.report(Code::OutOfRange, at.key("maxAttempts"), "maxAttempts is 1 to 10").help("3 is a good start");
    }
    duration(policy.base_delay_ms, 100, 10 * MINUTE, &at.key("baseDelayMs"), problems);
    duration(policy.max_delay_ms, 0, HOUR, &at.key("maxDelayMs"), problems);
    if problems.errors() > errors {
        return;
    }
    let merged = outer.map_or_else(|| policy.clone(), |outer| policy.or(outer));
    let base = merged.base_delay_ms.unwrap_or(RetryPolicy::DEFAULT_BASE_DELAY);
    let most = merged.max_delay_ms.unwrap_or(RetryPolicy::DEFAULT_MAX_DELAY);
    let given = if policy.max_delay_ms.is_some() { "maxDelayMs" } else { "baseDelayMs" };
    if most < base && (policy.base_delay_ms.is_some() || policy.max_delay_ms.is_some()) {
        problems
            .report(Code::Contradiction, at.key(given), format!("maxDelayMs ({most}) is below baseDelayMs ({base})"))
            .help("give both");
    }
}

fn circuit_breaker(policy: &CircuitBreakerPolicy, at: &At<'_>, problems: &mut Problems) {
    count(policy.failure_threshold, 1, u32::MAX, &at.key("failureThreshold"), problems);
    duration(policy.reset_timeout_ms, 1_000, u64::MAX, &at.key("resetTimeoutMs"), problems);
    key(policy.key.as_deref(), at, problems);
}

fn rate_limit(policy: &RateLimitPolicy, outer: Option<&RateLimitPolicy>, at: &At<'_>, problems: &mut Problems) {
    key(policy.key.as_deref(), at, problems);
    let has_rate = |policy: &RateLimitPolicy| policy.requests_per_minute.or(policy.tokens_per_minute).is_some();
    if !has_rate(policy) && !outer.is_some_and(has_rate) {
        problems
            .report(Code::Missing, at, "`rateLimit` needs a rate")
            .help("give `requestsPerMinute` or `tokensPerMinute`");
    }
    count(policy.requests_per_minute, 1, u32::MAX, &at.key("requestsPerMinute"), problems);
    count(policy.tokens_per_minute, 1, u32::MAX, &at.key("tokensPerMinute"), problems);
}

fn bulkhead(policy: &BulkheadPolicy, outer: Option<&BulkheadPolicy>, at: &At<'_>, problems: &mut Problems) {
    key(policy.key.as_deref(), at, problems);
    if policy.max_concurrent.or(outer.and_then(|outer| outer.max_concurrent)).is_none() {
        problems.report(Code::Missing, at, "`bulkhead.maxConcurrent` is missing").help("how many calls at once");
    }
    count(policy.max_concurrent, 1, u32::MAX, &at.key("maxConcurrent"), problems);
    count(policy.max_queue, 0, 10_000, &at.key("maxQueue"), problems);
    duration(policy.queue_timeout, 1, u64::MAX, &at.key("queueTimeout"), problems);
}

fn key(key: Option<&str>, at: &At<'_>, problems: &mut Problems) {
    if key.is_some_and(|key| key.contains("${")) {
        problems
            .report(Code::ExpressionNotEvaluated, at.key("key"), "`${` in `key` stays text")
            .help("only `idempotencyKey` is a template");
    }
    if key.is_some_and(|key| !(1..=255).contains(&key.chars().count())) {
        problems.report(Code::WrongForm, at.key("key"), "a key has 1 to 255 characters");
    }
}

fn attempt_timeout(timeout: Option<Millis>, at: &At<'_>, problems: &mut Problems) {
    duration(timeout, 1, DAY, at, problems);
    if let Some(timeout @ Millis(1..1_000)) = timeout {
        problems.report(Code::ShortTimeout, at, format!("attempts get {timeout}")).help("most calls need seconds");
    }
}

fn duration(value: Option<Millis>, least: u64, most: u64, at: &At<'_>, problems: &mut Problems) {
    if value.is_some_and(|value| !(least..=most).contains(&value.0)) {
        let range = match (least, most) {
            (least, u64::MAX) => format!("at least {}", Millis(least)),
            (least, most) => format!("{} to {}", Millis(least), Millis(most)),
        };
        out_of_range(&range, at, problems);
    }
}

fn count(value: Option<u32>, least: u32, most: u32, at: &At<'_>, problems: &mut Problems) {
    let most = if most == u32::MAX { u64::MAX } else { u64::from(most) };
    range(value.map(u64::from), u64::from(least), most, at, problems);
}

pub(super) fn range(value: Option<u64>, least: u64, most: u64, at: &At<'_>, problems: &mut Problems) {
    if value.is_some_and(|value| !(least..=most).contains(&value)) {
        let range = if most == u64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
        out_of_range(&range, at, problems);
    }
}

pub(super) fn out_of_range(range: &str, at: &At<'_>, problems: &mut Problems) {
    let path = at.to_string();
    let name = path.rsplit('/').next().unwrap_or_default();
    problems.report(Code::OutOfRange, &path, format!("{name} is {range}"));
}
