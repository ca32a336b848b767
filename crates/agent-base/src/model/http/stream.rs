//! Reading server-sent events, bounded.

use futures_util::StreamExt as _;
use reqwest::Response;
use serde_json::Value;
use sse_stream::SseStream;
use tokio_util::sync::CancellationToken;

use super::{
    broken,
    connection::{failed, until},
};
use crate::AgentError;

/// The most bytes of a stream that are read.
const MAX_STREAM: usize = 32 * 1024 * 1024;

/// Hands the data of each event on as JSON until that says that it was the last one.
///
/// # Errors
///
/// NETWORK if the stream breaks, ends before its last event, or is too long.
pub(super) async fn each_event(
    response: Response,
    cancel: &CancellationToken,
    mut take: impl FnMut(Value) -> Result<Next, AgentError>,
) -> Result<(), AgentError> {
    let mut read = 0;
    let mut error = None;
    let bytes = response.bytes_stream().map(|chunk| {
        let chunk = chunk.map_err(|source| Stop(Some(failed(&source))))?;
        read += chunk.len();
        if read > MAX_STREAM { Err(Stop(Some(broken("its stream is over 32 MB")))) } else { Ok(chunk) }
    });
    let mut events = SseStream::from_bytes_stream(bytes);
    while let Some(event) = until(cancel, events.next()).await? {
        let data = match event {
            Ok(event) => event.data.unwrap_or_default(),
            Err(sse_stream::Error::Body(stop)) => {
                error = stop.downcast::<Stop>().ok().and_then(|stop| stop.0);
                break;
            }
            Err(_) => return Err(broken("its stream is no stream of events")),
        };
        if data.trim() == "[DONE]" {
            return Ok(());
        }
        if data.is_empty() {
            continue;
        }
        let data = serde_json::from_str(&data).map_err(|_| broken("an event of its stream is no JSON"))?;
        if take(data)? == Next::Done {
            return Ok(());
        }
    }
    Err(error.unwrap_or_else(|| broken("its stream ends before its last event")))
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    More,
    Done,
}

/// Why no more bytes are read.
#[derive(Debug)]
struct Stop(Option<AgentError>);

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stream broke")
    }
}

impl std::error::Error for Stop {}
