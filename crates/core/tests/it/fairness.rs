//! Whose turn it is when slots are few.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orchestr8_agent_base::{Agent, AgentManifest, agent_fn};
use orchestr8_core::{Engine, StartRequest};
use orchestr8_schema::{ExecutionId, ValidWorkflow};
use orchestr8_testing::Harness;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{step, workflow};

/// The executions that attempts belong to, in the order in which they began, and when that was.
type Starts = Arc<Mutex<Vec<(Instant, ExecutionId)>>>;

/// An agent that takes a second, and notes whose turn it is.
fn noted() -> (impl Agent, Starts) {
    let starts = Starts::default();
    let seen = Arc::clone(&starts);
    let manifest = AgentManifest::new("@test/noted", "1.0.0", "Notes who calls").expect("well formed");
    let agent = agent_fn(manifest, move |input: Value, cx, _| {
        seen.lock().expect("nobody panics").push((Instant::now(), cx.execution_id()));
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(input)
        }
    });
    (agent, starts)
}

fn engine(slots: u32) -> (Engine, Starts) {
    let (agent, starts) = noted();
    (Harness::new().agent(agent).engine_with(move |engine| engine.max_concurrent_steps(slots)).engine(), starts)
}

fn steps_at_once(count: usize) -> ValidWorkflow {
    let steps = (0..count).map(|index| step(&format!("s{index}"), "noted", &[])).collect();
    ValidWorkflow::from_value(&workflow(steps)).expect("valid")
}

#[tokio::test(start_paused = true)]
async fn a_short_execution_beside_a_long_one_starts_at_the_next_turn() {
    let (engine, starts) = engine(2);
    let long = engine.start(&steps_at_once(1000), json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let before = starts.lock().expect("nobody panics").len();
    let short = engine.start(&steps_at_once(1), json!({})).await.expect("started");
    let outcome = short.outcome().await.expect("it ends");
    assert_eq!(outcome.to_body().duration, Some(1500), "half a second until a slot is free, and its own second");
    let place = starts.lock().expect("nobody panics")[before..].iter().position(|(_, id)| *id == short.id());
    assert!(place.is_some_and(|place| place <= 1), "at most one other began before it: {place:?}");
    drop(long);
}

#[tokio::test(start_paused = true)]
async fn a_short_execution_starts_at_once_if_a_long_one_keeps_to_its_share() {
    let (engine, _) = engine(3);
    let mut document = workflow((0..1000).map(|index| step(&format!("s{index}"), "noted", &[])).collect());
    document["policies"] = json!({ "concurrency": { "maxConcurrentSteps": 2 } });
    let long = ValidWorkflow::from_value(&document).expect("valid");
    let long = engine.start(&long, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let short = engine.start(&steps_at_once(1), json!({})).await.expect("started");
    assert_eq!(short.outcome().await.expect("it ends").to_body().duration, Some(1000));
    drop(long);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_ask_for_fewer_steps_at_once_than_the_workflow_allows_and_not_for_more() {
    for (asked, seconds) in [(1, 6), (2, 3), (100, 2)] {
        let (engine, _) = engine(10);
        let mut document = workflow((0..6).map(|index| step(&format!("s{index}"), "noted", &[])).collect());
        document["policies"] = json!({ "concurrency": { "maxConcurrentSteps": 3 } });
        let document = ValidWorkflow::from_value(&document).expect("valid");
        let request = StartRequest::new(&document, json!({})).max_concurrent_steps(asked);
        let execution = engine.submit(request).await.expect("started").handle;
        let body = execution.outcome().await.expect("it ends").to_body();
        assert_eq!(body.duration, Some(seconds * 1000), "{asked} at once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Invariants 14 and 15. Executions wait, the oldest first, while others hold all slots. From the moment in which these go back, the
    /// *m*-th oldest has one within *m* grants, and the *j*-th step of any of *n* begins within *j* · *n*. Grants of one moment have no
    /// order.
    #[test]
    fn everybody_has_a_turn_before_anybody_has_a_second_one(
        slots in 1..4_u32,
        sizes in prop::collection::vec(1..7_usize, 1..9),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let (ids, starts) = runtime.block_on(async {
            let (engine, starts) = engine(slots);
            let first = engine.start(&steps_at_once(slots as usize), json!({})).await.expect("started");
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut waiting = Vec::new();
            for &size in &sizes {
                waiting.push(engine.start(&steps_at_once(size), json!({})).await.expect("started"));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for execution in waiting.iter().chain([&first]) {
                assert!(execution.outcome().await.expect("it ends").is_completed());
            }
            let ids: Vec<_> = waiting.iter().map(|execution| execution.id()).collect();
            let starts = starts.lock().expect("nobody panics").split_off(slots as usize);
            (ids, starts)
        });

        for (age, (id, size)) in ids.iter().zip(&sizes).enumerate() {
            let grants = starts.iter().filter(|(_, start)| start == id);
            let places: Vec<_> = grants.map(|(at, _)| starts.partition_point(|(other, _)| other < at) + 1).collect();
            prop_assert_eq!(places.len(), *size);
            prop_assert!(places[0] <= age + 1, "number {} has its first turn at {}", age + 1, places[0]);
            for (step, place) in places.iter().enumerate() {
                prop_assert!(*place <= (step + 1) * ids.len(), "{:?} of {:?} in {:?}", places, sizes, starts);
            }
        }
    }
}
