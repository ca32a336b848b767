//! What the resilience stack adds to a call, beside what its peers add, in one run: time, and allocations.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml`; allocations are printed first. For instructions, run one contender
//! under callgrind: `valgrind --tool=callgrind <the binary> --count stack-ready 10000`, and again with 20000.

use std::{
    alloc::System,
    fmt,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use backon::{ConstantBuilder, Retryable};
use criterion::Criterion;
use failsafe::futures::CircuitBreaker as _;
use orchestr8_resilience::{
    Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, Class, Classify, DeadlineReached, Elapsed,
    RetryLayer, RetryPolicy, Stack, TimeoutLayer,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
struct Failed(Class);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

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

/// A service whose answer takes this many turns of its task.
#[derive(Clone, Copy)]
struct Body {
    turns: u32,
}

struct Answer {
    turns: u32,
    request: u64,
}

impl Service<u64> for Body {
    type Response = u64;
    type Error = Failed;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        Answer { turns: self.turns, request: black_box(request) }
    }
}

impl Future for Answer {
    type Output = Result<u64, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.turns == 0 {
            return Poll::Ready(Ok(self.request));
        }
        self.turns -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Never tries again.
#[derive(Clone)]
struct Never;

impl<T, E> tower::retry::Policy<u64, T, E> for Never {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut u64, _: &mut Result<T, E>) -> Option<Self::Future> {
        None
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// Makes so many calls, one after the other.
type Calls = Pin<Box<dyn Future<Output = u64> + Send>>;

async fn calls<S>(mut service: S, count: u64) -> u64
where
    S: Service<u64, Response = u64>,
{
    let mut sum = 0;
    for request in 0..count {
        sum += service.call(request).await.unwrap_or_default();
    }
    sum
}

fn stack(
    circuit: Circuit,
) -> impl Layer<Body, Service: Service<u64, Response = u64, Error = Failed, Future: Send> + Clone + Send> {
    Stack::new()
        .retry(RetryLayer::new(RetryPolicy::default(), 42))
        .circuit_breaker(CircuitBreakerLayer::new(circuit, CircuitBreakerPolicy::default()))
        .timeout(TimeoutLayer::new(LIMIT))
}

/// As the engine uses it: put together for the one call, borrowing its circuit, in the box that the call has anyway.
async fn boxed_stack(body: Body, circuit: Circuit, count: u64) -> u64 {
    let mut sum = 0;
    for request in 0..count {
        let circuit = &circuit;
        let call: Pin<Box<dyn Future<Output = Result<u64, Failed>> + Send + '_>> = Box::pin(async move {
            Stack::new()
                .retry(RetryLayer::new(RetryPolicy::default(), 42))
                .circuit_breaker(CircuitBreakerLayer::new(circuit, CircuitBreakerPolicy::default()))
                .timeout(TimeoutLayer::new(LIMIT))
                .layer(body)
                .oneshot(request)
                .await
        });
        sum += call.await.unwrap_or_default();
    }
    sum
}

async fn boxed(body: Body, count: u64) -> u64 {
    let mut sum = 0;
    for request in 0..count {
        let call: Pin<Box<dyn Future<Output = Result<u64, Failed>> + Send>> = Box::pin(body.clone().call(request));
        sum += black_box(call).await.unwrap_or_default();
    }
    sum
}

async fn tower_resilience(body: Body, count: u64) -> u64 {
    type Limited = tower_resilience_timelimiter::TimeLimiterError<Failed>;
    type Broken = tower_resilience_circuitbreaker::CircuitBreakerError<Limited>;
    let limiter = tower_resilience_timelimiter::TimeLimiterLayer::builder().timeout_duration(LIMIT).build();
    let breaker =
        tower_resilience_circuitbreaker::CircuitBreakerLayer::builder().build().expect("its defaults are valid");
    let retry = tower_resilience_retry::RetryLayer::<u64, u64, Broken>::builder().max_attempts(3).build();
    calls(retry.layer(breaker.layer(limiter.layer(body))), count).await
}

async fn by_hand(body: Body, count: u64) -> u64 {
    let breaker = failsafe::Config::new().build();
    let mut sum = 0;
    for request in 0..count {
        let attempt = || async {
            let call = tokio::time::timeout(LIMIT, body.clone().call(request));
            breaker.call(async { call.await.unwrap_or(Err(Failed(Class::Timeout))) }).await
        };
        sum += attempt.retry(ConstantBuilder::default().with_max_times(3)).await.unwrap_or_default();
    }
    sum
}

const CONTENDERS: [&str; 7] =
    ["bare", "boxed", "stack", "stack-in-the-one-box", "tower", "by-hand", "tower-resilience"];

fn contender(name: &str, body: Body, count: u64) -> Calls {
    match name {
        "bare" => Box::pin(calls(body, count)),
        "boxed" => Box::pin(boxed(body, count)),
        "stack" => Box::pin(calls(stack(Circuit::new("bench")).layer(body), count)),
        "stack-in-the-one-box" => Box::pin(boxed_stack(body, Circuit::new("bench"), count)),
        "tower" => Box::pin(calls(tower::retry::Retry::new(Never, tower::timeout::Timeout::new(body, LIMIT)), count)),
        "by-hand" => Box::pin(by_hand(body, count)),
        "tower-resilience" => Box::pin(tower_resilience(body, count)),
        other => panic!("there is no contender {other}"),
    }
}

fn bodies() -> [(&'static str, Body); 2] {
    [("ready", Body { turns: 0 }), ("pends-once", Body { turns: 1 })]
}

fn run(runtime: &Runtime, calls: Calls) -> Duration {
    let spawned = runtime.spawn(async move {
        let start = Instant::now();
        black_box(calls.await);
        start.elapsed()
    });
    runtime.block_on(spawned).expect("it does not panic")
}

fn print_allocations(runtime: &Runtime) {
    const MORE: u64 = 1_000;
    for (kind, body) in bodies() {
        for name in CONTENDERS {
            let allocations = |count| {
                let region = Region::new(ALLOCATOR);
                run(runtime, contender(name, body, count));
                region.change().allocations as f64
            };
            let (few, many) = (allocations(MORE), allocations(2 * MORE));
            println!("{kind}/{name}: {:.2} allocations per call", (many - few) / MORE as f64);
        }
    }
}

/// How a call holds its circuit.
#[derive(Clone, Copy, Debug)]
enum Hold {
    /// By a handle of its own.
    Owned,
    /// By reference, as the engine does.
    Borrowed,
}

/// Polls calls of one circuit in a loop on as many threads, and returns the mean time of one.
fn hammer(threads: u32, hold: Hold, count: u64) -> Duration {
    let circuit = &Circuit::new("shared");
    let poll = |call: &mut dyn FnMut(Pin<&mut dyn Future<Output = Result<u64, Failed>>>)| {
        let start = Instant::now();
        let mut owned = stack(circuit.clone()).layer(Body { turns: 0 });
        for request in 0..count {
            match hold {
                Hold::Owned => call(pin!(owned.call(request))),
                Hold::Borrowed => {
                    let borrowed = Stack::new()
                        .retry(RetryLayer::new(RetryPolicy::default(), 42))
                        .circuit_breaker(CircuitBreakerLayer::new(circuit, CircuitBreakerPolicy::default()))
                        .timeout(TimeoutLayer::new(LIMIT));
                    call(pin!(borrowed.layer(Body { turns: 0 }).oneshot(request)));
                }
            }
        }
        start.elapsed()
    };
    let work = || {
        poll(&mut |call| {
            let _ = black_box(call.poll(&mut Context::from_waker(Waker::noop())));
        })
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it does not panic")).sum::<Duration>() / threads
    })
}

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, name, count] = &arguments[..]
        && flag == "--count"
    {
        let (kind, body) = if name.ends_with("-ready") { ("-ready", 0) } else { ("-pends-once", 1) };
        let count = count.parse().expect("a number");
        run(&runtime, contender(name.trim_end_matches(kind), Body { turns: body }, count));
        return;
    }

    print_allocations(&runtime);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args();
    for (kind, body) in bodies() {
        let mut group = criterion.benchmark_group(kind);
        for name in CONTENDERS {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| run(&runtime, contender(name, body, count)));
            });
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("one circuit");
    for hold in [Hold::Owned, Hold::Borrowed] {
        for threads in [1, 2] {
            group.bench_function(format!("{hold:?}, {threads} threads"), |bencher| {
                bencher.iter_custom(|count| hammer(threads, hold, count));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
