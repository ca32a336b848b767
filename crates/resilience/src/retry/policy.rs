use std::time::Duration;

use crate::{Backoff, Class, InvalidPolicy, observe::GaveUp};

/// How often a call is tried, how long it waits in between, and which failures are worth another try.
///
/// | knob | default |
/// |---|---|
/// | attempts, the first included | 3 |
/// | backoff | [`Backoff::default`]: 1 s, 2 s, … up to 30 s, with jitter |
/// | timeouts, network errors, retryable and server errors, rate limits | retried |
/// | internal errors | not retried |
///
/// ```
/// use orchestr8_resilience::{Backoff, Class, RetryPolicy};
///
/// let policy = RetryPolicy::try_new(5, Backoff::default())?.retry_timeouts(false);
/// assert!(policy.retries(Class::Network));
/// assert!(!policy.retries(Class::Timeout));
/// assert!(RetryPolicy::try_new(0, Backoff::default()).is_err());
/// # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    max_attempts: u32,
    backoff: Backoff,
    timeouts: bool,
    network_errors: bool,
    retryable_errors: bool,
    rate_limits: bool,
    internal_errors: bool,
}

impl RetryPolicy {
    /// Makes a policy of `max_attempts` attempts, the first included, which retries what is retried by default.
    ///
    /// # Errors
    ///
    /// If `max_attempts` is 0. With 1 nothing is ever retried.
    pub const fn try_new(max_attempts: u32, backoff: Backoff) -> Result<Self, InvalidPolicy> {
        if max_attempts == 0 {
            return Err(InvalidPolicy::new("max_attempts", "must allow one attempt"));
        }
        Ok(Self {
            max_attempts,
            backoff,
            timeouts: true,
            network_errors: true,
            retryable_errors: true,
            rate_limits: true,
            internal_errors: false,
        })
    }

    /// Sets whether [`Class::Timeout`] is retried; true unless set.
    #[must_use]
    pub const fn retry_timeouts(mut self, retry: bool) -> Self {
        self.timeouts = retry;
        self
    }

    /// Sets whether [`Class::Network`] is retried; true unless set.
    #[must_use]
    pub const fn retry_network_errors(mut self, retry: bool) -> Self {
        self.network_errors = retry;
        self
    }

    /// Sets whether [`Class::Retryable`] and [`Class::ServerError`] are retried; true unless set.
    #[must_use]
    pub const fn retry_retryable_errors(mut self, retry: bool) -> Self {
        self.retryable_errors = retry;
        self
    }

    /// Sets whether [`Class::RateLimited`] is retried; true unless set.
    #[must_use]
    pub const fn retry_rate_limits(mut self, retry: bool) -> Self {
        self.rate_limits = retry;
        self
    }

    /// Sets whether [`Class::Internal`] is retried; false unless set.
    #[must_use]
    pub const fn retry_internal_errors(mut self, retry: bool) -> Self {
        self.internal_errors = retry;
        self
    }

    /// Returns how often a call is tried at most, the first time included.
    pub const fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Returns whether a failure of this class is worth another attempt, as long as there are any left.
    ///
    /// Permanent failures, rejections by an open circuit and cancellations never are.
    pub const fn retries(&self, class: Class) -> bool {
        match class {
            Class::Timeout => self.timeouts,
            Class::Network => self.network_errors,
            Class::Retryable | Class::ServerError => self.retryable_errors,
            Class::RateLimited => self.rate_limits,
            Class::Internal => self.internal_errors,
            Class::Permanent | Class::CircuitOpen | Class::Cancelled => false,
        }
    }

    /// Decides what follows the failure of attempt number `attempt`.
    pub(super) fn after_failure(
        &self,
        attempt: u32,
        seed: u64,
        class: Class,
        retry_after: Option<Duration>,
    ) -> Decision {
        if !self.retries(class) || self.max_attempts == 1 {
            return Decision::GiveUp(GaveUp::NotRetried);
        }
        if attempt >= self.max_attempts {
            return Decision::GiveUp(GaveUp::Exhausted);
        }
        let minimum = retry_after.map_or(Duration::ZERO, up_to_whole_millis);
        Decision::RetryAfter(self.backoff.delay(attempt, seed).max(minimum))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        match Self::try_new(3, Backoff::default()) {
            Ok(policy) => policy,
            Err(_) => unreachable!("three attempts are allowed"),
        }
    }
}

/// What follows a failed attempt.
pub(super) enum Decision {
    GiveUp(GaveUp),
    RetryAfter(Duration),
}

/// Upwards, since the other side will not see us a moment earlier.
fn up_to_whole_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
