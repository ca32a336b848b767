//! The beginning of a stream.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Keeps the beginning of a stream, and lets the rest go by, so that who writes is never held up.
#[derive(Debug, Default)]
pub(super) struct Capture {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Capture {
    /// Reads a stream to its end.
    ///
    /// # Cancellation safety
    ///
    /// What was read before the future is dropped is kept.
    pub(super) async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>, limit: usize) {
        let Some(mut stream) = stream else { return };
        let mut buffer = [0; 8 * 1024];
        // Who cannot be read has no more to say.
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let kept = read.min(limit - self.bytes.len());
            self.bytes.extend_from_slice(&buffer[..kept]);
            self.truncated |= kept < read;
        }
    }

    /// Returns the text, bytes that are none replaced, and whether there was more.
    pub(super) fn into_text(self) -> (String, bool) {
        let text = String::from_utf8(self.bytes);
        let text = text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        (text, self.truncated)
    }
}
