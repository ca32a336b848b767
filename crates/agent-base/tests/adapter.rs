//! Agents behind HTTP: our client against our service, and the service against what others may send.
#![cfg(all(feature = "adapter", feature = "http"))]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orchestr8_agent_base::{
    Agent as _, AgentContext, AgentError, AgentManifest, AgentRegistry, CancellationToken, adapter::Microservice,
    agent_fn, http::ServiceAgent,
};
use orchestr8_schema::{AgentId, ErrorKind};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the service's agent was asked, with what it was told.
type Asked = Arc<Mutex<Vec<Value>>>;

/// Serves an agent that fails as its input says, hangs, or gives its input back.
async fn serve() -> (String, Asked, Arc<AtomicUsize>) {
    let (asked, ended) = (Asked::default(), Arc::<AtomicUsize>::default());
    let (noted, ends) = (Arc::clone(&asked), Arc::clone(&ended));
    let manifest = AgentManifest::new("@acme/mirror", "2.1.0", "Gives back what it is given").expect("well formed");
    let manifest = manifest.idempotent().input_schema(json!({ "type": "object" }));
    let agent = agent_fn(manifest, move |input, cx, cancel| {
        let (noted, ends) = (Arc::clone(&noted), Arc::clone(&ends));
        async move {
            noted.lock().expect("no panic").push(json!({
                "input": input, "executionId": cx.execution_id().to_string(), "key": cx.idempotency_key(),
                "correlationId": cx.correlation_id().as_str(), "deadline": cx.deadline().map(|time| time.to_string()),
            }));
            if input["hang"] == true {
                let _ended = Ended(ends);
                cancel.cancelled().await;
                return Err(AgentError::cancelled("told to end"));
            }
            match input["fail"].as_str() {
                None => Ok(input),
                Some(code) => {
                    let kind = ErrorKind::ALL.into_iter().find(|kind| kind.code() == code).expect("a kind");
                    Err(AgentError::new(kind, format!("failed with {code}"))
                        .with_retry_after(Duration::from_millis(1500)))
                }
            }
        }
    });
    let mut registry = AgentRegistry::new();
    registry.register(agent).expect("registered");
    let agent = registry.latest(&"@acme/mirror".parse().expect("an id")).expect("it is registered");
    let router = Microservice::new(Arc::clone(agent), Arc::new(support::Noon)).into_router();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked, ended)
}

/// Counts how often its owner has gone.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn id() -> AgentId {
    "@here/mirror".parse().expect("an id")
}

async fn call(agent: &ServiceAgent, input: Value) -> Result<Value, AgentError> {
    agent.execute(&input, &context(&input), CancellationToken::new()).await
}

fn context(input: &Value) -> AgentContext {
    support::context(input, Map::new())
}

#[tokio::test]
async fn a_service_is_called_as_an_agent_at_hand_is() {
    let (url, asked, _) = serve().await;
    let agent = ServiceAgent::connect(&id(), &url, [("x-team", "blue")]).await.expect("it says who it is");
    let manifest = agent.manifest();
    assert_eq!((manifest.id, manifest.version.to_string()), (id(), "2.1.0".to_owned()));
    assert!(manifest.idempotent && manifest.input_schema.is_some());

    let input = json!({ "b": 1, "a": ["Grüße", null, 1.5] });
    assert_eq!(call(&agent, input.clone()).await.expect("answered"), input);
    let cx = context(&input);
    let deadline = "2025-01-17T12:00:30Z".parse().expect("a time");
    agent.execute(&input, &cx.for_attempt(2, Some(deadline)), CancellationToken::new()).await.expect("answered");
    let seen = asked.lock().expect("no panic").clone();
    for (seen, deadline) in seen.iter().zip([Value::Null, json!("2025-01-17T12:00:30.000Z")]) {
        assert_eq!(seen["input"].to_string(), input.to_string());
        assert_eq!(seen["executionId"], cx.execution_id().to_string());
        assert_eq!(seen["correlationId"], cx.correlation_id().as_str());
        assert_eq!(seen["key"], cx.idempotency_key());
        assert_eq!(seen["deadline"], deadline);
    }
    assert_eq!(seen.len(), 2, "one request is one call");
}

#[tokio::test]
async fn a_failure_keeps_its_kind_and_message_on_its_way() {
    let (url, ..) = serve().await;
    let agent = ServiceAgent::connect(&id(), &url, []).await.expect("it says who it is");
    for kind in ErrorKind::ALL {
        let error = call(&agent, json!({ "fail": kind.code() })).await.expect_err("it fails");
        assert_eq!((error.kind(), error.to_string()), (kind, format!("failed with {}", kind.code())));
    }
    let busy = call(&agent, json!({ "fail": "RATE_LIMITED" })).await.expect_err("it fails");
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(2)), "never earlier than asked for");
    let late = context(&Value::Null).for_attempt(1, Some("2025-01-17T11:59:59Z".parse().expect("a time")));
    let late = agent.execute(&json!({ "hang": true }), &late, CancellationToken::new()).await.expect_err("too late");
    assert_eq!(late.kind(), ErrorKind::Timeout);
    let unfit = call(&agent, json!([1])).await.expect_err("no object");
    assert_eq!(unfit.kind(), ErrorKind::Validation);
}

#[tokio::test]
async fn a_cancelled_attempt_ends_the_call_at_the_other_side() {
    let (url, asked, ended) = serve().await;
    let agent = ServiceAgent::connect(&id(), &url, []).await.expect("it says who it is");
    let cancel = CancellationToken::new();
    let input = json!({ "hang": true });
    let running = tokio::spawn({
        let cancel = cancel.clone();
        async move { agent.execute(&input, &context(&input), cancel).await }
    });
    while asked.lock().expect("no panic").is_empty() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    assert_eq!(running.await.expect("no panic").expect_err("it is cancelled").kind(), ErrorKind::Cancelled);
    while ended.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Sends bytes and returns the whole answer.
async fn exchange(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn the_protocol_is_the_one_that_is_written_down() {
    let (url, asked, _) = serve().await;
    let local = "host: localhost:3001\r\n";
    let given = "x-execution-id: not-an-id\r\nx-correlation-id: mine\r\n";
    let answer = exchange(&url, &post("/process", &format!("{local}{given}"), "{\"n\":1}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("x-correlation-id: mine\r\n") && answer.contains("x-execution-id: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"success\":true,\"data\":{\"n\":1},\"output\":{\"n\":1}}"), "{answer}");
    for (fail, status) in
        [("VALIDATION", 400), ("RATE_LIMITED", 429), ("TIMEOUT", 504), ("INTERNAL", 500), ("DENIED", 500)]
    {
        let body = json!({ "fail": fail }).to_string();
        let answer = exchange(&url, &post("/process", local, &body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let body = format!("{{\"success\":false,\"error\":\"failed with {fail}\",\"code\":\"{fail}\"}}");
        assert!(answer.ends_with(&body), "{answer}");
    }
    let before = asked.lock().expect("no panic").len();
    for (request, status, part) in [
        (post("/agent/process", local, "{}"), 404, "the path is /process"),
        (post("/agent/health", local, "{}"), 404, "the path is /health"),
        (post("/process", local, "{ half"), 400, "VALIDATION"),
        (post("/process", "host: evil.test\r\n", "{}"), 403, "DENIED"),
        (post("/process", "host: localhost.evil.test\r\n", "{}"), 403, "DENIED"),
        (post("/process", &format!("{local}origin: http://evil.test\r\n"), "{}"), 403, "DENIED"),
        (post("/process", &format!("{local}origin: null\r\n"), "{}"), 403, "DENIED"),
    ] {
        let answer = exchange(&url, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    assert_eq!(asked.lock().expect("no panic").len(), before, "the agent was not called");
}

#[tokio::test]
async fn a_service_that_is_none_is_told_from_one() {
    for (body, kind) in [
        ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", ErrorKind::Network),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", ErrorKind::Network),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"manifest\": 1}",
            ErrorKind::Validation,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(body.as_bytes()).await
        });
        let error = ServiceAgent::connect(&id(), &url, []).await.expect_err(body);
        assert_eq!(error.kind(), kind, "{error}: {body}");
    }
    assert_eq!(ServiceAgent::connect(&id(), "ftp://x", []).await.expect_err("no HTTP").kind(), ErrorKind::Validation);
}
