//! How long to wait before the next attempt: exponential, capped, with jitter.
//!
//! A [`Backoff`] is pure data, and its delays are a pure function of the attempt and a seed. Nothing is drawn until a delay is
//! asked for, and a call that is taken up again after its third attempt gets the delays that it would have had.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    InvalidPolicy,
    timer::{Nanos, is_too_long},
};

/// The delays between attempts: `min(base · 2^(n−1), cap) · u` after attempt `n`, in whole milliseconds.
///
/// With [`Jitter::Full`] `u` is uniform in `[0.5, 1.5)`, with [`Jitter::None`] it is 1. The cap is applied before the jitter, so
/// that capped delays spread too and the longest delay is one and a half caps.
///
/// The default is a base of one second, a cap of 30 seconds, and jitter: nominally 1 s, 2 s, 4 s, …
///
/// ```
/// use std::time::Duration;
/// use orchestr8_resilience::{Backoff, Jitter};
///
/// let backoff = Backoff::try_new(Duration::from_secs(1), Duration::from_secs(5))?;
/// let plain = backoff.jitter(Jitter::None);
/// let delays: Vec<_> = (1..=4).map(|attempt| plain.delay(attempt, 0).as_secs()).collect();
/// assert_eq!(delays, [1, 2, 4, 5]);
///
/// // The same attempt and seed give the same delay; another seed gives another one.
/// assert_eq!(backoff.delay(2, 7), backoff.delay(2, 7));
/// assert_ne!(backoff.delay(2, 7), backoff.delay(2, 8));
/// # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Nanos,
    cap: Nanos,
    jitter: Jitter,
}

/// Whether delays are spread at random, so that callers who failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Each delay is multiplied by a factor from `[0.5, 1.5)`.
    #[default]
    Full,
    /// Delays are nominal. For tests, and for callers who are alone.
    None,
}

impl Backoff {
    /// Makes a backoff with jitter that starts at `base` and grows to `cap`. A `base` of zero retries at once, always.
    ///
    /// # Errors
    ///
    /// If `cap` is less than `base`, or longer than a hundred years.
    pub const fn try_new(base: Duration, cap: Duration) -> Result<Self, InvalidPolicy> {
        if cap.as_nanos() < base.as_nanos() {
            return Err(InvalidPolicy::new("cap", "must not be less than `base`"));
        }
        if is_too_long(cap) {
            return Err(InvalidPolicy::new("cap", "must not be longer than a hundred years"));
        }
        Ok(Self { base: Nanos::of(base), cap: Nanos::of(cap), jitter: Jitter::Full })
    }

    /// Sets whether delays are spread; [`Jitter::Full`] unless set.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the delay after attempt number `attempt`, which counts from 1.
    ///
    /// Without jitter the seed is not looked at. Delays of different attempts with one seed are independent of each other.
    pub fn delay(&self, attempt: u32, seed: u64) -> Duration {
        let factor = match self.jitter {
            Jitter::Full => 0.5 + draw(attempt, seed),
            Jitter::None => 1.0,
        };
        let millis = self.nominal(attempt).as_nanos() as f64 / 1e6 * factor;
        Duration::from_millis(millis.round() as u64)
    }

    fn nominal(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1);
        let growth = 1_u128.checked_shl(doublings).unwrap_or(u128::MAX);
        let nanos = self.base.duration().as_nanos().saturating_mul(growth);
        Duration::from_nanos_u128(nanos.min(self.cap.duration().as_nanos()))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Nanos::of(Duration::from_secs(1)), cap: Nanos::of(Duration::from_secs(30)), jitter: Jitter::Full }
    }
}

/// A number from `[0, 1)` that depends on both arguments and on nothing else.
fn draw(attempt: u32, seed: u64) -> f64 {
    const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
    let seed = seed.wrapping_add(STRIDE.wrapping_mul(u64::from(attempt)));
    fastrand::Rng::with_seed(seed).f64()
}

/// Hands out a seed per call, so that the calls of one service do not wait in step. A clone has a sequence of its own.
#[derive(Debug)]
pub(crate) struct Seeds(AtomicU64);

impl Seeds {
    pub(crate) const fn starting_with(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    const STRIDE: u64 = 0xd1b5_4a32_d192_ed03;

    /// The first call gets the seed that the sequence was made with.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        let seed = *self.0.get_mut();
        *self.0.get_mut() = seed.wrapping_add(Self::STRIDE);
        seed
    }
}

impl Clone for Seeds {
    fn clone(&self) -> Self {
        let seed = self.0.fetch_add(Self::STRIDE, Ordering::Relaxed);
        Self::starting_with(fastrand::Rng::with_seed(seed).u64(..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_thousand_draws_lie_in_bounds_around_the_nominal_delay() {
        let backoff = Backoff::default();
        let delays: Vec<f64> = (0..1000).map(|seed| backoff.delay(2, seed).as_secs_f64() * 1000.0).collect();
        assert!(delays.iter().all(|delay| (1000.0..=3000.0).contains(delay)));
        let mean = delays.iter().sum::<f64>() / 1000.0;
        assert!((mean - 2000.0).abs() < 100.0, "mean {mean}");
    }

    /// Callers whose seeds follow one another, as those of one service do, spread evenly: no tenth of the range is favoured, and
    /// neither are neighbours close to each other.
    #[test]
    fn ten_thousand_delays_do_not_cluster() {
        const DRAWS: usize = 10_000;
        let mut seeds = Seeds::starting_with(42);
        let delays: Vec<f64> =
            (0..DRAWS).map(|_| Backoff::default().delay(1, seeds.next()).as_secs_f64() * 1000.0).collect();

        assert!(delays.iter().all(|delay| (500.0..=1500.0).contains(delay)));
        let mean = delays.iter().sum::<f64>() / DRAWS as f64;
        assert!((mean - 1000.0).abs() < 10.0, "mean {mean}");
        let mut histogram = [0_u32; 10];
        delays.iter().for_each(|delay| histogram[((delay - 500.0) / 100.1) as usize] += 1);
        assert!(histogram.iter().all(|count| (850..=1150).contains(count)), "{histogram:?}");
        let close = delays.windows(2).filter(|pair| (pair[0] - pair[1]).abs() < 50.0).count();
        assert!((780..=1170).contains(&close), "{close} of {DRAWS} neighbours are within a twentieth of the range");
    }

    #[test]
    fn calls_and_clones_of_one_service_get_different_seeds() {
        let mut seeds = Seeds::starting_with(7);
        let mut clone = seeds.clone();
        let mut all: Vec<u64> = (0..100).flat_map(|_| [seeds.next(), clone.next()]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
        assert_eq!(Seeds::starting_with(7).next(), 7);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_half_of_the_capped_delay(
            base in 0..600_000_u64, above in 0..3_600_000_u64, attempt in 1..200_u32, seed: u64,
        ) {
            let backoff = Backoff::try_new(Duration::from_millis(base), Duration::from_millis(base + above)).unwrap();
            let nominal = backoff.jitter(Jitter::None).delay(attempt, seed).as_millis();
            let jittered = backoff.delay(attempt, seed).as_millis();
            prop_assert!(nominal <= u128::from(base + above));
            prop_assert!(jittered >= nominal / 2 && jittered <= (nominal * 3).div_ceil(2));
        }
    }
}
