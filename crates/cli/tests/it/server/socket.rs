//! Requests as bytes, and answers as they come: for what no client library would send.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use crate::support::running_server::RunningServer;

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn code(&self) -> &str {
        self.header("x-error-code").unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Whether a client goes on listening without saying that nothing follows.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Open,
    BrokenOff,
}

/// Sends bytes as they are, and returns all answers until the server closes the connection.
pub(super) fn send(server: &RunningServer, bytes: &[u8], end: End) -> Vec<Answer> {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("the server listens");
    // The server may have heard enough before everything is sent.
    let _ = stream.write_all(bytes);
    if end == End::BrokenOff {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    read(bytes, text)
}

/// Reads the answers to requests out of what a server has sent.
pub(super) fn read(requests: &[u8], text: Vec<u8>) -> Vec<Answer> {
    let text = String::from_utf8(text).expect("answers are UTF-8");
    let mut answers = Vec::new();
    let mut rest = &*text;
    while let Some((head, behind)) = rest.split_once("\r\n\r\n") {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut answer = Answer { status, head: head.to_owned(), body: String::new() };
        let is_of_head = requests.starts_with(b"HEAD");
        let length = answer
            .header("content-length")
            .filter(|_| !is_of_head)
            .map_or(0, |length| length.parse().expect("a number"));
        let (body, others) = behind.split_at(length);
        body.clone_into(&mut answer.body);
        answers.push(answer);
        rest = others;
    }
    answers
}

pub(super) fn one(server: &RunningServer, request: &str) -> Answer {
    one_of(server, request, End::Open)
}

pub(super) fn one_of(server: &RunningServer, request: &str, end: End) -> Answer {
    let mut answers = send(server, request.as_bytes(), end);
    assert_eq!(answers.len(), 1, "{request:?}: {answers:?}");
    answers.remove(0)
}
