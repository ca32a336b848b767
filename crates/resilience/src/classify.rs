//! The one question that layers ask of a failure: what kind of failure is it?
//!
//! An error answers through [`Classify`]; what an answer *means* is decided by those who act on it, in one exhaustive `match`
//! each: [`RetryPolicy::retries`](crate::RetryPolicy::retries) and
//! [`CircuitBreakerPolicy::outcome`](crate::CircuitBreakerPolicy::outcome). Neither of them looks at message text.

use std::time::Duration;

/// Says what kind of failure an error is.
///
/// Implement it once, on the error type of the service; the layers keep that type and add nothing to it.
///
/// ```
/// use std::time::Duration;
/// use orchestr8_resilience::{Class, Classify};
///
/// enum PaymentError {
///     Declined,
///     Busy { retry_after: Duration },
///     Unreachable,
/// }
///
/// impl Classify for PaymentError {
///     fn classify(&self) -> Class {
///         match self {
///             PaymentError::Declined => Class::Permanent,
///             PaymentError::Busy { .. } => Class::RateLimited,
///             PaymentError::Unreachable => Class::Network,
///         }
///     }
///
///     fn retry_after(&self) -> Option<Duration> {
///         match self {
///             PaymentError::Busy { retry_after } => Some(*retry_after),
///             PaymentError::Declined | PaymentError::Unreachable => None,
///         }
///     }
/// }
/// # assert_eq!(PaymentError::Unreachable.classify(), Class::Network);
/// # assert_eq!(PaymentError::Declined.retry_after(), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "the resilience layers cannot tell what kind of failure `{Self}` is",
    note = "implement `Classify` for the service's error type; one `match` from its variants to `Class` is enough"
)]
pub trait Classify {
    /// Returns the kind of this failure.
    fn classify(&self) -> Class;

    /// Returns how long the failed side asks to be left alone; `None`, the default, if it did not say.
    ///
    /// A retry waits at least this long, also beyond the cap of its backoff.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// Returns whether a layer rejected the attempt, so that the service was not called; by default, whether the class is
    /// [`CircuitOpen`](Class::CircuitOpen).
    ///
    /// Say so of refusals by [rate limits](crate::RateLimited) and [bulkheads](crate::BulkheadFull), too, which have the class of
    /// those by the service: such an attempt uses up a try but does not count as one, and it uses no permit of a rate limit.
    fn is_rejection(&self) -> bool {
        self.classify() == Class::CircuitOpen
    }
}

/// What kind of failure an error is.
///
/// | class | retried | circuit breaker |
/// |---|---|---|
/// | `Timeout`, `Network`, `Retryable`, `ServerError` | yes | a failure |
/// | `RateLimited` | yes, not before `retry_after` | neutral |
/// | `Permanent` | no | neutral |
/// | `Internal` | no, unless the policy asks for it | neutral |
/// | `CircuitOpen` | no | not told |
/// | `Cancelled` | no | abandoned |
///
/// Policies can switch off a "yes" or "a failure". The enum is exhaustive on purpose: a new class is a decision for everyone
/// who acts on classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No answer came in time.
    Timeout,
    /// The other side could not be reached, or the connection broke.
    Network,
    /// The other side failed in a way that may pass, and said nothing more precise.
    Retryable,
    /// As [`Retryable`](Class::Retryable), with a status of 500 or more.
    ServerError,
    /// The other side is well, but wants fewer requests.
    RateLimited,
    /// The same request will fail again: it is invalid, denied, or asks for what is not there.
    Permanent,
    /// A defect on this side; a panic, too.
    Internal,
    /// A circuit breaker rejected the request; the service was not called.
    CircuitOpen,
    /// The caller gave up.
    Cancelled,
}
