//! A store in memory: for tests, for trials, and for executions that need not outlive the process.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use orchestr8_schema::{
    ExecutionId, IdempotencyKey, Timestamp,
    api::ExecutionStatus,
    event::{Event, EventBody},
};
use serde_json::Value;

use super::{
    Commit, Created, Holder, HolderId, IdempotencyRecord, Lease, Page, Query, Retention, Store, StoreError, Summary,
    Tenancy, status_after,
};

/// A store in memory. Clones share the journals.
///
/// Executions that run are never dropped. Of those that have ended it keeps the newest 1000 unless told otherwise, and at most about 50 MB of them,
/// but always the newest; the oldest go first.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    max_finished: usize,
    /// By time of creation, which execution ids sort by.
    journals: BTreeMap<ExecutionId, Journal>,
    /// Ended executions, the oldest first, with their size in bytes.
    finished: VecDeque<(ExecutionId, usize)>,
    finished_bytes: usize,
    requests: HashMap<IdempotencyKey, IdempotencyRecord>,
    /// Until when the leases of each last.
    holders: HashMap<HolderId, (Holder, Timestamp)>,
    kept: HashMap<String, String>,
    /// In the order in which they were stored.
    commits: VecDeque<Commit>,
    /// Of the event that was stored last.
    position: u64,
}

#[derive(Debug)]
struct Journal {
    events: Vec<Event>,
    status: ExecutionStatus,
    epoch: u64,
    holder: Option<HolderId>,
    request: Option<IdempotencyKey>,
}

impl MemoryStore {
    /// The most ended executions that are kept.
    pub const MAX_FINISHED: usize = 1000;
    /// About the most memory that ended executions take, in bytes.
    pub const MAX_FINISHED_BYTES: usize = 50 * 1024 * 1024;

    /// How often it remembers that another execution stored something than the one before.
    const MAX_COMMITS: usize = 65_536;

    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_finished(Self::MAX_FINISHED)
    }

    /// Makes an empty store that keeps this many ended executions, and at least the newest. An engine that nobody asks about what
    /// has ended is faster with few: what is kept is out of the processor's caches by the time it is dropped.
    #[must_use]
    pub fn with_max_finished(count: usize) -> Self {
        let shelf = Shelf { max_finished: count, ..Shelf::default() };
        Self { shared: Arc::new(Mutex::new(shelf)) }
    }

    /// A panic elsewhere leaves no half-made change behind, so the lock is taken all the same.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn outlives_process(&self) -> bool {
        false
    }

    async fn create(
        &self,
        first: Event,
        request: Option<IdempotencyRecord>,
        holder: HolderId,
    ) -> Result<Created, StoreError> {
        let EventBody::ExecutionQueued(queued) = &first.body else {
            return Err(StoreError::Medium {
                attempted: "beginning a journal",
                source: format!("its first event is {}", first.body.name()).into(),
            });
        };
        let id = queued.execution_id;
        let mut shelf = self.shelf();
        if let Some(request) = &request {
            shelf.expire(first.at);
            if let Some(taken) = shelf.requests.get(&request.key) {
                return Ok(Created::Taken(taken.clone()));
            }
        }
        if shelf.journals.contains_key(&id) {
            return Err(StoreError::Conflict(id));
        }
        let key = request.as_ref().map(|request| request.key.clone());
        shelf.journals.insert(id, Journal::new(first, holder, key));
        shelf.committed(id, 1, 1);
        if let Some(request) = request {
            shelf.requests.insert(request.key.clone(), request);
        }
        Ok(Created::New(Lease { execution_id: id, epoch: 1 }))
    }

    async fn append(&self, lease: &Lease, expected_sequence: u64, events: &mut Vec<Event>) -> Result<(), StoreError> {
        let id = lease.execution_id;
        let mut shelf = self.shelf();
        let journal = shelf.journals.get_mut(&id).ok_or(StoreError::NotFound(id))?;
        #[cfg(planted)]
        let lease = &Lease {
            epoch: if crate::planted::Defect::LeaseUnchecked.is_made() { journal.epoch } else { lease.epoch },
            ..lease.clone()
        };
        if journal.epoch != lease.epoch || journal.events.len() as u64 != expected_sequence {
            return Err(StoreError::Conflict(id));
        }
        let had_ended = journal.has_ended();
        let told = events.iter().rev().find_map(|event| status_after(&event.body));
        let count = events.len() as u64;
        journal.status = told.unwrap_or(journal.status);
        journal.events.append(events);
        let end = journal.events.last().filter(|event| event.body.is_terminal());
        let completed = end.map(|last| matches!(last.body, EventBody::ExecutionCompleted { .. }));
        shelf.committed(id, expected_sequence + 1, count);
        if had_ended {
            shelf.reopen(id);
        }
        if let Some(completed) = completed {
            shelf.finish(id, completed);
        }
        Ok(())
    }

    async fn load_some(&self, execution: ExecutionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let shelf = self.shelf();
        let journal = shelf.journals.get(&execution).ok_or(StoreError::NotFound(execution))?;
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let behind = journal.events.get(after..).unwrap_or_default();
        Ok(behind[..behind.len().min(limit)].to_vec())
    }

    async fn position(&self) -> Result<u64, StoreError> {
        Ok(self.shelf().position)
    }

    async fn commits(&self, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let shelf = self.shelf();
        let first = shelf.commits.partition_point(|commit| commit.position + commit.count - 1 <= after);
        let behind = shelf.commits.range(first..).filter(|commit| shelf.journals.contains_key(&commit.execution_id));
        Ok(behind.take(limit).map(|commit| commit.behind(after)).collect())
    }

    async fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let shelf = self.shelf();
        let mut found = shelf.journals.iter().rev().filter_map(|(id, journal)| journal.summary(*id));
        let mut admitted = found.by_ref().filter(|summary| query.admits(summary));
        let executions = admitted.by_ref().take(query.limit).collect();
        let has_more = admitted.next().is_some();
        Ok(Page { executions, has_more })
    }

    async fn renew(&self, holder: &Holder, until: Timestamp) -> Result<(), StoreError> {
        self.shelf().holders.insert(holder.id, (holder.clone(), until));
        Ok(())
    }

    async fn unfinished(&self, after: Option<ExecutionId>, limit: usize) -> Result<Vec<Tenancy>, StoreError> {
        let shelf = self.shelf();
        let journals = shelf.journals.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        Ok(journals.filter_map(|(id, journal)| shelf.tenancy(*id, journal)).take(limit).collect())
    }

    async fn claim(&self, seen: &Tenancy, holder: HolderId) -> Result<Lease, StoreError> {
        let id = seen.execution_id;
        let mut shelf = self.shelf();
        let journal = shelf.journals.get(&id).ok_or(StoreError::NotFound(id))?;
        if shelf.tenancy(id, journal).as_ref() != Some(seen) {
            return Err(StoreError::Conflict(id));
        }
        let journal = shelf.journals.get_mut(&id).ok_or(StoreError::NotFound(id))?;
        journal.epoch += 1;
        journal.holder = Some(holder);
        Ok(Lease { execution_id: id, epoch: journal.epoch })
    }

    async fn reclaim(&self, execution: ExecutionId, stored: u64, holder: HolderId) -> Result<Lease, StoreError> {
        let mut shelf = self.shelf();
        let journal = shelf.journals.get_mut(&execution).ok_or(StoreError::NotFound(execution))?;
        if !journal.has_ended() || journal.events.len() as u64 != stored {
            return Err(StoreError::Conflict(execution));
        }
        journal.epoch += 1;
        journal.holder = Some(holder);
        Ok(Lease { execution_id: execution, epoch: journal.epoch })
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut shelf = self.shelf();
        if let Some(journal) = shelf.journals.get_mut(&lease.execution_id).filter(|found| found.epoch == lease.epoch) {
            journal.holder = None;
        }
        Ok(())
    }

    async fn keep(&self, name: &str, text: &str) -> Result<(), StoreError> {
        self.shelf().kept.insert(name.to_owned(), text.to_owned());
        Ok(())
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.shelf().kept.get(name).cloned())
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<usize, StoreError> {
        let mut shelf = self.shelf();
        let before = shelf.finished.len();
        shelf.drop_finished(|shelf| {
            let too_many = shelf.finished.len() > retention.max_finished.max(1);
            let oldest = shelf.finished.front().and_then(|(id, _)| shelf.journals.get(id)?.events.last());
            too_many || retention.age.zip(oldest).is_some_and(|(age, last)| now.since(last.at) > age)
        });
        Ok(before - shelf.finished.len())
    }
}

impl Journal {
    fn new(first: Event, holder: HolderId, request: Option<IdempotencyKey>) -> Self {
        Self { events: vec![first], status: ExecutionStatus::Queued, epoch: 1, holder: Some(holder), request }
    }

    fn has_ended(&self) -> bool {
        self.status.is_terminal()
    }

    fn summary(&self, execution_id: ExecutionId) -> Option<Summary> {
        let first = self.events.first()?;
        let EventBody::ExecutionQueued(queued) = &first.body else { return None };
        Some(Summary {
            execution_id,
            workflow_id: queued.workflow.id().to_owned(),
            status: self.status,
            created_at: first.at,
            ended_at: self.events.last().filter(|_| self.has_ended()).map(|event| event.at),
        })
    }
}

impl Shelf {
    /// Gives the next positions to events that were stored.
    fn committed(&mut self, execution_id: ExecutionId, sequence: u64, count: u64) {
        let position = self.position + 1;
        self.position += count;
        match self.commits.back_mut() {
            _ if count == 0 => {}
            Some(last) if last.execution_id == execution_id => last.count += count,
            _ => {
                if self.commits.len() == MemoryStore::MAX_COMMITS {
                    self.commits.pop_front();
                }
                self.commits.push_back(Commit { position, execution_id, sequence, count });
            }
        }
    }

    /// Forgets the requests whose time is over.
    fn expire(&mut self, now: Timestamp) {
        self.requests.retain(|_, request| now.since(request.created_at) < IdempotencyRecord::LIFE);
    }

    /// Forgets a request, unless its key stands for another execution by now.
    fn forget_request(&mut self, key: &IdempotencyKey, id: ExecutionId) {
        if self.requests.get(key).is_some_and(|request| request.execution_id == id) {
            self.requests.remove(key);
        }
    }

    /// Counts an execution among those that have ended, and drops the oldest of them where there are too many.
    fn finish(&mut self, id: ExecutionId, completed: bool) {
        let Some(journal) = self.journals.get(&id) else { return };
        // A repeat after a failure should start anew.
        if let (false, Some(key)) = (completed, journal.request.clone()) {
            self.forget_request(&key, id);
        }
        let Some(journal) = self.journals.get(&id) else { return };
        let bytes = journal.events.iter().map(|event| size_of::<Event>() + payload(&event.body)).sum();
        self.finished.push_back((id, bytes));
        self.finished_bytes += bytes;
        self.drop_finished(|shelf| {
            shelf.finished.len() > 1
                && (shelf.finished.len() > shelf.max_finished || shelf.finished_bytes > MemoryStore::MAX_FINISHED_BYTES)
        });
    }

    /// Counts an execution no longer among those that have ended.
    fn reopen(&mut self, id: ExecutionId) {
        let Some(place) = self.finished.iter().position(|(finished, _)| *finished == id) else { return };
        if let Some((_, bytes)) = self.finished.remove(place) {
            self.finished_bytes -= bytes;
        }
    }

    /// Drops the oldest of the executions that have ended, as long as there is reason to.
    fn drop_finished(&mut self, has_reason: impl Fn(&Self) -> bool) {
        while has_reason(self) {
            let Some((oldest, bytes)) = self.finished.pop_front() else { break };
            self.finished_bytes -= bytes;
            if let Some(key) = self.journals.remove(&oldest).and_then(|journal| journal.request) {
                self.forget_request(&key, oldest);
            }
        }
    }

    /// Tells who holds the lease of an execution that has not ended.
    fn tenancy(&self, execution_id: ExecutionId, journal: &Journal) -> Option<Tenancy> {
        if journal.has_ended() {
            return None;
        }
        let held = journal.holder.and_then(|holder| self.holders.get(&holder)).cloned();
        let (holder, until) = held.map_or((None, Timestamp::default()), |(holder, until)| (Some(holder), until));
        Some(Tenancy { execution_id, epoch: journal.epoch, holder, until })
    }
}

/// Estimates what an event holds beyond itself. Outputs are counted where they first occur.
pub(crate) fn payload(body: &EventBody) -> usize {
    match body {
        EventBody::ExecutionQueued(queued) => weight(&queued.input) + weight(&queued.variables),
        EventBody::StepScheduled { input, .. } => weight(input),
        EventBody::AttemptFinished { result: Ok(output), .. } => weight(output),
        EventBody::DurableRecorded(durable) => weight(&durable.value),
        EventBody::LogEntry(entry) => entry.message.len() + weight(&entry.data),
        _ => 0,
    }
}

fn weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + size_of::<String>() + weight(value)).sum(),
        }
}
