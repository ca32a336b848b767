//! A store in one SQLite file.
//!
//! | file | what is in it |
//! |---|---|
//! | `file` | opening a database: whose it is, which version wrote it |
//! | `group` | group commit: one transaction and one sync for all that is ready |
//! | `write`, `read` | what the store does, as statements |
//! | `codec`, `pieces` | events as they stand in a row; large values, each once |
//! | `commits` | the order in which events of all executions were stored |
//! | `sheets` | small batches that are committed together, side by side |
//! | `workflows` | workflows, each read once |
//!
//! An append that finds nobody writing writes in place, on the task that asks for it: a thread of its own would cost two
//! switches, which take longer than a commit without a sync. Whoever comes meanwhile waits, and the next one of them writes for all.

mod codec;
mod commits;
mod file;
mod group;
mod pieces;
mod read;
mod sheets;
mod workflows;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use orchestr8_schema::{
    ExecutionId, Timestamp,
    event::{Event, EventBody},
};
use rusqlite::{Connection, ErrorCode};

pub use self::file::OpenError;
use self::{
    group::Group,
    workflows::Workflows,
    write::{Append, Claim, Create, Done, Operation, Reclaim},
};
use super::{
    Commit, Created, Holder, HolderId, IdempotencyRecord, Lease, Page, Query, Retention, Store, StoreError, Tenancy,
    status_after,
};

/// A store in one SQLite file, which several processes may share. Clones are the same store.
///
/// Commits block the thread for as long as the drive needs; reads of journals and lists run beside the runtime's tasks. The file
/// has mode 0600, a folder that has to be made 0700.
///
/// ```
/// use orchestr8_core::{Engine, agent_base::HelloWorld, store::{Durability, SqliteStore}};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("orchestr8.db");
/// let engine = Engine::builder().agent(HelloWorld).store(SqliteStore::open(&path, Durability::Power)?).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

/// What an append that has returned outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The loss of power: every commit waits for the drive (`synchronous = FULL`).
    #[default]
    Power,
    /// The death of the process, by `kill -9` too (`synchronous = NORMAL`). The loss of power may take the last events; the file stays
    /// whole.
    Process,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    group: Arc<Group>,
    workflows: Workflows,
    /// Connections that nobody reads with now.
    readers: Mutex<Vec<Connection>>,
    /// Of events, since it was opened.
    written: AtomicU64,
}

impl SqliteStore {
    /// Connections for reading that are kept open.
    const READERS: usize = 4;

    /// Opens a database, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file is not ours, was written by a later version, is damaged, locked, or may not be written.
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let group = Group::new(file::open(&path, durability)?);
        let inner = Inner {
            path,
            group,
            workflows: Workflows::default(),
            readers: Mutex::default(),
            written: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads beside the runtime's tasks.
    async fn read<T: Send + 'static>(
        &self,
        attempted: &'static str,
        read: impl FnOnce(&Inner, &Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        let reading = tokio::task::spawn_blocking(move || {
            let reader = inner.reader().map_err(|error| medium(attempted, error))?;
            let result = read(&inner, &reader);
            inner.put_back(reader);
            result.map_err(|error| match error {
                ReadError::Store(error) => error,
                ReadError::Database(error) => medium(attempted, error),
            })
        });
        reading.await.map_err(|error| StoreError::Medium { attempted, source: error.into() })?
    }

    async fn write(&self, attempted: &'static str, operation: Operation) -> Result<Done, StoreError> {
        self.inner.group.submit(attempted, operation).await
    }
}

/// Why something cannot be read.
#[derive(Debug)]
enum ReadError {
    Store(StoreError),
    Database(rusqlite::Error),
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Inner {
    fn reader(&self) -> rusqlite::Result<Connection> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| file::open_reader(&self.path), Ok)
    }

    fn put_back(&self, reader: Connection) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < SqliteStore::READERS {
            readers.push(reader);
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(
        &self,
        first: Event,
        request: Option<IdempotencyRecord>,
        holder: HolderId,
    ) -> Result<Created, StoreError> {
        const ATTEMPTED: &str = "storing a new execution";
        let EventBody::ExecutionQueued(queued) = &first.body else {
            let source = format!("its first event is {}", first.body.name()).into();
            return Err(StoreError::Medium { attempted: ATTEMPTED, source });
        };
        let row = codec::encode_queued(queued)
            .map_err(|error| StoreError::Medium { attempted: ATTEMPTED, source: error.into() })?;
        let length = row.len();
        let operation = Create {
            id: queued.execution_id,
            workflow_id: queued.workflow.id().to_owned(),
            workflow: self.inner.workflows.written(&queued.workflow),
            at: first.at,
            row,
            request,
            holder,
        };
        match self.write(ATTEMPTED, Operation::Create(Box::new(operation))).await? {
            Done::Created(created) => {
                self.inner.written.fetch_add(length, Relaxed);
                Ok(created)
            }
            _ => Err(StoreError::Conflict(queued.execution_id)),
        }
    }

    async fn append(&self, lease: &Lease, expected_sequence: u64, events: &mut Vec<Event>) -> Result<(), StoreError> {
        const ATTEMPTED: &str = "appending to a journal";
        let row = codec::encode_batch(events)
            .map_err(|error| StoreError::Medium { attempted: ATTEMPTED, source: error.into() })?;
        let length = row.len();
        let operation = Append {
            lease: *lease,
            expected: expected_sequence,
            count: events.len() as u64,
            status: events.iter().rev().find_map(|event| status_after(&event.body)),
            ended_at: events.last().filter(|last| last.body.is_terminal()).map(|last| last.at),
            row,
        };
        self.write(ATTEMPTED, Operation::Append(Box::new(operation))).await?;
        self.inner.written.fetch_add(length, Relaxed);
        events.clear();
        Ok(())
    }

    fn journal_bytes(&self) -> Option<u64> {
        Some(self.inner.written.load(Relaxed))
    }

    async fn load_some(&self, execution: ExecutionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let journal =
            move |inner: &Inner, reader: &Connection| read::journal(reader, &inner.workflows, execution, after, limit);
        self.read("reading a journal", journal).await
    }

    async fn position(&self) -> Result<u64, StoreError> {
        let position = |_: &Inner, reader: &Connection| Ok(commits::position(reader)?.unsigned_abs());
        self.read("looking for the last event", position).await
    }

    async fn commits(&self, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let behind = move |_: &Inner, reader: &Connection| Ok(commits::behind(reader, after, limit)?);
        self.read("reading in which order events were stored", behind).await
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let query = query.clone();
        self.read("listing executions", move |_, reader| Ok(read::list(reader, &query)?)).await
    }

    async fn renew(&self, holder: &Holder, until: Timestamp) -> Result<(), StoreError> {
        self.write("renewing leases", Operation::Renew(Box::new(holder.clone()), until)).await.map(drop)
    }

    async fn unfinished(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<Tenancy>, StoreError> {
        self.read("looking for unfinished executions", move |_, reader| Ok(read::unfinished(reader, after, limit)?))
            .await
    }

    async fn claim(&self, seen: &Tenancy, holder: HolderId) -> Result<Lease, StoreError> {
        let operation = Claim { seen: seen.clone(), holder };
        match self.write("claiming an execution", Operation::Claim(Box::new(operation))).await? {
            Done::Claimed(lease) => Ok(lease),
            _ => Err(StoreError::Conflict(seen.execution_id)),
        }
    }

    async fn reclaim(&self, execution: ExecutionId, stored: u64, holder: HolderId) -> Result<Lease, StoreError> {
        let operation = Reclaim { execution, stored, holder };
        match self.write("claiming an execution that has ended", Operation::Reclaim(operation)).await? {
            Done::Claimed(lease) => Ok(lease),
            _ => Err(StoreError::Conflict(execution)),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.write("releasing an execution", Operation::Release(*lease)).await.map(drop)
    }

    async fn keep(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.write("keeping a text", Operation::Keep(name.to_owned(), text.to_owned())).await.map(drop)
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.read("reading a kept text", move |_, reader| Ok(read::kept(reader, &name)?)).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<usize, StoreError> {
        const ATTEMPTED: &str = "dropping old executions";
        let mut dropped = 0;
        loop {
            // In small steps, so that nobody waits for long.
            match self.write(ATTEMPTED, Operation::Prune(*retention, now)).await? {
                Done::Pruned(0) => return Ok(dropped),
                Done::Pruned(some) => dropped += some,
                _ => return Ok(dropped),
            }
        }
    }
}

/// Says what has failed in words that help whoever runs the program.
fn medium(attempted: &'static str, error: rusqlite::Error) -> StoreError {
    let plain = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Some("the disk is full"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Some("another process keeps the database locked"),
        Some(ErrorCode::SystemIoFailure) => Some("the database file cannot be read or written"),
        Some(ErrorCode::ReadOnly) => Some("the database may not be written"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Some("the database file is damaged"),
        _ => None,
    };
    let source = match plain {
        Some(text) => text.into(),
        None => error.into(),
    };
    StoreError::Medium { attempted, source }
}
