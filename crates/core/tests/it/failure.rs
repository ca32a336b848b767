//! Retry, timeout, circuit breaker, panics, and what a failure means for the rest.

use std::time::Duration;

use orchestr8_schema::{ErrorKind, ValidWorkflow};
use orchestr8_testing::{Harness, Run, assert_attempts, assert_completed, assert_events, assert_failed, scripted};
use serde_json::json;

use crate::{step, workflow, workflow_with};

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_twice_is_tried_again_with_growing_delays() {
    let agent = scripted("flaky").fails_times(2, ErrorKind::Network).returns(json!({ "ok": true }));
    let policies = json!({ "resilience": { "retry": { "baseDelayMs": 1000, "jitter": false } } });
    let run =
        Harness::new().agent(agent).run(workflow_with(json!([step("a", "flaky", &[])]), policies), json!({})).await;
    assert_completed!(run);
    assert_attempts!(run, "a", 3);
    assert_events!(
        run,
        [
            "attempt.started a 1",
            "step.started a",
            "attempt.finished a 1",
            "retry.scheduled a 2",
            "attempt.started a 2",
            "attempt.finished a 2",
            "retry.scheduled a 3",
            "attempt.started a 3",
            "attempt.finished a 3",
            "step.completed a",
        ]
    );
    let delays: Vec<_> = run.journal().iter().filter_map(|entry| entry.data.get("delayMs")).collect();
    assert_eq!(delays, [&json!(1000), &json!(2000)]);
    assert_eq!(run.outcome().to_body().duration, Some(3000));
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_half_and_one_and_a_half() {
    let agent = scripted("flaky").fails_times(1, ErrorKind::Network);
    let run = Harness::new().agent(agent).run(workflow(json!([step("a", "flaky", &[])])), json!({})).await;
    let delay = run.journal().iter().find_map(|entry| entry.data.get("delayMs")).and_then(serde_json::Value::as_u64);
    assert!(delay.is_some_and(|delay| (500..=1500).contains(&delay) && delay != 1000), "{delay:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_obeyed() {
    let agent = scripted("busy").rate_limited(Duration::from_secs(40));
    let run = Harness::new().agent(agent).run(workflow(json!([step("a", "busy", &[])])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(40_000));
}

#[tokio::test(start_paused = true)]
async fn failures_of_other_kinds_are_not_tried_again() {
    for kind in [ErrorKind::Validation, ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Internal] {
        let agent = scripted("any").fails(kind);
        let run = Harness::new().agent(agent).run(workflow(json!([step("a", "any", &[])])), json!({})).await;
        assert_failed!(run, kind);
        assert_attempts!(run, "a", 1);
    }
}

#[tokio::test(start_paused = true)]
async fn on_error_retry_tries_defects_again() {
    let mut document = workflow(json!([step("a", "any", &[])]));
    document["steps"][0]["onError"] = json!("retry");
    let agent = scripted("any").fails_times(1, ErrorKind::Internal);
    let run = Harness::new().agent(agent).run(document, json!({})).await;
    assert_completed!(run);
    assert_attempts!(run, "a", 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_given_up_and_tried_again() {
    let policies = json!({ "timeout": { "perStep": "30s" }, "resilience": { "retry": { "jitter": false } } });
    let agent = scripted("never").never_ends().ignores_cancel();
    let run =
        Harness::new().agent(agent).run(workflow_with(json!([step("a", "never", &[])]), policies), json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
    assert_attempts!(run, "a", 3);
    assert_eq!(run.outcome().to_body().duration, Some(93_000));
    assert!(run.outcome().error().is_some_and(|error| error.retry_exhausted));
    assert_events!(run, ["timeout.exceeded a 1", "attempt.finished a 1", "retry.scheduled a 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_step_ends_attempts_and_delays_alike() {
    let mut document = workflow(json!([step("a", "never", &[])]));
    document["steps"][0]["policies"] = json!({ "deadline": "5s" });
    let agent = scripted("never").never_ends().ignores_cancel();
    let run = Harness::new().agent(agent).run(document.clone(), json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
    assert_eq!(run.outcome().to_body().duration, Some(5000));

    document["steps"][0]["policies"]["retry"] = json!({ "baseDelayMs": 60_000, "maxDelayMs": 60_000 });
    let run = Harness::new().agent(scripted("never").fails(ErrorKind::Network)).run(document, json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
    assert_eq!(run.outcome().to_body().duration, Some(0), "a delay that would cross the deadline is not waited for");
    let cause = run.outcome().error().and_then(|error| error.cause.clone()).map(|cause| cause.code);
    assert_eq!(cause, Some(ErrorKind::Network));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_execution_fails_it() {
    let agent = scripted("slow").delays(Duration::from_secs(3600));
    let policies = json!({ "timeout": { "global": "10s", "perStep": "2h" } });
    let run =
        Harness::new().agent(agent).run(workflow_with(json!([step("a", "slow", &[])]), policies), json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
    assert_eq!(run.outcome().to_body().duration, Some(10_000), "the agent reacts to its token at once");
    assert_events!(
        run,
        ["timeout.exceeded", "timer.fired", "execution.failing", "step.cancelled a", "execution.failed"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_rejects_without_a_call() {
    let agent = scripted("down").fails(ErrorKind::Network);
    let records = agent.records();
    let policies = json!({
        "onFailure": "continue",
        "resilience": { "retry": { "maxAttempts": 5 }, "circuitBreaker": { "failureThreshold": 2 } }
    });
    let run = Harness::new()
        .agent(agent)
        .run(workflow_with(json!([step("a", "down", &[]), step("b", "down", &[])]), policies), json!({}))
        .await;
    assert_failed!(run, ErrorKind::CircuitOpen);
    assert_eq!(records.len(), 2, "one call of each step, and then the circuit is open");
    assert_events!(run, ["circuit.opened", "attempt.rejected"]);
    assert_eq!(run.outcome().error().map(|error| error.attempts), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_rejects_without_waiting_for_a_slot() {
    let mut steps = json!([
        step("a", "down", &[]),
        step("quick", "echo", &[]),
        step("slow", "slow", &[]),
        step("b", "down", &["quick"])
    ]);
    for index in [0, 3] {
        steps[index]["onError"] = json!("continue");
        steps[index]["policies"] =
            json!({ "retry": { "maxAttempts": 1 }, "circuitBreaker": { "failureThreshold": 1 } });
    }
    let run = Harness::new()
        .engine_with(|engine| engine.max_concurrent_steps(1))
        .agent(scripted("down").fails(ErrorKind::Network))
        .agent(scripted("echo"))
        .agent(scripted("slow").delays(Duration::from_secs(20)))
        .run(workflow(steps), json!({}))
        .await;
    let rejected = run.journal().iter().find(|entry| entry.kind == "attempt.rejected").expect("rejected");
    assert_eq!(rejected.elapsed_ms, 0);
}

#[tokio::test(start_paused = true)]
async fn all_fatal_failures_are_reported() {
    let steps = json!([step("a", "down", &[]), step("b", "down", &[])]);
    let policies = json!({ "onFailure": "continue" });
    let down = scripted("down").fails(ErrorKind::NotFound);
    let run = Harness::new().agent(down).run(workflow_with(steps, policies), json!({})).await;
    let errors = run.outcome().to_body().errors;
    let paths: Vec<_> = errors.iter().map(|error| error.step_path.as_ref().map(ToString::to_string)).collect();
    assert_eq!(paths, [Some("a".to_owned()), Some("b".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn circuits_are_shared_by_executions_and_closed_by_a_probe() {
    let engine = Harness::new().agent(scripted("down").fails_times(1, ErrorKind::Network)).engine();
    let policies = json!({
        "resilience": { "retry": { "maxAttempts": 1 }, "circuitBreaker": { "failureThreshold": 1, "resetTimeoutMs": 60_000 } }
    });
    let one = ValidWorkflow::from_value(&workflow_with(json!([step("a", "down", &[])]), policies)).expect("valid");
    let run = || async { Run::of(&engine.start(&one, json!({})).await.expect("started")).await };
    assert_failed!(run().await, ErrorKind::Network);
    assert_failed!(run().await, ErrorKind::CircuitOpen);
    tokio::time::advance(Duration::from_secs(60)).await;
    let probe = run().await;
    assert_failed!(probe, ErrorKind::Network);
    assert_events!(probe, ["circuit.half-opened a", "circuit.opened a"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_internal_failure_and_the_engine_goes_on() {
    let engine = Harness::new().agent(scripted("broken").panics()).agent(scripted("echo")).engine();
    let broken = ValidWorkflow::from_value(&workflow(json!([step("a", "broken", &[])]))).expect("valid");
    let run = Run::of(&engine.start(&broken, json!({})).await.expect("started")).await;
    assert_failed!(run, ErrorKind::Internal);
    assert!(run.outcome().error().is_some_and(|error| error.message.contains("told to panic")));
    let fine = ValidWorkflow::from_value(&workflow(json!([step("a", "echo", &[])]))).expect("valid");
    assert_completed!(Run::of(&engine.start(&fine, json!({})).await.expect("started")).await);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_of_its_own_is_the_same() {
    let agent = scripted("broken").panics().manifest(orchestr8_agent_base::AgentManifest::dedicated_task);
    let run = Harness::new().agent(agent).run(workflow(json!([step("a", "broken", &[])])), json!({})).await;
    assert_failed!(run, ErrorKind::Internal);
    assert!(run.outcome().error().is_some_and(|error| error.message.contains("told to panic")));
}

#[tokio::test(start_paused = true)]
async fn output_that_breaks_a_schema_is_a_failure() {
    let mut document = workflow(json!([step("a", "wrong", &[])]));
    document["steps"][0]["output"] = json!({ "schema": { "type": "object", "required": ["status"] } });
    let run = Harness::new().agent(scripted("wrong").returns(json!({}))).run(document, json!({})).await;
    assert_failed!(run, ErrorKind::Validation);
}

#[tokio::test(start_paused = true)]
async fn on_error_continue_skips_dependents_and_completes() {
    let mut document = workflow(json!([step("a", "down", &[]), step("b", "echo", &["a"]), step("c", "echo", &[])]));
    document["steps"][0]["onError"] = json!("continue");
    let run = Harness::new()
        .agent(scripted("down").fails(ErrorKind::NotFound))
        .agent(scripted("echo"))
        .run(document, json!({}))
        .await;
    assert_completed!(run);
    assert_events!(run, ["step.failed a", "step.skipped b", "execution.completed"]);
    assert_eq!(run.outcome().outputs(), Some(json!({ "c": {} })));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_cancels_what_runs_and_skips_what_waits() {
    let agents = || {
        Harness::new()
            .agent(scripted("down").delays(Duration::from_secs(1)).fails(ErrorKind::NotFound))
            .agent(scripted("slow").delays(Duration::from_secs(20)))
    };
    let steps =
        json!([step("a", "down", &[]), step("b", "slow", &[]), step("c", "slow", &["b"]), step("d", "slow", &["a"])]);
    let run = agents().run(workflow(steps.clone()), json!({})).await;
    assert_failed!(run, ErrorKind::NotFound);
    assert_events!(
        run,
        ["step.failed a", "execution.failing", "step.skipped c", "step.cancelled b", "execution.failed"]
    );
    let body = run.outcome().to_body();
    assert_eq!(body.duration, Some(1000));
    assert_eq!(body.steps[3].skip_reason.as_deref(), Some("workflow-failed"));

    let run = agents().run(workflow_with(steps, json!({ "onFailure": "continue" })), json!({})).await;
    assert_failed!(run, ErrorKind::NotFound);
    assert_events!(
        run,
        ["step.failed a", "step.skipped d", "step.completed b", "step.completed c", "execution.failing"]
    );
}
