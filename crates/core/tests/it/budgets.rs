//! Budgets: reserved before an attempt, used after it, and never passed.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest, CancellationToken};
use orchestr8_schema::{
    ErrorKind,
    event::{BudgetKind, CallId, EventBody},
    usage::{Estimate, Usage},
};
use orchestr8_testing::{Harness, Run, assert_completed, assert_events, assert_failed, scripted};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{step, workflow_with};

/// Uses up what its input says, and says before what it may use at most.
pub(crate) struct Spender;

#[async_trait]
impl Agent for Spender {
    fn manifest(&self) -> AgentManifest {
        AgentManifest::new("@test/spender", "1.0.0", "Spends").expect("well formed")
    }

    async fn execute(&self, input: &Value, cx: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        let number = |key: &str| input[key].as_u64().unwrap_or(0);
        // In two parts, as an agent with several turns does.
        cx.usage(Usage::new(number("uses") / 2, 0, 0.0));
        tokio::time::sleep(Duration::from_millis(number("ms"))).await;
        cx.usage(Usage::new(0, number("uses") - number("uses") / 2, input["usd"].as_f64().unwrap_or(0.0)));
        match cx.attempt() <= number("fails") as u32 {
            true => Err(AgentError::network("down")),
            false => Ok(json!({})),
        }
    }

    fn estimate(&self, input: &Value, _: &Map<String, Value>) -> Estimate {
        Estimate::new(input["most"].as_u64().unwrap_or(0), input["usd"].as_f64().unwrap_or(0.0))
    }
}

fn spender(id: &str, input: Value) -> Value {
    let mut step = step(id, "spender", &[]);
    step["input"] = input;
    step["policies"] =
        json!({ "retry": { "baseDelayMs": 100, "jitter": false }, "circuitBreaker": { "enabled": false } });
    step["onError"] = json!("continue");
    step
}

async fn run(steps: Value, budget: Value, slots: u32) -> Run {
    let document = workflow_with(steps, json!({ "budget": budget }));
    let harness = Harness::new().agent(Spender).agent(scripted("echo"));
    harness.engine_with(move |engine| engine.max_concurrent_steps(slots)).run(document, json!({})).await
}

#[tokio::test(start_paused = true)]
async fn what_is_used_is_counted_over_attempts_and_shown() {
    let steps = json!([spender("a", json!({ "most": 100, "uses": 30, "fails": 1, "usd": 0.25 }))]);
    let run = run(steps, json!({ "maxTokens": 1000, "maxCostUsd": 2, "maxSteps": 5, "maxDuration": "1m" }), 10).await;
    assert_completed!(run);
    let body = run.outcome().to_body();
    assert_eq!(body.usage.map(|usage| usage.used), Some(Usage { cost_usd: 0.5, ..Usage::new(30, 30, 0.0) }));
    let shown: Vec<_> = body.budget.iter().map(|(name, state)| (name.as_str(), state.limit, state.spent)).collect();
    assert_eq!(
        shown,
        [
            ("maxCostUsd", 2.0, 0.5),
            ("maxDuration", 60_000.0, 100.0),
            ("maxSteps", 5.0, 1.0),
            ("maxTokens", 1000.0, 60.0)
        ]
    );
    let first = run.journal().iter().find(|entry| entry.kind == "attempt.started").expect("started");
    assert_eq!(first.data["reserved"], json!({ "tokens": 100, "costUsd": 0.25 }));
    let end = run.journal().iter().find(|entry| entry.kind == "attempt.finished").expect("finished");
    assert_eq!(end.data["usage"]["inputTokens"], 15);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_would_pass_the_limit_is_not_made() {
    let mut steps = json!([spender("a", json!({ "uses": 80, "most": 80 })), spender("b", json!({ "most": 30 }))]);
    steps[1]["dependencies"] = json!(["a"]);
    steps[1]["onError"] = json!("fail");
    let run = run(steps, json!({ "maxTokens": 100 }), 10).await;
    assert_failed!(run, ErrorKind::BudgetExceeded);
    assert_events!(run, ["attempt.rejected b", "budget.exceeded b", "step.failed b", "execution.failed"]);
    let told = run.journal().iter().find(|entry| entry.kind == "budget.exceeded").expect("told");
    assert_eq!(json!(told.data), json!({ "budget": "maxTokens", "limit": 100.0, "used": 80.0 }));
    assert_eq!(run.outcome().error().map(|error| error.attempts), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_asks_the_budget_again() {
    let steps = json!([spender("a", json!({ "uses": 60, "most": 60, "fails": 5 }))]);
    let run = run(steps, json!({ "maxTokens": 100 }), 10).await;
    assert_completed!(run);
    let failure = run.outcome().to_body().steps[0].error.clone().expect("failed");
    assert_eq!((failure.code, failure.attempts), (ErrorKind::BudgetExceeded, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_for_what_others_have_reserved_and_holds_no_slot_meanwhile() {
    let mut steps = json!([
        spender("a", json!({ "most": 80, "uses": 10, "ms": 1000 })),
        spender("b", json!({ "most": 80, "uses": 10, "ms": 1000 })),
        step("c", "echo", &[]),
        step("d", "echo", &["c"]),
    ]);
    steps[2]["condition"] = json!({ "if": "`true`" });
    let run = run(steps, json!({ "maxTokens": 100 }), 2).await;
    assert_completed!(run);
    assert_events!(
        run,
        ["attempt.deferred b", "step.completed d", "step.completed a", "attempt.started b", "step.completed b"]
    );
    assert_eq!(run.journal().last().expect("not empty").elapsed_ms, 2000);
    assert_eq!(run.journal_lines().iter().filter(|line| line.starts_with("attempt.deferred")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_budget_is_shown_and_can_be_cancelled() {
    let steps =
        json!([spender("a", json!({ "most": 80, "ms": 1000 })), spender("b", json!({ "most": 80, "ms": 1000 })),]);
    let document = workflow_with(steps, json!({ "budget": { "maxTokens": 100 } }));
    let handle = Harness::new().agent(Spender).start(document, json!({})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let body = handle.snapshot().await.expect("stored").to_body();
    assert_eq!(body.waiting_for.iter().map(|waiting| waiting.kind.as_str()).collect::<Vec<_>>(), ["budget"]);
    assert_eq!(body.steps[1].status, "waiting");
    assert_eq!(body.budget["maxTokens"].reserved, 80.0);
    handle.pause(None).await.expect("paused");
    handle.resume(None).await.expect("resumed");
    handle.cancel(orchestr8_core::Cancellation::new("enough")).await.expect("cancelled");
    let run = Run::of(&handle).await;
    assert_eq!(run.outcome().to_body().steps[1].attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_budget_holds_neither_permits_nor_the_probe_of_its_circuit() {
    let policies = json!({
        "circuitBreaker": { "key": "model", "failureThreshold": 1, "resetTimeoutMs": 1000 },
        "rateLimit": { "key": "model", "requestsPerMinute": 3, "maxWait": 0 },
        "bulkhead": { "key": "model", "maxConcurrent": 1 },
        "retry": { "maxAttempts": 1 },
    });
    let guarded = |id: &str, input: Value| {
        let mut step = spender(id, input);
        step["policies"] = policies.clone();
        step
    };
    let mut steps = json!([
        spender("holder", json!({ "most": 80, "ms": 5000 })),
        spender("later", json!({ "ms": 2000 })),
        guarded("breaks", json!({ "fails": 1 })),
        guarded("waits", json!({ "most": 80, "ms": 1000 })),
        guarded("passes", json!({ "ms": 1000 })),
    ]);
    for step in 3..5 {
        steps[step]["dependencies"] = json!(["later"]);
    }
    let run = run(steps, json!({ "maxTokens": 100 }), 10).await;
    assert_completed!(run);
    assert_events!(
        run,
        [
            "circuit.opened breaks",
            "circuit.half-opened waits",
            "attempt.deferred waits",
            "circuit.closed passes",
            "step.completed passes",
            "step.completed holder",
            "step.completed waits",
        ]
    );
    assert_eq!(run.journal().last().expect("not empty").elapsed_ms, 6000, "nobody has waited for a permit");
}

#[tokio::test(start_paused = true)]
async fn steps_and_time_are_budgets_too() {
    let steps = json!([step("a", "echo", &[]), step("b", "echo", &["a"]), step("c", "echo", &["b"])]);
    let run = self::run(steps, json!({ "maxSteps": 2 }), 10).await;
    assert_failed!(run, ErrorKind::BudgetExceeded);
    assert_events!(run, ["step.completed b", "attempt.rejected c", "budget.exceeded c", "step.failed c"]);

    let slow = json!([spender("a", json!({ "ms": 5000 }))]);
    let run = self::run(slow, json!({ "maxDuration": "2s" }), 10).await;
    assert_failed!(run, ErrorKind::BudgetExceeded);
    assert_events!(run, ["timer.fired", "budget.exceeded", "execution.failing"]);
}

/// What each of the parallel steps says and does: the most that it may use, how much of that, how long, and how often it fails.
fn spenders() -> impl Strategy<Value = Vec<(u64, u64, u64, u64)>> {
    prop::collection::vec((0..40_u64, 0..=100_u64, 0..50_u64, 0..3_u64), 64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// At the start of an attempt used plus reserved never exceeds the limit, and used never falls; with agents that keep to what they
    /// said, it never exceeds the limit at all.
    #[test]
    fn sixty_four_parallel_agents_never_exceed_the_limit(spenders in spenders(), limit in 1..600_u64, slots in 1..64_u32) {
        let steps = spenders.iter().enumerate().map(|(index, (most, percent, ms, fails))| {
            let input = json!({ "most": most, "uses": most * percent / 100, "ms": ms, "fails": fails, "usd": *most as f64 / 1000.0 });
            spender(&format!("s{index}"), input)
        });
        let budget = json!({ "maxTokens": limit, "maxCostUsd": 0.3 });
        let steps = Value::Array(steps.collect());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("built");
        let run = runtime.block_on(run(steps, budget, slots));

        let (mut used, mut cost) = (0, 0_u64);
        let mut reserved: HashMap<CallId, (u64, u64)> = HashMap::new();
        let nanos = |usd: f64| (usd * 1e9).round() as u64;
        for event in run.snapshot().events() {
            match &event.body {
                EventBody::AttemptStarted { call, reserved: estimate, .. } => {
                    let estimate = estimate.as_ref().expect("there is a budget");
                    reserved.insert(*call, (estimate.tokens, nanos(estimate.cost_usd)));
                    prop_assert!(used + reserved.values().map(|one| one.0).sum::<u64>() <= limit);
                    prop_assert!(cost + reserved.values().map(|one| one.1).sum::<u64>() <= 300_000_000);
                }
                EventBody::AttemptFinished { call, usage, .. } => {
                    prop_assert!(reserved.remove(call).is_some());
                    let usage = usage.as_ref().expect("it was said");
                    (used, cost) = (used + usage.tokens(), cost + nanos(usage.cost_usd));
                }
                EventBody::BudgetExceeded { budget, .. } => {
                    prop_assert!(matches!(budget, BudgetKind::Tokens | BudgetKind::Cost));
                }
                _ => {}
            }
        }
        prop_assert!(used <= limit && cost <= 300_000_000);
        prop_assert!(reserved.is_empty());
        prop_assert_eq!(run.outcome().state().usage().tokens(), used);
    }
}
