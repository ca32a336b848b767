//! HTTP as far as a test needs it: requests are read, answers are written byte by byte.

use std::sync::Arc;

use serde_json::Value;
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Shared,
    answer::{Answer, Body},
};

/// The longest head and the longest body that are read.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request as it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// The headers, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null if it is none.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Request {
    /// Returns a header by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub(super) fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// Answers one connection until it is closed.
pub(super) async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    // A client that goes in the middle is no concern of the server's.
    while let Ok(Some(request)) = read(&mut stream).await {
        let answer = shared.answer_to(request);
        if !matches!(write(&mut stream, answer).await, Ok(true)) {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = stream.read(&mut chunk).await?;
        if count == 0 || bytes.len() > MAX_HEAD {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or_default().min(MAX_BODY);
    let mut bytes = bytes.split_off(end + 4);
    while bytes.len() < length {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Some(Request { method, path, headers, body, bytes }))
}

/// True if the connection may be used again.
async fn write(stream: &mut TcpStream, answer: Answer) -> io::Result<bool> {
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    match answer.body {
        Body::Whole { status, headers, bytes, is_cut } => {
            let mut head = format!("HTTP/1.1 {status} {}\r\ncontent-length: {}\r\n", reason(status), bytes.len());
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await?;
            let bytes = if is_cut { &bytes[..bytes.len() / 2] } else { &bytes };
            stream.write_all(bytes).await?;
            stream.flush().await?;
            Ok(!is_cut)
        }
        Body::Events { headers, events, is_cut } => {
            let mut head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n".to_owned();
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await?;
            for event in events {
                let event = format!("{event}\n\n");
                stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
                stream.flush().await?;
            }
            if !is_cut {
                stream.write_all(b"0\r\n\r\n").await?;
            }
            Ok(!is_cut)
        }
        Body::Garbage => {
            stream.write_all(b"\x00\x17\xff no protocol that anybody speaks \x80\r\n\r\n").await?;
            Ok(false)
        }
        Body::Reset => {
            stream.set_zero_linger()?;
            Ok(false)
        }
        Body::Silence => {
            let mut rest = [0; 64];
            while stream.read(&mut rest).await? > 0 {}
            Ok(false)
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        529 => "Overloaded",
        _ => "Unnamed",
    }
}
