//! Percentiles of durations, and how two of them compare

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TOO_SLOW;

/// What so many of all do not exceed, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Percentiles {
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

/// How many times as long something takes as it did.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Ratio {
    pub(super) p50: f64,
    pub(super) p95: f64,
}

impl Percentiles {
    /// Finds them, each as the smallest duration that its share of all does not exceed. Of no durations they are 0.
    pub(super) fn of(durations_us: &[u64]) -> Self {
        let mut sorted = durations_us.to_vec();
        sorted.sort_unstable();
        let at = |share: usize| {
            let rank = (sorted.len() * share).div_ceil(100).max(1);
            sorted.get(rank - 1).map_or(0.0, |micros| *micros as f64 / 1000.0)
        };
        Self { p50_ms: at(50), p95_ms: at(95), p99_ms: at(99) }
    }

    /// Compares them with others; absent if those tell of nothing.
    pub(super) fn ratio_to(&self, base: &Self) -> Option<Ratio> {
        let is_known = base.p50_ms > 0.0 && base.p95_ms > 0.0;
        is_known.then(|| Ratio { p50: self.p50_ms / base.p50_ms, p95: self.p95_ms / base.p95_ms })
    }
}

impl Ratio {
    /// Whether it has become slower by more than chance explains.
    pub(super) fn is_too_slow(self) -> bool {
        self.p95 >= TOO_SLOW
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {}  p95 {}  p99 {}", Millis(self.p50_ms), Millis(self.p95_ms), Millis(self.p99_ms))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {}, p95 {}", Change(self.p50), Change(self.p95))
    }
}

/// Milliseconds, with as many digits as mean something.
struct Millis(f64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            millis if millis < 1.0 => write!(f, "{millis:.2}ms"),
            millis if millis < 100.0 => write!(f, "{millis:.1}ms"),
            millis => write!(f, "{millis:.0}ms"),
        }
    }
}

/// A ratio as a change: `−3%`, `+12%`.
struct Change(f64);

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = ((self.0 - 1.0) * 100.0).round();
        if percent < 0.0 { write!(f, "−{:.0}%", -percent) } else { write!(f, "+{percent:.0}%") }
    }
}

#[cfg(test)]
mod tests {
    use super::{Percentiles, Ratio};

    #[test]
    fn percentiles_are_durations_that_were_measured() {
        let durations: Vec<_> = (1..=200).rev().map(|number| number * 1000).collect();
        assert_eq!(Percentiles::of(&durations), Percentiles { p50_ms: 100.0, p95_ms: 190.0, p99_ms: 198.0 });
        assert_eq!(Percentiles::of(&[7]), Percentiles { p50_ms: 0.007, p95_ms: 0.007, p99_ms: 0.007 });
        assert_eq!(Percentiles::of(&[]), Percentiles::default());
    }

    #[test]
    fn a_fifth_more_at_the_95th_percentile_is_too_slow() {
        let base = Percentiles { p50_ms: 1.0, p95_ms: 2.0, p99_ms: 3.0 };
        let ratio = |p95_ms| Percentiles { p95_ms, ..base }.ratio_to(&base).expect("known");
        assert!(!ratio(2.38).is_too_slow() && ratio(2.4).is_too_slow());
        assert_eq!(Ratio { p50: 0.97, p95: 1.125 }.to_string(), "p50 −3%, p95 +13%");
        assert_eq!(base.ratio_to(&Percentiles::default()), None);
    }
}
