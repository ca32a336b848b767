//! How much runs at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use orchestr8_agent_base::{Agent, AgentManifest, agent_fn};
use orchestr8_schema::{ErrorKind, ValidWorkflow};
use orchestr8_testing::{Harness, Run, assert_completed, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

/// An agent that takes a second, and the most calls of it that were in progress at once.
fn counted() -> (impl Agent, Arc<AtomicU32>) {
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = Arc::clone(&most);
    let manifest = AgentManifest::new("@test/counted", "1.0.0", "Counts how many run").expect("well formed");
    let agent = agent_fn(manifest, move |input, _, _| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(input)
        }
    });
    (agent, seen)
}

fn fan_out(steps: usize) -> Value {
    (0..steps).map(|index| step(&format!("s{index}"), "counted", &[])).collect()
}

#[tokio::test(start_paused = true)]
async fn an_engine_runs_ten_steps_at_once_unless_told_otherwise() {
    let (agent, most) = counted();
    let run = Harness::new().agent(agent).run(workflow(fan_out(25)), json!({})).await;
    assert_completed!(run);
    assert_eq!(most.load(Ordering::SeqCst), 10);
    assert_eq!(run.outcome().to_body().duration, Some(3000));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_may_lower_its_share() {
    let (agent, most) = counted();
    let policies = json!({ "concurrency": { "maxConcurrentSteps": 2 } });
    let run = Harness::new().agent(agent).run(workflow_with(fan_out(6), policies), json!({})).await;
    assert_completed!(run);
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(run.outcome().to_body().duration, Some(3000));
}

#[tokio::test(start_paused = true)]
async fn slots_are_shared_fairly_by_executions() {
    let (agent, most) = counted();
    let engine = Harness::new().agent(agent).engine_with(|engine| engine.max_concurrent_steps(2)).engine();
    let large = ValidWorkflow::from_value(&workflow(fan_out(20))).expect("valid");
    let small = ValidWorkflow::from_value(&workflow(fan_out(2))).expect("valid");
    let large = engine.start(&large, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let small = engine.start(&small, json!({})).await.expect("started");
    let quick = Run::of(&small).await;
    assert_completed!(quick);
    assert!(
        quick.outcome().to_body().duration.is_some_and(|took| took <= 3500),
        "the small one waited behind the large one"
    );
    assert_completed!(Run::of(&large).await);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_delay_between_attempts_holds_no_slot() {
    let flaky = orchestr8_testing::scripted("flaky").fails_times(1, orchestr8_schema::ErrorKind::Network);
    let (counted, _) = counted();
    let policies = json!({ "resilience": { "retry": { "baseDelayMs": 10_000, "jitter": false } } });
    let steps = json!([step("flaky", "flaky", &[]), step("other", "counted", &[])]);
    let run = Harness::new()
        .agent(flaky)
        .agent(counted)
        .engine_with(|engine| engine.max_concurrent_steps(1))
        .run(workflow_with(steps, policies), json!({}))
        .await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(10_000));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_steps_at_once_are_no_trouble() {
    let steps: Value = (0..10_000)
        .map(|index| if index == 0 { step("s0", "echo", &[]) } else { step(&format!("s{index}"), "echo", &["s0"]) })
        .collect();
    let run = Harness::new().agent(orchestr8_testing::scripted("echo")).run(workflow(steps), json!({})).await;
    assert_completed!(run);
}

#[tokio::test(start_paused = true)]
async fn an_execution_fails_before_its_journal_is_full() {
    let looped = json!({ "id": "l", "loop": { "while": "loop.index < `10000`", "maxIterations": 10000,
        "steps": [{ "id": "n", "agent": { "id": "@test/noop" } }] } });
    let harness = Harness::new().agent(scripted("noop")).engine_with(|builder| builder.max_events(1_500));
    let run = harness.run(workflow(json!([looped])), json!({})).await;
    let error = assert_failed!(run, ErrorKind::BudgetExceeded);
    assert_eq!(error.context, Some(json!({ "budget": "maxEvents" })));
    assert!((500..1_500).contains(&run.journal().len()), "{}", run.journal().len());
}
