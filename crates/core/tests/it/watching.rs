//! Live events, and journals that are followed.

use std::time::Duration;

use orchestr8_core::{
    bus::{Bus, Delivery},
    chronicle::Told,
};
use orchestr8_schema::ValidWorkflow;
use orchestr8_testing::{Harness, scripted};
use serde_json::{Value, json};

use crate::{step, workflow};

fn chain(steps: usize) -> Value {
    (0..steps)
        .map(|index| {
            let before = index.checked_sub(1).map(|before| format!("s{before}"));
            step(&format!("s{index}"), "echo", &before.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_follower_sees_the_whole_journal_whenever_it_comes() {
    let engine = Harness::new().agent(scripted("echo").delays(Duration::from_millis(10))).engine();
    let workflow = ValidWorkflow::from_value(&workflow(chain(5))).expect("valid");
    let handle = engine.start(&workflow, json!({})).await.expect("started");
    for wait in [0, 25, 1000] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let mut events = handle.events().expect("subscribed");
        let mut sequences = Vec::new();
        while let Some((sequence, _)) = events.next().await.expect("read") {
            sequences.push(sequence);
        }
        let stored = handle.snapshot().await.expect("stored").events().len() as u64;
        assert_eq!(sequences, (1..=stored).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_loses_the_oldest_events_and_is_told_how_many() {
    let engine = Harness::new().agent(scripted("echo")).engine();
    let mut subscription = engine.bus().subscribe(None).expect("subscribed");
    let workflow = ValidWorkflow::from_value(&workflow(chain(400))).expect("valid");
    let handle = engine.start(&workflow, json!({})).await.expect("started");
    handle.outcome().await.expect("ended");
    let stored = handle.snapshot().await.expect("stored").events().len() as u64;

    let Delivery::Dropped { count, from_sequence, to_sequence } = subscription.next().await else {
        panic!("the first read says what is missing")
    };
    assert_eq!((count, from_sequence, to_sequence), (stored - Bus::QUEUE as u64, 1, stored - Bus::QUEUE as u64));
    assert_eq!(engine.bus().dropped(), count);
    for expected in to_sequence + 1..=stored {
        match subscription.next().await {
            Delivery::Event(event) => assert_eq!(event.sequence, expected),
            Delivery::Progress { .. } | Delivery::Dropped { .. } => panic!("dropped twice"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chronicle_tells_of_all_executions_as_their_journals_do_from_any_position() {
    const COUNT: usize = 12;
    let engine = Harness::new().agent(scripted("echo").delays(Duration::from_millis(10))).engine();
    let workflow = ValidWorkflow::from_value(&workflow(chain(4))).expect("valid");
    let mut live = engine.chronicle(0);
    let mut handles = Vec::new();
    for _ in 0..COUNT {
        handles.push(engine.start(&workflow, json!({})).await.expect("started"));
    }
    let mut told: Vec<Told> = Vec::new();
    while told.iter().filter(|told| told.entry.kind == "execution.completed").count() < COUNT {
        match live.read().await.expect("read") {
            some if some.is_empty() => live.changed().await,
            some => told.extend(some),
        }
    }
    assert!(told.iter().map(|told| told.position).eq(1..=told.len() as u64), "without gap or repetition");
    assert_eq!(engine.position().await.expect("read"), told.len() as u64);
    for handle in &handles {
        let of_one = told.iter().filter(|told| told.entry.execution_id == handle.id()).map(|told| &told.entry);
        assert!(of_one.eq(&handle.snapshot().await.expect("stored").journal().entries), "as the journal tells it");
    }
    for after in (0..told.len()).step_by(7) {
        let mut later = engine.chronicle(after as u64);
        let mut again = Vec::new();
        loop {
            match later.read().await.expect("read") {
                some if some.is_empty() => break,
                some => again.extend(some),
            }
        }
        assert_eq!(again, told[after..], "behind {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_at_most_a_hundred_subscribers() {
    let engine = Harness::new().agent(scripted("echo")).engine();
    let mut subscriptions: Vec<_> =
        (0..Bus::SUBSCRIBERS).map(|_| engine.bus().subscribe(None).expect("free")).collect();
    assert!(engine.bus().subscribe(None).is_err());
    subscriptions.pop();
    assert!(engine.bus().subscribe(None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_nothing_new_and_waits_for_what_runs() {
    let engine = Harness::new().agent(scripted("echo").delays(Duration::from_secs(5))).engine();
    let workflow = ValidWorkflow::from_value(&workflow(chain(1))).expect("valid");
    let handle = engine.start(&workflow, json!({})).await.expect("started");
    assert!(!engine.shutdown(Duration::from_secs(1)).await);
    assert!(engine.start(&workflow, json!({})).await.is_err());
    assert!(engine.shutdown(Duration::from_secs(10)).await);
    assert!(handle.outcome().await.expect("ended").is_completed());
}
