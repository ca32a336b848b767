//! Wall time that follows tokio's clock, and chance from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use orchestr8_agent_base::Clock;
use orchestr8_core::clock::mix;
use orchestr8_schema::{Timestamp, test_file::Given};
use tokio::time::Instant;

/// A clock that begins at 2025-01-17T00:00:00Z and goes with the runtime's clock, which a test pauses. Random numbers, and the
/// ids made of them, come from a seed.
#[derive(Debug)]
pub struct TestClock {
    began: Instant,
    start: Timestamp,
    seed: u64,
    drawn: AtomicU64,
}

impl TestClock {
    /// The seed of a test that does not ask for another.
    pub const SEED: u64 = 42;

    /// Makes a clock that begins now.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::starting_at(Given::DEFAULT_NOW, seed)
    }

    /// Makes a clock that begins now, and shows this time.
    #[must_use]
    pub fn starting_at(start: Timestamp, seed: u64) -> Self {
        Self { began: Instant::now(), start, seed, drawn: AtomicU64::new(0) }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.began.elapsed())
    }

    fn random(&self) -> u64 {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed) + 1;
        mix(self.seed ^ drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}
