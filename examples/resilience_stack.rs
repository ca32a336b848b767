//! The resilience layers around a service of one's own; nothing of orchestr8 but the one crate.
//! Run with: cargo run -p examples --example resilience_stack

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use orchestr8_resilience::{
    Backoff, BucketRegistry, BulkheadFull, BulkheadLayer, BulkheadPolicy, CircuitBreakerLayer, CircuitBreakerPolicy,
    CircuitOpen, CircuitRegistry, Class, Classify, CompartmentRegistry, DeadlineReached, Elapsed, Observer,
    RateLimitLayer, RateLimitPolicy, RateLimited, RetryLayer, RetryPolicy, Snapshot, Stack, TimeoutLayer,
    observe::{ScheduledRetry, Waited},
    rate_limit::Rates,
};
use tower::{Layer, Service, service_fn};

#[derive(Debug)]
enum WeatherError {
    Unreachable,
    TooSlow,
    StationDown,
    TooManyQuestions { retry_after: Option<Duration> },
}

impl fmt::Display for WeatherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the station cannot be reached",
            Self::TooSlow => "the station takes too long",
            Self::StationDown => "the station is left alone for a while",
            Self::TooManyQuestions { .. } => "the station does not answer so many questions",
        })
    }
}

impl std::error::Error for WeatherError {}

/// The one question that the layers ask.
impl Classify for WeatherError {
    fn classify(&self) -> Class {
        match self {
            Self::Unreachable => Class::Network,
            Self::TooSlow => Class::Timeout,
            Self::StationDown => Class::CircuitOpen,
            Self::TooManyQuestions { .. } => Class::RateLimited,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyQuestions { retry_after } => *retry_after,
            Self::Unreachable | Self::TooSlow | Self::StationDown => None,
        }
    }

    fn is_rejection(&self) -> bool {
        matches!(self, Self::StationDown | Self::TooManyQuestions { .. })
    }
}

impl From<Elapsed> for WeatherError {
    fn from(_: Elapsed) -> Self {
        Self::TooSlow
    }
}

impl From<CircuitOpen> for WeatherError {
    fn from(_: CircuitOpen) -> Self {
        Self::StationDown
    }
}

impl From<DeadlineReached<Self>> for WeatherError {
    fn from(_: DeadlineReached<Self>) -> Self {
        Self::TooSlow
    }
}

impl From<RateLimited> for WeatherError {
    fn from(limited: RateLimited) -> Self {
        Self::TooManyQuestions { retry_after: limited.retry_after() }
    }
}

impl From<BulkheadFull> for WeatherError {
    fn from(_: BulkheadFull) -> Self {
        Self::TooManyQuestions { retry_after: None }
    }
}

/// Tells what the layers do.
#[derive(Clone, Copy)]
struct Narrator;

impl Observer<WeatherError> for Narrator {
    fn retry_scheduled(&self, retry: &ScheduledRetry, error: &WeatherError) {
        println!("{error}; again in {:?}", retry.delay);
    }

    fn waited(&self, waited: &Waited<'_>) {
        println!("waited {:?} for the {}", waited.time, waited.queue.as_str());
    }
}

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Fails twice, then answers.
async fn temperature(town: &'static str) -> Result<i32, WeatherError> {
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    println!("call {call} for {town}");
    tokio::time::sleep(Duration::from_millis(5)).await;
    if call <= 2 { Err(WeatherError::Unreachable) } else { Ok(21) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (circuits, buckets, compartments) = (CircuitRegistry::new(), BucketRegistry::new(), CompartmentRegistry::new());
    let circuit = circuits.circuit("weather");
    let backoff = Backoff::try_new(Duration::from_millis(100), Duration::from_secs(5))?;
    let rates = Rates::try_new(Some(60), None)?;
    let one_at_a_time = BulkheadPolicy::try_new(1)?;

    // Whatever the order of these lines, there is one order of layers.
    let mut weather = Stack::new()
        .retry(RetryLayer::new(RetryPolicy::try_new(3, backoff)?, 42).observer(Narrator))
        .rate_limit(
            RateLimitLayer::new(buckets.bucket("weather", rates), RateLimitPolicy::new(rates))
                .unless_open(circuit.clone())
                .observer(Narrator),
        )
        .bulkhead(
            BulkheadLayer::new(compartments.compartment("weather", &one_at_a_time), one_at_a_time)
                .unless_open(circuit.clone())
                .observer(Narrator),
        )
        .circuit_breaker(CircuitBreakerLayer::new(circuit, CircuitBreakerPolicy::default()))
        .timeout(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(service_fn(temperature));
    let (ulm, bonn) = tokio::join!(weather.call("Ulm"), weather.call("Bonn"));
    println!("{} and {} degrees", ulm?, bonn?);

    // What a restart would forget: here, what is missing in the bucket.
    let snapshot = Snapshot::take(SystemTime::UNIX_EPOCH, &circuits, &buckets);
    println!("{snapshot:?}");
    Ok(())
}
