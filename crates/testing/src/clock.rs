//! Wall time that follows tokio's clock, and chance from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use orchestr8_agent_base::Clock;
use orchestr8_core::clock::mix;
use orchestr8_schema::Timestamp;
use tokio::time::Instant;

/// A clock that begins at 2025-01-17T00:00:00Z and goes with the runtime's clock, which a test pauses. Random numbers, and the
/// ids made of them, come from a seed.
#[derive(Debug)]
pub struct TestClock {
    began: Instant,
    seed: u64,
    drawn: AtomicU64,
}

impl TestClock {
    /// The seed of a test that does not ask for another.
    pub const SEED: u64 = 42;
    /// Microseconds from the Unix epoch to 2025-01-17T00:00:00Z.
    const START: i64 = 1_737_072_000_000_000;

    /// Makes a clock that begins now.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { began: Instant::now(), seed, drawn: AtomicU64::new(0) }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(Self::START).plus(self.began.elapsed())
    }

    fn random(&self) -> u64 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        mix(self.seed ^ drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}
