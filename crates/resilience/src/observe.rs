//! Listening to the layers: what they decided, at the moment of the decision.
//!
//! Layers decide and an [`Observer`] hears of it, synchronously and before the decision takes effect: of a retry before its
//! delay starts, of a timeout before the attempt is dropped. What it does with that (journal it, log it, count it) is its own
//! business. The layers themselves log nothing.
//!
//! What is commonly reported of such a stack, and where it is heard:
//!
//! | event | method |
//! |---|---|
//! | `composition_start`, `retry_attempt` | [`attempt_started`](Observer::attempt_started), the first one and all |
//! | `retry_backoff` | [`retry_scheduled`](Observer::retry_scheduled) |
//! | `retry_success`, `composition_complete` | [`succeeded`](Observer::succeeded) |
//! | `retry_exhausted`, `composition_error` | [`gave_up`](Observer::gave_up), by its reason and in any case |
//! | `timeout_triggered`, `timeout_cleared` | [`timed_out`](Observer::timed_out), [`timeout_cleared`](Observer::timeout_cleared) |
//! | `circuit_state_change`, `circuit_recovery` | [`circuit_changed`](Observer::circuit_changed), all and those to closed |
//! | `circuit_probe_attempt` | [`probe_started`](Observer::probe_started) |
//! | `permit_wait` | [`waited`](Observer::waited) |
//! | `permit_rejected` | [`rejected`](Observer::rejected), [`refused`](Observer::refused) |

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{CircuitOpen, Elapsed, circuit_breaker::CircuitChange};

/// Hears what the layers around a service decide. `E` is the error of that service.
///
/// Each method does nothing unless implemented, and `()` is the observer that hears nothing and costs nothing. References and
/// `Arc`s of an observer are observers, and so is a pair of two, the first of which hears first. One observer can serve all layers of a stack; it is called by the task that polls the
/// call, so it must not block, and nothing is held locked meanwhile.
///
/// The order within a call: [`attempt_started`](Observer::attempt_started), then what the circuit breaker and the timeout have
/// to say about that attempt, then one of [`retry_scheduled`](Observer::retry_scheduled) (and the next attempt),
/// [`succeeded`](Observer::succeeded) or [`gave_up`](Observer::gave_up), which are last. A call that is dropped stops reporting.
///
/// ```
/// use std::cell::RefCell;
/// use orchestr8_resilience::observe::{Observer, ScheduledRetry};
///
/// #[derive(Default)]
/// struct Delays(RefCell<Vec<u128>>);
///
/// impl<E> Observer<E> for Delays {
///     fn retry_scheduled(&self, retry: &ScheduledRetry, _error: &E) {
///         self.0.borrow_mut().push(retry.delay.as_millis());
///     }
/// }
/// # let _ = Delays::default();
/// ```
#[expect(unused_variables, reason = "what nobody listens to is ignored")]
pub trait Observer<E: ?Sized> {
    /// Hears that the retry layer is about to call the inner layers, for the `attempt`-th time counting from 1 (or on from
    /// [`tries_used`](crate::RetryLayer::tries_used)). A layer further in may still reject the attempt.
    fn attempt_started(&self, attempt: u32) {}

    /// Hears that an attempt failed with `error` and another one will follow. The delay has not started yet.
    fn retry_scheduled(&self, retry: &ScheduledRetry, error: &E) {}

    /// Hears that a call succeeded; `attempts` is how often it reached the service.
    fn succeeded(&self, attempts: u32) {}

    /// Hears that a call failed with `error` and why it is not tried again; `attempts` is how often it reached the service.
    fn gave_up(&self, attempts: u32, reason: GaveUp, error: &E) {}

    /// Hears that an attempt took too long. The attempt still exists and is dropped next: the place to fire its cancellation.
    fn timed_out(&self, elapsed: &Elapsed) {}

    /// Hears that an attempt that was timed has ended in time. Attempts that are ready at once are not timed.
    fn timeout_cleared(&self) {}

    /// Hears that this call changed the state of a circuit.
    ///
    /// Calls on other threads may report their changes of the same circuit in another order than they happened; the order is
    /// that of [`generation`](CircuitChange::generation).
    fn circuit_changed(&self, change: &CircuitChange) {}

    /// Hears that the attempt is the probe of the half-open circuit `key`.
    fn probe_started(&self, key: &str) {}

    /// Hears that a circuit breaker rejected the attempt; the service is not called.
    fn rejected(&self, rejection: &CircuitOpen) {}

    /// Hears that an attempt had to wait for a rate limit or a bulkhead, and that its wait is over.
    fn waited(&self, waited: &Waited<'_>) {}

    /// Hears that a rate limit or a bulkhead refused the attempt with `error`, at once or after a wait; the service is not called.
    fn refused(&self, waited: &Waited<'_>, error: &E) {}
}

/// A wait that is over, or that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited<'a> {
    /// What was waited for.
    pub queue: Queue,
    /// The key that stands for it.
    pub key: &'a str,
    /// How long it took; zero if it was refused at once.
    pub time: Duration,
}

/// What an attempt may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// A permit of a rate limit.
    RateLimit,
    /// A permit of a bulkhead.
    Bulkhead,
}

impl Queue {
    /// Returns the name for logs and journals: `"rate-limit"` or `"bulkhead"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Queue::RateLimit => "rate-limit",
            Queue::Bulkhead => "bulkhead",
        }
    }
}

/// A retry that has been decided, and whose delay starts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduledRetry {
    /// The number of the attempt that will follow; 2 for the first retry.
    pub attempt: u32,
    /// How long it is waited for.
    pub delay: Duration,
    /// When it is due.
    pub due_at: Instant,
}

/// Why a failed call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GaveUp {
    /// The policy does not retry such a failure, or allows one attempt only.
    NotRetried,
    /// The failure would be retried, but the attempts are spent.
    Exhausted,
    /// The next attempt would not start before the deadline.
    DeadlineReached,
}

// === impl Observer ===

impl<E: ?Sized> Observer<E> for () {}

macro_rules! forward {
    ($observer:ident for $pointer:ty) => {
        impl<E: ?Sized, $observer: Observer<E> + ?Sized> Observer<E> for $pointer {
            fn attempt_started(&self, attempt: u32) {
                (**self).attempt_started(attempt);
            }

            fn retry_scheduled(&self, retry: &ScheduledRetry, error: &E) {
                (**self).retry_scheduled(retry, error);
            }

            fn succeeded(&self, attempts: u32) {
                (**self).succeeded(attempts);
            }

            fn gave_up(&self, attempts: u32, reason: GaveUp, error: &E) {
                (**self).gave_up(attempts, reason, error);
            }

            fn timed_out(&self, elapsed: &Elapsed) {
                (**self).timed_out(elapsed);
            }

            fn timeout_cleared(&self) {
                (**self).timeout_cleared();
            }

            fn circuit_changed(&self, change: &CircuitChange) {
                (**self).circuit_changed(change);
            }

            fn probe_started(&self, key: &str) {
                (**self).probe_started(key);
            }

            fn rejected(&self, rejection: &CircuitOpen) {
                (**self).rejected(rejection);
            }

            fn waited(&self, waited: &Waited<'_>) {
                (**self).waited(waited);
            }

            fn refused(&self, waited: &Waited<'_>, error: &E) {
                (**self).refused(waited, error);
            }
        }
    };
}

/// Both hear everything.
impl<E: ?Sized, A: Observer<E>, B: Observer<E>> Observer<E> for (A, B) {
    fn attempt_started(&self, attempt: u32) {
        self.0.attempt_started(attempt);
        self.1.attempt_started(attempt);
    }

    fn retry_scheduled(&self, retry: &ScheduledRetry, error: &E) {
        self.0.retry_scheduled(retry, error);
        self.1.retry_scheduled(retry, error);
    }

    fn succeeded(&self, attempts: u32) {
        self.0.succeeded(attempts);
        self.1.succeeded(attempts);
    }

    fn gave_up(&self, attempts: u32, reason: GaveUp, error: &E) {
        self.0.gave_up(attempts, reason, error);
        self.1.gave_up(attempts, reason, error);
    }

    fn timed_out(&self, elapsed: &Elapsed) {
        self.0.timed_out(elapsed);
        self.1.timed_out(elapsed);
    }

    fn timeout_cleared(&self) {
        self.0.timeout_cleared();
        self.1.timeout_cleared();
    }

    fn circuit_changed(&self, change: &CircuitChange) {
        self.0.circuit_changed(change);
        self.1.circuit_changed(change);
    }

    fn probe_started(&self, key: &str) {
        self.0.probe_started(key);
        self.1.probe_started(key);
    }

    fn rejected(&self, rejection: &CircuitOpen) {
        self.0.rejected(rejection);
        self.1.rejected(rejection);
    }

    fn waited(&self, waited: &Waited<'_>) {
        self.0.waited(waited);
        self.1.waited(waited);
    }

    fn refused(&self, waited: &Waited<'_>, error: &E) {
        self.0.refused(waited, error);
        self.1.refused(waited, error);
    }
}

forward!(O for &O);
forward!(O for Arc<O>);
