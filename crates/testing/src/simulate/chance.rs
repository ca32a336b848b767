//! Chance from a seed.

use std::time::Duration;

use orchestr8_core::clock::mix;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers. Every consumer has one of its own, named by what it is for, so that none shifts another: what
/// happens at one step does not depend on when others ran.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    drawn: u64,
}

impl Chance {
    pub(crate) fn of(seed: u64, name: &str) -> Self {
        let named = name.bytes().fold(mix(seed ^ STEP), |hash, byte| mix(hash ^ u64::from(byte)).wrapping_add(STEP));
        Self { drawn: named }
    }

    /// SplitMix64, as the engine's own clock.
    pub(crate) fn next(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(STEP);
        mix(self.drawn)
    }

    /// A number from 0 to below `count`; 0 if that is 0.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }

    /// True once in `count` times.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }

    /// A duration between two, short ones as likely as ones ten times as long.
    pub(crate) fn duration(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let (low, high) = (shortest.as_secs_f64().max(0.001), longest.as_secs_f64().max(0.001));
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        Duration::from_millis((low * (high / low).powf(share) * 1000.0).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_name_alone() {
        let draw = |seed, name| {
            let mut chance = Chance::of(seed, name);
            [chance.next(), chance.next(), chance.below(10)]
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let mut chance = Chance::of(7, "bounds");
        let (low, high) = (Duration::from_millis(5), Duration::from_secs(60));
        for _ in 0..10_000 {
            assert!(chance.below(3) < 3);
            let duration = chance.duration(low, high);
            assert!((low..=high).contains(&duration), "{duration:?}");
        }
        assert_eq!(chance.below(0), 0);
        assert_eq!(chance.pick::<u8>(&[]), None);
    }
}
