use std::time::Duration;

use crate::{
    InvalidPolicy,
    timer::{Nanos, is_too_long},
};

/// How much may be in progress at once, how much may wait for it, and for how long.
///
/// | knob | default |
/// |---|---|
/// | attempts at once | is given |
/// | attempts that wait | 100 |
/// | longest wait | 30 s |
///
/// ```
/// use orchestr8_resilience::BulkheadPolicy;
///
/// let policy = BulkheadPolicy::try_new(4)?.max_queue(0)?;
/// assert_eq!(policy.max_concurrent(), 4);
/// assert_eq!(BulkheadPolicy::try_new(0).unwrap_err().field(), "max_concurrent");
/// # Ok::<(), orchestr8_resilience::InvalidPolicy>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadPolicy {
    max_concurrent: u32,
    max_queue: u32,
    queue_timeout: Nanos,
}

impl BulkheadPolicy {
    /// The longest queue that a policy can allow.
    pub const LONGEST_QUEUE: u32 = 10_000;

    /// Makes a policy of `max_concurrent` attempts at once, with the default queue.
    ///
    /// # Errors
    ///
    /// If `max_concurrent` is zero.
    pub const fn try_new(max_concurrent: u32) -> Result<Self, InvalidPolicy> {
        if max_concurrent == 0 {
            return Err(InvalidPolicy::new("max_concurrent", "must not be zero"));
        }
        Ok(Self { max_concurrent, max_queue: 100, queue_timeout: Nanos::of(Duration::from_secs(30)) })
    }

    /// Sets how many attempts may wait; 100 unless set. With zero nobody waits.
    ///
    /// # Errors
    ///
    /// If it is more than [`LONGEST_QUEUE`](BulkheadPolicy::LONGEST_QUEUE).
    pub const fn max_queue(mut self, max_queue: u32) -> Result<Self, InvalidPolicy> {
        if max_queue > Self::LONGEST_QUEUE {
            return Err(InvalidPolicy::new("max_queue", "must not be more than 10000"));
        }
        self.max_queue = max_queue;
        Ok(self)
    }

    /// Sets how long an attempt waits at most; 30 seconds unless set.
    ///
    /// # Errors
    ///
    /// If it is zero, which [`max_queue`](BulkheadPolicy::max_queue) says better, or longer than a hundred years.
    pub const fn queue_timeout(mut self, queue_timeout: Duration) -> Result<Self, InvalidPolicy> {
        if queue_timeout.is_zero() {
            return Err(InvalidPolicy::new("queue_timeout", "must not be zero"));
        }
        if is_too_long(queue_timeout) {
            return Err(InvalidPolicy::new("queue_timeout", "must not be longer than a hundred years"));
        }
        self.queue_timeout = Nanos::of(queue_timeout);
        Ok(self)
    }

    /// Returns how many attempts may be in progress at once.
    pub const fn max_concurrent(&self) -> u32 {
        self.max_concurrent
    }

    pub(super) const fn longest_queue(&self) -> usize {
        self.max_queue as usize
    }

    pub(super) const fn longest_wait(&self) -> Duration {
        self.queue_timeout.duration()
    }
}
