//! Live events, and journals that are followed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orchestr8_core::{
    Engine, ExecutionHandle, MemoryStore,
    bus::{Bus, Delivery},
    chronicle::Told,
    journal::EntryFilter,
    store::Query,
};
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    api::{Entry, ExecutionStatus, Level},
    event::Signal,
};
use orchestr8_testing::{FaultStore, Harness, Interference, StoreFault, scripted};
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

/// Counts the events that are read.
#[derive(Debug, Default)]
struct Loads(AtomicUsize);

impl Interference for Loads {
    fn on_write(&self, _: u64) -> Option<StoreFault> {
        None
    }

    fn loaded(&self, events: usize) {
        self.0.fetch_add(events, Ordering::Relaxed);
    }
}

impl Loads {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Reads a journal in pages.
async fn pages(engine: &Engine, handle: &ExecutionHandle, filter: &EntryFilter, limit: usize) -> Vec<Entry> {
    let (mut filter, mut entries) = (filter.clone(), Vec::new());
    loop {
        let mut reading = engine.read(handle.id()).await.expect("stored");
        let page = reading.entries(&filter, limit, usize::MAX).await.expect("read");
        assert!(page.entries.len() == limit || page.next.is_none(), "a page that is not the last is full");
        entries.extend(page.entries);
        match page.next {
            Some(next) => filter.after = next,
            None => return entries,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_an_execution_is_what_its_journal_says_whenever_it_is_read() {
    let engine = Harness::new()
        .agent(scripted("echo").delays(Duration::from_millis(10)).fails_times(1, ErrorKind::Network))
        .engine();
    let workflow = ValidWorkflow::from_value(&workflow(chain(6))).expect("valid");
    let handle = engine.start(&workflow, json!({})).await.expect("started");
    for wait in [0, 15, 5, 1000, 7, 100_000] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let snapshot = handle.snapshot().await.expect("stored");
        let whole = snapshot.journal();
        {
            let reading = engine.read(handle.id()).await.expect("stored");
            assert_eq!((reading.status(), reading.sequence()), (snapshot.status(), snapshot.events().len() as u64));
            assert_eq!(reading.to_body(), snapshot.to_body());
            assert_eq!(reading.summary(), snapshot.summary());
            assert_eq!(reading.steps().collect::<Vec<_>>(), snapshot.steps());
            assert_eq!(reading.journal_summary(), whole.summary);
            assert_eq!(reading.last_entry(), whole.entries.last());
        }
        for limit in [1, 3, 1000] {
            assert_eq!(pages(&engine, &handle, &EntryFilter::default(), limit).await, whole.entries, "{limit} a page");
        }
        let mut filter = EntryFilter::default();
        filter.types = Some(vec!["step.completed".to_owned(), "retry.scheduled".to_owned()]);
        filter.step_path = Some("s1".to_owned());
        filter.level = Some(Level::Info);
        let is_wanted = |entry: &&Entry| {
            ["step.completed", "retry.scheduled"].contains(&&*entry.kind) && entry.step_path.as_deref() == Some("s1")
        };
        let expected: Vec<_> = whole.entries.iter().filter(is_wanted).cloned().collect();
        assert_eq!(pages(&engine, &handle, &filter, 1).await, expected);
    }
    assert!(handle.outcome().await.expect("ended").is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_page_costs_the_page_and_a_list_costs_what_has_happened_since() {
    let loads = Arc::new(Loads::default());
    let store = FaultStore::new(MemoryStore::new(), Arc::clone(&loads) as Arc<dyn Interference>);
    let engine = Harness::new().agent(scripted("echo")).store(store).engine();
    let mut steps = chain(1000);
    steps.as_array_mut().expect("a list").push(json!({ "id": "gate", "wait": { "signal": "go" } }));
    let workflow = ValidWorkflow::from_value(&workflow(steps)).expect("valid");
    let handle = engine.start(&workflow, json!({})).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    loads.take();
    let total = engine.read(handle.id()).await.expect("stored").sequence() as usize;
    assert_eq!((loads.take(), total > 3000), (total, true), "the first reads all of it");
    let filter = EntryFilter::default();
    assert_eq!(pages(&engine, &handle, &filter, 100).await.len(), total);
    let read = loads.take();
    assert!(read < total + total / 50, "{read} events are read for {total} entries on pages");

    let listed = engine.executions(&Query::newest(1)).await.expect("listed").executions.remove(0);
    let summary = engine.summary(&listed).await.expect("stored");
    assert_eq!((summary.progress.completed, summary.waiting_count, loads.take()), (1000, 1, 0));
    handle
        .signal(Signal { name: "go".into(), payload: json!(null), signal_id: None, step_path: None })
        .await
        .expect("told");
    assert!(handle.outcome().await.expect("ended").is_completed());
    loads.take();
    let listed = engine.executions(&Query::newest(1)).await.expect("listed").executions.remove(0);
    for most in [20, 0, 0] {
        let summary = engine.summary(&listed).await.expect("stored");
        assert_eq!((summary.status, summary.progress.percent), (ExecutionStatus::Completed, 100));
        let read = loads.take();
        assert!(read <= most, "{read} events are read for what has happened since");
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
