use std::time::Duration;

use crate::{
    Class, InvalidPolicy,
    timer::{Nanos, is_too_long},
};

/// When a circuit opens, for how long, and which failures count.
///
/// | knob | default |
/// |---|---|
/// | failures in a row that open the circuit | 5 |
/// | reset timeout: how long it stays open before a probe | 60 s |
/// | timeouts, network errors, server errors, retryable errors | count |
///
/// A failure that does not count is neutral: it neither opens a circuit nor ends a row of failures, and as the outcome of a
/// probe it closes the circuit, since the other side did answer.
///
/// Callers with different policies may share a circuit. Each failure is then judged by the policy of the caller that met it.
///
/// ```
/// use std::time::Duration;
/// use orchestr8_resilience::{CircuitBreakerPolicy, Class, circuit_breaker::Outcome};
///
/// let policy = CircuitBreakerPolicy::try_new(3, Duration::from_secs(10))?.count_timeouts(false);
/// assert_eq!(policy.outcome(Class::Network), Outcome::Failure);
/// assert_eq!(policy.outcome(Class::Timeout), Outcome::Neutral);
/// # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreakerPolicy {
    failure_threshold: u32,
    reset_timeout: Nanos,
    timeouts: bool,
    network_errors: bool,
    server_errors: bool,
    retryable_errors: bool,
}

/// What an attempt tells its circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// The service answered, and what it answered says nothing of its health.
    Neutral,
    /// Nothing: it was cancelled, dropped, or never reached the service. A probe's permit is given back.
    Abandoned,
}

impl CircuitBreakerPolicy {
    /// Makes a policy that opens a circuit after `failure_threshold` failures in a row, for `reset_timeout`.
    ///
    /// # Errors
    ///
    /// If either is zero, or `reset_timeout` longer than a hundred years.
    pub const fn try_new(failure_threshold: u32, reset_timeout: Duration) -> Result<Self, InvalidPolicy> {
        if failure_threshold == 0 {
            return Err(InvalidPolicy::new("failure_threshold", "must not be zero"));
        }
        if reset_timeout.is_zero() {
            return Err(InvalidPolicy::new("reset_timeout", "must not be zero"));
        }
        if is_too_long(reset_timeout) {
            return Err(InvalidPolicy::new("reset_timeout", "must not be longer than a hundred years"));
        }
        Ok(Self {
            failure_threshold,
            reset_timeout: Nanos::of(reset_timeout),
            timeouts: true,
            network_errors: true,
            server_errors: true,
            retryable_errors: true,
        })
    }

    /// Sets whether [`Class::Timeout`] is a failure; true unless set.
    #[must_use]
    pub const fn count_timeouts(mut self, count: bool) -> Self {
        self.timeouts = count;
        self
    }

    /// Sets whether [`Class::Network`] is a failure; true unless set.
    #[must_use]
    pub const fn count_network_errors(mut self, count: bool) -> Self {
        self.network_errors = count;
        self
    }

    /// Sets whether [`Class::ServerError`] is a failure; true unless set.
    #[must_use]
    pub const fn count_server_errors(mut self, count: bool) -> Self {
        self.server_errors = count;
        self
    }

    /// Sets whether [`Class::Retryable`] is a failure; true unless set.
    #[must_use]
    pub const fn count_retryable_errors(mut self, count: bool) -> Self {
        self.retryable_errors = count;
        self
    }

    /// Returns how many failures in a row open the circuit.
    pub const fn failure_threshold(&self) -> u32 {
        self.failure_threshold
    }

    /// Returns how long the circuit stays open before it lets a probe through.
    pub const fn reset_timeout(&self) -> Duration {
        self.reset_timeout.duration()
    }

    /// Returns what a failure of this class tells the circuit.
    pub const fn outcome(&self, class: Class) -> Outcome {
        let counts = match class {
            Class::Timeout => self.timeouts,
            Class::Network => self.network_errors,
            Class::ServerError => self.server_errors,
            Class::Retryable => self.retryable_errors,
            Class::RateLimited | Class::Permanent | Class::Internal => false,
            Class::CircuitOpen | Class::Cancelled => return Outcome::Abandoned,
        };
        if counts { Outcome::Failure } else { Outcome::Neutral }
    }
}

impl Default for CircuitBreakerPolicy {
    fn default() -> Self {
        match Self::try_new(5, Duration::from_secs(60)) {
            Ok(policy) => policy,
            Err(_) => unreachable!("neither is zero"),
        }
    }
}
