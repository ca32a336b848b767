//! What no client library would send, over a raw socket; and what takes longer than a test may.

use std::time::Duration;

use orchestr8_cli::server::{self, Access, Service};
use orchestr8_testing::Harness;
use serde_json::Value;
use tokio::net::TcpListener;

use super::socket::{End, one, one_of, send};
use crate::support::{orchestr8, running_server::RunningServer};

#[test]
fn who_does_not_name_the_server_or_comes_from_elsewhere_is_refused_on_every_route() {
    let server = RunningServer::start(&mut orchestr8());
    let port = server.port();
    for path in ["/", "/health", "/metrics", "/v1/executions", "/v1/events", "/nowhere"] {
        for headers in [
            String::new(),
            "Host:\r\n".to_owned(),
            "Host: evil.example\r\n".to_owned(),
            "Host: localhost@evil.example\r\n".to_owned(),
            "Host: localhost\r\nHost: evil.example\r\n".to_owned(),
            "Host: localhost\r\nOrigin: null\r\n".to_owned(),
            format!("Host: localhost:{port}\r\nOrigin: http://localhost\r\n"),
            format!("Host: localhost:{port}\r\nOrigin: https://localhost:{port}\r\n"),
        ] {
            let answer = one(&server, &format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"));
            assert_eq!((answer.status, answer.code()), (403, "FORBIDDEN"), "{path} {headers:?}");
            let problem: Value = serde_json::from_str(&answer.body).expect("a problem");
            assert_eq!((&problem["status"], &problem["instance"]), (&403.into(), &path.into()));
        }
    }
    let absolute = "GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(one(&server, absolute).status, 403);
    let own = format!(
        "GET /health HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(one(&server, &own).status, 200);
}

#[test]
fn bodies_that_break_off_or_are_no_chunks_are_problems() {
    let server = RunningServer::start(&mut orchestr8());
    let head = "POST /v1/workflows/validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
    for (framing, body) in [
        ("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2\r\n{}garbage"),
        ("Transfer-Encoding: chunked", "ffffffffffffffffff\r\n{}"),
        ("Content-Length: 100", "{}"),
    ] {
        let answer = one_of(&server, &format!("{head}{framing}\r\n\r\n{body}"), End::BrokenOff);
        assert_eq!((answer.status, answer.code()), (400, "BAD_REQUEST"), "{framing} {body:?}: {answer:?}");
    }
    for framing in ["Content-Length: -1", "Content-Length: 1, 2", "Content-Length: 2\r\nContent-Length: 3"] {
        let answer = one(&server, &format!("{head}{framing}\r\n\r\n{{}}"));
        assert_eq!(answer.status, 400, "{framing}: {answer:?}");
    }
}

#[test]
fn requests_in_one_go_are_answered_in_their_order_and_old_clients_once() {
    let server = RunningServer::start(&mut orchestr8());
    let request = |id: &str, path: &str, end: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Correlation-ID: {id}\r\n{end}\r\n")
    };
    let pipelined = [
        request("first", "/v1/executions", ""),
        request("second", "/nowhere", ""),
        request("third", "/health", "Connection: close\r\n"),
    ];
    let answers = send(&server, pipelined.concat().as_bytes(), End::Open);
    let told: Vec<_> = answers.iter().map(|answer| (answer.header("x-correlation-id"), answer.status)).collect();
    assert_eq!(told, [(Some("first"), 200), (Some("second"), 404), (Some("third"), 200)]);
    let old = one(&server, "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(old.status == 200 && old.head.starts_with("HTTP/1.0 200"), "{old:?}");
}

#[test]
fn methods_are_those_of_the_path() {
    let server = RunningServer::start(&mut orchestr8());
    let ask = |method: &str, path: &str| {
        one(&server, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    };
    for path in
        ["/", "/health", "/ready", "/metrics", "/v1/executions", "/v1/agents", "/v1/schemas/event.json", "/v1/stats"]
    {
        let (head, whole) = (ask("HEAD", path), ask("GET", path));
        assert_eq!((head.status, head.body.as_str()), (whole.status, ""), "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
    }
    let nobody = "/v1/executions/01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";
    for (method, path, allow) in [
        ("OPTIONS", "/v1/executions", "GET,HEAD"),
        ("OPTIONS", "/v1/workflows/execute", "POST"),
        ("DELETE", nobody, "GET,HEAD"),
        ("PUT", "/execute", "POST"),
        ("GET", "/v1/workflows/execute", "POST"),
        ("TRACE", "/health", "GET,HEAD"),
        ("BREW", "/health", "GET,HEAD"),
        ("HEAD", "/v1/events", "GET"),
        ("HEAD", &format!("{nobody}/events"), "GET"),
    ] {
        let answer = ask(method, path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
        assert_eq!(answer.code(), "METHOD_NOT_ALLOWED", "{method} {path}");
    }
}

#[test]
fn addresses_are_read_once_and_what_cannot_be_read_is_a_problem() {
    let server = RunningServer::start(&mut orchestr8());
    let nobody = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";
    for (path, status) in [
        (format!("/v1/executions/{nobody}/steps/refine%232.critic"), 404),
        (format!("/v1/executions/{nobody}/steps/a%2Fb"), 404),
        (format!("/v1/executions/{nobody}/steps/%00"), 404),
        (format!("/v1/executions/{nobody}%00"), 400),
        ("/v1/executions/%ff".to_owned(), 400),
        ("/v1/executions/..%2f..%2fetc%2fpasswd".to_owned(), 400),
        ("/v1/executions?cursor=%00".to_owned(), 400),
        ("/v1/executions?workflowId=%00".to_owned(), 200),
        ("/v1/executions?status=%00".to_owned(), 400),
        ("/v1/executions?limit=-1".to_owned(), 400),
        ("/v1/executions?limit=99999999999999999999999".to_owned(), 400),
        ("/v1/executions?limit=1&limit=2".to_owned(), 400),
        ("/v1/events?after=-1".to_owned(), 400),
        ("//v1/executions".to_owned(), 404),
        ("/v1/executions/".to_owned(), 404),
    ] {
        let answer = one(&server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    for line in ["GET /health\0 HTTP/1.1", "GET  HTTP/1.1", "GET /health HTTP/9.9", "\0\0\0\0"] {
        let answer = one(&server, &format!("{line}\r\nHost: localhost\r\n\r\n"));
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_arrive_end_the_connection_after_10_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let service = Service::new(Harness::new().engine(), Access::local());
    let serving = tokio::spawn(server::serve(listener, service, std::future::pending(), Duration::ZERO));
    for sent in ["", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: 1"] {
        let client = tokio::net::TcpStream::connect(address).await.expect("the server listens");
        let began = tokio::time::Instant::now();
        client.writable().await.expect("connected");
        assert_eq!(client.try_write(sent.as_bytes()).expect("sent"), sent.len());
        let mut heard = Vec::new();
        loop {
            client.readable().await.expect("connected");
            let mut piece = [0; 1024];
            match client.try_read(&mut piece) {
                Ok(0) => break,
                Ok(count) => heard.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => unreachable!("the server closes in good order: {error}"),
            }
        }
        assert_eq!(began.elapsed().as_secs(), 10, "after {sent:?}");
        assert_eq!(String::from_utf8_lossy(&heard), "", "there is no request to be answered");
    }
    serving.abort();
}
