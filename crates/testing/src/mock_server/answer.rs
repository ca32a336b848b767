//! What a server answers.

use std::time::Duration;

use serde_json::Value;

/// What a [`MockServer`](super::MockServer) answers one request.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer {
    pub(super) delay: Duration,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
        bytes: Vec<u8>,
        is_cut: bool,
    },
    /// Server-sent events, each a chunk; a stream that is cut ends without its last chunk.
    Events {
        headers: Vec<(String, String)>,
        events: Vec<String>,
        is_cut: bool,
    },
    Garbage,
    Reset,
    Silence,
}

impl Answer {
    /// Answers a JSON value.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::whole(status, "application/json", value.to_string().into_bytes())
    }

    /// Answers a text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// Answers a stream of server-sent events, each given with its `event:` and `data:` lines.
    pub fn events(events: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let events = events.into_iter().map(Into::into).collect();
        Self::of(Body::Events { headers: Vec::new(), events, is_cut: false })
    }

    /// Answers with bytes that are no HTTP, and closes the connection.
    pub fn garbage() -> Self {
        Self::of(Body::Garbage)
    }

    /// Resets the connection instead of an answer.
    pub fn reset_connection() -> Self {
        Self::of(Body::Reset)
    }

    /// Never answers, until the other side goes.
    pub fn silence() -> Self {
        Self::of(Body::Silence)
    }

    /// Cuts the answer: half of its body comes, or half of its events, and the connection is closed.
    pub fn half_body(mut self) -> Self {
        match &mut self.body {
            Body::Whole { is_cut, .. } => *is_cut = true,
            Body::Events { events, is_cut, .. } => {
                events.truncate(events.len() / 2);
                *is_cut = true;
            }
            Body::Garbage | Body::Reset | Body::Silence => {}
        }
        self
    }

    /// Waits before it answers, in real time.
    pub fn slow(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Body::Whole { headers, .. } | Body::Events { headers, .. } = &mut self.body {
            headers.push((name.into(), value.into()));
        }
        self
    }

    fn whole(status: u16, kind: &str, bytes: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self::of(Body::Whole { status, headers, bytes, is_cut: false })
    }

    fn of(body: Body) -> Self {
        Self { delay: Duration::ZERO, body }
    }

    /// Changes the JSON that is answered.
    pub(super) fn changed(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let Body::Whole { bytes, .. } = &mut self.body
            && let Ok(mut value) = serde_json::from_slice(bytes)
        {
            change(&mut value);
            *bytes = value.to_string().into_bytes();
        }
        self
    }
}
