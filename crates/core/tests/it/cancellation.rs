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

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_cancelled_executions() {
    let retry = json!({ "resilience": { "retry": { "baseDelayMs": 5000 }, "circuitBreaker": { "enabled": false } } });
    let mut undoable = step("undoable", "slow", &[]);
    undoable["compensate"] = json!({ "agent": { "id": "@test/slow" } });
    let mut steps = vec![
        undoable,
        step("retried", "down", &[]),
        json!({ "id": "timer", "wait": { "duration": "1h" } }),
        json!({ "id": "signal", "wait": { "signal": "go", "timeout": "1h" } }),
        json!({ "id": "sign", "approval": { "prompt": "Shall it?", "timeout": "1h" } }),
        step("deaf", "deaf", &[]),
    ];
    steps.extend((0..8).map(|index| step(&format!("s{index}"), "slow", &[])));
    let valid = |document| orchestr8_schema::ValidWorkflow::from_value(&document).expect("valid");
    let busy = valid(workflow_with(json!(steps), retry));
    let group: Vec<_> = (0..4).map(|index| step(&format!("g{index}"), "slow", &[])).collect();
    let group = valid(workflow(json!(group)));
    let slow = Duration::from_secs(2);
    let engine = Harness::new()
        .agent(scripted("slow").delays(slow))
        .agent(scripted("down").fails(orchestr8_schema::ErrorKind::Network))
        .agent(scripted("deaf").never_ends().ignores_cancel())
        .engine_with(|engine| engine.max_concurrent_steps(4))
        .engine();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for millis in [0, 1, 1500, 2000, 2500, 4000, 7000] {
        for grace in [Duration::ZERO, Duration::from_secs(3)] {
            let handle = engine.start(&busy, json!({})).await.expect("started");
            let mut events = handle.events().expect("few listen");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            if millis % 1000 == 500 {
                handle.pause(None).await.expect("accepted");
            }
            handle.cancel(Cancellation::new("enough").grace_period(grace)).await.expect("accepted");
            let run = Run::of(&handle).await;
            assert_eq!(run.status(), ExecutionStatus::Cancelled);
            while events.next().await.expect("readable").is_some() {}
        }
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), before, "a task, and with it its timers, is left");
    let subscriptions: Vec<_> = (0..100).map_while(|_| engine.bus().subscribe(None).ok()).collect();
    assert_eq!(subscriptions.len(), 100, "somebody still listens");
    // With one slot less the four would take two turns.
    let run = Run::of(&engine.start(&group, json!({})).await.expect("started")).await;
    assert_eq!(run.outcome().to_body().duration, Some(2000));
    assert!(engine.shutdown(Duration::ZERO).await);
}
