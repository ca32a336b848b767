//! Live events for whoever listens, never at the cost of the engine.
//!
//! Events are published after they are stored. Each subscriber has a queue of its own, bounded to [`Bus::QUEUE`]: when it is full
//! the oldest event is dropped and counted, and the subscriber's next read begins with [`Delivery::Dropped`]. What a subscriber
//! missed stands in the journal, by sequence. With no subscriber nothing is built and nothing is copied.
//!
//! Who asks for it ([`Subscription::with_progress`]) hears of progress, too, which is in no journal: of each attempt the latest only, and of a
//! model's answer what was written since the last time. It comes between the events that it was shown between.

mod window;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use orchestr8_agent_base::context::{ExecutionIdentity, Progress};
use orchestr8_schema::{ExecutionId, Timestamp, event::Event};
use tokio::sync::watch;

use self::window::Window;
use crate::plan::Plan;

/// Publishes the events of an engine.
#[derive(Debug, Default)]
pub struct Bus {
    subscribers: Mutex<Vec<Arc<Queue>>>,
    /// The number of subscribers, so that publishing to nobody takes no lock.
    count: AtomicUsize,
    dropped: AtomicU64,
    /// The most events that ever waited in one queue.
    high_water: AtomicUsize,
    latest: Mutex<Latest>,
    stored: watch::Sender<()>,
}

/// What is known of the latest events.
#[derive(Debug, Default)]
struct Latest {
    window: Window,
    last_drop: Option<Timestamp>,
}

/// How the bus does; see [`Bus::metrics`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BusMetrics {
    /// Those who listen.
    pub subscribers: usize,
    /// Events that wait in the longest queue.
    pub depth: usize,
    /// The most that ever waited in one.
    pub high_water: usize,
    /// Events that were dropped, over all subscribers.
    pub dropped: u64,
    /// When the last one was.
    pub last_drop: Option<Timestamp>,
    /// The share of events that were dropped in the last minute, 0 to 1.
    pub recently_dropped: f64,
}

/// Where an event comes from, shared by all events of an execution.
#[derive(Debug)]
#[non_exhaustive]
pub struct Origin {
    /// The execution.
    pub identity: Arc<ExecutionIdentity>,
    /// What runs; it has the names of the steps.
    pub plan: Arc<Plan>,
}

/// An event as published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Published {
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// Its place in the journal, counted from 1.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// What a subscriber reads.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An event.
    Event(Published),
    /// How far a call has come (`step.progress`), or what a model has written since the last time (`model.delta`).
    Progress {
        /// Where it comes from.
        origin: Arc<Origin>,
        /// How far.
        progress: Progress,
    },
    /// Events were dropped before the next one (`events.dropped`).
    Dropped {
        /// How many.
        count: u64,
        /// The sequence of the first.
        from_sequence: u64,
        /// The sequence of the last.
        to_sequence: u64,
    },
}

/// The error of one subscriber too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {limit} subscribers already", limit = Bus::SUBSCRIBERS)]
pub struct TooManySubscribers(());

impl Bus {
    /// Events that wait for one subscriber at most.
    pub const QUEUE: usize = 1000;
    /// Bytes of a model's text that wait for one subscriber at most; what is more is left out.
    pub const TEXT: usize = 64 * 1024;
    /// Subscribers at most.
    pub const SUBSCRIBERS: usize = 100;

    /// Listens to all executions, or to one. Dropping the subscription ends it.
    ///
    /// # Errors
    ///
    /// [`TooManySubscribers`] if there are [`Bus::SUBSCRIBERS`] already.
    pub fn subscribe(self: &Arc<Self>, execution: Option<ExecutionId>) -> Result<Subscription, TooManySubscribers> {
        self.join(Queue::new(execution, true))
    }

    /// Listens to the progress of all executions, and to no events.
    ///
    /// # Errors
    ///
    /// [`TooManySubscribers`] if there are [`Bus::SUBSCRIBERS`] already that do the same; those who listen to events are counted by themselves.
    pub(crate) fn subscribe_to_progress(self: &Arc<Self>) -> Result<Subscription, TooManySubscribers> {
        self.join(Queue::new(None, false)).map(Subscription::with_progress)
    }

    fn join(self: &Arc<Self>, queue: Queue) -> Result<Subscription, TooManySubscribers> {
        let mut subscribers = self.subscribers();
        let alike = subscribers.iter().filter(|other| other.wants_events == queue.wants_events);
        if alike.count() >= Self::SUBSCRIBERS {
            return Err(TooManySubscribers(()));
        }
        let queue = Arc::new(queue);
        subscribers.push(Arc::clone(&queue));
        self.count.store(subscribers.len(), Ordering::Release);
        Ok(Subscription { bus: Arc::clone(self), queue })
    }

    /// Returns how many events were dropped since the engine started, over all subscribers.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Tells how the bus does at this time.
    #[must_use]
    pub fn metrics(&self, now: Timestamp) -> BusMetrics {
        let subscribers = self.subscribers();
        let depth = subscribers.iter().map(|queue| queue.inner().events.len()).max().unwrap_or(0);
        let latest = self.latest();
        BusMetrics {
            subscribers: subscribers.len(),
            depth,
            high_water: self.high_water.load(Ordering::Relaxed),
            dropped: self.dropped(),
            last_drop: latest.last_drop,
            recently_dropped: latest.window.share(now),
        }
    }

    /// Counts events that somebody hands on from here to many, and those of them that were lost on the way, as if each of the many had
    /// subscribed.
    pub fn count_handed_on(&self, now: Timestamp, published: u64, dropped: u64) {
        self.count(now, published, dropped);
    }

    /// Tells when events were stored, not which: whoever follows all executions reads them in the order of the
    /// [store](crate::store), which the order of publishing is not.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.stored.subscribe()
    }

    /// Whether there is anybody to publish to.
    pub(crate) fn has_subscribers(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Publishes a batch of events; `first` is the sequence of the first of them.
    pub(crate) fn publish(&self, origin: &Arc<Origin>, first: u64, events: &[Event]) {
        if self.stored.receiver_count() > 0 {
            self.stored.send_replace(());
        }
        let Some(last) = events.last() else { return };
        let (mut published, mut dropped) = (0, 0);
        for queue in self.subscribers().iter().filter(|queue| queue.wants_events) {
            if queue.execution.is_none_or(|wanted| wanted == origin.identity.execution_id) {
                let pushed = queue.push(origin, first, events);
                published += events.len() as u64;
                dropped += pushed.dropped;
                self.high_water.fetch_max(pushed.depth, Ordering::Relaxed);
            }
        }
        if published > 0 {
            self.count(last.at, published, dropped);
        }
    }

    /// Shows how far a call has come.
    pub(crate) fn show(&self, origin: &Arc<Origin>, progress: &Progress) {
        for queue in self.subscribers().iter() {
            if queue.execution.is_none_or(|wanted| wanted == origin.identity.execution_id)
                && queue.wants_progress.load(Ordering::Relaxed)
            {
                queue.show(origin, progress);
            }
        }
    }

    fn count(&self, at: Timestamp, published: u64, dropped: u64) {
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        let mut latest = self.latest();
        if dropped > 0 {
            latest.last_drop = Some(at);
        }
        if let Some(share) = latest.window.count(at, published, dropped) {
            tracing::warn!(
                percent = (share * 100.0).round(),
                "subscribers are too slow: events of the last minute were dropped"
            );
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscriber's view of the bus.
#[derive(Debug)]
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    bus: Arc<Bus>,
    queue: Arc<Queue>,
}

impl Subscription {
    /// Asks for progress, too: [`Delivery::Progress`].
    pub fn with_progress(self) -> Self {
        self.queue.wants_progress.store(true, Ordering::Relaxed);
        self
    }

    /// Waits for what comes next.
    ///
    /// # Cancellation safety
    ///
    /// A future that is dropped has taken nothing.
    pub async fn next(&mut self) -> Delivery {
        std::future::poll_fn(|cx| {
            let mut inner = self.queue.inner();
            match inner.take() {
                Some(delivery) => Poll::Ready(delivery),
                None => {
                    inner.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.bus.subscribers();
        subscribers.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.bus.count.store(subscribers.len(), Ordering::Release);
    }
}

#[derive(Debug)]
struct Queue {
    execution: Option<ExecutionId>,
    wants_events: bool,
    wants_progress: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Published>,
    /// Of each call the latest, in the order in which the calls began to show it.
    progress: VecDeque<Shown>,
    /// How many events have come and gone, those that were dropped included.
    pushed: u64,
    gone: u64,
    dropped: Option<(u64, u64, u64)>,
    waker: Option<Waker>,
}

/// Progress that waits.
#[derive(Debug)]
struct Shown {
    origin: Arc<Origin>,
    progress: Progress,
    /// How many events had come before it.
    behind: u64,
}

/// What adding events to a queue came to.
struct Pushed {
    dropped: u64,
    /// Events that wait in the queue now.
    depth: usize,
}

impl Queue {
    fn new(execution: Option<ExecutionId>, wants_events: bool) -> Self {
        Self { execution, wants_events, wants_progress: AtomicBool::new(false), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts progress in the place of what was not read of the same call; text is added to it.
    fn show(&self, origin: &Arc<Origin>, progress: &Progress) {
        let mut inner = self.inner();
        let is_of_same = |Shown { origin: other, progress: known, .. }: &&mut Shown| {
            let same_attempt = known.call == progress.call && known.attempt == progress.attempt;
            same_attempt
                && known.is_text == progress.is_text
                && other.identity.execution_id == origin.identity.execution_id
        };
        let is_full = inner.progress.len() >= Bus::QUEUE;
        match inner.progress.iter_mut().find(is_of_same) {
            Some(Shown { progress: known, .. }) if progress.is_text => {
                if known.message.len() + progress.message.len() <= Bus::TEXT {
                    known.message.push_str(&progress.message);
                }
            }
            Some(Shown { progress: known, .. }) => known.clone_from(progress),
            None if is_full => {}
            None => {
                let (origin, progress, behind) = (Arc::clone(origin), progress.clone(), inner.pushed);
                inner.progress.push_back(Shown { origin, progress, behind });
            }
        }
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// Adds events and tells how many had to go for them.
    fn push(&self, origin: &Arc<Origin>, first: u64, events: &[Event]) -> Pushed {
        let mut inner = self.inner();
        let mut dropped = 0;
        for (sequence, event) in (first..).zip(events) {
            if inner.events.len() == Bus::QUEUE
                && let Some(oldest) = inner.events.pop_front()
            {
                dropped += 1;
                inner.gone += 1;
                let (count, from, _) = inner.dropped.unwrap_or((0, oldest.sequence, 0));
                inner.dropped = Some((count + 1, from, oldest.sequence));
            }
            inner.pushed += 1;
            inner.events.push_back(Published { origin: Arc::clone(origin), sequence, event: event.clone() });
        }
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
        Pushed { dropped, depth: inner.events.len() }
    }
}

impl Inner {
    fn take(&mut self) -> Option<Delivery> {
        if let Some((count, from_sequence, to_sequence)) = self.dropped.take() {
            return Some(Delivery::Dropped { count, from_sequence, to_sequence });
        }
        if self.progress.front().is_some_and(|shown| shown.behind <= self.gone)
            && let Some(Shown { origin, progress, .. }) = self.progress.pop_front()
        {
            return Some(Delivery::Progress { origin, progress });
        }
        self.events.pop_front().map(|event| {
            self.gone += 1;
            Delivery::Event(event)
        })
    }
}
