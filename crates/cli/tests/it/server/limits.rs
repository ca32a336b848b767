//! How much a client may send.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::support::{orchestr8, running_server::RunningServer};

/// Sends bytes as they are and returns the first line of the answer.
fn raw(server: &RunningServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("the server listens");
    // The server may have heard enough before everything is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_body_over_10_mb_is_413_even_for_a_client_that_sends_it_all() {
    let server = RunningServer::start(&mut orchestr8());
    let answer = server
        .post("/v1/workflows/execute")
        .header("content-type", "application/json")
        .body(vec![b' '; 11_000_000])
        .send()
        .expect("the answer arrives");
    assert_eq!(answer.status().as_u16(), 413);
    assert_eq!(answer.headers()["x-error-code"], "PAYLOAD_TOO_LARGE");
}

#[test]
fn deep_nesting_is_refused_before_anything_looks_at_it() {
    let server = RunningServer::start(&mut orchestr8());
    for depth in [65, 1000, 100_000] {
        let body = format!("{{\"workflow\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let request = server.post("/v1/workflows/execute").header("content-type", "application/json").body(body);
        let answer = request.send().expect("the server answers");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-error-code"]),
            (400, &"BAD_REQUEST".parse().expect("ASCII"))
        );
    }
}

#[test]
fn large_headers_and_broken_requests_are_refused_by_the_listener() {
    let server = RunningServer::start(&mut orchestr8());
    let large = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(raw(&server, large.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    assert_eq!(raw(&server, b"NONSENSE\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(raw(&server, b"GET /health HTTP/1.0\r\n\r\n"), "HTTP/1.0 403 Forbidden");
}
