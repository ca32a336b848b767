//! The whole stack, dropped wherever it waits, panicking, never ready: permits, probes and queue places come back.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{
    future::{Ready, pending},
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use orchestr8_resilience::{
    Backoff, Bucket, BulkheadLayer, BulkheadPolicy, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy,
    CircuitRegistry, Compartment, InvalidPolicy, Jitter, RateLimitLayer, RateLimitPolicy, RetryLayer, RetryPolicy,
    Stack, TimeoutLayer,
    circuit_breaker::{CircuitState, Probe},
    rate_limit::Rates,
};
use support::{Answer, Failure, scripted};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// What the layers share, so that a test sees what is left of it.
struct Shared {
    bucket: Bucket,
    compartment: Compartment,
    circuit: Circuit,
}

impl Shared {
    const REQUESTS: u32 = 60;

    fn new() -> Self {
        Self {
            bucket: Bucket::new("bucket", Self::rates()),
            compartment: Compartment::new("compartment", &Self::one_at_a_time()),
            circuit: Circuit::new("circuit"),
        }
    }

    fn rates() -> Rates {
        Rates::try_new(Some(Self::REQUESTS), None).unwrap()
    }

    fn one_at_a_time() -> BulkheadPolicy {
        BulkheadPolicy::try_new(1).unwrap()
    }

    fn breaker() -> CircuitBreakerPolicy {
        CircuitBreakerPolicy::try_new(1, 60 * SECOND).unwrap()
    }

    fn stack<S>(
        &self,
        service: S,
    ) -> impl Service<(), Response = (), Error = Failure, Future = impl Future<Output = Result<(), Failure>> + use<S>>
    + Clone
    + use<S>
    where
        S: Service<(), Response = (), Error = Failure> + Clone,
    {
        let backoff = Backoff::try_new(SECOND, 30 * SECOND).unwrap().jitter(Jitter::None);
        Stack::new()
            .retry(RetryLayer::new(RetryPolicy::try_new(3, backoff).unwrap(), 0))
            .rate_limit(RateLimitLayer::new(self.bucket.clone(), RateLimitPolicy::new(Self::rates())))
            .bulkhead(BulkheadLayer::new(self.compartment.clone(), Self::one_at_a_time()))
            .circuit_breaker(CircuitBreakerLayer::new(self.circuit.clone(), Self::breaker()))
            .timeout(TimeoutLayer::new(10 * SECOND))
            .layer(service)
    }

    /// Requests that were used, attempts in progress, attempts that wait.
    fn taken(&self) -> (i64, u32, usize) {
        let (bucket, compartment) = (self.bucket.state(), self.compartment.state());
        let used = i64::from(Self::REQUESTS) - bucket.requests.unwrap();
        (used, compartment.running, bucket.waiting + compartment.waiting)
    }
}

fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn dropped_while_waiting_for_the_rate_limit() {
    let shared = Shared::new();
    let (service, calls) = scripted(&[Answer::Success]);
    let mut service = shared.stack(service);
    for _ in 0..Shared::REQUESTS {
        service.call(()).await.unwrap();
    }

    let mut waits = Box::pin(service.call(()));
    assert!(poll_once(&mut waits).is_pending());
    assert_eq!(shared.taken(), (60, 0, 1));
    drop(waits);

    assert_eq!(shared.taken(), (60, 0, 0));
    let start = Instant::now();
    service.call(()).await.unwrap();
    assert_eq!((start.elapsed(), calls.borrow().len()), (SECOND, 61));
}

#[tokio::test(start_paused = true)]
async fn dropped_while_waiting_for_the_bulkhead() {
    let shared = Shared::new();
    let mut service = shared.stack(service_fn(|()| pending::<Result<(), Failure>>()));
    let mut runs = Box::pin(service.call(()));
    let mut waits = Box::pin(service.call(()));
    assert!(poll_once(&mut runs).is_pending() && poll_once(&mut waits).is_pending());
    assert_eq!(shared.taken(), (2, 1, 1));

    drop(waits);
    assert_eq!(shared.taken(), (2, 1, 0));
    drop(runs);
    assert_eq!(shared.taken(), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropped_after_its_turn_came_and_before_it_was_polled() {
    let shared = Shared::new();
    let mut service = shared.stack(service_fn(|()| pending::<Result<(), Failure>>()));
    let [mut first, mut second, mut third] = [(); 3].map(|()| Box::pin(service.call(())));
    for call in [&mut first, &mut second, &mut third] {
        assert!(poll_once(call).is_pending());
    }

    drop(first);
    assert_eq!(shared.taken(), (3, 1, 1), "the second has its permit, and has not heard of it");
    drop(second);
    assert_eq!(shared.taken(), (3, 1, 0), "the third has it now");
    drop(third);
    assert_eq!(shared.taken(), (3, 0, 0));
}

/// A service that is never ready for an attempt that has its permits.
#[derive(Clone)]
struct NeverReady;

impl Service<()> for NeverReady {
    type Response = ();
    type Error = Failure;
    type Future = Ready<Result<(), Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_while_the_service_is_not_ready() {
    let shared = Shared::new();
    let mut service = shared.stack(NeverReady);
    let mut waits = Box::pin(service.call(()));
    assert!(poll_once(&mut waits).is_pending());
    assert_eq!(shared.taken(), (1, 1, 0));

    drop(waits);
    assert_eq!(shared.taken(), (1, 0, 0));
    assert_eq!(shared.circuit.state(), CircuitState::Closed { failures: 0 });
}

#[tokio::test(start_paused = true)]
async fn dropped_as_the_probe() {
    let shared = Shared::new();
    let (service, calls) = scripted(&[Answer::RETRYABLE, Answer::Never, Answer::Success]);
    let mut service = shared.stack(service);
    service.call(()).await.unwrap_err();
    advance(60 * SECOND).await;

    let mut probe = Box::pin(service.call(()));
    assert!(poll_once(&mut probe).is_pending());
    assert_eq!(shared.circuit.state(), CircuitState::HalfOpen { probe: Probe::Taken });
    drop(probe);

    assert_eq!(shared.circuit.state(), CircuitState::HalfOpen { probe: Probe::Free });
    assert_eq!(shared.taken(), (1, 0, 0));
    service.call(()).await.unwrap();
    assert_eq!((shared.circuit.state(), calls.borrow().len()), (CircuitState::Closed { failures: 0 }, 3));
}

#[tokio::test(start_paused = true)]
async fn dropped_in_a_delay() {
    let shared = Shared::new();
    let (service, _) = scripted(&[Answer::busy(5.0)]);
    let mut service = shared.stack(service);
    let mut delayed = Box::pin(service.call(()));
    assert!(poll_once(&mut delayed).is_pending());
    assert_eq!(shared.taken(), (1, 0, 0), "a delay holds nothing");
    drop(delayed);
    assert_eq!(shared.taken(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_call_or_in_the_attempt_gives_everything_back() {
    for panics_in_call in [true, false] {
        let shared = Shared::new();
        let (failing, _) = scripted(&[Answer::RETRYABLE]);
        shared.stack(failing).oneshot(()).await.unwrap_err();
        advance(60 * SECOND).await;
        let mut service = shared.stack(service_fn(move |()| {
            assert!(!panics_in_call, "as told");
            async { panic!("as told") }
        }));

        let mut probe = Box::pin(service.call(()));
        let unwound = std::panic::catch_unwind(AssertUnwindSafe(|| poll_once(&mut probe)));

        assert!(unwound.is_err());
        drop(probe);
        assert_eq!(shared.circuit.state(), CircuitState::HalfOpen { probe: Probe::Free });
        assert_eq!(shared.taken().1, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_years_ahead_overflows_nothing() {
    const LONG: Duration = Duration::from_secs(90 * 365 * 24 * 60 * 60);
    let shared = Shared::new();
    let circuit = CircuitRegistry::new().circuit("long");
    let policy = CircuitBreakerPolicy::try_new(1, LONG).unwrap();
    let (failing, _) = scripted(&[Answer::RETRYABLE]);
    let mut failing = CircuitBreakerLayer::new(circuit.clone(), policy).layer(failing);
    let (service, _) = scripted(&[Answer::Fails(Failure::Busy { retry_after: LONG }), Answer::Success]);

    for _ in 0..3 {
        let mut service = shared.stack(service.clone());
        let call = tokio::spawn(async { sleep(Duration::ZERO).await });
        service.call(()).await.unwrap();
        call.await.unwrap();
        failing.call(()).await.unwrap_err();
        advance(10 * 365 * 24 * 3600 * SECOND).await;
    }
    assert_eq!(shared.taken(), (0, 0, 0));
    assert!(matches!(circuit.state(), CircuitState::Open { .. }));
}

/// Zero, huge, contradictory: the error names the knob.
#[test]
fn policies_that_make_no_sense_are_refused_by_name() {
    const CENTURIES: Duration = Duration::MAX;
    let backoff = |base, cap| Backoff::try_new(base, cap).map(drop);
    let breaker = |threshold, reset| CircuitBreakerPolicy::try_new(threshold, reset).map(drop);
    let rates = |requests, weight| Rates::try_new(requests, weight).map(drop);
    let limit = RateLimitPolicy::new(Shared::rates());
    let bulkhead = BulkheadPolicy::try_new(1).unwrap();
    let refused: [(Result<(), InvalidPolicy>, &str); 15] = [
        (RetryPolicy::try_new(0, Backoff::default()).map(drop), "max_attempts"),
        (backoff(2 * SECOND, SECOND), "cap"),
        (backoff(SECOND, CENTURIES), "cap"),
        (breaker(0, SECOND), "failure_threshold"),
        (breaker(1, Duration::ZERO), "reset_timeout"),
        (breaker(1, CENTURIES), "reset_timeout"),
        (rates(None, None), "requests_per_minute"),
        (rates(Some(0), Some(1)), "requests_per_minute"),
        (rates(Some(1), Some(0)), "weight_per_minute"),
        (limit.max_wait(CENTURIES).map(drop), "max_wait"),
        (BulkheadPolicy::try_new(0).map(drop), "max_concurrent"),
        (bulkhead.max_queue(10_001).map(drop), "max_queue"),
        (bulkhead.queue_timeout(Duration::ZERO).map(drop), "queue_timeout"),
        (bulkhead.queue_timeout(CENTURIES).map(drop), "queue_timeout"),
        (CircuitRegistry::with_capacity(0).map(drop), "capacity"),
    ];
    for (result, field) in refused {
        let error = result.unwrap_err();
        assert_eq!(error.field(), field);
        assert!(error.to_string().contains(field), "{error}");
    }
}
