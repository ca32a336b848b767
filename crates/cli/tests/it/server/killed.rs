//! A server that is killed while it is busy.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    sync::mpsc,
    thread,
};

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::support::{orchestr8, running_server::RunningServer};

/// Those who ask at the same time.
const ASKING: usize = 4;
/// So many executions are accepted before it is killed.
const ACCEPTED: usize = 60;

fn workflow() -> Value {
    let wait = |id: &str, before: &[&str]| json!({ "id": id, "agent": { "id": "@orchestr8/delay" }, "input": { "duration": "30ms" }, "dependencies": before });
    let steps = [wait("first", &[]), wait("second", &["first"]), wait("third", &["second"])];
    json!({ "version": "1.0.0", "metadata": { "id": "load", "name": "Load" }, "steps": steps })
}

/// Starts one execution after another until the server is gone.
fn ask(url: &str, accepted: &mpsc::Sender<String>) {
    let client = Client::builder().no_proxy().build().expect("a client");
    while let Ok(answer) = client.post(format!("{url}/v1/workflows/execute")).json(&workflow()).send() {
        // An answer that breaks off is none.
        let Ok(body) = answer.json::<Value>() else { return };
        let id = body["executionId"].as_str().expect("it is accepted").to_owned();
        if accepted.send(id).is_err() {
            return;
        }
    }
}

/// An event that somebody was told of: its position, and its place in its journal.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    position: u64,
    execution_id: String,
    sequence: u64,
}

/// Listens until the stream breaks off, or enough was told.
fn listen(stream: Response, told: &mut Vec<Told>, is_enough: impl Fn(&[Told]) -> bool) {
    let mut id = None;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        if let Some(position) = line.strip_prefix("id: ") {
            id = Some(position.parse().expect("a position"));
        } else if let Some(data) = line.strip_prefix("data: ").filter(|_| id.is_some()) {
            // The last line may have been cut.
            let Ok(data) = serde_json::from_str::<Value>(data) else { return };
            let execution_id = data["executionId"].as_str().expect("of an execution").to_owned();
            let sequence = data["sequence"].as_u64().expect("a sequence");
            told.push(Told { position: id.take().expect("it was just there"), execution_id, sequence });
            if is_enough(told) {
                return;
            }
        }
    }
}

fn events(server: &RunningServer, last: Option<u64>) -> Response {
    let request = server.get("/v1/events?after=0");
    let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
    request.send().expect("the server answers")
}

/// Waits until an execution has ended, and returns how many events its journal has.
fn ended(server: &RunningServer, id: &str) -> u64 {
    let mut tag = String::new();
    loop {
        let answer = server.get(&format!("/v1/executions/{id}?wait=10")).header("if-none-match", &tag).send();
        let answer = answer.expect("the server answers");
        if answer.status() == 304 {
            continue;
        }
        tag = answer.headers()["etag"].to_str().expect("ASCII").to_owned();
        let body: Value = answer.json().expect("JSON");
        if body["completedAt"].is_string() {
            assert_eq!(body["status"], "completed", "{body:#}");
            return body["lastSequence"].as_u64().expect("a number");
        }
    }
}

#[test]
fn killed_under_load_it_finishes_all_that_it_accepted_and_listeners_miss_and_repeat_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let start = || {
        let mut command = orchestr8();
        RunningServer::start(command.env("ORCHESTR8_HOME", home.path()))
    };
    let server = start();
    let stream = events(&server, None);
    let listening = thread::spawn(move || {
        let mut told = Vec::new();
        listen(stream, &mut told, |_| false);
        told
    });
    let (sender, accepted) = mpsc::channel();
    let asking: Vec<_> = (0..ASKING)
        .map(|_| {
            let (sender, url) = (sender.clone(), server.url.clone());
            thread::spawn(move || ask(&url, &sender))
        })
        .collect();
    drop(sender);
    let mut ids: Vec<_> = accepted.iter().take(ACCEPTED).collect();
    server.kill();
    asking.into_iter().for_each(|asking| asking.join().expect("it does not panic"));
    ids.extend(accepted);
    let mut told = listening.join().expect("it does not panic");
    let before = told.len();

    let server = start();
    let journals: BTreeMap<_, _> = ids.iter().map(|id| (id.clone(), ended(&server, id))).collect();
    let last = told.last().map(|told| told.position);
    // Of those whose acceptance was not heard of, too.
    let has_all = |told: &[Told]| {
        journals
            .iter()
            .all(|(id, length)| told.iter().rev().any(|one| one.execution_id == *id && one.sequence == *length))
    };
    listen(events(&server, last), &mut told, has_all);

    assert!(before > 0 && told.len() > before, "{before} of {} were told before", told.len());
    assert!(told.windows(2).all(|pair| pair[0].position < pair[1].position), "in one order");
    let mut sequences = BTreeMap::<_, Vec<_>>::new();
    for one in &told {
        sequences.entry(one.execution_id.clone()).or_default().push(one.sequence);
    }
    for (id, length) in &journals {
        assert!(sequences[id].iter().copied().eq(1..=*length), "{id} of {length}: {:?}", sequences[id]);
    }
}
