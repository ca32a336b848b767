//! Counting what an [`Observer`] hears, by key.
//!
//! ```
//! use orchestr8_resilience::{CountsRegistry, RetryLayer, RetryPolicy};
//! # use orchestr8_resilience::{Class, Classify, DeadlineReached};
//! use tower::{Layer, ServiceExt, service_fn};
//! # #[derive(Debug)]
//! # struct Down;
//! # impl Classify for Down {
//! #     fn classify(&self) -> Class { Class::Network }
//! # }
//! # impl From<DeadlineReached<Down>> for Down {
//! #     fn from(_: DeadlineReached<Down>) -> Self { Down }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let counts = CountsRegistry::new();
//! let retry = RetryLayer::new(RetryPolicy::default(), 42).observer(counts.counts("search"));
//! let down = retry.layer(service_fn(|_: ()| async { Err::<(), _>(Down) }));
//! assert!(down.oneshot(()).await.is_err());
//!
//! let search = counts.state("search").unwrap();
//! assert_eq!((search.successes, search.failures, search.retries), (0, 1, 2));
//! # }
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    CircuitOpen, Elapsed,
    keyed::{Handle, Registry, sealed},
    observe::{GaveUp, Observer, Queue, ScheduledRetry, Waited},
};

/// A handle of the counts of one key: an [`Observer`] for all layers of a stack. Clones are cheap and count together.
///
/// Put it beside another observer as a pair.
#[derive(Clone, Debug)]
pub struct Counts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: Arc<str>,
    successes: AtomicU64,
    failures: AtomicU64,
    retries: AtomicU64,
    timeouts: AtomicU64,
    rejections: AtomicU64,
    in_backoff: AtomicU64,
    in_rate_limit: AtomicU64,
    in_bulkhead: AtomicU64,
}

/// What was counted under one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted {
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed for good.
    pub failures: u64,
    /// Attempts after the first of a call.
    pub retries: u64,
    /// Attempts that took too long.
    pub timeouts: u64,
    /// Attempts that a circuit breaker, a rate limit or a bulkhead did not let through.
    pub rejections: u64,
    /// The delays before retries, together.
    pub in_backoff: Duration,
    /// The waits for rate limits, together.
    pub in_rate_limit: Duration,
    /// The waits for bulkheads, together.
    pub in_bulkhead: Duration,
}

/// Counts by key. Idle ones have counted nothing; what an evicted one has counted is lost.
pub type CountsRegistry = Registry<Counts>;

impl Registry<Counts> {
    /// Returns the counts of this key, which begin at zero.
    pub fn counts(&self, key: &str) -> Counts {
        self.get_or_insert(key, Counts::new)
    }
}

impl Counts {
    /// Makes counts that belong to no registry.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        let shared = Shared {
            key: key.into(),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            rejections: AtomicU64::new(0),
            in_backoff: AtomicU64::new(0),
            in_rate_limit: AtomicU64::new(0),
            in_bulkhead: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns what was counted so far. Each number is true for itself; together they are no instant's picture.
    pub fn counted(&self) -> Counted {
        let Shared {
            key: _,
            successes,
            failures,
            retries,
            timeouts,
            rejections,
            in_backoff,
            in_rate_limit,
            in_bulkhead,
        } = &*self.shared;
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Relaxed));
        Counted {
            successes: successes.load(Relaxed),
            failures: failures.load(Relaxed),
            retries: retries.load(Relaxed),
            timeouts: timeouts.load(Relaxed),
            rejections: rejections.load(Relaxed),
            in_backoff: time(in_backoff),
            in_rate_limit: time(in_rate_limit),
            in_bulkhead: time(in_bulkhead),
        }
    }

    fn wait(&self, waited: &Waited<'_>) {
        let time = match waited.queue {
            Queue::RateLimit => &self.shared.in_rate_limit,
            Queue::Bulkhead => &self.shared.in_bulkhead,
        };
        time.fetch_add(nanos(waited.time), Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<E: ?Sized> Observer<E> for Counts {
    fn retry_scheduled(&self, retry: &ScheduledRetry, _error: &E) {
        self.shared.retries.fetch_add(1, Relaxed);
        self.shared.in_backoff.fetch_add(nanos(retry.delay), Relaxed);
    }

    fn succeeded(&self, _attempts: u32) {
        self.shared.successes.fetch_add(1, Relaxed);
    }

    fn gave_up(&self, _attempts: u32, _reason: GaveUp, _error: &E) {
        self.shared.failures.fetch_add(1, Relaxed);
    }

    fn timed_out(&self, _elapsed: &Elapsed) {
        self.shared.timeouts.fetch_add(1, Relaxed);
    }

    fn rejected(&self, _rejection: &CircuitOpen) {
        self.shared.rejections.fetch_add(1, Relaxed);
    }

    fn waited(&self, waited: &Waited<'_>) {
        self.wait(waited);
    }

    fn refused(&self, waited: &Waited<'_>, _error: &E) {
        self.shared.rejections.fetch_add(1, Relaxed);
        self.wait(waited);
    }
}

impl sealed::Sealed for Counts {}

impl Handle for Counts {
    type State = Counted;

    fn key(&self) -> &Arc<str> {
        &self.shared.key
    }

    fn state(&self) -> Counted {
        self.counted()
    }

    fn is_idle(&self) -> bool {
        self.counted() == Counted::default()
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }
}
