//! Whether a client waits for the end of an execution, and how long.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Uri};
use serde::Deserialize;

use super::{problem::Rejection, query::query};

/// How long a synchronous answer may take at most.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How a client wants its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// How long to wait for the end; absent if the client does not wait.
    pub(super) wait: Option<Duration>,
    /// The preference that was heeded, for `Preference-Applied`.
    pub(super) applied: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Parameters {
    mode: Option<String>,
}

impl Reply {
    /// Reads `?mode=` first, then `Prefer: respond-async=false`, `Prefer: respond-async` and `Prefer: wait=<s>` (RFC 7240).
    pub(super) fn wanted(uri: &Uri, headers: &HeaderMap) -> Result<Self, Rejection> {
        match query::<Parameters>(uri)?.mode.as_deref() {
            Some("sync") => return Ok(Self { wait: Some(MAX_WAIT), applied: None }),
            Some("async") => return Ok(Self { wait: None, applied: None }),
            Some(mode) => {
                return Err(Rejection::bad_request(format!("`{mode}` is no mode; there are `sync` and `async`")));
            }
            None => {}
        }
        let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in preferences.flat_map(|value| value.split([',', ';'])).map(str::trim) {
            let seconds = preference.strip_prefix("wait=").and_then(|seconds| seconds.trim_matches('"').parse().ok());
            match (preference, seconds) {
                (_, Some(seconds)) => {
                    let seconds = u64::clamp(seconds, 1, MAX_WAIT.as_secs());
                    let applied = HeaderValue::from_str(&format!("wait={seconds}")).ok();
                    return Ok(Self { wait: Some(Duration::from_secs(seconds)), applied });
                }
                ("respond-async=false", None) => {
                    let applied = Some(HeaderValue::from_static("respond-async=false"));
                    return Ok(Self { wait: Some(MAX_WAIT), applied });
                }
                ("respond-async", None) => {
                    return Ok(Self { wait: None, applied: Some(HeaderValue::from_static("respond-async")) });
                }
                _ => {}
            }
        }
        Ok(Self { wait: None, applied: None })
    }
}
