//! Tower layers for any service whose error can be classified: retry, rate limit, bulkhead, circuit breaker, timeout.
//!
//! A service that calls something unreliable is wrapped in layers, and its error type says of each failure [what kind it
//! is](Classify). The layers decide by that, add their own failures through [`From`], and leave the error's type alone. They
//! know nothing of what the service does.
//!
//! # The order
//!
//! A *call* is everything from a request to its final answer; an *attempt* is one try. There is one order of layers:
//!
//! `retry( backoff( rate limit( bulkhead( slot( circuit breaker( timeout( service )))))))`
//!
//! - **Retry** is outermost: an attempt is all that is inside of it, so each attempt waits its turn, asks the breaker and gets
//!   a time limit anew. A circuit that opens ends the retries, because its rejection is not retried.
//! - **Backoff** is the delay inside retry. Nothing of the inner layers is held while it lasts.
//! - **Rate limit**, **bulkhead** and **slot** are where an attempt waits for its turn. They come before the breaker, so that
//!   waiting neither holds a probe nor eats of the attempt's time. The rate limit is the first of them: a permit of it is spent
//!   when it is used, so nothing is lost if the attempt waits on, while a permit of the bulkhead that waits for its rate keeps
//!   others out. Whoever waits asks [`Circuit::rejection`] first ([`unless_open`](RateLimitLayer::unless_open)), so that nobody
//!   waits only to be rejected.
//! - The **circuit breaker** sees attempts, not calls: it counts each failure, a timeout too, and the probe of a half-open
//!   circuit is a single attempt.
//! - The **timeout** is innermost, one limit per attempt. A limit on a whole call, and its cancellation, race outside of the
//!   stack; retry only refuses to wait beyond a [deadline](RetryLayer::deadline).
//!
//! [`Stack`] puts the layers together in this order whatever the order of its setters. A layer that is not set costs nothing.
//! Rejections are answers to a call, never of `poll_ready`. *Slot* is a place for a layer of the caller's own; there is a second
//! one between breaker and timeout, see [`Stack::announce`].
//!
//! Which of the layers a problem asks for is on a [page of its own](documentation::which_layer), and so is a
//! [comparison](documentation::comparison) with tower's own layers and with tower-resilience.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use orchestr8_resilience::{
//!     Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, Class, Classify, DeadlineReached, Elapsed,
//!     RetryLayer, RetryPolicy, Stack, TimeoutLayer,
//! };
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! #[derive(Debug)]
//! enum QuoteError {
//!     UnknownSymbol,
//!     TooSlow(Elapsed),
//!     NotNow(CircuitOpen),
//!     TooLate { last: Option<Box<QuoteError>> },
//! }
//!
//! impl Classify for QuoteError {
//!     fn classify(&self) -> Class {
//!         match self {
//!             QuoteError::UnknownSymbol => Class::Permanent,
//!             QuoteError::TooSlow(_) | QuoteError::TooLate { .. } => Class::Timeout,
//!             QuoteError::NotNow(_) => Class::CircuitOpen,
//!         }
//!     }
//! }
//!
//! impl From<Elapsed> for QuoteError {
//!     fn from(elapsed: Elapsed) -> Self {
//!         QuoteError::TooSlow(elapsed)
//!     }
//! }
//!
//! impl From<CircuitOpen> for QuoteError {
//!     fn from(rejection: CircuitOpen) -> Self {
//!         QuoteError::NotNow(rejection)
//!     }
//! }
//!
//! impl From<DeadlineReached<QuoteError>> for QuoteError {
//!     fn from(reached: DeadlineReached<QuoteError>) -> Self {
//!         QuoteError::TooLate { last: reached.into_last().map(Box::new) }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let quotes = service_fn(|symbol: &'static str| async move {
//!     match symbol {
//!         "ACME" => Ok(17),
//!         "SLOW" => std::future::pending().await,
//!         _ => Err(QuoteError::UnknownSymbol),
//!     }
//! });
//!
//! let circuit = Circuit::new("quotes");
//! let service = Stack::new()
//!     .retry(RetryLayer::new(RetryPolicy::default(), 42))
//!     .circuit_breaker(CircuitBreakerLayer::new(circuit, CircuitBreakerPolicy::default()))
//!     .timeout(TimeoutLayer::new(Duration::from_secs(5)))
//!     .layer(quotes);
//!
//! assert_eq!(service.clone().oneshot("ACME").await.unwrap(), 17);
//! assert!(matches!(service.clone().oneshot("NOPE").await, Err(QuoteError::UnknownSymbol)));
//! // Three attempts of five seconds each, then two more until five failures in a row have opened the circuit.
//! assert!(matches!(service.clone().oneshot("SLOW").await, Err(QuoteError::TooSlow(_))));
//! assert!(matches!(service.clone().oneshot("SLOW").await, Err(QuoteError::NotNow(_))));
//! assert!(matches!(service.oneshot("ACME").await, Err(QuoteError::NotNow(_))));
//! # }
//! ```
//!
//! # Where to look
//!
//! | concept | types |
//! |---|---|
//! | what kind of failure | [`Classify`], [`Class`] |
//! | trying again | [`RetryLayer`], [`RetryPolicy`], [`Backoff`]; its failure: [`DeadlineReached`] |
//! | keeping to a rate | [`RateLimitLayer`], [`RateLimitPolicy`], [`BucketRegistry`], [`Bucket`]; its failure: [`RateLimited`] |
//! | so many at once | [`BulkheadLayer`], [`BulkheadPolicy`], [`CompartmentRegistry`], [`Compartment`]; its failure: [`BulkheadFull`] |
//! | leaving a broken service alone | [`CircuitBreakerLayer`], [`CircuitBreakerPolicy`], [`CircuitRegistry`], [`Circuit`]; its failure: [`CircuitOpen`] |
//! | limiting time | [`TimeoutLayer`]; its failure: [`Elapsed`] |
//! | all of it, in order | [`Stack`] |
//! | by key rather than for all | [`keyed`] |
//! | hearing of it | [`observe`], [`Observer`] |
//! | counting it, by key | [`CountsRegistry`], [`Counts`] |
//! | what HTTP servers ask for | [`retry_after`] |
//! | over a restart | [`Snapshot`] |
//!
//! | feature | what for |
//! |---|---|
//! | `serde` (off) | a [`Snapshot`] can be written down |
//!
//! # What may be relied on
//!
//! - **Determinism.** Time is tokio's, which tests can pause, and jitter follows from a seed: the same seed, outcomes and times
//!   make the same decisions.
//! - **Cost.** There are no background tasks. A call that is ready at once, on a closed circuit without failures, allocates
//!   nothing, reads no clock, takes no lock and writes to no memory that others share. One that has to wait shares a timer
//!   with the others on its thread; like tokio's own timers it needs a runtime with time enabled then, and panics without. A
//!   rate limit or a bulkhead takes a short lock of its own key.
//! - **Bounds.** Registries hold a thousand keys unless told otherwise, and queues have a longest length or wait.
//! - **Cancellation safety.** Any future here may be dropped at any time: attempts end, delays end, probes give back their
//!   permit.

pub mod backoff;
pub mod bulkhead;
pub mod circuit_breaker;
pub mod classify;
pub mod counts;
pub mod documentation;
mod invalid_policy;
pub mod keyed;
pub mod observe;
#[cfg(planted)]
#[doc(hidden)]
pub mod planted;
pub mod rate_limit;
pub mod retry;
pub mod retry_after;
pub mod snapshot;
pub mod stack;
mod sync;
pub mod timeout;
mod timer;
mod turn;

#[doc(inline)]
pub use self::{
    backoff::{Backoff, Jitter},
    bulkhead::{Bulkhead, BulkheadFull, BulkheadLayer, BulkheadPolicy, Compartment, CompartmentRegistry},
    circuit_breaker::{
        Circuit, CircuitBreaker, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, CircuitRegistry,
    },
    classify::{Class, Classify},
    counts::{Counts, CountsRegistry},
    invalid_policy::InvalidPolicy,
    observe::Observer,
    rate_limit::{Bucket, BucketRegistry, RateLimit, RateLimitLayer, RateLimitPolicy, RateLimited},
    retry::{DeadlineReached, Retry, RetryLayer, RetryPolicy},
    snapshot::Snapshot,
    stack::Stack,
    timeout::{Elapsed, Timeout, TimeoutLayer},
};
