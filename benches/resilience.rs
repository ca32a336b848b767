//! What the resilience stack adds to a call that is ready at once on a closed circuit, beside the bare call.
//!
//! `cargo bench -p benches --bench resilience`

use std::{convert::Infallible, future::Future, hint::black_box, pin::Pin, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use orchestr8_resilience::{
    Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, Class, Classify, DeadlineReached, Elapsed,
    RetryLayer, RetryPolicy, Stack, TimeoutLayer,
};
use tower::{Layer, Service, service_fn};

#[derive(Debug)]
struct Failed(Class);

impl Classify for Failed {
    fn classify(&self) -> Class {
        self.0
    }
}

impl From<Elapsed> for Failed {
    fn from(_: Elapsed) -> Self {
        Self(Class::Timeout)
    }
}

impl From<CircuitOpen> for Failed {
    fn from(_: CircuitOpen) -> Self {
        Self(Class::CircuitOpen)
    }
}

impl From<DeadlineReached<Failed>> for Failed {
    fn from(_: DeadlineReached<Failed>) -> Self {
        Self(Class::Timeout)
    }
}

fn stack(
    circuit: &Circuit,
) -> impl Layer<ReadyService, Service = impl Service<u64, Response = u64, Error = Failed> + Clone> {
    Stack::new()
        .retry(RetryLayer::new(RetryPolicy::default(), 42))
        .circuit_breaker(CircuitBreakerLayer::new(circuit.clone(), CircuitBreakerPolicy::default()))
        .timeout(TimeoutLayer::new(Duration::from_secs(30)))
}

/// A service that answers at once.
#[derive(Clone)]
struct ReadyService;

impl Service<u64> for ReadyService {
    type Response = u64;
    type Error = Failed;
    type Future = std::future::Ready<Result<u64, Failed>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Failed>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        std::future::ready(Ok(black_box(request)))
    }
}

/// A policy of tower's that never tries again.
#[derive(Clone)]
struct Never;

impl<Response, E> tower::retry::Policy<u64, Response, E> for Never {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u64, _: &mut Result<Response, E>) -> Option<Self::Future> {
        None
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut group = criterion.benchmark_group("call-ready-at-once");

    group.bench_function("bare", |bencher| {
        bencher.to_async(&runtime).iter(|| async { ReadyService.call(black_box(1)).await.expect("it answers") });
    });
    group.bench_function("bare, boxed", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let call: Pin<Box<dyn Future<Output = Result<u64, Failed>> + Send>> =
                Box::pin(ReadyService.call(black_box(1)));
            call.await.expect("it answers")
        });
    });
    let circuit = Circuit::new("bench");
    let layered = stack(&circuit).layer(ReadyService);
    group.bench_function("stack", |bencher| {
        let mut service = layered.clone();
        bencher.to_async(&runtime).iter(|| {
            let call = service.call(black_box(1));
            async { call.await.expect("it answers") }
        });
    });
    group.bench_function("tower retry + timeout", |bencher| {
        let mut service = tower::retry::Retry::new(
            Never,
            tower::timeout::Timeout::new(
                service_fn(|request: u64| async move { Ok::<_, Infallible>(black_box(request)) }),
                Duration::from_secs(30),
            ),
        );
        bencher.to_async(&runtime).iter(|| {
            let call = service.call(black_box(1));
            async { call.await.expect("it answers") }
        });
    });
    group.finish();
}

criterion_group! {
    name = resilience_benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(60);
    targets = benches
}
criterion_main!(resilience_benches);
