//! What happens in all executions, in one order.
//!
//! The order is that of the [store](crate::store): every event has a position, and whoever has read up to one goes on behind it, in
//! another process or after a restart too, without gap or repetition. Nothing is read from the [bus](crate::bus), where executions
//! that commit at once overtake each other; it only says when to look. What other processes store in the same place is found by
//! looking once a second.
//!
//! ```
//! use orchestr8_core::{Engine, agent_base::HelloWorld, schema::ValidWorkflow};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().agent(HelloWorld).build()?;
//! # let workflow = ValidWorkflow::from_json(r#"{ "version": "1.0.0", "metadata": { "id": "greet", "name": "Greet" },
//! #     "steps": [{ "id": "hello", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "Ada" } }] }"#)?;
//! let mut chronicle = engine.chronicle(engine.position().await?);
//! engine.start(&workflow, json!({})).await?.outcome().await?;
//! let told = chronicle.read().await?;
//! assert_eq!((told[0].position, &*told[0].entry.kind), (1, "execution.queued"));
//! # Ok(())
//! # }
//! ```

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    time::Duration,
};

use futures_util::future::{Either, select};
use orchestr8_schema::{
    ExecutionId,
    api::{Entry, StepProgress},
    event::{Event, EventBody},
};
use tokio::{sync::watch, time::Instant};

use crate::{
    bus::{Delivery, Subscription, TooManySubscribers},
    engine::Engine,
    journal::Renderer,
    store::{Commit, StoreError},
};

/// Follows all executions of a store, whoever drives them.
#[derive(Debug)]
#[must_use = "a chronicle tells nothing unless read"]
pub struct Chronicle {
    engine: Engine,
    /// Of the last event that was told.
    position: u64,
    known: HashMap<ExecutionId, Known>,
    /// Grows with every look at an execution, so that the one that was looked at longest ago is known.
    looks: u64,
    stored: watch::Receiver<()>,
    /// Of those who want to hear of it.
    progress: Option<Subscription>,
    /// When to look for what other processes have stored.
    look_at: Option<Instant>,
}

/// An event of a chronicle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Told {
    /// Its place among the events of all executions, counted from 1.
    pub position: u64,
    /// What happened, as the journal of the execution tells it: secrets are hidden as far as the events so far tell of them.
    pub entry: Entry,
}

/// An execution, as far as it was told.
#[derive(Debug)]
struct Known {
    renderer: Renderer,
    look: u64,
    /// Read, and not yet told.
    ahead: VecDeque<Event>,
}

impl Chronicle {
    /// Executions that it remembers at a time. One that is forgotten is read again when something happens in it.
    pub const MAX_KNOWN: usize = 1024;
    /// Pieces of journals that are read at a time.
    const AT_ONCE: usize = 256;
    /// How often it looks for what other processes have stored.
    const PERIOD: Duration = Duration::from_secs(1);

    pub(crate) fn new(engine: Engine, after: u64) -> Self {
        let stored = engine.bus().watch();
        Self { engine, position: after, known: HashMap::new(), looks: 0, stored, progress: None, look_at: None }
    }

    /// Asks for [`progress`](Self::progress), too.
    ///
    /// # Errors
    ///
    /// [`TooManySubscribers`] if so many ask for that already.
    pub fn with_progress(self) -> Result<Self, TooManySubscribers> {
        let progress = self.engine.bus().subscribe_to_progress()?;
        Ok(Self { progress: Some(progress), ..self })
    }

    /// Waits for what calls of this engine tell of how far they have come; for ever, unless that was [asked for](Self::with_progress). What is told
    /// of executions that nothing was read of yet is left out: nobody knows which secrets to hide in it.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses nothing.
    pub async fn progress(&mut self) -> StepProgress {
        let Some(subscription) = &mut self.progress else { return std::future::pending().await };
        loop {
            let Delivery::Progress { origin, progress } = subscription.next().await else { continue };
            if let Some(known) = self.known.get(&origin.identity.execution_id) {
                return known.renderer.progress(&origin.identity, &progress, self.engine.clock().now());
            }
        }
    }

    /// Returns the position up to which all is told.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads some of what is stored behind the position, and goes there; empty once all is told. Positions are left out where executions
    /// were dropped, and where so much has followed that the store has forgotten the order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read; the position is as before.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses no event.
    pub async fn read(&mut self) -> Result<Vec<Told>, StoreError> {
        loop {
            let commits = self.engine.store().commits(self.position, Self::AT_ONCE).await?;
            let Some(last) = commits.last() else { return Ok(Vec::new()) };
            let to = last.position + last.count - 1;
            self.read_ahead(&commits).await?;
            let told = commits.iter().flat_map(|commit| self.tell(commit)).collect::<Vec<_>>();
            self.position = to;
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    /// Waits until there may be more to read.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        // Silence is no error: another process may have stored something.
        let _ = tokio::time::timeout(Self::PERIOD, self.stored.changed()).await;
    }

    /// Waits until there may be more to read, or a call tells how far it has come.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future loses nothing.
    pub async fn changed_or_progress(&mut self) -> Option<StepProgress> {
        // What other processes store is looked for in time, however much progress there is.
        let look_at = *self.look_at.get_or_insert_with(|| Instant::now() + Self::PERIOD);
        let mut stored = self.stored.clone();
        let changed = pin!(tokio::time::timeout_at(look_at, stored.changed()));
        // Progress first: the events that have come may tell of the end, behind which nobody knows what to hide in it.
        if let Either::Left((progress, _)) = select(pin!(self.progress()), changed).await {
            return Some(progress);
        }
        self.stored.mark_unchanged();
        self.look_at = None;
        None
    }

    /// Reads the events of each execution, in one go.
    async fn read_ahead(&mut self, commits: &[Commit]) -> Result<(), StoreError> {
        let mut to: HashMap<ExecutionId, u64> = HashMap::new();
        for commit in commits {
            to.insert(commit.execution_id, commit.sequence + commit.count - 1);
        }
        for (id, to) in to {
            match self.read_one(id, to).await {
                Ok(()) => {}
                // Dropped meanwhile, or damaged, which is no reason to be silent about all others.
                Err(StoreError::NotFound(_)) => {
                    self.known.remove(&id);
                }
                Err(error @ (StoreError::Corrupt { .. } | StoreError::Conflict(_))) => {
                    tracing::warn!(execution_id = %id, error = &error as &dyn std::error::Error, "following an execution");
                    self.known.remove(&id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn read_one(&mut self, id: ExecutionId, to: u64) -> Result<(), StoreError> {
        let known = self.known.get(&id).map_or(0, |known| known.renderer.sequence() + known.ahead.len() as u64);
        let missing = usize::try_from(to.saturating_sub(known)).unwrap_or(usize::MAX);
        let events = if missing == 0 { Vec::new() } else { self.engine.store().load_some(id, known, missing).await? };
        self.looks += 1;
        if let Some(known) = self.known.get_mut(&id) {
            known.look = self.looks;
            known.ahead.extend(events);
            return Ok(());
        }
        let Some(EventBody::ExecutionQueued(queued)) = events.first().map(|event| &event.body) else {
            return Err(StoreError::NotFound(id));
        };
        let renderer = Renderer::new(&self.engine.stored_plan(&queued.workflow)?);
        self.known.insert(id, Known { renderer, look: self.looks, ahead: events.into() });
        Ok(())
    }

    /// Renders the events of a commit that was read.
    fn tell(&mut self, commit: &Commit) -> Vec<Told> {
        let Some(known) = self.known.get_mut(&commit.execution_id) else { return Vec::new() };
        let mut told = Vec::new();
        let (mut has_ended, end) = (false, commit.sequence + commit.count);
        while known.renderer.sequence() + 1 < end
            && let Some(event) = known.ahead.pop_front()
        {
            has_ended = event.body.is_terminal();
            let sequence = known.renderer.sequence() + 1;
            if sequence < commit.sequence {
                known.renderer.pass(&event);
            } else if let Some(entry) = known.renderer.entry(&event) {
                told.push(Told { position: commit.position + (sequence - commit.sequence), entry });
            }
        }
        if has_ended && known.ahead.is_empty() {
            self.known.remove(&commit.execution_id);
        } else if self.known.len() > Self::MAX_KNOWN {
            self.forget_one(commit.execution_id);
        }
        told
    }

    /// Forgets the execution that was looked at longest ago, of those that nothing is left to tell of.
    fn forget_one(&mut self, but: ExecutionId) {
        let idle = self.known.iter().filter(|(id, known)| **id != but && known.ahead.is_empty());
        if let Some(oldest) = idle.min_by_key(|(_, known)| known.look).map(|(id, _)| *id) {
            self.known.remove(&oldest);
        }
    }
}
