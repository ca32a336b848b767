//! A store that fails when it is told to.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_core::store::{
    Commit, Created, Holder, HolderId, IdempotencyRecord, Lease, Page, Query, Retention, Store, StoreError, Tenancy,
};
use orchestr8_schema::{ExecutionId, Timestamp, event::Event};

/// Decides about each write of a [`FaultStore`], and hears what was stored.
pub trait Interference: Debug + Send + Sync + 'static {
    /// Says what is to go wrong with a write. Writes are [`Store::create`] and [`Store::append`], counted from 1, the
    /// repetitions of one that was refused included.
    fn on_write(&self, write: u64) -> Option<StoreFault>;

    /// Hears of how many events of a journal were read.
    fn loaded(&self, events: usize) {
        let _ = events;
    }

    /// Says whether what is stored outlives the process, even if the store within does not: an engine that is shut down leaves its
    /// executions to the next one then.
    fn outlives_process(&self) -> bool {
        false
    }

    /// Hears that an execution's lease was taken.
    fn claimed(&self) {}

    /// Hears that an execution's lease was given back.
    fn released(&self) {}

    /// Hears that a write was taken by the store within, although somebody else had claimed the execution just before it
    /// ([`StoreFault::Conflict`]): the store does not look at leases.
    fn overtaken(&self) {}

    /// Hears of events that have just been stored, before whoever wrote them does.
    fn stored(&self, events: &[Event]) {
        let _ = events;
    }
}

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// The store answers that its medium failed, and has changed nothing.
    Refuse,
    /// The write takes this long.
    Delay(Duration),
    /// All is stored, and the answer takes this long.
    AnswerLate(Duration),
    /// Nothing is stored and nobody is ever answered: what follows is for whoever drops the engine.
    VanishBefore,
    /// All is stored and nobody is ever answered.
    VanishAfter,
    /// Somebody else claims the execution just before, so that the write is refused as a conflict. The lease is free then.
    Conflict,
}

/// A store around another one, which fails as it is told to.
///
/// ```
/// use std::sync::Arc;
///
/// use orchestr8_core::{MemoryStore, store::{Query, Store}};
/// use orchestr8_testing::{FaultStore, Interference, StoreFault};
///
/// /// The third write finds no room.
/// #[derive(Debug)]
/// struct ThirdFails;
///
/// impl Interference for ThirdFails {
///     fn on_write(&self, write: u64) -> Option<StoreFault> {
///         (write == 3).then_some(StoreFault::Refuse)
///     }
/// }
///
/// let store = FaultStore::new(MemoryStore::new(), Arc::new(ThirdFails));
/// # let _: &dyn Store = &store;
/// ```
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: S,
    interference: Arc<dyn Interference>,
    writes: AtomicU64,
}

impl<S: Store> FaultStore<S> {
    /// Puts a store under the control of somebody.
    pub fn new(inner: S, interference: Arc<dyn Interference>) -> Self {
        Self { inner, interference, writes: AtomicU64::new(0) }
    }

    /// Goes on counting where a store of an earlier life of the process stopped.
    #[must_use]
    pub fn after_writes(self, writes: u64) -> Self {
        self.writes.store(writes, Ordering::Relaxed);
        self
    }

    /// Carries out what goes wrong before a write. An error is the answer to it.
    async fn before(&self, execution: Option<ExecutionId>) -> Result<After, StoreError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        match self.interference.on_write(write) {
            None => {}
            Some(StoreFault::Refuse) => {
                let source = "there is no room left".into();
                return Err(StoreError::Medium { attempted: "writing, as told to fail", source });
            }
            Some(StoreFault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(StoreFault::VanishBefore) => std::future::pending().await,
            Some(StoreFault::AnswerLate(delay)) => return Ok(After::AnswerLate(delay)),
            Some(StoreFault::VanishAfter) => return Ok(After::Vanish),
            Some(StoreFault::Conflict) => {
                if let Some(execution) = execution
                    && self.take_away(execution).await?
                {
                    return Ok(After::Conflict);
                }
            }
        }
        Ok(After::Answer)
    }

    /// Does as another process would that takes an execution over, and then gives it back. True if there was one to be taken.
    async fn take_away(&self, execution: ExecutionId) -> Result<bool, StoreError> {
        let held = self.inner.unfinished(None, usize::MAX).await?;
        let Some(seen) = held.iter().find(|tenancy| tenancy.execution_id == execution) else { return Ok(false) };
        let lease = self.inner.claim(seen, HolderId(u64::MAX)).await?;
        self.inner.release(&lease).await?;
        Ok(true)
    }
}

/// What becomes of the answer once all is stored.
enum After {
    Answer,
    AnswerLate(Duration),
    Vanish,
    /// There should be none but a refusal.
    Conflict,
}

impl After {
    async fn wait(self) {
        match self {
            Self::Answer | Self::Conflict => {}
            Self::AnswerLate(delay) => tokio::time::sleep(delay).await,
            Self::Vanish => std::future::pending().await,
        }
    }
}

#[async_trait]
impl<S: Store> Store for FaultStore<S> {
    fn outlives_process(&self) -> bool {
        self.interference.outlives_process() || self.inner.outlives_process()
    }

    async fn create(
        &self,
        first: Event,
        request: Option<IdempotencyRecord>,
        holder: HolderId,
    ) -> Result<Created, StoreError> {
        let after = self.before(None).await?;
        let event = first.clone();
        let created = self.inner.create(first, request, holder).await?;
        if matches!(created, Created::New(_)) {
            self.interference.claimed();
            self.interference.stored(std::slice::from_ref(&event));
        }
        after.wait().await;
        Ok(created)
    }

    async fn append(&self, lease: &Lease, expected_sequence: u64, events: &mut Vec<Event>) -> Result<(), StoreError> {
        let after = self.before(Some(lease.execution_id)).await?;
        let batch = events.clone();
        self.inner.append(lease, expected_sequence, events).await?;
        if matches!(after, After::Conflict) {
            self.interference.overtaken();
        }
        self.interference.stored(&batch);
        after.wait().await;
        Ok(())
    }

    async fn load_some(&self, execution: ExecutionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events = self.inner.load_some(execution, after, limit).await?;
        self.interference.loaded(events.len());
        Ok(events)
    }

    async fn position(&self) -> Result<u64, StoreError> {
        self.inner.position().await
    }

    async fn commits(&self, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        self.inner.commits(after, limit).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        self.inner.list(query).await
    }

    async fn renew(&self, holder: &Holder, until: Timestamp) -> Result<(), StoreError> {
        self.inner.renew(holder, until).await
    }

    async fn unfinished(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<Tenancy>, StoreError> {
        self.inner.unfinished(after, limit).await
    }

    async fn claim(&self, seen: &Tenancy, holder: HolderId) -> Result<Lease, StoreError> {
        let lease = self.inner.claim(seen, holder).await?;
        self.interference.claimed();
        Ok(lease)
    }

    async fn reclaim(&self, execution: ExecutionId, stored: u64, holder: HolderId) -> Result<Lease, StoreError> {
        let lease = self.inner.reclaim(execution, stored, holder).await?;
        self.interference.claimed();
        Ok(lease)
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await?;
        self.interference.released();
        Ok(())
    }

    async fn keep(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.inner.keep(name, text).await
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.inner.kept(name).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<usize, StoreError> {
        self.inner.prune(retention, now).await
    }
}
