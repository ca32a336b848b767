//! How many of the latest events were dropped.

use std::time::Duration;

use orchestr8_schema::Timestamp;

/// Counts what was published and what was dropped over the last [`Window::SPAN`], in slices of [`Window::SLICE`].
#[derive(Debug, Default)]
pub(super) struct Window {
    slices: [Slice; Window::SLICES],
    warned_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// The number of the slice of time that it counts.
    number: i64,
    published: u64,
    dropped: u64,
}

impl Window {
    /// How far back it reaches.
    const SPAN: Duration = Duration::from_secs(60);
    /// How long after a warning there is no other.
    const SILENCE: Duration = Duration::from_secs(30);
    /// Above this share of dropped events there is a warning.
    const TOO_MANY: f64 = 0.1;
    const SLICES: usize = 12;
    const SLICE: Duration = Duration::from_secs(Self::SPAN.as_secs() / Self::SLICES as u64);

    fn number(at: Timestamp) -> i64 {
        at.as_micros().div_euclid(Self::SLICE.as_micros() as i64)
    }

    /// Counts, and tells the share of dropped events if it is time to warn of it.
    pub(super) fn count(&mut self, at: Timestamp, published: u64, dropped: u64) -> Option<f64> {
        let number = Self::number(at);
        let slice = &mut self.slices[number.rem_euclid(Self::SLICES as i64) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice.published += published;
        slice.dropped += dropped;
        if dropped == 0 || self.warned_at.is_some_and(|warned| at.since(warned) < Self::SILENCE) {
            return None;
        }
        let share = self.share(at);
        (share > Self::TOO_MANY).then(|| {
            self.warned_at = Some(at);
            share
        })
    }

    /// The share of events that were dropped in the window that ends now.
    pub(super) fn share(&self, now: Timestamp) -> f64 {
        let newest = Self::number(now);
        let recent =
            self.slices.iter().filter(|slice| (newest - Self::SLICES as i64 + 1..=newest).contains(&slice.number));
        let (published, dropped) =
            recent.fold((0, 0), |(published, dropped), slice| (published + slice.published, dropped + slice.dropped));
        if published == 0 { 0.0 } else { dropped as f64 / published as f64 }
    }
}

#[cfg(test)]
mod tests {
    use orchestr8_schema::Timestamp;

    use super::Window;

    #[test]
    fn it_warns_above_a_tenth_and_then_keeps_still_for_half_a_minute() {
        let second = |second: i64| Timestamp::from_micros(1_700_000_000_000_000 + second * 1_000_000);
        let mut window = Window::default();
        assert_eq!(window.count(second(0), 100, 10), None, "a tenth is not too many");
        assert!(window.count(second(1), 0, 10).is_some_and(|share| (share - 0.2).abs() < 1e-9));
        assert_eq!(window.count(second(20), 0, 50), None, "it has just warned");
        assert!(window.count(second(31), 100, 1).is_some());
        assert_eq!(window.share(second(200)), 0.0, "what is long past does not count");
        assert_eq!(window.count(second(200), 1000, 1), None);
    }
}
