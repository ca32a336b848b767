//! Rate limits and bulkheads: who waits, for how long, and what that does not hold.

use std::time::Duration;

use orchestr8_core::execution::Cancellation;
use orchestr8_schema::{ErrorKind, ValidWorkflow};
use orchestr8_testing::{Harness, Run, assert_attempts, assert_completed, assert_events, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{budgets::Spender, step, workflow, workflow_with};

/// Steps `s0`, `s1`, … that all call the same agent.
fn steps(count: usize, agent: &str) -> Value {
    (0..count).map(|index| step(&format!("s{index}"), agent, &[])).collect()
}

/// When each attempt began, in seconds, with the step that it belongs to.
fn starts(run: &Run) -> Vec<(String, u64)> {
    let started = run.journal().iter().filter(|entry| entry.kind == "attempt.started");
    started.map(|entry| (entry.step_path.clone().expect("of a step"), entry.elapsed_ms / 1000)).collect()
}

fn at(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(step, second)| ((*step).to_owned(), *second)).collect()
}

/// One attempt every half minute, after two at once.
fn two_per_minute() -> Value {
    json!({ "rateLimit": { "requestsPerMinute": 2, "maxWait": "2m" } })
}

#[tokio::test(start_paused = true)]
async fn attempts_beyond_the_rate_wait_in_order_and_say_so() {
    let policies = json!({ "resilience": two_per_minute() });
    let run =
        Harness::new().agent(scripted("search")).run(workflow_with(steps(4, "search"), policies), json!({})).await;
    assert_completed!(run);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 0), ("s2", 30), ("s3", 60)]));
    let waits: Vec<_> = run.journal().iter().filter(|entry| entry.kind == "rate-limit.waited").collect();
    assert_eq!(waits.len(), 2);
    assert_eq!(
        Value::Object(waits[1].data.clone()),
        json!({ "key": "cb:@test/search", "waitedMs": 60_000, "rejected": false })
    );
}

#[tokio::test(start_paused = true)]
async fn too_long_a_wait_is_refused_and_tried_again_when_there_is_room() {
    let policies = json!({ "resilience": { "rateLimit": { "requestsPerMinute": 1, "maxWait": 0 } } });
    let run =
        Harness::new().agent(scripted("search")).run(workflow_with(steps(2, "search"), policies), json!({})).await;
    assert_completed!(run);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 60)]));
    assert_attempts!(run, "s1", 1);
    assert_events!(
        run,
        ["rate-limit.waited s1", "attempt.rejected s1", "retry.scheduled s1 1", "attempt.started s1 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead_bounds_what_runs_and_what_waits() {
    let policies = json!({
        "onFailure": "continue",
        "resilience": { "retry": { "maxAttempts": 1 }, "bulkhead": { "maxConcurrent": 2, "maxQueue": 1 } }
    });
    let agent = scripted("render").delays(Duration::from_secs(10));
    let run = Harness::new().agent(agent).run(workflow_with(steps(4, "render"), policies), json!({})).await;
    assert_failed!(run, ErrorKind::RateLimited);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 0), ("s2", 10)]));
    let refused = run.journal().iter().find(|entry| entry.kind == "attempt.rejected").expect("one too many");
    assert_eq!((refused.elapsed_ms, refused.data["final"].as_bool()), (0, Some(true)));
    assert_eq!(run.outcome().error().map(|error| error.attempts), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_bulkhead_is_waited_for_no_longer_than_its_timeout() {
    let policies = json!({
        "onFailure": "continue",
        "resilience": { "retry": { "maxAttempts": 1 }, "bulkhead": { "maxConcurrent": 1, "queueTimeout": "4s" } }
    });
    let agent = scripted("render").delays(Duration::from_secs(10));
    let run = Harness::new().agent(agent).run(workflow_with(steps(2, "render"), policies), json!({})).await;
    assert_failed!(run, ErrorKind::RateLimited);
    let wait = run.journal().iter().find(|entry| entry.kind == "bulkhead.waited").expect("waited");
    assert_eq!((wait.elapsed_ms, &wait.data["waitedMs"], &wait.data["rejected"]), (4000, &json!(4000), &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_permit_holds_no_slot() {
    let mut document = workflow(json!([
        step("s0", "search", &[]),
        step("s1", "search", &[]),
        step("s2", "search", &[]),
        step("other", "other", &["s0"])
    ]));
    for index in 0..3 {
        document["steps"][index]["policies"] = two_per_minute();
    }
    let run = Harness::new()
        .engine_with(|engine| engine.max_concurrent_steps(1))
        .agent(scripted("search").delays(Duration::from_secs(1)))
        .agent(scripted("other").delays(Duration::from_secs(5)))
        .run(document, json!({}))
        .await;
    assert_completed!(run);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 1), ("other", 2), ("s2", 30)]));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_cross_the_deadline_fails_at_once() {
    let mut document = workflow(steps(3, "search"));
    document["policies"] = json!({ "resilience": two_per_minute() });
    document["steps"][2]["policies"] = json!({ "deadline": "20s" });
    let run = Harness::new().agent(scripted("search")).run(document, json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
    let body = run.outcome().to_body();
    assert_eq!(body.duration, Some(0));
    assert_events!(run, ["rate-limit.waited s2", "attempt.rejected s2", "step.failed s2"]);
    assert_eq!(run.outcome().error().map(|error| error.attempts), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_by_the_circuit_gives_the_permit_back() {
    let policies = json!({
        "onFailure": "continue",
        "resilience": {
            "retry": { "maxAttempts": 1 },
            "circuitBreaker": { "failureThreshold": 1 },
            "rateLimit": { "requestsPerMinute": 5 },
        }
    });
    let harness = Harness::new()
        .engine_with(|engine| engine.max_concurrent_steps(1))
        .agent(scripted("down").delays(Duration::from_millis(1)).fails(ErrorKind::Network));
    let engine = harness.engine();
    let workflow = ValidWorkflow::from_value(&workflow_with(steps(3, "down"), policies)).expect("valid");
    let run = Run::of(&engine.start(&workflow, json!({})).await.expect("started")).await;
    assert_failed!(run, ErrorKind::Network);
    assert_eq!(starts(&run), at(&[("s0", 0)]));
    let left = engine.rate_limits().into_iter().map(|(key, state)| (key.to_string(), state.requests));
    assert_eq!(left.collect::<Vec<_>>(), [("cb:@test/down".to_owned(), Some(4))]);
    let counted: Vec<_> =
        engine.call_counts().into_iter().map(|(_, counts)| (counts.failures, counts.rejections)).collect();
    assert_eq!(counted, [(3, 2)], "two calls were rejected");
}

#[tokio::test(start_paused = true)]
async fn limits_are_shared_by_key_and_the_key_is_that_of_the_circuit_unless_given() {
    let one = |id: &str, agent: &str, target: &str, key: Option<&str>| {
        let mut step = step(id, agent, &[]);
        step["input"] = json!({ "target": target });
        step["policies"] = json!({
            "circuitBreaker": { "enabled": false },
            "bulkhead": { "maxConcurrent": 1, "key": key.unwrap_or("") }
        });
        if key.is_none() {
            step["policies"]["bulkhead"].as_object_mut().expect("an object").remove("key");
        }
        step
    };
    let run = Harness::new()
        .agent(scripted("a").delays(Duration::from_secs(1)))
        .agent(scripted("b").delays(Duration::from_secs(1)))
        .run(
            workflow(json!([
                one("first", "a", "east", None),
                one("same", "a", "east", None),
                one("elsewhere", "a", "west", None),
                one("other", "b", "east", None),
                one("shared", "a", "north", Some("pool")),
                one("pooled", "b", "south", Some("pool")),
            ])),
            json!({}),
        )
        .await;
    assert_completed!(run);
    assert_eq!(
        starts(&run),
        at(&[("first", 0), ("elsewhere", 0), ("other", 0), ("shared", 0), ("same", 1), ("pooled", 1)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_leaves_the_queue() {
    let engine = Harness::new().agent(scripted("render").delays(Duration::from_secs(10))).engine();
    let policies = json!({ "resilience": { "bulkhead": { "maxConcurrent": 1 } } });
    let workflow = ValidWorkflow::from_value(&workflow_with(steps(1, "render"), policies)).expect("valid");
    let first = engine.start(&workflow, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = engine.start(&workflow, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let third = engine.start(&workflow, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.cancel(Cancellation::new("no longer wanted")).await.expect("cancelled");
    let (first, second, third) = (Run::of(&first).await, Run::of(&second).await, Run::of(&third).await);
    assert_eq!(second.outcome().to_body().duration, Some(2000));
    assert_completed!(first);
    assert_completed!(third);
    assert_eq!(third.outcome().to_body().duration, Some(18_000), "at its turn, right after the first");
    let idle: Vec<_> = engine.bulkheads().into_iter().map(|(_, state)| (state.running, state.waiting)).collect();
    assert_eq!(idle, [(0, 0)]);
}

/// Steps that use tokens, of which there are 6000 per minute.
fn spending(inputs: &[Value]) -> Value {
    let step_of = |(index, input): (usize, &Value)| {
        let mut step = step(&format!("s{index}"), "spender", &[]);
        step["input"] = input.clone();
        step["policies"] = json!({
            "rateLimit": { "tokensPerMinute": 6000, "maxWait": "2m", "key": "model" },
            "retry": { "maxAttempts": 1 }
        });
        step
    };
    let steps = inputs.iter().enumerate().map(step_of).collect();
    workflow_with(steps, json!({ "onFailure": "continue" }))
}

#[tokio::test(start_paused = true)]
async fn tokens_are_waited_for_by_their_estimate_and_corrected_by_what_is_reported() {
    let run =
        Harness::new().agent(Spender).run(spending(&vec![json!({ "most": 4000, "uses": 4000 }); 2]), json!({})).await;
    assert_completed!(run);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 20)]));

    let run =
        Harness::new().agent(Spender).run(spending(&vec![json!({ "most": 4000, "uses": 1000 }); 2]), json!({})).await;
    assert_completed!(run);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 0)]));

    // Both may begin, but the first one uses more than there is, and leaves a debt.
    let greedy = json!({ "most": 1000, "uses": 9000, "ms": 1000 });
    let later = json!({ "most": 6000, "uses": 6000 });
    let run = Harness::new().agent(Spender).run(spending(&[greedy, later]), json!({})).await;
    assert_completed!(run);
    assert_eq!(starts(&run), at(&[("s0", 0), ("s1", 90)]));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_however_an_attempt_ends() {
    let left = async |input: Value| {
        let harness = Harness::new().agent(Spender);
        let engine = harness.engine();
        let mut document = spending(&[input]);
        document["steps"][0]["policies"]["timeout"] = json!("2s");
        let workflow = ValidWorkflow::from_value(&document).expect("valid");
        let _ = Run::of(&engine.start(&workflow, json!({})).await.expect("started")).await;
        let (_, state) = engine.rate_limits().pop().expect("one is in use");
        (state.requests, state.weight)
    };
    assert_eq!(left(json!({ "most": 4000, "uses": 1000, "fails": 1 })).await, (None, Some(5000)), "failed");
    assert_eq!(
        left(json!({ "most": 4000, "uses": 1000, "ms": 9000 })).await,
        (None, Some(2200)),
        "gave no answer in time"
    );
    assert_eq!(
        left(json!({ "most": 100, "uses": 4200, "ms": 9000 })).await,
        (None, Some(4000)),
        "and used more before"
    );
    assert_eq!(left(json!({ "most": 4000 })).await, (None, Some(6000)), "used nothing, and said so");
}

#[tokio::test(start_paused = true)]
async fn an_estimate_that_never_fits_or_not_in_time_fails_at_once() {
    let mut document =
        spending(&[json!({ "most": 6000, "uses": 6000 }), json!({ "most": 3000 }), json!({ "most": 7000 })]);
    document["steps"][1]["policies"]["deadline"] = json!("20s");
    let run = Harness::new().agent(Spender).run(document, json!({})).await;
    assert_eq!(starts(&run), at(&[("s0", 0)]));
    let body = run.outcome().to_body();
    let ends: Vec<_> =
        body.steps.iter().filter_map(|step| step.error.as_ref()).map(|error| (error.code, error.attempts)).collect();
    assert_eq!(ends, [(ErrorKind::Timeout, 0), (ErrorKind::Validation, 0)]);
    assert_eq!(body.duration, Some(0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_tokens_holds_no_slot_and_leaves_when_cancelled() {
    let mut document = spending(&[json!({ "most": 6000, "uses": 6000 }), json!({ "most": 6000, "uses": 6000 })]);
    document["steps"].as_array_mut().expect("a list").push(step("other", "other", &["s0"]));
    let engine = Harness::new()
        .engine_with(|engine| engine.max_concurrent_steps(1))
        .agent(Spender)
        .agent(scripted("other").delays(Duration::from_secs(5)))
        .engine();
    let workflow = ValidWorkflow::from_value(&document).expect("valid");
    let execution = engine.start(&workflow, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_secs(6)).await;
    execution.cancel(Cancellation::new("no longer wanted")).await.expect("cancelled");
    let run = Run::of(&execution).await;
    assert_eq!(run.outcome().to_body().duration, Some(6000));
    let (_, state) = engine.rate_limits().pop().expect("one is in use");
    assert_eq!((state.waiting, state.weight), (0, Some(600)), "what six seconds have refilled");
    assert_events!(run, ["step.completed other"]);
}
