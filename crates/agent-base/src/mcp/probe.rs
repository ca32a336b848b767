//! Servers that leave the question for their protocol without an answer.
//!
//! A connection begins with a request that servers of the later era answer with what they speak, and those of the earlier one with an error. Some of
//! these say nothing at all before the handshake: for them the error is said here, once they have had their time, and the handshake begins.
//! A server that merely took long to start answers all the same, which is left out then.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a server may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);
/// What it would say if it did not know the request, which is the first one of its connection.
const UNKNOWN: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":-32601,\"message\":\"no answer\"}}\n";
/// The longest late answer that is left out, in bytes; a longer one is passed on.
const MAX_LATE: usize = 64 * 1024;

pin_project! {
    /// What a server says, beginning with an error if it says nothing for a while.
    pub(super) struct Probed<R> {
        #[pin]
        inner: R,
        #[pin]
        patience: Sleep,
        state: State,
        // What is to be read before anything else.
        ahead: Vec<u8>,
    }
}

enum State {
    /// Nothing was said yet.
    Waiting,
    /// The error was said; the first line that comes now may be the answer to the first request.
    Late(Vec<u8>),
    /// Everything is passed on.
    Through,
}

impl<R> Probed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, patience: sleep(PATIENCE), state: State::Waiting, ahead: Vec::new() }
    }
}

impl<R: AsyncRead> AsyncRead for Probed<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        loop {
            if !this.ahead.is_empty() {
                let count = this.ahead.len().min(buffer.remaining());
                buffer.put_slice(&this.ahead[..count]);
                this.ahead.drain(..count);
                return Poll::Ready(Ok(()));
            }
            match this.state {
                State::Through => return this.inner.poll_read(cx, buffer),
                State::Waiting => {
                    if let Poll::Ready(read) = this.inner.as_mut().poll_read(cx, buffer) {
                        *this.state = State::Through;
                        return Poll::Ready(read);
                    }
                    ready!(this.patience.as_mut().poll(cx));
                    *this.state = State::Late(Vec::new());
                    this.ahead.extend_from_slice(UNKNOWN);
                }
                State::Late(line) => {
                    let mut chunk = [0; 4096];
                    let mut read = ReadBuf::new(&mut chunk);
                    ready!(this.inner.as_mut().poll_read(cx, &mut read))?;
                    line.extend_from_slice(read.filled());
                    let end = line.iter().position(|byte| *byte == b'\n');
                    if end.is_none() && !read.filled().is_empty() && line.len() < MAX_LATE {
                        continue;
                    }
                    let kept = end.filter(|end| answers_first(&line[..*end])).map_or(0, |end| end + 1);
                    this.ahead.extend_from_slice(&line[kept..]);
                    *this.state = State::Through;
                }
            }
        }
    }
}

/// Whether a line is the answer to the first request of a connection.
fn answers_first(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|message| message["id"] == 0 && message.get("method").is_none())
}

#[cfg(test)]
mod tests {
    use rmcp::{
        model::ProtocolVersion,
        service::{ClientLifecycleMode, ClientServiceExt as _},
    };
    use tokio::{
        io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
        time::Instant,
    };

    use super::*;

    /// A server that says nothing before the handshake; then it may answer what it was asked before.
    async fn speaks_late(pipe: tokio::io::DuplexStream, late: Option<&str>) {
        let (reader, mut writer) = tokio::io::split(pipe);
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let asked: Value = serde_json::from_str(&line).expect("JSON");
            if asked["method"] != "initialize" {
                continue;
            }
            let id = &asked["id"];
            let answer = format!(
                "{}{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{{}},\
                 \"serverInfo\":{{\"name\":\"mute\",\"version\":\"1\"}}}}}}\n",
                late.unwrap_or_default()
            );
            writer.write_all(answer.as_bytes()).await.expect("somebody reads");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ignores_what_it_does_not_know_is_spoken_to_by_the_handshake() {
        let refused = "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":-32601,\"message\":\"late\"}}\n";
        for late in [None, Some(refused)] {
            let (ours, theirs) = tokio::io::duplex(4096);
            let server = tokio::spawn(speaks_late(theirs, late));
            let (reader, writer) = tokio::io::split(ours);
            let lifecycle = ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::V_2025_11_25),
            };
            let began = Instant::now();
            let client =
                ().serve_with_lifecycle((Box::pin(Probed::new(reader)), writer), lifecycle)
                    .await
                    .expect("it is spoken to");
            assert_eq!(began.elapsed(), PATIENCE);
            let version = client.peer().peer_info().map(|server| server.protocol_version.clone());
            assert_eq!(version, Some(ProtocolVersion::V_2025_06_18));
            server.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_in_time_or_is_no_answer_is_passed_on() {
        let (mut theirs, ours) = tokio::io::duplex(64);
        theirs.write_all(b"{\"id\":0}\nmore").await.expect("there is room");
        drop(theirs);
        let mut said = String::new();
        Box::pin(Probed::new(ours)).read_to_string(&mut said).await.expect("text");
        assert_eq!(said, "{\"id\":0}\nmore");

        for (late, kept) in
            [("{\"id\":1}\nmore", "{\"id\":1}\nmore"), ("{\"id\":0}\nmore", "more"), ("half", "half"), ("", "")]
        {
            let (mut theirs, ours) = tokio::io::duplex(64);
            let speaks = async move {
                sleep(2 * PATIENCE).await;
                theirs.write_all(late.as_bytes()).await.expect("there is room");
            };
            let mut said = String::new();
            let mut ours = Box::pin(Probed::new(ours));
            let (read, ()) = tokio::join!(ours.read_to_string(&mut said), speaks);
            read.expect("text");
            assert_eq!(
                said.as_bytes().strip_prefix(UNKNOWN).map(String::from_utf8_lossy).as_deref(),
                Some(kept),
                "{late}"
            );
        }
    }
}
