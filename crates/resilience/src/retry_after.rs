//! Reading how long an HTTP server asks to be left alone.

use std::time::{Duration, SystemTime};

/// The longest delay that is believed: a day.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the value of a `Retry-After` header: seconds, or a date in any of the three forms of HTTP.
///
/// A date in the past is zero, more than a [day](LONGEST) is a day, and what cannot be read is `None`. The result is for
/// [`Classify::retry_after`](crate::Classify::retry_after).
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use orchestr8_resilience::retry_after;
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_420);
/// assert_eq!(retry_after::parse("120", now), Some(Duration::from_secs(120)));
/// assert_eq!(retry_after::parse("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(60)));
/// assert_eq!(retry_after::parse("Wed, 21 Oct 1998 07:28:00 GMT", now), Some(Duration::ZERO));
/// assert_eq!(retry_after::parse("999999999999999999999", now), Some(retry_after::LONGEST));
/// assert_eq!(retry_after::parse("soon", now), None);
/// ```
pub fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are more than a day.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(delay.min(LONGEST))
}
