use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    RateLimited, Rates, Refusal,
    state::{Answer, Demand, Limits, Machine, Standing},
};
use crate::{
    keyed::{Handle, Lookup, Registry, Select, sealed},
    timer::Timer,
};

/// A handle of one token bucket. Clones are cheap and share its state.
///
/// Usually got from a [`BucketRegistry`] by key. Without a registry, [`Bucket::new`] makes one of which there are only this
/// handle and its clones.
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: Arc<str>,
    machine: Mutex<Machine>,
}

/// What is in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketState {
    /// How many requests may pass at once; `None` without limit.
    pub requests: Option<i64>,
    /// How many weighted units may pass at once; `None` without limit, less than nothing if usage turned out to be more than
    /// was estimated.
    pub weight: Option<i64>,
    /// How many attempts wait.
    pub waiting: usize,
}

impl Bucket {
    /// Makes a full bucket that belongs to no registry. The key is for errors and observers.
    pub fn new(key: impl Into<Arc<str>>, rates: Rates) -> Self {
        Self { shared: Arc::new(Shared::new(key.into(), rates)) }
    }

    /// Returns the key of the bucket.
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// Returns what is in the bucket now.
    pub fn state(&self) -> BucketState {
        self.shared.with(|machine, now, wake| {
            let (requests, weight) = machine.available(now, wake);
            BucketState { requests, weight, waiting: machine.waiting() }
        })
    }

    /// Fills the bucket, and lets those pass who wait for what is in it then.
    pub fn reset(&self) {
        self.shared.with(Machine::reset);
    }

    /// Corrects what an attempt took by what it turned out to use. What it used more is taken even if it is not there.
    ///
    /// The [layer](super::RateLimitLayer) does this with what [`Weigh::used`](super::Weigh::used) returns. Here it is for
    /// those who learn of it in another way, or before the attempt has ended.
    pub fn correct(&self, estimated: u64, used: u64) {
        self.shared.with(|machine, now, wake| machine.correct(estimated, used, now, wake));
    }

    /// Puts back what an attempt took that was not made after all: one request, and this weight.
    ///
    /// The [layer](super::RateLimitLayer) does this for attempts that are rejected further in. Here it is for those who take an
    /// attempt back between its admission and the service.
    pub fn give_back(&self, weight: u64) {
        self.shared.with(|machine, now, wake| machine.give_back(Demand { weight }, now, wake));
    }

    /// Takes over what was missing before a restart, if nothing is missing by now.
    pub(crate) fn restore(&self, missing: (u64, u64), passed: Duration) {
        self.shared.with(|machine, now, wake| machine.restore(missing, passed, now, wake));
    }

    /// Asks for a request of this weight, which has its place in the queue from now on.
    pub(super) fn ask(&self, weight: u64, limits: Limits) -> Result<Permit, RateLimited> {
        let demand = Demand { weight };
        let (answer, asked_at) = self.shared.with(|machine, now, wake| (machine.ask(demand, limits, now, wake), now));
        let stage = match answer {
            Answer::Granted => Stage::Granted,
            Answer::Queued { number, until } => Stage::Queued { number, timer: Timer::new(), until },
            Answer::TooLong { wait } => return Err(self.refused(Refusal::TooLong { retry_after: wait })),
            Answer::TooLate { wait } => return Err(self.refused(Refusal::TooLate { wait })),
            Answer::TooHeavy { capacity } => return Err(self.refused(Refusal::TooHeavy { weight, capacity })),
        };
        Ok(Permit { bucket: self.clone(), demand, stage, asked_at })
    }

    fn refused(&self, refusal: Refusal) -> RateLimited {
        RateLimited { key: Arc::clone(&self.shared.key), refusal }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("key", &self.key()).field("state", &self.state()).finish()
    }
}

impl Shared {
    fn new(key: Arc<str>, rates: Rates) -> Self {
        Self { key, machine: Mutex::new(Machine::new(rates, Instant::now())) }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the machine do something now, and wakes those whom it concerns when the lock is free again.
    fn with<T>(&self, act: impl FnOnce(&mut Machine, Instant, &mut Vec<Waker>) -> T) -> T {
        let mut wake = Vec::new();
        let result = act(&mut self.lock(), Instant::now(), &mut wake);
        wake.into_iter().for_each(Waker::wake);
        result
    }
}

impl sealed::Sealed for Bucket {}

impl Handle for Bucket {
    type State = BucketState;

    fn key(&self) -> &Arc<str> {
        &self.shared.key
    }

    fn state(&self) -> BucketState {
        Self::state(self)
    }

    fn is_idle(&self) -> bool {
        self.shared.with(|machine, now, wake| machine.missing(now, wake) == (0, 0) && machine.waiting() == 0)
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }
}

impl<R> Select<R> for Bucket {
    type Handle = Bucket;

    fn select(&mut self, _request: &R) -> Bucket {
        self.clone()
    }
}

/// A place in the queue of a bucket, and what was granted there. Until the service is called, dropping it takes nothing.
#[derive(Debug)]
pub(super) struct Permit {
    bucket: Bucket,
    demand: Demand,
    stage: Stage,
    asked_at: Instant,
}

#[derive(Debug)]
enum Stage {
    Queued { number: u64, timer: Timer, until: Instant },
    Granted,
    Used,
}

impl Permit {
    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(super) fn weight(&self) -> u64 {
        self.demand.weight
    }

    /// Is ready once the permit is there, with the time that it was waited for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        while let Stage::Queued { number, timer, until } = &mut self.stage {
            let number = *number;
            let shared = &self.bucket.shared;
            let standing = shared.with(|machine, now, wake| machine.standing(number, cx.waker(), now, wake));
            match standing {
                Standing::Granted => {
                    self.stage = Stage::Granted;
                    return Poll::Ready(self.asked_at.elapsed());
                }
                Standing::Next { until: next } if next != *until => (*until, *timer) = (next, Timer::new()),
                Standing::Next { .. } | Standing::Behind => {}
            }
            ready!(timer.poll_until(*until, cx));
            // Those before may take longer than it seemed when this one was queued.
            let later = shared.with(|machine, now, wake| machine.until(number, now, wake));
            (*until, *timer) = (later, Timer::new());
        }
        Poll::Ready(Duration::ZERO)
    }

    pub(super) fn used(&mut self) {
        self.stage = Stage::Used;
    }

    /// Gives back what the attempt took, as if it had not been made.
    pub(super) fn give_back(&mut self) {
        self.bucket.give_back(self.demand.weight);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let demand = self.demand;
        match self.stage {
            Stage::Queued { number, .. } => {
                self.bucket.shared.with(|machine, now, wake| machine.leave(number, demand, now, wake));
            }
            Stage::Granted => self.give_back(),
            Stage::Used => {}
        }
    }
}

/// Buckets by key, each full at first. An idle one is full, and nobody waits for it.
///
/// ```
/// use orchestr8_resilience::{BucketRegistry, rate_limit::Rates};
///
/// let buckets = BucketRegistry::new();
/// let rates = Rates::try_new(Some(60), None)?;
/// let search = buckets.bucket("search", rates);
/// assert_eq!(search.state().requests, Some(60));
/// assert_eq!(buckets.len(), 1);
/// # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
/// ```
pub type BucketRegistry = Registry<Bucket>;

impl Registry<Bucket> {
    /// Returns the bucket of this key, a new and full one if there is none. One that has other rates has these from now on;
    /// what is in it stays, as far as there is room.
    pub fn bucket(&self, key: &str, rates: Rates) -> Bucket {
        let bucket = self.get_or_insert(key, |key| Bucket::new(key, rates));
        if bucket.shared.lock().rates() != rates {
            bucket.shared.with(|machine, now, wake| machine.set_rates(rates, now, wake));
        }
        bucket
    }

    /// Fills the bucket of this key. Returns whether there is one.
    pub fn reset(&self, key: &str) -> bool {
        self.get(key).inspect(Bucket::reset).is_some()
    }

    /// Fills all buckets.
    pub fn reset_all(&self) {
        self.handles().for_each(|bucket| bucket.reset());
    }

    /// What is missing to full buckets, in thousandths, by key.
    pub(crate) fn missing(&self) -> Vec<(Arc<str>, Rates, (u64, u64))> {
        let missing = |bucket: Bucket| {
            let (rates, missing) =
                bucket.shared.with(|machine, now, wake| (machine.rates(), machine.missing(now, wake)));
            (missing != (0, 0)).then(|| (Arc::clone(&bucket.shared.key), rates, missing))
        };
        self.handles().filter_map(missing).collect()
    }
}

impl sealed::Sealed for (BucketRegistry, Rates) {}

impl Lookup for (BucketRegistry, Rates) {
    type Handle = Bucket;

    fn look_up(&self, key: &str) -> Bucket {
        self.0.bucket(key, self.1)
    }
}
