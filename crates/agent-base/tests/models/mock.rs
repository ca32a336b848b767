//! A provider that says what it is told to, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A whole answer of this status, with these further headers.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// A stream of events that ends well.
    Events(Vec<String>),
    /// A stream that is cut after these events.
    Cut(Vec<String>),
    /// The headers of an answer, and then so many megabytes.
    Flood(usize),
    /// Nothing, until the other side goes.
    Hang,
}

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        Self::Whole(200, vec![("content-type", "application/json".to_owned())], body.to_string())
    }
}

pub(crate) struct Mock {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Told whenever a connection is closed by the other side while it waits.
    pub(crate) left: Arc<Notify>,
}

impl Mock {
    /// Gives these replies, one after another, the last one again and again.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let left = Arc::new(Notify::new());
        let (kept, gone) = (Arc::clone(&asked), Arc::clone(&left));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, gone, replies) = (Arc::clone(&kept), Arc::clone(&gone), replies.clone());
                tokio::spawn(async move {
                    while let Some(request) = read(&mut stream).await {
                        let place = {
                            let mut kept = kept.lock().expect("not poisoned");
                            kept.push(request);
                            kept.len() - 1
                        };
                        let reply = replies.get(place).or(replies.last()).expect("a reply").clone();
                        if !answer(&mut stream, reply, &gone).await {
                            break;
                        }
                    }
                });
            }
        });
        Self { base, asked, left }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => body.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
    Some(Asked { line, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// True if the connection may be used again.
async fn answer(stream: &mut TcpStream, reply: Reply, gone: &Notify) -> bool {
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: req-s\r\nx-request-id: req-s\r\ntransfer-encoding: chunked\r\n\r\n";
    match reply {
        Reply::Whole(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.is_ok()
        }
        Reply::Events(parts) | Reply::Cut(parts) if parts.is_empty() => {
            let _ = stream.write_all(events.as_bytes()).await;
            false
        }
        Reply::Events(parts) => {
            let _ = stream.write_all(events.as_bytes()).await;
            write_events(stream, &parts).await;
            stream.write_all(b"0\r\n\r\n").await.is_ok()
        }
        Reply::Cut(parts) => {
            let _ = stream.write_all(events.as_bytes()).await;
            write_events(stream, &parts).await;
            false
        }
        Reply::Flood(megabytes) => {
            let length = megabytes * 1024 * 1024;
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await;
            let chunk = vec![b' '; 1024 * 1024];
            for _ in 0..megabytes {
                if stream.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            false
        }
        Reply::Hang => {
            let mut rest = [0; 16];
            let _ = stream.read(&mut rest).await;
            gone.notify_one();
            false
        }
    }
}

async fn write_events(stream: &mut TcpStream, parts: &[String]) {
    for part in parts {
        let event = format!("{part}\n\n");
        // In two pieces, which may end anywhere.
        for piece in [&event.as_bytes()[..event.len() / 2], &event.as_bytes()[event.len() / 2..]] {
            let _ = stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await;
            let _ = stream.write_all(piece).await;
            let _ = stream.write_all(b"\r\n").await;
            let _ = stream.flush().await;
        }
    }
}
