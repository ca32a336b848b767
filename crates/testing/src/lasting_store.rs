//! A store that outlives the processes of a test.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use orchestr8_core::store::{
    Commit, Created, Holder, HolderId, IdempotencyRecord, Lease, Page, Query, Retention, Store, StoreError, Tenancy,
};
use orchestr8_schema::{ExecutionId, Timestamp, event::Event};

/// The store as one process sees it. Once the process is gone nothing of it is stored any more, not even that it gives a lease back.
#[derive(Clone, Debug)]
pub(crate) struct LastingStore {
    store: Arc<dyn Store>,
    is_gone: Arc<AtomicBool>,
}

impl LastingStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, is_gone: Arc::default() }
    }

    /// Ends the process that uses it.
    pub(crate) fn end(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    fn writable(&self) -> Result<&dyn Store, StoreError> {
        if self.is_gone.load(Ordering::Acquire) {
            return Err(StoreError::Medium { attempted: "writing", source: "the process is gone".into() });
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl Store for LastingStore {
    // An engine that is shut down leaves its executions to the next one.
    fn outlives_process(&self) -> bool {
        self.is_gone.load(Ordering::Acquire) || self.store.outlives_process()
    }

    async fn create(
        &self,
        first: Event,
        request: Option<IdempotencyRecord>,
        holder: HolderId,
    ) -> Result<Created, StoreError> {
        self.writable()?.create(first, request, holder).await
    }

    async fn append(&self, lease: &Lease, expected_sequence: u64, events: &mut Vec<Event>) -> Result<(), StoreError> {
        self.writable()?.append(lease, expected_sequence, events).await
    }

    async fn load_some(&self, execution: ExecutionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.store.load_some(execution, after, limit).await
    }

    async fn position(&self) -> Result<u64, StoreError> {
        self.store.position().await
    }

    async fn commits(&self, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        self.store.commits(after, limit).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.list(query).await
    }

    async fn renew(&self, holder: &Holder, until: Timestamp) -> Result<(), StoreError> {
        self.writable()?.renew(holder, until).await
    }

    async fn unfinished(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<Tenancy>, StoreError> {
        self.store.unfinished(after, limit).await
    }

    async fn claim(&self, seen: &Tenancy, holder: HolderId) -> Result<Lease, StoreError> {
        self.writable()?.claim(seen, holder).await
    }

    async fn reclaim(&self, execution: ExecutionId, stored: u64, holder: HolderId) -> Result<Lease, StoreError> {
        self.writable()?.reclaim(execution, stored, holder).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.writable()?.release(lease).await
    }

    async fn keep(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.writable()?.keep(name, text).await
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.store.kept(name).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<usize, StoreError> {
        self.writable()?.prune(retention, now).await
    }
}
