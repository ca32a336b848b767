//! Executions that are paused, stand still, and go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use orchestr8_core::{Cancellation, ExecutionHandle, MemoryStore, RequestError};
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    api::ExecutionStatus,
    event::{ApprovalAnswer, ApprovalDecision, Signal},
};
use orchestr8_testing::{
    FaultStore, Harness, Interference, Run, assert_completed, assert_events, assert_failed, scripted,
};
use serde_json::json;

use crate::{step, workflow, workflow_with};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

async fn status(handle: &ExecutionHandle) -> ExecutionStatus {
    handle.snapshot().await.expect("readable").status()
}

/// Pauses after a second for an hour.
async fn rest(handle: &ExecutionHandle) {
    tokio::time::sleep(SECOND).await;
    handle.pause(Some("lunch")).await.expect("accepted");
    tokio::time::sleep(HOUR).await;
    assert_eq!(status(handle).await, ExecutionStatus::Paused);
    handle.resume(None).await.expect("accepted");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_in_progress_ends_and_what_depends_on_it_waits() {
    let slow = scripted("slow").delays(2 * SECOND);
    let records = slow.records();
    let handle = Harness::new()
        .agent(slow)
        .start(workflow(json!([step("a", "slow", &[]), step("b", "slow", &["a"])])), json!({}))
        .await;
    rest(&handle).await;
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_events!(
        run,
        [
            "execution.paused",
            "step.completed a",
            "execution.resumed",
            "step.scheduled b",
            "step.completed b",
            "execution.completed"
        ]
    );
    assert_eq!(run.outcome().to_body().duration, Some(3_603_000));
    assert_eq!(records.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_falls_due_is_made_when_it_goes_on() {
    let flaky = scripted("flaky").fails_times(1, ErrorKind::Network);
    let retry = json!({ "resilience": { "retry": { "baseDelayMs": 5000, "jitter": false } } });
    let handle =
        Harness::new().agent(flaky).start(workflow_with(json!([step("a", "flaky", &[])]), retry), json!({})).await;
    rest(&handle).await;
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_events!(
        run,
        ["retry.scheduled a 2", "execution.paused", "execution.resumed", "attempt.started a 2", "step.completed a"]
    );
    assert_eq!(run.outcome().to_body().duration, Some(3_601_000), "its time had come long since");
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_pause_is_tried_again_after_it() {
    let flaky = scripted("flaky").delays(2 * SECOND).fails_times(1, ErrorKind::Network);
    let handle = Harness::new().agent(flaky).start(workflow(json!([step("a", "flaky", &[])])), json!({})).await;
    rest(&handle).await;
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_events!(
        run,
        ["execution.paused", "attempt.finished a 1", "retry.scheduled a 2", "execution.resumed", "attempt.started a 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn deadlines_stand_still() {
    let limits = json!({ "timeout": { "global": 10_000, "perStep": 60_000 } });
    let slow = || scripted("slow").delays(4 * SECOND);
    let mut second = step("b", "slow", &["a"]);
    second["policies"] = json!({ "deadline": 6000 });
    let steps = json!([step("a", "slow", &[]), second]);
    let handle = Harness::new().agent(slow()).start(workflow_with(steps, limits.clone()), json!({})).await;
    rest(&handle).await;
    assert_completed!(Run::of(&handle).await);

    // The execution's own limit is reached after its ten seconds, those of the pause not counted.
    let steps: Vec<_> =
        (0..9).map(|index| json!({ "id": format!("w{index}"), "wait": { "duration": "4s" } })).collect();
    let mut chain = vec![step("a", "slow", &[])];
    for (index, mut wait) in steps.into_iter().enumerate() {
        wait["dependencies"] = json!([chain[index]["id"]]);
        chain.push(wait);
    }
    let handle = Harness::new().agent(slow()).start(workflow_with(json!(chain), limits), json!({})).await;
    rest(&handle).await;
    let late = Run::of(&handle).await;
    assert_failed!(late, ErrorKind::Timeout);
    assert_eq!(late.outcome().to_body().duration, Some(3_610_000));
}

#[tokio::test(start_paused = true)]
async fn waits_go_on_and_what_they_give_is_kept() {
    let steps = json!([
        { "id": "timer", "wait": { "duration": "5s" } },
        { "id": "sign", "approval": { "prompt": "Shall it?" } },
        { "id": "late", "wait": { "signal": "never", "timeout": "5s" }, "onError": "continue" },
        { "id": "signal", "wait": { "signal": "go" } },
        step("after", "echo", &["timer", "sign", "signal"])
    ]);
    let handle = Harness::new().agent(scripted("echo")).start(workflow(steps), json!({})).await;
    tokio::time::sleep(SECOND).await;
    handle.pause(None).await.expect("accepted");
    handle.pause(None).await.expect("it is paused, so there is nothing to do");
    let answer = ApprovalAnswer { decision: ApprovalDecision::Approve, answer: json!(null), comment: None, by: None };
    handle.answer("sign", answer).await.expect("taken");
    let signal = Signal { name: "go".into(), payload: json!(1), signal_id: None, step_path: None };
    handle.signal(signal).await.expect("kept");
    tokio::time::sleep(HOUR).await;
    handle.resume(None).await.expect("accepted");
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_events!(
        run,
        [
            "execution.paused",
            "approval.answered sign",
            "step.completed sign",
            "signal.received",
            "step.completed timer",
            "step.failed late",
            "execution.resumed",
            "signal.delivered signal",
            "step.completed signal",
            "step.scheduled after"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn it_holds_no_slot_and_no_place() {
    let slow = scripted("slow").delays(2 * SECOND);
    let engine = Harness::new()
        .agent(slow)
        .engine_with(|engine| engine.max_concurrent_steps(1).max_active_executions(2))
        .engine();
    let two = ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[]), step("b", "slow", &[])])));
    let two = two.expect("valid");
    let first = engine.start(&two, json!({})).await.expect("started");
    tokio::time::sleep(SECOND).await;
    first.pause(None).await.expect("accepted");
    // `b` waited for the slot that `a` has; another execution gets it.
    let other = engine.start(&two, json!({})).await.expect("started");
    assert_completed!(Run::of(&other).await);
    assert_eq!(status(&first).await, ExecutionStatus::Paused);
    first.resume(None).await.expect("accepted");
    assert_completed!(Run::of(&first).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_turn_goes_back_to_waiting() {
    let engine = Harness::new()
        .agent(scripted("slow").delays(20 * SECOND))
        .engine_with(|engine| engine.max_active_executions(1))
        .engine();
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid");
    let first = engine.start(&workflow, json!({})).await.expect("started");
    let second = engine.start(&workflow, json!({})).await.expect("queued");
    let third = engine.start(&workflow, json!({})).await.expect("queued");
    tokio::time::sleep(SECOND).await;
    second.pause(None).await.expect("accepted");
    assert_completed!(Run::of(&first).await);
    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&second).await, ExecutionStatus::Paused, "its turn has come and gone");
    assert_eq!(status(&third).await, ExecutionStatus::Running);
    second.resume(None).await.expect("accepted");
    assert_eq!(status(&second).await, ExecutionStatus::Queued);
    let run = Run::of(&second).await;
    assert_completed!(run);
    assert_events!(run, ["execution.queued", "execution.paused", "execution.resumed", "execution.started"]);
}

#[tokio::test(start_paused = true)]
async fn what_only_waits_leaves_its_place_to_others_and_goes_on_at_once_when_it_wakes() {
    let engine = Harness::new()
        .agent(scripted("slow").delays(20 * SECOND))
        .engine_with(|engine| engine.max_active_executions(1))
        .engine();
    let start = async |steps| {
        let workflow = ValidWorkflow::from_value(&workflow(steps)).expect("valid");
        engine.start(&workflow, json!({})).await.expect("started")
    };
    let waits = start(json!([{ "id": "nap", "wait": { "duration": "10s" } }, step("a", "slow", &["nap"])])).await;
    let works = start(json!([step("a", "slow", &[])])).await;
    let queued = start(json!([step("a", "slow", &[])])).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&works).await, ExecutionStatus::Running, "the one before only waits");
    assert_eq!(status(&queued).await, ExecutionStatus::Queued);
    tokio::time::sleep(20 * SECOND).await;
    // One has ended, but two have been active, and one of them still is.
    assert_eq!(status(&works).await, ExecutionStatus::Completed);
    assert_eq!(status(&waits).await, ExecutionStatus::Running);
    assert_eq!(status(&queued).await, ExecutionStatus::Queued);
    let run = Run::of(&waits).await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(30_000), "it goes on at once");
    assert_completed!(Run::of(&queued).await);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_slot_keeps_its_place() {
    let engine = Harness::new()
        .agent(scripted("slow").delays(20 * SECOND))
        .engine_with(|engine| engine.max_concurrent_steps(1).max_active_executions(2))
        .engine();
    let one = ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid");
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(engine.start(&one, json!({})).await.expect("started"));
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(status(&handles[1]).await, ExecutionStatus::Running);
    assert_eq!(status(&handles[2]).await, ExecutionStatus::Queued);
    for handle in &handles {
        assert_completed!(Run::of(handle).await);
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_be_cancelled() {
    let slow = scripted("slow").delays(20 * SECOND);
    let records = slow.records();
    let steps = json!([step("a", "slow", &[]), step("b", "slow", &[]), step("c", "slow", &["a"])]);
    let handle = Harness::new()
        .agent(slow)
        .engine_with(|engine| engine.max_concurrent_steps(1))
        .start(workflow(steps), json!({}))
        .await;
    tokio::time::sleep(SECOND).await;
    handle.pause(None).await.expect("accepted");
    tokio::time::sleep(SECOND).await;
    handle.cancel(Cancellation::new("enough")).await.expect("accepted");
    let refused = handle.pause(None).await;
    let run = Run::of(&handle).await;
    assert!(matches!(refused, Err(RequestError::Refused(_) | RequestError::Ended)), "{refused:?}");
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.outcome().to_body().duration, Some(2000));
    assert_eq!(records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_no_length_loses_nothing() {
    let flaky = scripted("flaky").delays(2 * SECOND).fails_times(2, ErrorKind::Network);
    let steps: Vec<_> = (0..5).map(|index| step(&format!("s{index}"), "flaky", &[])).collect();
    let handle = Harness::new()
        .agent(flaky)
        .engine_with(|engine| engine.max_concurrent_steps(2))
        .start(
            workflow_with(json!(steps), json!({ "resilience": { "circuitBreaker": { "enabled": false } } })),
            json!({}),
        )
        .await;
    assert!(matches!(handle.resume(None).await, Err(RequestError::Refused(_))), "it is not paused");
    for _ in 0..20 {
        let (paused, resumed) = tokio::join!(handle.pause(None), handle.resume(None));
        paused.expect("accepted");
        resumed.expect("accepted");
        tokio::time::sleep(SECOND / 4).await;
    }
    assert_completed!(Run::of(&handle).await);
    assert!(matches!(handle.pause(None).await, Err(RequestError::Ended)));
}

/// Counts the leases that are held, in a store that outlives its process.
#[derive(Debug, Default)]
struct Leases(AtomicI64);

impl Interference for Leases {
    fn on_write(&self, _: u64) -> Option<orchestr8_testing::StoreFault> {
        None
    }

    fn outlives_process(&self) -> bool {
        true
    }

    fn claimed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn released(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_turn_is_anybodys_after_a_shutdown() {
    let leases = Arc::new(Leases::default());
    let heard = Arc::clone(&leases);
    let engine = Harness::new()
        .agent(scripted("slow").delays(20 * SECOND))
        .engine_with(move |engine| {
            let store = FaultStore::new(MemoryStore::new(), Arc::clone(&heard) as _);
            engine.max_active_executions(1).store(store)
        })
        .engine();
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid");
    for _ in 0..2 {
        engine.start(&workflow, json!({})).await.expect("stored");
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(leases.0.load(Ordering::SeqCst), 2);
    assert!(!engine.shutdown(Duration::ZERO).await);
    assert_eq!(leases.0.load(Ordering::SeqCst), 0);
}
