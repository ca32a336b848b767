//! Executions that are read again and again, each remembered as far as it was read.
//!
//! Whoever asks for the status of an execution, for a page of its journal or for a list pays for what has happened since somebody asked
//! last, not for the whole journal. What is remembered has a bound, in bytes; what is over it is read anew.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestr8_schema::{
    ExecutionId, StepPath, Timestamp,
    api::{self, Entry, ExecutionStatus, ExecutionSummary, JournalSummary, Level, StepResult},
    event::{Activation, Event, EventBody},
};
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::{Renderer, level};
use crate::{
    engine::Engine,
    machine::State,
    plan::Plan,
    store::{StoreError, Summary, payload},
    view,
};

/// The executions of an engine that were read last.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// The one that was read last is the first.
    known: VecDeque<Place>,
    bytes: usize,
    /// Of executions that have ended, the one that was asked for last behind all others.
    summaries: HashMap<ExecutionId, ExecutionSummary>,
    oldest: VecDeque<ExecutionId>,
}

#[derive(Debug)]
struct Place {
    id: ExecutionId,
    reading: Arc<AsyncMutex<Option<Known>>>,
    bytes: usize,
}

impl Readings {
    /// About the most memory that is remembered.
    const MAX_BYTES: usize = 64 * 1024 * 1024;
    /// Executions that are remembered, however small.
    const MAX_KNOWN: usize = 1024;
    /// Summaries of executions that have ended that are remembered.
    const MAX_SUMMARIES: usize = 10_000;

    fn place(&self, id: ExecutionId) -> Arc<AsyncMutex<Option<Known>>> {
        let mut shelf = self.shelf();
        let place = match shelf.known.iter().position(|place| place.id == id) {
            Some(at) => shelf.known.remove(at),
            None => None,
        };
        let place = place.unwrap_or_else(|| Place { id, reading: Arc::default(), bytes: 0 });
        let reading = Arc::clone(&place.reading);
        shelf.known.push_front(place);
        if shelf.known.len() > Self::MAX_KNOWN
            && let Some(oldest) = shelf.known.pop_back()
        {
            shelf.bytes -= oldest.bytes;
        }
        reading
    }

    /// Notes what an execution takes, and forgets those that were not read for longest, as long as all together are too large.
    fn weigh(&self, id: ExecutionId, bytes: usize) {
        let mut shelf = self.shelf();
        let Some(place) = shelf.known.iter_mut().find(|place| place.id == id) else { return };
        let before = std::mem::replace(&mut place.bytes, bytes);
        shelf.bytes = shelf.bytes - before + bytes;
        while shelf.bytes > Self::MAX_BYTES
            && let Some(place) = shelf.known.pop_back()
        {
            shelf.bytes -= place.bytes;
        }
    }

    fn forget(&self, id: ExecutionId) {
        let mut shelf = self.shelf();
        if let Some(at) = shelf.known.iter().position(|place| place.id == id) {
            let gone = shelf.known.remove(at);
            shelf.bytes -= gone.map_or(0, |place| place.bytes);
        }
    }

    /// Returns the summary of an execution that has ended, if it has not gone on since.
    fn summary(&self, listed: &Summary) -> Option<ExecutionSummary> {
        let shelf = self.shelf();
        let known = shelf.summaries.get(&listed.execution_id)?;
        (listed.ended_at.is_some() && known.completed_at == listed.ended_at).then(|| known.clone())
    }

    fn learn_summary(&self, summary: &ExecutionSummary) {
        if !summary.status.is_terminal() {
            return;
        }
        let mut shelf = self.shelf();
        if shelf.summaries.insert(summary.execution_id, summary.clone()).is_none() {
            shelf.oldest.push_back(summary.execution_id);
            if shelf.oldest.len() > Self::MAX_SUMMARIES
                && let Some(oldest) = shelf.oldest.pop_front()
            {
                shelf.summaries.remove(&oldest);
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of an execution.
#[derive(Debug)]
struct Known {
    /// At the last event.
    head: Renderer,
    last: Option<Entry>,
    tally: Tally,
    /// All activations in step-path order.
    order: Vec<(StepPath, Activation)>,
    /// Where pages of the journal have ended, the latest first.
    marks: VecDeque<Renderer>,
    /// About the memory that one renderer takes.
    bytes: usize,
}

/// What all entries of a journal amount to.
#[derive(Debug, Default)]
struct Tally {
    errors: u32,
    warnings: u32,
    retries: u32,
    /// By activation, whether an entry is about it.
    told: Vec<bool>,
    paths: HashSet<StepPath>,
}

impl Known {
    /// Ends of pages that are remembered.
    const MAX_MARKS: usize = 2;

    fn new(plan: &Arc<Plan>) -> Self {
        Self {
            head: Renderer::new(plan),
            last: None,
            tally: Tally::default(),
            order: Vec::new(),
            marks: VecDeque::new(),
            bytes: size_of::<Self>(),
        }
    }

    fn go_on(&mut self, events: &[Event]) {
        let Some((last, others)) = events.split_last() else { return };
        for event in others {
            self.head.pass(event);
            self.count(event);
        }
        self.last = self.head.entry(last);
        self.count(last);
        let (state, plan) = (&self.head.state, &self.head.plan);
        let new = (self.order.len() as u32..state.steps().len() as u32).map(Activation);
        self.order.extend(new.map(|activation| (state.path_of(plan, activation), activation)));
        // What was in order is found to be so in one go.
        self.order.sort();
    }

    fn count(&mut self, event: &Event) {
        let (tally, state) = (&mut self.tally, &self.head.state);
        self.bytes += size_of::<Event>() + payload(&event.body);
        match level(&event.body) {
            Level::Error => tally.errors += 1,
            Level::Warn => tally.warnings += 1,
            _ => {}
        }
        tally.retries += u32::from(matches!(event.body, EventBody::RetryScheduled { .. }));
        if let Some(activation) = event.body.activation()
            && let Some(path) = (!tally.told.get(activation.get()).copied().unwrap_or(false))
                .then(|| state.step_path(&self.head.plan, activation))
                .flatten()
        {
            let count = tally.told.len().max(activation.get() + 1);
            tally.told.resize(count, false);
            tally.told[activation.get()] = true;
            tally.paths.insert(path);
        }
    }

    /// About the memory that all of it takes.
    fn weight(&self) -> usize {
        self.bytes * (1 + self.marks.len())
    }

    /// Takes the renderer that stands nearest before the event behind a sequence, or a new one.
    fn mark(&mut self, after: u64) -> Renderer {
        let nearest = self.marks.iter().enumerate().filter(|(_, mark)| mark.sequence() <= after);
        let nearest = nearest.max_by_key(|(_, mark)| mark.sequence()).map(|(at, _)| at);
        let mut renderer =
            nearest.and_then(|at| self.marks.remove(at)).unwrap_or_else(|| Renderer::new(&self.head.plan));
        // What is known to be secret now is hidden on every page.
        renderer.redactor.clone_from(&self.head.redactor);
        renderer
    }

    fn put_mark(&mut self, renderer: Renderer) {
        self.marks.push_front(renderer);
        self.marks.truncate(Self::MAX_MARKS);
    }
}

/// An execution as far as it was stored when somebody began to read it. Others who want to read the same one wait meanwhile.
#[derive(Debug)]
#[must_use]
pub struct Reading {
    engine: Engine,
    id: ExecutionId,
    guard: OwnedMutexGuard<Option<Known>>,
}

/// Which entries of a journal are wanted; by default all of them.
#[derive(Clone, Debug, Default)]
#[must_use]
#[non_exhaustive]
pub struct EntryFilter {
    /// Those behind this sequence.
    pub after: u64,
    /// Those of this time or later.
    pub since: Option<Timestamp>,
    /// Those of this level at least; absent means all.
    pub level: Option<Level>,
    /// Those of these types.
    pub types: Option<Vec<String>>,
    /// Those of the step of this path.
    pub step_path: Option<String>,
}

/// A page of a journal.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EntryPage {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// The sequence behind which the next page begins; absent if there is none.
    pub next: Option<u64>,
}

impl Reading {
    /// Events that are read from the store at a time, or one more than the page has entries if that is more.
    const CHUNK: usize = 100;

    /// Reads what has happened since somebody read the execution last.
    pub(crate) async fn of(engine: &Engine, id: ExecutionId) -> Result<Self, StoreError> {
        let readings = engine.readings();
        let mut guard = readings.place(id).lock_owned().await;
        let read = Self::go_on(engine, id, &mut guard).await;
        match (&read, &*guard) {
            (Ok(()), Some(known)) => readings.weigh(id, known.weight()),
            _ => readings.forget(id),
        }
        read.map(|()| Self { engine: engine.clone(), id, guard })
    }

    async fn go_on(engine: &Engine, id: ExecutionId, known: &mut Option<Known>) -> Result<(), StoreError> {
        let after = known.as_ref().map_or(0, |known| known.head.sequence());
        let events = engine.store().load(id, after).await?;
        if known.is_none() {
            let Some(EventBody::ExecutionQueued(queued)) = events.first().map(|event| &event.body) else {
                return Err(StoreError::NotFound(id));
            };
            *known = Some(Known::new(&engine.stored_plan(&queued.workflow)?));
        }
        if let Some(known) = known {
            known.go_on(&events);
        }
        Ok(())
    }

    fn known(&self) -> &Known {
        match &*self.guard {
            Some(known) => known,
            None => unreachable!("a reading is made of what was read"),
        }
    }

    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.known().head.plan
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.known().head.state
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> ExecutionStatus {
        view::status(self.state())
    }

    /// Returns the number of events so far.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.known().head.sequence()
    }

    /// Renders the execution as the REST interface shows it.
    #[must_use]
    pub fn to_body(&self) -> api::Execution {
        view::execution_in_order(self.plan(), self.state(), &self.known().order)
    }

    /// Renders what a list tells of the execution.
    #[must_use]
    pub fn summary(&self) -> ExecutionSummary {
        view::summary(self.plan(), self.state())
    }

    /// Renders steps in step-path order, as [`Snapshot::steps`](crate::Snapshot::steps) does, as they are asked for.
    pub fn steps(&self) -> impl Iterator<Item = (StepResult, Option<String>)> + '_ {
        view::steps_in_order(self.plan(), self.state(), &self.known().order)
    }

    /// Lists the approvals that the execution waits for, in step-path order.
    #[must_use]
    pub fn approvals(&self) -> Vec<api::Approval> {
        view::approvals(self.plan(), self.state())
    }

    /// Renders the definition as it is executed. Secrets are hidden.
    #[must_use]
    pub fn workflow(&self) -> Value {
        view::workflow(self.plan(), self.state())
    }

    /// Returns the last entry of the journal.
    #[must_use]
    pub fn last_entry(&self) -> Option<&Entry> {
        self.known().last.as_ref()
    }

    /// Tells what the whole journal amounts to.
    #[must_use]
    pub fn journal_summary(&self) -> JournalSummary {
        let Known { head, last, tally, .. } = self.known();
        JournalSummary {
            total_entries: head.sequence(),
            step_count: tally.paths.len() as u32,
            errors: tally.errors,
            warnings: tally.warnings,
            retries: tally.retries,
            status: view::status(&head.state),
            duration: last.as_ref().map_or(0, |entry| entry.elapsed_ms),
        }
    }

    /// Renders a page of the journal: at most this many entries and, but for the first, this many bytes of JSON. It costs what it shows if
    /// it begins where the one before has ended; else what came before is taken in, and not rendered.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the journal cannot be read.
    ///
    /// # Cancellation safety
    ///
    /// A future that is dropped has changed nothing.
    pub async fn entries(
        &mut self,
        filter: &EntryFilter,
        limit: usize,
        max_bytes: usize,
    ) -> Result<EntryPage, StoreError> {
        let (id, store) = (self.id, Arc::clone(self.engine.store()));
        let Some(known) = &mut *self.guard else { unreachable!("a reading is made of what was read") };
        let (end, mut renderer) = (known.head.sequence(), known.mark(filter.after));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut next = None;
        let mut at = renderer.sequence();
        'pages: while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(Self::CHUNK.max(limit + 1));
            let events = store.load_some(id, at, most).await?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                let is_wanted = at >= filter.after && filter.wants(known, event);
                if is_wanted && (entries.len() == limit || (bytes > max_bytes && !entries.is_empty())) {
                    next = Some(at);
                    break 'pages;
                }
                at += 1;
                // Behind the page the journal is only looked through.
                if entries.len() == limit {
                    continue;
                }
                if !is_wanted {
                    renderer.pass(event);
                } else if let Some(entry) = renderer.entry(event) {
                    bytes += serde_json::to_vec(&entry).map_or(0, |json| json.len());
                    entries.push(entry);
                }
            }
        }
        known.put_mark(renderer);
        let weight = known.weight();
        self.engine.readings().weigh(id, weight);
        Ok(EntryPage { entries, next })
    }
}

impl EntryFilter {
    /// Decides about an event without rendering it.
    fn wants(&self, known: &Known, event: &Event) -> bool {
        let is_of_step = |path: &String| {
            let of_event = event.body.activation().and_then(|it| known.head.state.step_path(&known.head.plan, it));
            of_event.is_some_and(|of_event| {
                let mut shown = of_event.to_string();
                known.head.redactor.redact_text(&mut shown);
                shown == *path
            })
        };
        self.level.is_none_or(|least| level(&event.body) >= least)
            && self.since.is_none_or(|since| event.at >= since)
            && self.types.as_ref().is_none_or(|types| types.iter().any(|name| name == event.body.name()))
            && self.step_path.as_ref().is_none_or(is_of_step)
    }
}

impl Engine {
    /// Reads an execution as far as it is stored. What was read before is remembered, so that asking again costs what has happened
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is none of this id.
    pub async fn read(&self, id: ExecutionId) -> Result<Reading, StoreError> {
        Reading::of(self, id).await
    }

    /// Tells what a list tells of an execution. Of one that has ended that is remembered.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if it was dropped.
    pub async fn summary(&self, listed: &Summary) -> Result<ExecutionSummary, StoreError> {
        if let Some(known) = self.readings().summary(listed) {
            return Ok(known);
        }
        let summary = self.read(listed.execution_id).await?.summary();
        self.readings().learn_summary(&summary);
        Ok(summary)
    }
}
