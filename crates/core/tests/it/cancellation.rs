//! The end of an execution on request.

use std::time::Duration;

use orchestr8_core::{Cancellation, ExecutionHandle};
use orchestr8_schema::api::ExecutionStatus;
use orchestr8_testing::{Harness, Run, assert_events, scripted};
use serde_json::json;

use crate::{step, workflow, workflow_with};

async fn cancel_after(handle: &ExecutionHandle, delay: Duration, cancellation: Cancellation) -> Run {
    tokio::time::sleep(delay).await;
    handle.cancel(cancellation).await.expect("accepted");
    Run::of(handle).await
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reacts_is_cancelled_at_once() {
    let handle = Harness::new()
        .agent(scripted("slow").delays(Duration::from_secs(20)))
        .start(workflow(json!([step("a", "slow", &[]), step("b", "slow", &["a"])])), json!({}))
        .await;
    let run = cancel_after(&handle, Duration::from_secs(1), Cancellation::new("enough")).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.outcome().to_body().duration, Some(1000));
    assert_events!(run, ["execution.cancelling", "step.cancelled b", "step.cancelled a", "execution.cancelled"]);
    let last = run.journal().last().expect("not empty");
    assert_eq!((&last.data["reason"], &last.data["graceful"]), (&json!("enough"), &json!(true)));
    assert!(handle.cancel(Cancellation::new("again")).await.is_err(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_react_is_dropped_when_the_grace_is_over() {
    let handle = Harness::new()
        .agent(scripted("deaf").never_ends().ignores_cancel())
        .start(workflow(json!([step("a", "deaf", &[])])), json!({}))
        .await;
    let cancellation = Cancellation::new("enough").grace_period(Duration::from_secs(3));
    let run = cancel_after(&handle, Duration::from_secs(1), cancellation).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.outcome().to_body().duration, Some(4000));
    let cancelled = run.journal().iter().find(|entry| entry.kind == "step.cancelled").expect("cancelled");
    assert_eq!(cancelled.data["forced"], true);
    assert_eq!(run.journal().last().expect("not empty").data["graceful"], false);
}

#[tokio::test(start_paused = true)]
async fn zero_grace_drops_at_once() {
    let handle = Harness::new()
        .agent(scripted("deaf").never_ends().ignores_cancel())
        .start(workflow(json!([step("a", "deaf", &[])])), json!({}))
        .await;
    let run =
        cancel_after(&handle, Duration::from_secs(1), Cancellation::new("now").grace_period(Duration::ZERO)).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.outcome().to_body().duration, Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_second_request_may_end_the_grace_of_the_first() {
    let handle = Harness::new()
        .agent(scripted("deaf").never_ends().ignores_cancel())
        .start(workflow(json!([step("a", "deaf", &[])])), json!({}))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel(Cancellation::new("enough")).await.expect("accepted");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(handle.cancel(Cancellation::new("again")).await.is_err(), "it is cancelling already");
    let run = cancel_after(&handle, Duration::ZERO, Cancellation::new("now").grace_period(Duration::ZERO)).await;
    assert_eq!(run.outcome().to_body().duration, Some(2000));
    assert_eq!(run.journal().last().expect("not empty").data["reason"], "enough");
}

#[tokio::test(start_paused = true)]
async fn success_within_the_grace_is_a_fact() {
    let handle = Harness::new()
        .agent(scripted("careful").delays(Duration::from_secs(2)).ignores_cancel())
        .start(workflow(json!([step("a", "careful", &[]), step("b", "careful", &["a"])])), json!({}))
        .await;
    let run = cancel_after(&handle, Duration::from_secs(1), Cancellation::new("enough")).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_events!(run, ["step.cancelled b", "step.completed a", "execution.cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn without_propagation_running_attempts_end_and_nothing_starts() {
    let handle = Harness::new()
        .agent(scripted("slow").delays(Duration::from_secs(20)))
        .start(
            workflow_with(
                json!([step("a", "slow", &[]), step("b", "slow", &["a"])]),
                json!({ "cancellation": { "propagate": false } }),
            ),
            json!({}),
        )
        .await;
    let run = cancel_after(&handle, Duration::from_secs(1), Cancellation::new("enough")).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.outcome().to_body().duration, Some(20_000));
    assert_events!(run, ["step.cancelled b", "step.completed a", "execution.cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_a_delay_between_attempts() {
    let handle = Harness::new()
        .agent(scripted("down").fails(orchestr8_schema::ErrorKind::Network))
        .start(
            workflow_with(
                json!([step("a", "down", &[])]),
                json!({ "resilience": { "retry": { "baseDelayMs": 60_000, "maxDelayMs": 60_000 } } }),
            ),
            json!({}),
        )
        .await;
    let run = cancel_after(&handle, Duration::from_secs(1), Cancellation::new("enough")).await;
    assert_eq!(run.outcome().to_body().duration, Some(1000));
    assert_events!(run, ["retry.scheduled a 2", "execution.cancelling", "step.cancelled a", "execution.cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_waits_for_its_turn_is_cancelled_without_a_call() {
    let slow = scripted("slow").delays(Duration::from_secs(20));
    let records = slow.records();
    let engine = Harness::new().agent(slow).engine_with(|engine| engine.max_active_executions(1)).engine();
    let workflow =
        orchestr8_schema::ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid");
    let first = engine.start(&workflow, json!({})).await.expect("started");
    let second = engine.start(&workflow, json!({})).await.expect("queued");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(second.snapshot().await.expect("stored").status(), ExecutionStatus::Queued);
    second.cancel(Cancellation::new("enough")).await.expect("accepted");
    let run = Run::of(&second).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert!(first.outcome().await.expect("ended").is_completed());
    assert_eq!(records.len(), 1);
}
