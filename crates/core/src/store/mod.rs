//! Where journals are kept.
//!
//! The contract, which every store fulfils:
//!
//! - A journal begins with its `execution.queued` event, stored by [`Store::create`] together with the first lease and, if there
//!   is one, the idempotency record: all of it or nothing.
//! - [`Store::append`] adds a batch of events: all of them or none. It names the number of events that it expects to be there; if
//!   there is another number, or the lease is not of the latest epoch, it answers [`StoreError::Conflict`] and changes nothing.
//!   Nothing that is stored is ever overwritten.
//! - Whoever has appended reads what was appended.
//! - When `append` has returned, the events are as durable as the store promises to make them.

mod memory;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use orchestr8_schema::{ExecutionId, IdempotencyKey, Timestamp, event::Event};

pub use self::memory::MemoryStore;

/// Keeps journals. See the [module](self) for the contract.
#[async_trait]
#[diagnostic::on_unimplemented(message = "`{Self}` is no store of journals")]
pub trait Store: Debug + Send + Sync + 'static {
    /// Stores the first event of a journal, gives a lease to whoever called, and keeps the idempotency record if there is one.
    ///
    /// With a record whose key is taken, nothing is stored: the answer tells which execution the key stands for.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was stored.
    async fn create(&self, first: Event, request: Option<IdempotencyRecord>) -> Result<Created, StoreError>;

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

    /// Reads the events behind a sequence; `0` reads all.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is no such execution.
    async fn load(&self, execution: ExecutionId, after: u64) -> Result<Vec<Event>, StoreError>;

    /// Lists executions, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn list(&self, limit: usize) -> Result<Vec<ExecutionId>, StoreError>;
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
    /// The medium failed.
    #[error("{attempted}")]
    Medium {
        /// What was attempted.
        attempted: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
