//! What an engine counts, if it is asked to.

use std::{collections::BTreeMap, time::Duration};

use orchestr8_agent_base::{AgentManifest, agent_fn};
use orchestr8_core::{Cancellation, Engine, metrics::MAX_LABELS};
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    event::{ApprovalAnswer, ApprovalDecision, LogEntry, LogLevel},
};
use orchestr8_testing::{Harness, Run, scripted};
use serde_json::{Value, json};

use crate::{budgets::Spender, step, workflow, workflow_with};

fn valid(document: &Value) -> ValidWorkflow {
    ValidWorkflow::from_value(document).expect("valid")
}

async fn run(engine: &Engine, document: &Value) {
    let _ = Run::of(&engine.start(&valid(document), json!({})).await.expect("started")).await;
}

fn counting() -> Harness {
    Harness::new().engine_with(|engine| engine.metrics(true))
}

#[tokio::test(start_paused = true)]
async fn what_steps_and_attempts_come_to_is_counted_by_agent() {
    let engine = counting()
        .agent(Spender)
        .agent(scripted("slow").delays(Duration::from_secs(2)))
        .agent(scripted("down").fails(ErrorKind::Network))
        .engine();
    let policies = json!({
        "timeout": { "perStep": "1s" },
        "resilience": { "retry": { "baseDelayMs": 100, "jitter": false }, "circuitBreaker": { "failureThreshold": 2 } }
    });
    let mut document = workflow_with(
        json!([
            step("a", "spender", &[]),
            step("b", "slow", &[]),
            step("c", "down", &[]),
            step("d", "spender", &["c"])
        ]),
        policies,
    );
    for step in document["steps"].as_array_mut().expect("a list") {
        step["onError"] = json!("continue");
    }
    document["steps"][0]["input"] = json!({ "ms": 40 });
    document["steps"][1]["policies"] = json!({ "timeout": "1s", "retry": { "maxAttempts": 1 } });
    document["steps"][3]["condition"] = json!({ "if": "`false`" });
    run(&engine, &document).await;

    let metrics = engine.metrics().expect("it counts");
    let ends: BTreeMap<_, _> = metrics
        .callees
        .iter()
        .map(|(name, callee)| (&**name, (callee.completed, callee.failed, callee.skipped, callee.cancelled)))
        .collect();
    assert_eq!(
        ends,
        [("@test/down", (0, 1, 0, 0)), ("@test/slow", (0, 1, 0, 0)), ("@test/spender", (1, 0, 1, 0))].into()
    );
    let down = metrics.callees["@test/down"];
    assert_eq!((down.attempts.succeeded, down.attempts.failed, down.attempts.rejected, down.retries), (0, 2, 1, 2));
    let slow = metrics.callees["@test/slow"];
    assert_eq!((slow.timeouts, slow.durations.count(), slow.durations.sum), (1, 1, Duration::from_secs(1)));
    let spender = metrics.callees["@test/spender"];
    assert_eq!((spender.durations.buckets[3], spender.durations.sum), (1, Duration::from_millis(40)), "within 50 ms");
    assert_eq!(spender.queued.count(), 1, "what is skipped has waited for nothing");

    assert_eq!(metrics.circuits[&*"cb:@test/down".to_owned()], "open");
    assert_eq!(metrics.circuit_transitions, [(("closed", "open"), 1)].into());
    let (workflow, status) = metrics.executions.keys().next().expect("one has ended");
    assert_eq!((&**workflow, *status), (valid(&document).id(), "completed"));
    assert_eq!(metrics.execution_durations["completed"].sum, Duration::from_secs(1));
    assert!(metrics.appends.count() > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_progress_is_shown_as_it_is() {
    let engine = counting()
        .engine_with(|engine| engine.metrics(true).max_concurrent_steps(2).max_active_executions(1))
        .agent(scripted("slow").delays(Duration::from_secs(5)))
        .engine();
    let busy = valid(&workflow(json!([step("a", "slow", &[]), step("b", "slow", &[]), step("c", "slow", &[])])));
    let asks = valid(&workflow(json!([{ "id": "ask", "approval": { "prompt": "May I?" } }])));
    let mut handles = Vec::new();
    for workflow in [&asks, &busy, &busy] {
        handles.push(engine.start(workflow, json!({})).await.expect("started"));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let now = engine.metrics().expect("it counts");
    assert_eq!((now.active, now.queued, now.running, now.ready, now.approvals_waiting), (2, 1, 2, 1, 1));

    let answer = ApprovalAnswer { decision: ApprovalDecision::Approve, answer: json!({}), comment: None, by: None };
    handles[0].answer("ask", answer).await.expect("it waits");
    handles[2].cancel(Cancellation::new("enough")).await.expect("cancelled");
    for handle in &handles {
        let _ = handle.outcome().await;
    }
    tokio::task::yield_now().await;
    let now = engine.metrics().expect("it counts");
    assert_eq!((now.active, now.queued, now.running, now.ready, now.approvals_waiting), (0, 0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_told_to_end_is_no_failure() {
    let engine = counting().agent(scripted("slow").delays(Duration::from_secs(5))).engine();
    let handle = engine.start(&valid(&workflow(json!([step("a", "slow", &[])]))), json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel(Cancellation::new("enough")).await.expect("cancelled");
    handle.outcome().await.expect("ended");
    let attempts = engine.metrics().expect("it counts").callees["@test/slow"].attempts;
    assert_eq!((attempts.failed, attempts.cancelled), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn remarks_that_an_execution_has_no_room_for_are_counted() {
    let manifest = AgentManifest::new("@test/talker", "1.0.0", "Talks").expect("well formed");
    let talker = agent_fn(manifest, |input: Value, cx, _| async move {
        for number in 0..input["times"].as_u64().unwrap_or_default() {
            cx.log(LogLevel::Info, format!("remark {number}"), Value::Null);
        }
        Ok(input)
    });
    let engine = counting().agent(talker).engine();
    let mut document = workflow(json!([step("a", "talker", &[]), step("b", "talker", &["a"])]));
    let most = u64::from(LogEntry::MAX);
    for (step, times) in [(0, most - 1), (1, 4)] {
        document["steps"][step]["input"] = json!({ "times": times });
    }
    let ended = Run::of(&engine.start(&valid(&document), json!({})).await.expect("started")).await;
    let kept = ended.journal().iter().filter(|entry| entry.kind == "log.entry").count();
    assert_eq!((kept as u64, engine.metrics().expect("it counts").remarks_left_out), (most, 3));
}

#[tokio::test(start_paused = true)]
async fn labels_are_bounded_and_nothing_is_counted_unasked() {
    let engine = counting().agent(scripted("echo")).engine();
    for number in 0..=MAX_LABELS {
        let mut document = workflow(json!([step("a", "echo", &[])]));
        document["metadata"]["id"] = json!(format!("workflow-{number}"));
        run(&engine, &document).await;
    }
    let metrics = engine.metrics().expect("it counts");
    assert_eq!(metrics.executions.len(), MAX_LABELS + 1);
    let others = metrics.executions.iter().filter(|((workflow, _), _)| &**workflow == "other");
    assert_eq!(others.map(|(_, count)| *count).sum::<u64>(), 1);

    assert!(Harness::new().engine().metrics().is_none());
}
