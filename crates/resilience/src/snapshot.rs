//! What circuits and buckets know, to be kept over a restart.
//!
//! A [`Snapshot`] is taken of registries and restored into registries. Its times are those of the wall clock, which the caller
//! tells: the crate reads none. With the feature `serde` it can be written down.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use orchestr8_resilience::{BucketRegistry, CircuitRegistry, Snapshot, rate_limit::Rates};
//!
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
//! let buckets = BucketRegistry::new();
//! buckets.bucket("search", Rates::try_new(Some(60), None)?).correct(0, 0);
//! let snapshot = Snapshot::take(now, &CircuitRegistry::new(), &buckets);
//! assert!(snapshot.is_empty(), "a full bucket and a closed circuit are what a new one would be");
//!
//! let (circuits, buckets) = (CircuitRegistry::new(), BucketRegistry::new());
//! snapshot.restore(now + Duration::from_secs(5), &circuits, &buckets);
//! # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
//! ```

#[cfg(feature = "serde")]
use std::time::Duration;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::{
    BucketRegistry, CircuitRegistry,
    circuit_breaker::CircuitState,
    rate_limit::Rates,
    timer::{is_too_long, later},
};

/// What the circuits and buckets of two registries knew at a time, but for those that knew nothing.
///
/// A circuit that was half-open is due for a probe again. Permits of bulkheads are not in it, since what held them is gone after
/// a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct Snapshot {
    #[cfg_attr(feature = "serde", serde(with = "unix_millis"))]
    taken_at: SystemTime,
    circuits: Vec<CircuitRecord>,
    buckets: Vec<BucketRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
struct CircuitRecord {
    key: String,
    #[cfg_attr(feature = "serde", serde(flatten))]
    state: StateRecord,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase"))]
enum StateRecord {
    Closed {
        failures: u32,
    },
    Open {
        #[cfg_attr(feature = "serde", serde(with = "unix_millis"))]
        reopens_at: SystemTime,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
struct BucketRecord {
    key: String,
    requests_per_minute: Option<u32>,
    weight_per_minute: Option<u32>,
    /// What is missing to a full bucket, in thousandths.
    requests_missing: u64,
    weight_missing: u64,
}

impl Snapshot {
    /// Writes down what the registries know. `now` is the wall clock's time of this moment.
    pub fn take(now: SystemTime, circuits: &CircuitRegistry, buckets: &BucketRegistry) -> Self {
        let instant = Instant::now();
        let circuits = circuits.snapshot().into_iter().filter_map(|(key, state)| {
            let state = match state {
                CircuitState::Closed { failures: 0 } => return None,
                CircuitState::Closed { failures } => StateRecord::Closed { failures },
                CircuitState::Open { until } => {
                    let remaining = until.saturating_duration_since(instant);
                    StateRecord::Open { reopens_at: now.checked_add(remaining).unwrap_or(now) }
                }
                CircuitState::HalfOpen { .. } => StateRecord::Open { reopens_at: now },
            };
            Some(CircuitRecord { key: key.to_string(), state })
        });
        let buckets = buckets.missing().into_iter().map(|(key, rates, (requests, weight))| BucketRecord {
            key: key.to_string(),
            requests_per_minute: rates.requests(),
            weight_per_minute: rates.weight(),
            requests_missing: requests,
            weight_missing: weight,
        });
        Self { taken_at: now, circuits: circuits.collect(), buckets: buckets.collect() }
    }

    /// Tells the registries what this snapshot knows. `now` is the wall clock's time of this moment.
    ///
    /// Circuits and buckets that know something themselves by now keep to that, so restoring twice does no harm. If the wall
    /// clock was set back meanwhile, no circuit stays open for longer than it would have when the snapshot was taken. What makes
    /// no sense, such as a rate of zero, is passed over.
    pub fn restore(&self, now: SystemTime, circuits: &CircuitRegistry, buckets: &BucketRegistry) {
        let passed = now.duration_since(self.taken_at).unwrap_or_default();
        let instant = Instant::now();
        for CircuitRecord { key, state } in &self.circuits {
            let state = match *state {
                StateRecord::Closed { failures } => CircuitState::Closed { failures },
                StateRecord::Open { reopens_at } => {
                    let remaining = reopens_at.duration_since(self.taken_at).unwrap_or_default().saturating_sub(passed);
                    if is_too_long(remaining) {
                        continue;
                    }
                    CircuitState::Open { until: later(instant, remaining) }
                }
            };
            circuits.circuit(key).restore(state);
        }
        for record in &self.buckets {
            let Ok(rates) = Rates::try_new(record.requests_per_minute, record.weight_per_minute) else { continue };
            let missing = (record.requests_missing, record.weight_missing);
            buckets.bucket(&record.key, rates).restore(missing, passed);
        }
    }

    /// Returns whether nothing was known.
    pub fn is_empty(&self) -> bool {
        self.circuits.is_empty() && self.buckets.is_empty()
    }

    /// Returns when it was taken, by the wall clock.
    pub fn taken_at(&self) -> SystemTime {
        self.taken_at
    }
}

#[cfg(feature = "serde")]
mod unix_millis {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{Duration, SystemTime};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let millis = Duration::from_millis(u64::deserialize(deserializer)?);
        SystemTime::UNIX_EPOCH.checked_add(millis).ok_or_else(|| D::Error::custom("a time that no clock can hold"))
    }
}
