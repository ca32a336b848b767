//! A secret on its way through the program: it reaches whoever it is meant for, and shows nowhere else.

use std::{fs, process::Command};

use serde_json::{Value, json};

#[cfg(feature = "otel")]
use crate::support::collector::Collector;
use crate::support::{orchestr8, provider::Provider, running_server::RunningServer, say};

const CANARY: &str = "canary-5e1f77aa";

/// A folder with settings, a secret, and a service that sends back what it is sent.
struct Place {
    folder: tempfile::TempDir,
    service: Provider,
    #[cfg(feature = "otel")]
    collector: Collector,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let service = Provider::start(|question| match question.path.as_str() {
            // It has been told before.
            "/known" => format!("I know {CANARY}"),
            path => format!("you have sent {path}"),
        });
        #[cfg(feature = "otel")]
        let collector = Collector::start();
        let url = format!("{}/<SECRET:vault/canary>", service.url);
        let script = json!([
            { "when": "Who knows", "text": format!("It is {CANARY}, as the input says.") },
            { "tools": [{ "name": "http.get", "arguments": { "url": url } }] },
            { "tools": [
                { "name": "http.request", "arguments": { "url": format!("http://127.0.0.1:9/{CANARY}") } },
                { "name": format!("tool-{CANARY}"), "arguments": { "key": CANARY } }
            ] },
            { "text": format!("I was told {CANARY}.") }
        ]);
        fs::write(folder.path().join("script.json"), script.to_string()).expect("written");
        let config = json!({
            "providers": { "scripted": { "kind": "fake", "script": "script.json" } },
            "models": { "default": "scripted/any" },
            "policy": { "http": { "allow": ["127.0.0.1"] }, "secrets": { "allow": ["vault/*"] } },
            "telemetry": { "content": true }
        });
        fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
        Self {
            folder,
            service,
            #[cfg(feature = "otel")]
            collector,
        }
    }

    fn command(&self) -> Command {
        let mut command = orchestr8();
        command.env("ORCHESTR8_HOME", self.folder.path()).env("ORCHESTR8_SECRET_VAULT_CANARY", CANARY);
        command.env("RUST_LOG", "orchestr8=trace");
        #[cfg(feature = "otel")]
        command.env("ORCHESTR8_TELEMETRY_ENDPOINT", &self.collector.url);
        command
    }

    /// Whether the secret has arrived, which makes it one to hide.
    fn assert_delivered(&self) {
        let asked = self.service.asked();
        assert!(asked.iter().any(|question| question.path == format!("/{CANARY}")), "{asked:?}");
    }

    fn store(&self) -> String {
        let bytes = ["orchestr8.db", "orchestr8.db-wal"].map(|name| fs::read(self.folder.path().join(name)));
        bytes.into_iter().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    #[cfg(feature = "otel")]
    fn exported(&self) -> String {
        format!("{:?} {:?}", self.collector.spans(), self.collector.logs())
    }
}

/// An agent whose tools are given the secret and tell of it, what it says of it itself, and one that fails with it.
fn workflow() -> Value {
    let prompt = |task: &str| json!({ "role": "You answer.", "task": task });
    json!({
        "version": "1.0.0",
        "metadata": { "id": "canary", "name": "Canary" },
        "context": { "secretRefs": ["secret://vault/canary"] },
        "steps": [
            {
                "id": "tell",
                "agent": { "id": "@orchestr8/llm", "config": { "prompt": prompt("Tell me."), "tools": ["http.get", "http.request"] } },
                "input": {}
            },
            {
                "id": "again", "dependencies": ["tell"],
                "agent": { "id": "@orchestr8/llm", "config": { "prompt": prompt("Who knows?") } }, "input": {}
            },
            {
                "id": "fail", "dependencies": ["again"], "onError": "continue",
                "agent": { "id": "@orchestr8/http" },
                "input": { "url": "http://127.0.0.1:9/${steps.again.output.text}" }
            }
        ],
        "outputs": { "told": "${steps.tell.output.text}", "again": "${steps.again.output.text}" }
    })
}

fn assert_hidden(places: &[(&str, String)]) {
    for (place, text) in places {
        assert!(!text.contains(CANARY), "{place}: {text}");
    }
}

#[test]
fn a_run_shows_it_in_no_output_log_span_or_file() {
    let place = Place::new();
    let file = place.folder.path().join("canary.json");
    fs::write(&file, workflow().to_string()).expect("written");
    let said = say(place.command().args(["run", "--local", "--json"]).arg(&file));
    place.assert_delivered();
    let outcome: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(outcome["outputs"]["told"], "I was told [REDACTED].", "{outcome:#}");
    let export = place.folder.path().join("journal.json");
    let journal = say(place.command().args(["inspect", "@last", "--export"]).arg(&export));
    let mut places = vec![
        ("stdout", said.stdout),
        ("log", said.stderr),
        ("inspect", say(place.command().args(["inspect", "@last"])).stdout + &journal.stderr),
        ("logs", say(place.command().args(["logs", "@last"])).stdout),
        ("why", say(place.command().args(["why", "@last", "fail"])).stdout),
        ("export", fs::read_to_string(export).expect("written")),
        ("store", place.store()),
    ];
    #[cfg(feature = "otel")]
    places.push(("telemetry", place.exported()));
    assert!(places[4].1.contains("fail") && places[6].1.contains("[REDACTED]"), "something is there to look at");
    assert_hidden(&places);
}

#[test]
fn a_server_shows_it_in_no_body_page_event_or_span() {
    let place = Place::new();
    let server = RunningServer::start(&mut place.command());
    let answer = server.post("/v1/workflows/execute").header("prefer", "wait=20").json(&workflow()).send();
    let whole: Value = answer.expect("it answers").json().expect("JSON");
    place.assert_delivered();
    let id = whole["executionId"].as_str().expect("an id").to_owned();
    let get = |path: &str| server.get(path).send().expect("it answers").text().expect("text");
    let mut places = vec![("answer", whole.to_string())];
    for part in [
        "",
        "/journal",
        "/steps",
        "/steps/tell",
        "/steps/again",
        "/steps/fail",
        "/steps/fail/why",
        "/graph",
        "/workflow",
    ] {
        places.push((part, get(&format!("/v1/executions/{id}{part}"))));
    }
    places.push(("events", {
        let events = server.get(&format!("/v1/executions/{id}/events")).header("last-event-id", "0").send();
        events.expect("it answers").text().expect("text")
    }));
    for path in ["/", "/metrics", "/v1/stats", "/v1/executions", "/v1/agents"] {
        places.push((path, get(path)));
    }
    places.push(("store", place.store()));
    assert_eq!(server.terminate(), Some(0));
    #[cfg(feature = "otel")]
    places.push(("telemetry", place.exported()));
    assert!(places[2].1.contains("[REDACTED]"), "there is something to hide: {}", places[2].1);
    assert_hidden(&places);
}

/// A workflow that is started with the secret, and passes it on; `asks` has it wait for somebody in between.
fn started_with_it(service: &str, asks: bool) -> Value {
    let http = |id: &str, after: &str, url: &str| {
        let url = format!("{service}{url}");
        json!({ "id": id, "dependencies": [after], "agent": { "id": "@orchestr8/http" }, "input": { "url": url } })
    };
    let wait = match asks {
        true => json!({ "approval": { "prompt": "Shall ${inputs.note} go on?" } }),
        false => json!({ "agent": { "id": "@orchestr8/noop" }, "input": {} }),
    };
    let mut wait = wait;
    (wait["id"], wait["dependencies"]) = (json!("wait"), json!(["echo"]));
    json!({
        "version": "1.0.0",
        "metadata": { "id": "started", "name": "Started" },
        "context": { "secretRefs": ["secret://vault/canary"] },
        "inputs": { "type": "object", "properties": { "note": { "type": "string" } }, "required": ["note"] },
        "steps": [
            { "id": "echo", "agent": { "id": "@orchestr8/echo" }, "input": { "said": "It is ${inputs.note}." } },
            wait,
            http("pass", "wait", "/${inputs.note}"),
            http("known", "pass", "/known")
        ],
        "outputs": { "echo": "${steps.echo.output}", "note": "${inputs.note}", "known": "${steps.known.output}" }
    })
}

#[test]
fn whoever_brings_it_in_as_input_sees_it_in_no_view_and_it_goes_where_it_is_sent() {
    let place = Place::new();
    let file = place.folder.path().join("started.json");
    fs::write(&file, started_with_it(&place.service.url, false).to_string()).expect("written");
    let input = format!("note={CANARY}");
    let said = say(place.command().args(["run", "--local", "--json", "-i", &input]).arg(&file));
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    place.assert_delivered();
    let outcome: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(outcome["outputs"]["note"], "[REDACTED]", "{outcome:#}");
    let export = place.folder.path().join("journal.json");
    say(place.command().args(["inspect", "@last", "--export"]).arg(&export));
    let again = say(place.command().args(["run", "--local", "--events", "-i", &input]).arg(&file));
    let mut places = vec![
        ("export", fs::read_to_string(export).expect("written")),
        ("stdout", said.stdout),
        ("log", said.stderr),
        ("events", again.stdout + &again.stderr),
    ];
    for command in [&["inspect", "@last"][..], &["logs", "@last"], &["status", "@last"], &["why", "@last", "pass"]] {
        places.push((command[0], say(place.command().args(command)).stdout));
    }
    #[cfg(feature = "otel")]
    places.push(("telemetry", place.exported()));
    assert!(places[0].1.contains(r#""note": "[REDACTED]""#), "{}", places[0].1);
    assert_hidden(&places);
}

#[test]
fn a_server_that_was_killed_and_started_again_still_hides_it() {
    let place = Place::new();
    let server = RunningServer::start(&mut place.command());
    let body = json!({ "workflow": started_with_it(&place.service.url, true), "input": { "note": CANARY } });
    let answer = server.post("/v1/workflows/execute").json(&body).send();
    let begun: Value = answer.expect("it answers").json().expect("JSON");
    let id = begun["executionId"].as_str().expect("an id").to_owned();
    server.until(&id, |body| body["waitingFor"][0]["kind"] == "approval");
    let approvals = server.get("/v1/approvals").send().expect("it answers").text().expect("text");
    assert!(approvals.contains("Shall [REDACTED] go on?"), "{approvals}");
    server.kill();

    // What the first process was told is gone with it, and nothing asks for the secret again.
    let server = RunningServer::start(&mut place.command());
    let answer =
        server.post(&format!("/v1/executions/{id}/approvals/wait")).json(&json!({ "decision": "approve" })).send();
    assert!(answer.expect("it answers").status().is_success());
    let events = server.get(&format!("/v1/executions/{id}/events")).header("last-event-id", "0").send();
    let mut places = vec![("events", events.expect("it answers").text().expect("text"))];
    place.assert_delivered();
    for part in ["", "/journal", "/steps", "/steps/echo", "/steps/pass", "/steps/known", "/graph", "/workflow"] {
        let body = server.get(&format!("/v1/executions/{id}{part}")).send().expect("it answers").text();
        places.push((part, body.expect("text")));
    }
    places.extend([("answer", begun.to_string()), ("approvals", approvals)]);
    assert_eq!(server.terminate(), Some(0));
    #[cfg(feature = "otel")]
    places.push(("telemetry", place.exported()));
    assert!(places[6].1.contains("I know [REDACTED]"), "{}", places[6].1);
    // What it was started with is stored, as it has to go on from that; what somebody says of the secret is not.
    assert!(place.store().contains("I know [REDACTED]") && !place.store().contains(&format!("I know {CANARY}")));
    assert_hidden(&places);
}
