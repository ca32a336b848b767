//! The stream of all executions.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{Request, Response},
};
use futures_util::StreamExt as _;
use orchestr8_cli::server::{Access, Service};
use orchestr8_core::{Engine, bus::Bus, schema::ValidWorkflow};
use orchestr8_testing::{Harness, scripted};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::support::{orchestr8, running_server::RunningServer, say};

/// A message of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) id: Option<u64>,
    pub(super) event: String,
    pub(super) data: Value,
}

impl Message {
    /// Reads the lines of a block; comments and `retry` are none.
    fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut message = Self::default();
        for line in lines {
            match line.split_once(':').map(|(name, value)| (name, value.trim_start())) {
                Some(("id", id)) => message.id = Some(id.parse().expect("a position")),
                Some(("event", event)) => event.clone_into(&mut message.event),
                Some(("data", data)) => message.data = serde_json::from_str(data).expect("JSON"),
                _ => {}
            }
        }
        (!message.event.is_empty()).then_some(message)
    }
}

/// A stream of the built program.
struct Stream(BufReader<reqwest::blocking::Response>);

impl Stream {
    fn open(server: &RunningServer, query: &str, last_seen: Option<u64>) -> Self {
        let mut request = server.get(&format!("/v1/events{query}"));
        if let Some(id) = last_seen {
            request = request.header("last-event-id", id);
        }
        Self(BufReader::new(request.send().expect("the server answers")))
    }

    /// Reads up to a message, which is the last one returned.
    fn until(&mut self, is_last: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (mut messages, mut block) = (Vec::new(), Vec::new());
        for line in self.0.by_ref().lines() {
            let line = line.expect("the stream goes on");
            if !line.is_empty() {
                block.push(line);
                continue;
            }
            let message = Message::parse(std::mem::take(&mut block).iter().map(String::as_str));
            let Some(message) = message.filter(|message| message.event != "metrics.update") else { continue };
            messages.push(message);
            if messages.last().is_some_and(&is_last) {
                break;
            }
        }
        messages
    }

    fn take(&mut self, count: usize) -> Vec<Message> {
        (0..count).flat_map(|_| self.until(|_| true)).collect()
    }
}

fn of_steps(id: &str, steps: usize) -> Value {
    let steps: Vec<_> = (0..steps)
        .map(|number| {
            let dependencies: Vec<_> = (number > 0).then(|| format!("s{}", number - 1)).into_iter().collect();
            json!({ "id": format!("s{number}"), "agent": { "id": "@orchestr8/echo" }, "dependencies": dependencies })
        })
        .collect();
    json!({ "version": "1.0.0", "metadata": { "id": id, "name": id }, "steps": steps })
}

fn execute(server: &RunningServer, id: &str) -> String {
    let answer = server.post("/v1/workflows/execute").json(&of_steps(id, 3)).send().expect("the server answers");
    answer.json::<Value>().expect("JSON")["executionId"].as_str().expect("an id").to_owned()
}

/// All that is told up to the ends of so many executions.
fn until_ended(stream: &mut Stream, count: usize) -> Vec<Message> {
    (0..count).flat_map(|_| stream.until(|message| message.event == "execution.completed")).collect()
}

#[test]
fn every_event_has_its_place_for_all_who_listen_whenever_they_come_and_whoever_drives() {
    let home = tempfile::tempdir().expect("a folder");
    let program = || {
        let mut command = orchestr8();
        command.env("ORCHESTR8_HOME", home.path());
        command
    };
    let server = RunningServer::start(&mut program());
    let (mut from_now, mut from_the_first) = (Stream::open(&server, "", None), Stream::open(&server, "?after=0", None));
    let ids: Vec<_> = (0..4).map(|_| execute(&server, "both")).collect();
    let told = until_ended(&mut from_now, ids.len());
    assert!(told.iter().map(|message| message.id).eq((1..=told.len() as u64).map(Some)), "{told:#?}");
    for message in &told {
        assert_eq!(message.data["position"].as_u64(), message.id);
    }
    for id in &ids {
        let of_one = told.iter().filter(|message| message.data["executionId"] == **id);
        let sequences: Vec<_> = of_one.filter_map(|message| message.data["sequence"].as_u64()).collect();
        assert!(sequences.iter().copied().eq(1..=sequences.len() as u64) && sequences.len() > 10, "{sequences:?}");
    }
    assert_eq!(from_the_first.take(told.len()), told, "all are told the same");

    // Another process stores something in the same place.
    let workflow = home.path().join("other.json");
    std::fs::write(&workflow, of_steps("other", 1).to_string()).expect("written");
    let ran = say(program().arg("run").arg(&workflow).env("ORCHESTR8_SERVER", "none"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let of_other = until_ended(&mut from_now, 1);
    assert_eq!(of_other[0].data["workflowId"], "other");

    server.kill();
    let server = RunningServer::start(&mut program());
    let all = [told, of_other].concat();
    for last_seen in [0, 7, all.len() as u64 - 1] {
        let mut stream = Stream::open(&server, "", Some(last_seen));
        let rest = &all[last_seen as usize..];
        assert_eq!(stream.take(rest.len()), rest, "behind {last_seen}");
    }
    let mut stream = Stream::open(&server, "?types=step.completed,%20execution.queued&workflowId=late", Some(3));
    execute(&server, "early");
    let late = execute(&server, "late");
    let wanted = stream.take(4);
    let told: Vec<_> = wanted.iter().map(|message| &*message.event).collect();
    assert_eq!(told, ["execution.queued", "step.completed", "step.completed", "step.completed"]);
    assert!(wanted.iter().all(|message| message.data["executionId"] == *late));

    let stranger = Stream::open(&server, "", Some(1_000_000)).take(1);
    assert_eq!((&*stranger[0].event, &stranger[0].data["fromPosition"]), ("events.dropped", &json!(1)));
    let wrong = server.get("/v1/events").header("last-event-id", "x").send().expect("the server answers");
    assert_eq!(wrong.status().as_u16(), 400);
}

/// A service in this process, whose time is that of the test.
pub(super) struct InProcess {
    pub(super) engine: Engine,
    service: Service,
    router: Router,
}

impl InProcess {
    fn new() -> Self {
        Self::of(Harness::new().agent(scripted("echo")).engine())
    }

    pub(super) fn of(engine: Engine) -> Self {
        let service = Service::new(engine.clone(), Access::local());
        let router = service.router();
        Self { engine, service, router }
    }

    pub(super) async fn get(&mut self, path: &str) -> Response<Body> {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).expect("a request");
        self.router.call(request).await.expect("never fails")
    }

    /// Reads a body of JSON.
    pub(super) async fn read(&mut self, path: &str) -> Value {
        let body = self.get(path).await.into_body();
        let bytes = axum::body::to_bytes(body, 1_000_000).await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    pub(super) async fn listen(&mut self, path: &str) -> Messages {
        let answer = self.get(path).await;
        assert_eq!(answer.status().as_u16(), 200);
        Messages { body: answer.into_body().into_data_stream(), text: String::new() }
    }

    async fn run(&self, steps: usize) {
        let mut document = of_steps("w", steps);
        for step in document["steps"].as_array_mut().expect("a list") {
            step["agent"]["id"] = json!("@test/echo");
        }
        let workflow = ValidWorkflow::from_value(&document).expect("valid");
        let handle = self.engine.start(&workflow, json!({})).await.expect("started");
        assert!(handle.outcome().await.expect("ended").is_completed());
    }
}

/// What a stream in this process tells.
pub(super) struct Messages {
    body: BodyDataStream,
    text: String,
}

impl Messages {
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (Message::parse(block.lines()), rest.to_owned());
                self.text = rest;
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let part = self.body.next().await?.expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&part).expect("UTF-8"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_told_what_was_counted_every_five_seconds() {
    let mut server = InProcess::new();
    let mut all = server.listen("/v1/events").await;
    let mut some = server.listen("/v1/events?types=execution.completed,metrics.update").await;
    let began = tokio::time::Instant::now();
    for round in 1..=3_u32 {
        let message = all.next().await.expect("the stream goes on");
        assert_eq!((&*message.event, message.id), ("metrics.update", None), "it is no event of a journal");
        assert!(message.data["executions"]["active"].is_u64(), "{}", message.data);
        assert_eq!(began.elapsed().as_secs(), u64::from(round) * 5);
        assert_eq!(some.next().await.expect("the stream goes on").event, "metrics.update");
    }
    let mut none = server.listen("/v1/events?types=execution.completed").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    server.run(1).await;
    assert_eq!(none.next().await.expect("the stream goes on").event, "execution.completed");
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_loses_the_oldest_events_and_is_told_which() {
    let mut server = InProcess::new();
    let mut slow = server.listen("/v1/events").await;
    let mut quick = server.listen("/v1/events").await;
    server.run(1).await;
    assert_eq!(slow.next().await.expect("the stream goes on").id, Some(1));
    while quick.next().await.expect("the stream goes on").event != "execution.completed" {}
    drop(quick);
    server.run(1000).await;
    let mut known = 0;
    let (dropped, next) = loop {
        let message = slow.next().await.expect("the stream goes on");
        if message.event == "events.dropped" {
            break (message.data, slow.next().await.expect("the stream goes on"));
        }
        known = message.id.unwrap_or(known);
    };
    let number = |name: &str| dropped[name].as_u64().expect("a number");
    assert_eq!((number("fromPosition"), Some(number("toPosition") + 1)), (known + 1, next.id));
    assert_eq!(number("count"), number("toPosition") - known);
    // Who operates the server sees it, too.
    let stats = server.read("/v1/stats").await;
    assert_eq!(stats["events"]["dropped"], number("count"), "{}", stats["events"]);
    assert!(stats["events"]["highWater"].as_u64() >= Some(Bus::QUEUE as u64), "{}", stats["events"]);
    assert!(stats["events"]["queued"].as_u64() > Some(Bus::QUEUE as u64 / 2), "{}", stats["events"]);
    let page = axum::body::to_bytes(server.get("/metrics").await.into_body(), 1_000_000).await.expect("a body");
    let page = String::from_utf8(page.to_vec()).expect("UTF-8");
    assert!(page.contains(&format!("\norchestr8_events_dropped_total {}\n", number("count"))), "{page}");
    // Of all that both were told, more than a fifth.
    assert_eq!(server.read("/health").await["status"], "critical");
    let newest = server.engine.position().await.expect("read");
    let left = newest - number("toPosition");
    assert!((Bus::QUEUE as u64..2 * Bus::QUEUE as u64).contains(&left), "{left} were kept");
    let mut last = next;
    while last.id != Some(newest) {
        let next = slow.next().await.expect("the stream goes on");
        if next.id.is_some() {
            assert_eq!(next.id, last.id.map(|id| id + 1));
            last = next;
        }
    }
    // A minute later that is over.
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(server.read("/health").await["status"], "healthy");
    // Whoever comes back has lost nothing: it is stored.
    let mut again = server.listen("/v1/events?after=0&types=execution.completed").await;
    for _ in 0..2 {
        assert_eq!(again.next().await.expect("the stream goes on").event, "execution.completed");
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_a_hundred_streams_of_both_kinds_and_all_end_with_the_server() {
    let mut server = InProcess::new();
    let mut document = of_steps("w", 1);
    document["steps"] = json!([{ "id": "gate", "wait": { "signal": "go" } }]);
    let workflow = ValidWorkflow::from_value(&document).expect("valid");
    let handle = server.engine.start(&workflow, json!({})).await.expect("started");
    let of_one = format!("/v1/executions/{}/events", handle.id());
    let mut streams = Vec::new();
    for number in 0..Bus::SUBSCRIBERS {
        streams.push(server.listen(if number % 2 == 0 { "/v1/events" } else { &of_one }).await);
    }
    for path in ["/v1/events", &of_one] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-error-code"]),
            (503, &"RESOURCE_EXHAUSTED".parse().expect("ASCII"))
        );
        assert!(answer.headers().contains_key("retry-after"));
    }
    drop(streams.pop());
    // Until whoever told it has noticed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    streams.push(server.listen("/v1/events").await);
    server.service.drain();
    for mut stream in streams {
        let mut last = None;
        while let Some(message) = stream.next().await {
            last = Some(message.event);
        }
        assert_eq!(last.as_deref(), Some("shutdown"));
    }
}
