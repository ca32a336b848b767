//! Stores that are slow, or that another process writes to.

use std::{sync::Arc, time::Duration};

use orchestr8_core::{Engine, MemoryStore, StartRequest};
use orchestr8_schema::ValidWorkflow;
use orchestr8_testing::{FaultStore, Interference, StoreFault, scripted};
use serde_json::json;

use crate::{step, workflow};

/// What goes wrong with each write.
#[derive(Debug)]
struct Faults(fn(u64) -> Option<StoreFault>);

impl Interference for Faults {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        self.0(write)
    }
}

fn engine(faults: fn(u64) -> Option<StoreFault>) -> Engine {
    let store = FaultStore::new(MemoryStore::new(), Arc::new(Faults(faults)));
    Engine::builder().agent(scripted("slow").delays(Duration::from_secs(1))).store(store).build().expect("built")
}

fn one_step() -> ValidWorkflow {
    ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid")
}

#[tokio::test(start_paused = true)]
async fn a_request_repeated_while_the_first_is_being_stored_follows_the_same_execution() {
    let engine = engine(|write| (write == 1).then_some(StoreFault::AnswerLate(Duration::from_millis(50))));
    let workflow = one_step();
    let ask = || StartRequest::new(&workflow, json!({})).idempotency("order-1".parse().expect("well formed"), "one");
    let repeat = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        engine.submit(ask()).await
    };
    let (first, again) = tokio::join!(engine.submit(ask()), repeat);
    let (first, again) = (first.expect("started"), again.expect("found"));
    assert!(again.replayed && first.handle.id() == again.handle.id());
    assert!(again.handle.outcome().await.expect("it is driven").is_completed());
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_another_process_goes_on_with_is_lost_here_and_nobody_waits_for_it() {
    // The beginning is stored; the answer of the step is not.
    let engine = engine(|write| (write == 3).then_some(StoreFault::Conflict));
    let handle = engine.start(&one_step(), json!({})).await.expect("started");
    let mut events = handle.events().expect("subscribed");
    assert!(handle.outcome().await.is_err());
    let mut seen = Vec::new();
    while let Some((_, event)) = events.next().await.expect("read") {
        seen.push(event.body.name());
    }
    assert_eq!(seen.first(), Some(&"execution.queued"));
    assert!(!seen.contains(&"step.completed"), "{seen:?}");
    assert!(handle.cancel(orchestr8_core::Cancellation::new("enough")).await.is_err(), "nobody hears it");
}
