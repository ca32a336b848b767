//! A server at its worst, over real sockets: it asks to be left alone, fails, hangs and hangs up.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use orchestr8_resilience::{
    Backoff, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, CircuitOpen, Class, Classify, DeadlineReached,
    Elapsed, Jitter, RetryLayer, RetryPolicy, Stack, TimeoutLayer, circuit_breaker::CircuitState, retry_after,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tower::{Layer, Service, service_fn};

/// What the server does with a request.
#[derive(Clone, Copy)]
enum Mood {
    Answers,
    /// 429, with `Retry-After` in seconds.
    Busy(u64),
    /// 503.
    Down,
    Hangs,
    /// Closes the connection in the middle of the head.
    HangsUp,
}

struct Server {
    url: String,
    /// When requests came.
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl Server {
    /// Answers each request on a connection of its own, in these moods; then it answers properly.
    async fn start(moods: &[Mood]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let log = Arc::clone(&requests);
        let mut moods: VecDeque<_> = moods.iter().copied().collect();
        tokio::spawn(async move {
            let mut hanging = Vec::new();
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                log.lock().unwrap().push(Instant::now());
                let answer = match moods.pop_front().unwrap_or(Mood::Answers) {
                    Mood::Answers => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned(),
                    Mood::Busy(seconds) => format!(
                        "HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    ),
                    Mood::Down => {
                        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
                    }
                    Mood::Hangs => {
                        hanging.push(connection);
                        continue;
                    }
                    Mood::HangsUp => "HTTP/1.1 200".to_owned(),
                };
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<Instant> {
        self.requests.lock().unwrap().clone()
    }
}

#[derive(Debug)]
enum HttpError {
    Transport,
    Status { status: u16, retry_after: Option<Duration> },
    TooSlow,
    LeftAlone,
}

impl Classify for HttpError {
    fn classify(&self) -> Class {
        match self {
            HttpError::Transport => Class::Network,
            HttpError::Status { status: 429, .. } => Class::RateLimited,
            HttpError::Status { status: 500.., .. } => Class::ServerError,
            HttpError::Status { .. } => Class::Permanent,
            HttpError::TooSlow => Class::Timeout,
            HttpError::LeftAlone => Class::CircuitOpen,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            HttpError::Status { retry_after, .. } => *retry_after,
            HttpError::Transport | HttpError::TooSlow | HttpError::LeftAlone => None,
        }
    }
}

impl From<Elapsed> for HttpError {
    fn from(_: Elapsed) -> Self {
        HttpError::TooSlow
    }
}

impl From<CircuitOpen> for HttpError {
    fn from(_: CircuitOpen) -> Self {
        HttpError::LeftAlone
    }
}

impl From<DeadlineReached<Self>> for HttpError {
    fn from(_: DeadlineReached<Self>) -> Self {
        HttpError::TooSlow
    }
}

async fn get(client: reqwest::Client, url: String) -> Result<String, HttpError> {
    let response = client.get(url).send().await.map_err(|_| HttpError::Transport)?;
    let status = response.status().as_u16();
    if status != 200 {
        let value = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = value.and_then(|value| retry_after::parse(value, SystemTime::UNIX_EPOCH));
        return Err(HttpError::Status { status, retry_after });
    }
    response.text().await.map_err(|_| HttpError::Transport)
}

const RESET: Duration = Duration::from_millis(300);

fn client(circuit: &Circuit) -> impl Service<String, Response = String, Error = HttpError> + use<> {
    let backoff = Backoff::try_new(Duration::from_millis(10), Duration::from_millis(50)).unwrap().jitter(Jitter::None);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Stack::new()
        .retry(RetryLayer::new(RetryPolicy::try_new(4, backoff).unwrap(), 0))
        .circuit_breaker(CircuitBreakerLayer::new(circuit.clone(), CircuitBreakerPolicy::try_new(3, RESET).unwrap()))
        .timeout(TimeoutLayer::new(Duration::from_millis(200)))
        .layer(service_fn(move |url| get(http.clone(), url)))
}

#[tokio::test]
async fn nothing_is_sent_before_the_server_wants_it() {
    let server = Server::start(&[Mood::Busy(1), Mood::Busy(0)]).await;
    let circuit = Circuit::new("server");

    assert_eq!(client(&circuit).call(server.url.clone()).await.unwrap(), "ok");

    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[1] - requests[0] >= Duration::from_secs(1));
    assert_eq!(circuit.state(), CircuitState::Closed { failures: 0 });
}

#[tokio::test]
async fn what_breaks_once_is_tried_again() {
    let server = Server::start(&[Mood::HangsUp, Mood::Down]).await;
    let circuit = Circuit::new("server");
    assert_eq!(client(&circuit).call(server.url.clone()).await.unwrap(), "ok");

    let server = Server::start(&[Mood::Hangs]).await;
    assert_eq!(client(&circuit).call(server.url.clone()).await.unwrap(), "ok");
    let requests = server.requests();
    assert!(requests[1] - requests[0] >= Duration::from_millis(150), "it was given its time");
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_down_is_left_alone_and_found_again() {
    let server = Server::start(&[Mood::Down, Mood::HangsUp, Mood::Hangs]).await;
    let circuit = Circuit::new("server");
    let mut client = client(&circuit);

    assert!(matches!(client.call(server.url.clone()).await, Err(HttpError::LeftAlone)));
    assert_eq!(server.requests().len(), 3, "the circuit opened before the attempts were spent");
    for _ in 0..10 {
        assert!(matches!(client.call(server.url.clone()).await, Err(HttpError::LeftAlone)));
    }
    assert_eq!(server.requests().len(), 3);

    let CircuitState::Open { until } = circuit.state() else { panic!("{circuit:?}") };
    tokio::time::sleep_until(until).await;
    assert_eq!(client.call(server.url.clone()).await.unwrap(), "ok");
    assert_eq!(circuit.state(), CircuitState::Closed { failures: 0 });
    assert_eq!(server.requests().len(), 4);
}
