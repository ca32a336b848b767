use std::time::Duration;

use crate::{
    InvalidPolicy,
    timer::{Nanos, is_too_long},
};

/// How often something may be called, and how long an attempt waits for its turn.
///
/// | knob | default |
/// |---|---|
/// | rates | at least one is given |
/// | longest wait | 30 s |
///
/// The rates belong to the [bucket](super::Bucket), whoever uses it; the longest wait to the caller.
///
/// ```
/// use std::time::Duration;
/// use orchestr8_resilience::{RateLimitPolicy, rate_limit::Rates};
///
/// let rates = Rates::try_new(Some(600), Some(100_000))?;
/// let policy = RateLimitPolicy::new(rates).max_wait(Duration::from_secs(5))?;
/// assert_eq!(policy.rates().requests(), Some(600));
/// assert_eq!(Rates::try_new(Some(0), None).unwrap_err().field(), "requests_per_minute");
/// # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitPolicy {
    rates: Rates,
    max_wait: Nanos,
}

/// What a bucket holds when it is full, and is refilled by in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    requests: Option<u32>,
    weight: Option<u32>,
}

impl Rates {
    /// Makes rates of requests and of weighted units per minute, such as the tokens of a model; `None` is without limit.
    ///
    /// # Errors
    ///
    /// If a rate is zero, or neither is given.
    pub const fn try_new(
        requests_per_minute: Option<u32>,
        weight_per_minute: Option<u32>,
    ) -> Result<Self, InvalidPolicy> {
        match (requests_per_minute, weight_per_minute) {
            (Some(0), _) => Err(InvalidPolicy::new("requests_per_minute", "must not be zero")),
            (_, Some(0)) => Err(InvalidPolicy::new("weight_per_minute", "must not be zero")),
            (None, None) => Err(InvalidPolicy::new("requests_per_minute", "must be given if no other rate is")),
            (requests, weight) => Ok(Self { requests, weight }),
        }
    }

    /// Returns how many requests pass per minute.
    pub const fn requests(&self) -> Option<u32> {
        self.requests
    }

    /// Returns how many weighted units pass per minute.
    pub const fn weight(&self) -> Option<u32> {
        self.weight
    }
}

impl RateLimitPolicy {
    /// Makes a policy with the default wait.
    pub const fn new(rates: Rates) -> Self {
        Self { rates, max_wait: Nanos::of(Duration::from_secs(30)) }
    }

    /// Sets the longest wait; 30 seconds unless set. With zero nobody waits.
    ///
    /// # Errors
    ///
    /// If it is longer than a hundred years.
    pub const fn max_wait(mut self, max_wait: Duration) -> Result<Self, InvalidPolicy> {
        if is_too_long(max_wait) {
            return Err(InvalidPolicy::new("max_wait", "must not be longer than a hundred years"));
        }
        self.max_wait = Nanos::of(max_wait);
        Ok(self)
    }

    /// Returns the rates.
    pub const fn rates(&self) -> Rates {
        self.rates
    }

    pub(super) const fn longest_wait(&self) -> Duration {
        self.max_wait.duration()
    }
}
