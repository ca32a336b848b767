//! The resilience layers around a service of one's own; nothing of orchestr8 but the one crate.
//! Run with: cargo run -p examples --example resilience_stack

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use orchestr8_resilience::{
    Backoff, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, Class, Classify, DeadlineReached,
    Elapsed, RetryLayer, RetryPolicy, Stack, TimeoutLayer,
};
use tower::{Layer, service_fn};

#[derive(Debug)]
enum WeatherError {
    Unreachable,
    TooSlow,
    StationDown,
}

impl fmt::Display for WeatherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the station cannot be reached",
            Self::TooSlow => "the station takes too long",
            Self::StationDown => "the station is left alone for a while",
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
        }
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

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Fails twice, then answers.
async fn temperature(town: &'static str) -> Result<i32, WeatherError> {
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    println!("call {call} for {town}");
    if call <= 2 { Err(WeatherError::Unreachable) } else { Ok(21) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backoff = Backoff::try_new(Duration::from_millis(100), Duration::from_secs(5))?;
    let weather = Stack::new()
        .retry(RetryLayer::new(RetryPolicy::try_new(3, backoff)?, 42))
        .circuit_breaker(CircuitBreakerLayer::new(Circuit::new("weather"), CircuitBreakerPolicy::default()))
        .timeout(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(service_fn(temperature));
    println!("{} degrees", weather.oneshot("Ulm").await?);
    Ok(())
}
