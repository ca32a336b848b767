//! Stores that are slow, or that another process writes to.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_core::{
    Engine, MemoryStore, StartRequest, Store,
    store::{Created, Holder, HolderId, IdempotencyRecord, Lease, Page, Query, Retention, StoreError, Tenancy},
};
use orchestr8_schema::{ExecutionId, Timestamp, ValidWorkflow, event::Event};
use orchestr8_testing::scripted;
use serde_json::json;

use crate::{step, workflow};

/// A memory store that takes its time to answer that an execution was created, and that refuses batches behind a sequence.
#[derive(Debug)]
struct Faulty {
    store: MemoryStore,
    delay: Duration,
    conflict_from: AtomicU64,
}

impl Faulty {
    fn new() -> Self {
        Self { store: MemoryStore::new(), delay: Duration::ZERO, conflict_from: AtomicU64::new(u64::MAX) }
    }
}

#[async_trait]
impl Store for Faulty {
    fn outlives_process(&self) -> bool {
        self.store.outlives_process()
    }

    async fn create(
        &self,
        first: Event,
        request: Option<IdempotencyRecord>,
        holder: HolderId,
    ) -> Result<Created, StoreError> {
        let created = self.store.create(first, request, holder).await;
        if matches!(created, Ok(Created::New(_))) {
            tokio::time::sleep(self.delay).await;
        }
        created
    }

    async fn append(&self, lease: &Lease, expected_sequence: u64, events: &mut Vec<Event>) -> Result<(), StoreError> {
        if expected_sequence >= self.conflict_from.load(Ordering::SeqCst) {
            return Err(StoreError::Conflict(lease.execution_id));
        }
        self.store.append(lease, expected_sequence, events).await
    }

    async fn load(&self, execution: ExecutionId, after: u64) -> Result<Vec<Event>, StoreError> {
        self.store.load(execution, after).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.list(query).await
    }

    async fn renew(&self, holder: &Holder, until: Timestamp) -> Result<(), StoreError> {
        self.store.renew(holder, until).await
    }

    async fn unfinished(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<Tenancy>, StoreError> {
        self.store.unfinished(after, limit).await
    }

    async fn claim(&self, seen: &Tenancy, holder: HolderId) -> Result<Lease, StoreError> {
        self.store.claim(seen, holder).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store.release(lease).await
    }

    async fn keep(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.store.keep(name, text).await
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.store.kept(name).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<usize, StoreError> {
        self.store.prune(retention, now).await
    }
}

fn engine(store: Faulty) -> Engine {
    Engine::builder().agent(scripted("slow").delays(Duration::from_secs(1))).store(store).build().expect("built")
}

fn one_step() -> ValidWorkflow {
    ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid")
}

#[tokio::test(start_paused = true)]
async fn a_request_repeated_while_the_first_is_being_stored_follows_the_same_execution() {
    let engine = engine(Faulty { delay: Duration::from_millis(50), ..Faulty::new() });
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
    let engine = engine(Faulty { conflict_from: AtomicU64::new(2), ..Faulty::new() });
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
