//! Where wall time, ids and chance come from.
//!
//! Nothing else in the workspace reads the system clock or rolls dice, so a test that replaces the [`Clock`] of an engine holds
//! all of them. Durations are not its business: they run on the clock of the tokio runtime, which tests pause.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use orchestr8_agent_base::Clock;
use orchestr8_schema::{CorrelationId, ExecutionId, Timestamp};
use tokio::time::Instant;

/// The clock of the machine that the program runs on, and a generator seeded by its operating system.
#[derive(Debug)]
pub struct SystemClock {
    /// SplitMix64: a counter whose mixed values are the random numbers, so that no lock is needed.
    random: AtomicU64,
}

impl SystemClock {
    /// Makes a clock. Should the operating system give no random seed, the time of day is the seed.
    #[must_use]
    pub fn new() -> Self {
        let mut seed = [0; 8];
        let seed = match getrandom::fill(&mut seed) {
            Ok(()) => u64::from_le_bytes(seed),
            Err(_) => wall_time().as_micros().unsigned_abs(),
        };
        Self { random: AtomicU64::new(seed) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall_time()
    }

    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam itself")]
fn wall_time() -> Timestamp {
    let now = SystemTime::now();
    let micros = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    Timestamp::from_micros(micros)
}

/// Mixes 64 bits so that each depends on all (the output function of SplitMix64; Steele, Lea and Flood, 2014).
#[must_use]
pub fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Makes the id of an execution that begins now.
#[must_use]
pub fn execution_id(clock: &dyn Clock) -> ExecutionId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&clock.random().to_le_bytes());
    random[8..].copy_from_slice(&clock.random().to_le_bytes()[..2]);
    ExecutionId::from_parts(clock.now().as_unix_millis(), random)
}

/// Makes a correlation id where a caller gave none: the text of an id of the same form as an execution's.
#[must_use]
pub fn correlation_id(clock: &dyn Clock) -> CorrelationId {
    let text = execution_id(clock).to_string();
    text.parse().expect("a UUID consists of letters, digits and hyphens")
}

/// Ties wall time to the runtime's monotonic clock, so that the times of one execution never go back.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    wall: Timestamp,
    monotonic: Instant,
}

impl Timeline {
    /// Begins at the wall time of now, or at `earliest` if that is later.
    #[must_use]
    pub fn begin(clock: &dyn Clock, earliest: Timestamp) -> Self {
        #[cfg(planted)]
        let earliest = match crate::planted::Defect::TimeGoesBack.is_made() {
            true => Timestamp::default(),
            false => earliest,
        };
        Self { wall: clock.now().max(earliest), monotonic: Instant::now() }
    }

    /// Returns the present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.wall.plus(self.monotonic.elapsed())
    }

    /// Returns the monotonic instant of a time; one that lies before the beginning is the beginning.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        let offset = at.since(self.wall);
        self.monotonic
            .checked_add(offset)
            .unwrap_or_else(|| self.monotonic + std::time::Duration::from_secs(86_400 * 365))
    }

    /// Returns the time of a monotonic instant.
    #[must_use]
    pub fn timestamp(&self, at: Instant) -> Timestamp {
        self.wall.plus(at.saturating_duration_since(self.monotonic))
    }
}
