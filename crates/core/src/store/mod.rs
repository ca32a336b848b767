//! Where journals are kept, and who may write to them.
//!
//! The contract, which every store fulfils (`store_conformance!` of `orchestr8-testing` tests it):
//!
//! - A journal begins with its `execution.queued` event, stored by [`Store::create`] together with the first lease and, if there
//!   is one, the idempotency record: all of it or nothing.
//! - [`Store::append`] adds a batch of events: all of them or none. It names the number of events that it expects to be there; if
//!   there is another number, or the lease is not of the latest epoch, it answers [`StoreError::Conflict`] and changes nothing.
//!   Nothing that is stored is ever overwritten.
//! - Whoever has appended reads what was appended.
//! - When `append` has returned, the events are as durable as the store promises to make them.
//! - Every event has a *position*, counted from 1 over all executions in the order in which they were stored. Those of a batch follow one
//!   another. Whoever sees a position sees all before it: two that write at once are one behind the other for everybody, in
//!   every process.
//!
//! # Leases
//!
//! Whoever drives an execution holds its lease. A lease belongs to a [`Holder`] (an engine in a process on a host), and all leases
//! of a holder last until the time that it has last [renewed](Store::renew) them to. A store does not judge whether a lease
//! is over: [`Store::unfinished`] tells who holds what and until when, and [`Store::claim`] takes a lease over if nothing about it has
//! changed since. The epoch rises with every claim, so a holder that was taken for dead is refused at its next append, whatever the
//! clocks say.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_schema::{
    ExecutionId, IdempotencyKey, Timestamp,
    api::ExecutionStatus,
    event::{Event, EventBody},
};

pub use self::memory::MemoryStore;
pub(crate) use self::memory::payload;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{Durability, OpenError, SqliteStore};

/// Keeps journals. See the [module](self) for the contract.
#[async_trait]
#[diagnostic::on_unimplemented(message = "`{Self}` is no store of journals")]
pub trait Store: Debug + Send + Sync + 'static {
    /// Whether what is stored outlives the process, so that another one can take executions up, and leases are to be renewed.
    fn outlives_process(&self) -> bool {
        true
    }

    /// Stores the first event of a journal, gives its first lease to this holder, and keeps the idempotency record if there is one.
    ///
    /// With a record whose key is taken, nothing is stored: the answer tells which execution the key stands for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was stored.
    async fn create(
        &self,
        first: Event,
        request: Option<IdempotencyRecord>,
        holder: HolderId,
    ) -> Result<Created, StoreError>;

    /// Adds a batch of events, all or none, and takes them out of the buffer once they are added: a store that keeps events as
    /// they are need not copy them. After an error the buffer is as it was, so that the caller can try again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if `expected_sequence` is not the number of events stored, or the lease is of an old epoch.
    ///
    /// # Cancellation safety
    ///
    /// A future that is dropped may have stored the batch or not.
    async fn append(&self, lease: &Lease, expected_sequence: u64, events: &mut Vec<Event>) -> Result<(), StoreError>;

    /// Returns how many bytes of events were written since the store was opened here; `None`, the default, if it writes none.
    fn journal_bytes(&self) -> Option<u64> {
        None
    }

    /// Reads the events behind a sequence; `0` reads all.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no such execution.
    async fn load(&self, execution: ExecutionId, after: u64) -> Result<Vec<Event>, StoreError> {
        self.load_some(execution, after, usize::MAX).await
    }

    /// Reads at most this many events behind a sequence, at the cost of these.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    async fn load_some(&self, execution: ExecutionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Returns the position of the event that was stored last; 0 if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn position(&self) -> Result<u64, StoreError>;

    /// Tells what was stored behind a position, in order, in at most this many pieces; of what begins before it, the rest. What is
    /// not known any more is left out: executions that were dropped, and events that many others have followed (how many is the
    /// store's own affair).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn commits(&self, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError>;

    /// Lists executions, newest first.
    ///
    /// What begins between two pages is on neither, and nothing that was there is left out or told twice.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn list(&self, query: &Query) -> Result<Page, StoreError>;

    /// Has all leases of a holder, those to come included, last until a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the leases last as long as before.
    async fn renew(&self, holder: &Holder, until: Timestamp) -> Result<(), StoreError>;

    /// Tells of executions that have not ended, the oldest first, behind one and at most this many: who holds their leases, and
    /// until when.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn unfinished(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<Tenancy>, StoreError>;

    /// Gives a lease to another holder, with the next epoch, if it is as it was seen.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if somebody has claimed, renewed or released it meanwhile, or the execution has ended.
    async fn claim(&self, seen: &Tenancy, holder: HolderId) -> Result<Lease, StoreError>;

    /// Gives the lease of an execution that has ended to somebody who goes on with it, with the next epoch. It counts among those
    /// that have ended until an event is appended that says otherwise.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if it has not ended, or not exactly so many events are stored of it: somebody else was faster.
    async fn reclaim(&self, execution: ExecutionId, stored: u64, holder: HolderId) -> Result<Lease, StoreError>;

    /// Gives a lease back, so that anybody may claim it at once. One that is another's by now stays as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the lease lasts as long as it would have.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Keeps a text under a name, in place of the one before. Engines keep here what their circuits and buckets know.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was kept before stays.
    async fn keep(&self, name: &str, text: &str) -> Result<(), StoreError>;

    /// Returns the text that is kept under a name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Drops executions that have ended, the oldest first, until what is left is within bounds. Tells how many were dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; those that were dropped before the error are gone.
    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<usize, StoreError>;
}

/// Events of one execution that were stored one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The position of the first of them, among the events of all executions.
    pub position: u64,
    /// Whose events.
    pub execution_id: ExecutionId,
    /// The sequence of the first of them, in its journal.
    pub sequence: u64,
    /// How many.
    pub count: u64,
}

impl Commit {
    /// What of it is behind a position; it ends behind it.
    fn behind(self, after: u64) -> Self {
        let known = after.saturating_add(1).saturating_sub(self.position).min(self.count);
        let Self { position, execution_id, sequence, count } = self;
        Self { position: position + known, execution_id, sequence: sequence + known, count: count - known }
    }
}

/// An engine in a process, which holds leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Names it among all holders.
    pub id: HolderId,
    /// The host that it runs on.
    pub host: Arc<str>,
    /// The number of its process there.
    pub process: u32,
    /// When that process began, in a form of the host's own, so that a later process of the same number is told from it; empty if
    /// the host does not tell.
    pub process_began: Arc<str>,
}

/// The name of a [`Holder`], drawn by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HolderId(pub u64);

impl Holder {
    /// How long a lease lasts after it was renewed: 30 seconds.
    pub const LEASE: Duration = Duration::from_secs(30);
    /// How often it is renewed: every 10 seconds.
    pub const RENEWAL: Duration = Duration::from_secs(10);
}

/// Who holds the lease of an execution that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// Which execution.
    pub execution_id: ExecutionId,
    /// The epoch of the lease.
    pub epoch: u64,
    /// Who holds it; absent if it was released.
    pub holder: Option<Holder>,
    /// Until when it lasts.
    pub until: Timestamp,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Query {
    /// Only executions of these statuses; empty means all.
    pub statuses: Vec<ExecutionStatus>,
    /// Only executions of this workflow.
    pub workflow_id: Option<String>,
    /// Only executions that are older than this one.
    pub before: Option<ExecutionId>,
    /// The most executions on the page.
    pub limit: usize,
}

impl Query {
    /// Asks for the newest executions.
    pub fn newest(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Asks for executions of these statuses only; those of all if there are none.
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = ExecutionStatus>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Asks for executions of one workflow only.
    pub fn workflow(mut self, id: impl Into<String>) -> Self {
        self.workflow_id = Some(id.into());
        self
    }

    /// Asks for what is behind a page: the executions older than its last.
    pub fn before(mut self, execution: ExecutionId) -> Self {
        self.before = Some(execution);
        self
    }

    fn admits(&self, summary: &Summary) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&summary.status))
            && self.workflow_id.as_ref().is_none_or(|id| *id == summary.workflow_id)
            && self.before.is_none_or(|before| summary.execution_id < before)
    }
}

/// Executions of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The executions, newest first.
    pub executions: Vec<Summary>,
    /// Whether there are older ones that the query asks for.
    pub has_more: bool,
}

/// What a list tells of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub execution_id: ExecutionId,
    /// The id of its workflow.
    pub workflow_id: String,
    /// Its status.
    pub status: ExecutionStatus,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Which executions that have ended are kept. Those that have not are kept always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long after its end an execution is kept; absent means for ever.
    pub age: Option<Duration>,
    /// The most that are kept; the newest is kept in any case.
    pub max_finished: usize,
}

impl Default for Retention {
    /// 7 days, and at most 10 000.
    fn default() -> Self {
        Self { age: Some(Duration::from_secs(7 * 86_400)), max_finished: 10_000 }
    }
}

/// Tells which status people see after an event; absent if the event does not change it.
#[must_use]
pub fn status_after(event: &EventBody) -> Option<ExecutionStatus> {
    match event {
        EventBody::ExecutionQueued(_) => Some(ExecutionStatus::Queued),
        EventBody::ExecutionStarted { .. }
        | EventBody::ExecutionFailing { .. }
        | EventBody::ExecutionReopened(_)
        | EventBody::ExecutionResumed { .. } => Some(ExecutionStatus::Running),
        EventBody::ExecutionPaused { .. } => Some(ExecutionStatus::Paused),
        EventBody::ExecutionCancelling(_) => Some(ExecutionStatus::Cancelling),
        EventBody::ExecutionCompleted { .. } => Some(ExecutionStatus::Completed),
        EventBody::ExecutionFailed => Some(ExecutionStatus::Failed),
        EventBody::ExecutionCancelled { .. } => Some(ExecutionStatus::Cancelled),
        _ => None,
    }
}

/// The right to append to one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose journal.
    pub execution_id: ExecutionId,
    /// Rises with every holder; appends of an older epoch are refused.
    pub epoch: u64,
}

/// What a key stands for, so that a repeated request starts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The key.
    pub key: IdempotencyKey,
    /// SHA-256 of what was asked for, in hex.
    pub digest: String,
    /// The execution that was started.
    pub execution_id: ExecutionId,
    /// When it was asked for. The record counts for [`IdempotencyRecord::LIFE`] from then.
    pub created_at: Timestamp,
}

impl IdempotencyRecord {
    /// Ten minutes.
    pub const LIFE: Duration = Duration::from_secs(600);
}

/// What [`Store::create`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The journal exists now.
    New(Lease),
    /// The key is taken: nothing was stored.
    Taken(IdempotencyRecord),
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else appended first, or holds the lease now.
    #[error("another process has gone on with execution {0}")]
    Conflict(ExecutionId),
    /// There is no such execution.
    #[error("there is no execution {0}")]
    NotFound(ExecutionId),
    /// What is stored of an execution cannot be read. Other executions are not affected.
    #[error("reading the journal of execution {execution_id} behind event {after}")]
    Corrupt {
        /// Whose journal.
        execution_id: ExecutionId,
        /// The number of events that can be read.
        after: u64,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The medium failed.
    #[error("{attempted}")]
    Medium {
        /// What was attempted.
        attempted: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether trying again may help: true of a medium that failed, which may be full or locked for a while.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Medium { .. })
    }
}
