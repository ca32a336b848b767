//! What each endpoint answers.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    assert_steady, example, orchestr8,
    running_server::{RunningServer, transcript},
};

const NOBODY: &str = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";

fn slice() -> Value {
    serde_json::from_str(&fs::read_to_string(example("vertical-slice.json")).expect("the example is there"))
        .expect("JSON")
}

fn slow() -> String {
    fs::read_to_string(example("slow.yaml")).expect("the example is there")
}

fn start_slow(server: &RunningServer) -> String {
    let answer = server.post_yaml("/v1/workflows/execute", slow()).send().expect("the server answers");
    let answer: Value = answer.json().expect("JSON");
    answer["executionId"].as_str().expect("an id").to_owned()
}

/// Follows an execution until it is as wanted, and returns its tag.
fn until(server: &RunningServer, path: &str, is_wanted: impl Fn(&Value) -> bool) -> String {
    let mut tag = String::new();
    loop {
        let request = server.get(&format!("{path}?wait=20")).header("if-none-match", &tag);
        let answer = request.send().expect("the server answers");
        tag = answer.headers()["etag"].to_str().expect("a tag is ASCII").to_owned();
        if is_wanted(&answer.json().expect("it changes within 20 s")) {
            return tag;
        }
    }
}

#[test]
fn execute_answers_at_once_or_waits_as_asked() {
    let server = RunningServer::start(&mut orchestr8());
    let wrapped = json!({
        "workflow": slice(), "input": {}, "context": { "correlationId": "order-4711" }, "options": {}, "colour": "red"
    });
    let path = "/v1/workflows/execute";
    let text = [
        transcript("a bare document is started", server.post(path).json(&slice())),
        transcript("a wrapper warns of what it does not know", server.post("/execute").json(&wrapped)),
        transcript("mode=sync waits for the end", server.post("/v1/workflows/execute?mode=sync").json(&slice())),
        transcript("a preference is applied", server.post(path).header("prefer", "wait=99").json(&slice())),
        transcript("waiting has an end", server.post_yaml(path, slow()).header("prefer", "wait=1")),
    ];
    assert_steady("server_execute", &text.concat());
}

#[test]
fn the_correlation_id_of_a_request_is_in_its_execution_and_every_entry() {
    let server = RunningServer::start(&mut orchestr8());
    let request = server.post("/execute?mode=sync").header("x-correlation-id", "order-4711").json(&slice());
    let id = request.send().expect("the server answers").json::<Value>().expect("JSON")["executionId"].clone();
    let path = format!("/v1/executions/{}", id.as_str().expect("an id"));
    let execution: Value = server.get(&path).send().expect("the server answers").json().expect("JSON");
    assert_eq!(execution["correlationId"], "order-4711");
    let journal = server.get(&format!("{path}/journal")).send().expect("the server answers");
    let journal: Value = journal.json().expect("JSON");
    let entries = journal["entries"].as_array().expect("entries");
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry["correlationId"] == "order-4711"));
}

#[test]
fn an_idempotency_key_stands_for_one_execution() {
    let server = RunningServer::start(&mut orchestr8());
    let post = |body: &Value| {
        let request = server.post("/v1/workflows/execute").header("idempotency-key", "order-4711").json(body);
        request.send().expect("the server answers")
    };
    let id = |answer: reqwest::blocking::Response| answer.json::<Value>().expect("JSON")["executionId"].clone();
    let header = |answer: &reqwest::blocking::Response, name: &str| answer.headers().get(name).cloned();

    let first = post(&slice());
    assert_eq!((first.status().as_u16(), header(&first, "x-idempotent-replayed")), (202, None));
    let again = post(&slice());
    assert_eq!(again.status().as_u16(), 202);
    assert_eq!(header(&again, "x-idempotent-replayed").expect("a replay says so"), "true");
    assert_eq!(header(&again, "location"), header(&first, "location"));
    let first = id(first);
    assert_eq!(id(again), first);

    let mut reordered = slice();
    let steps = reordered.as_object_mut().and_then(|body| body.shift_remove("version")).expect("it has a version");
    reordered["version"] = steps;
    assert_eq!(id(post(&reordered)), first, "the order of keys does not matter");

    let mut other = slice();
    other["metadata"]["name"] = json!("Another");
    let conflict = post(&other);
    assert_eq!(conflict.status().as_u16(), 409);
    assert_eq!(header(&conflict, "x-error-code").expect("a problem has a code"), "IDEMPOTENCY_KEY_CONFLICT");
}

#[test]
fn an_execution_is_shown_with_a_tag_until_it_changes() {
    let server = RunningServer::start(&mut orchestr8());
    let id = start_slow(&server);
    let path = format!("/v1/executions/{id}");
    let tag = until(&server, &path, |execution| execution["progress"]["running"] == 1);
    let unchanged = server.get(&path).header("if-none-match", &tag);
    let long_poll = server.get(&format!("{path}?wait=20")).header("if-none-match", &tag);
    let mut text =
        vec![transcript("a running execution", server.get(&path)), transcript("the client has it", unchanged)];
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| transcript("held until something changes", long_poll));
        text.push(transcript(
            "cancel",
            server.post(&format!("{path}/cancel")).json(&json!({ "reason": "wrong branch" })),
        ));
        waiting.join().expect("the client does not panic")
    });
    assert!(waiting.starts_with("== held until something changes\n200 OK"), "{waiting}");
    until(&server, &path, |execution| execution["status"] == "cancelled");
    text.push(transcript("a cancelled execution", server.get(&format!("/status/{id}"))));
    text.push(transcript("cancel again", server.post(&format!("{path}/cancel"))));
    text.push(transcript("the head alone", server.client.head(format!("{}{path}", server.url))));
    assert_steady("server_execution", &text.concat());
}

#[test]
fn a_journal_is_read_in_pages_lines_and_parts() {
    let server = RunningServer::start(&mut orchestr8());
    let document = fs::read_to_string(example("flaky.yaml")).expect("the example is there");
    let answer = server.post_yaml("/execute?mode=sync", document).send().expect("the server answers");
    let id = answer.json::<Value>().expect("JSON")["executionId"].as_str().expect("an id").to_owned();
    let journal = |query: &str| server.get(&format!("/v1/executions/{id}/journal?{query}"));
    let page = |query: &str| journal(query).send().expect("the server answers").json::<Value>().expect("JSON");
    let sequences = |page: &Value| -> Vec<u64> {
        page["entries"].as_array().expect("entries").iter().filter_map(|entry| entry["sequence"].as_u64()).collect()
    };

    let mut collected = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = page(&format!("limit=4{cursor}"));
        collected.extend(sequences(&page));
        match page["pagination"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(collected, (1..=14).collect::<Vec<_>>());
    assert_eq!(sequences(&page("since=13")), [13, 14]);
    assert_eq!(sequences(&page("level=warn&stepPath=greet")), [6, 7, 9, 10]);
    assert_eq!(sequences(&page("types=retry.scheduled,step.completed")), [7, 10, 13]);

    let lines = journal("format=ndjson").send().expect("the server answers").text().expect("text");
    assert_eq!(lines.lines().count(), 14);
    let tag = journal("").send().expect("the server answers").headers()["etag"].clone();
    let text = [
        transcript("a part of a page", journal("types=retry.scheduled&limit=1")),
        transcript("the client has it", journal("").header("if-none-match", tag)),
        transcript("a cursor of somebody else", journal("cursor=nonsense")),
        transcript("a format that does not exist", journal("format=xml")),
    ];
    assert_steady("server_journal", &text.concat());
}

#[test]
fn validate_reports_everything_and_starts_nothing() {
    let server = RunningServer::start(&mut orchestr8());
    let path = "/v1/workflows/validate";
    let bad = "version: 1.0.0\nmetadata: { id: w, name: W }\nsteps:\n  - { id: a, dependencies: [b], agent: { id: \"@acme/none\" } }\n";
    let text = [
        transcript("a valid workflow", server.post(path).json(&slice())),
        transcript("an invalid one", server.post_yaml(path, bad)),
        transcript(
            "a duplicate key within a wrapper",
            server
                .post(path)
                .header("content-type", "application/json")
                .body(r#"{"workflow": {"version": "1.0.0", "version": "1.0.1"}}"#),
        ),
        transcript("text that is no YAML", server.post_yaml(path, "steps: [")),
    ];
    assert_steady("server_validate", &text.concat());
}

#[test]
fn problems_say_what_is_wrong() {
    let server = RunningServer::start(&mut orchestr8());
    let execute = || server.post("/v1/workflows/execute");
    let json = |body: &str| execute().header("content-type", "application/json").body(body.to_owned());
    let mut demanding = slice();
    demanding["inputs"] = json!({ "type": "object", "required": ["name"] });
    let invalid = json!({ "workflow": { "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": [] } });
    let text = [
        transcript("malformed JSON", json("{\"steps\": [")),
        transcript("no object", json("[]")),
        transcript("no workflow", json("{}")),
        transcript("an invalid workflow", execute().json(&invalid)),
        transcript("an input that does not fit", execute().json(&demanding)),
        transcript("a workflow of no catalogue", json(r#"{"workflowId": "greet"}"#)),
        transcript("a budget for nothing", json(r#"{"workflow": {}, "budget": {"maxTokens": 0}}"#)),
        transcript("a mode that does not exist", server.post("/execute?mode=later").json(&slice())),
        transcript("a bad idempotency key", execute().header("idempotency-key", "a b").json(&slice())),
        transcript("another content type", execute().header("content-type", "text/plain").body("steps: []")),
        transcript("no content type", execute().body("steps: []")),
        transcript("an unknown execution", server.get(&format!("/v1/executions/{NOBODY}"))),
        transcript("an address that is no text", server.get("/v1/executions/%ff")),
        transcript("no body", execute()),
        transcript("an id that is none", server.get("/v1/executions/greet")),
        transcript("cancelling an unknown execution", server.post(&format!("/v1/executions/{NOBODY}/cancel"))),
        transcript("an unknown path", server.get("/v2/executions")),
        transcript("a wrong method", server.get("/v1/workflows/execute")),
    ];
    assert_steady("server_problems", &text.concat());
}

#[cfg(unix)]
#[test]
fn the_server_says_how_it_is_until_it_ends() {
    let server = RunningServer::start(&mut orchestr8());
    let text = [transcript("health", server.get("/health")), transcript("ready", server.get("/ready"))];
    assert_steady("server_health", &text.concat());
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn metrics_tell_what_was_done_in_the_format_of_prometheus() {
    let server = RunningServer::start(&mut orchestr8());
    server.post("/v1/workflows/execute?mode=sync").json(&slice()).send().expect("the server answers");
    server.get(&format!("/v1/executions/{NOBODY}")).send().expect("the server answers");
    let answer = server.get("/metrics").send().expect("the server answers");
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().expect("UTF-8");
    for line in [
        r#"orchestr8_executions_total{workflow="vs-test-workflow",status="completed"} 1"#,
        "orchestr8_executions_active 0",
        "orchestr8_executions_queued 0",
        r#"orchestr8_execution_duration_seconds_count{status="completed"} 1"#,
        r#"orchestr8_steps_total{agent="@orchestr8/hello-world",status="completed"} 2"#,
        "orchestr8_steps_running 0",
        r#"orchestr8_attempts_total{agent="@orchestr8/hello-world",outcome="success"} 2"#,
        r#"orchestr8_step_queue_seconds_count{agent="@orchestr8/hello-world"} 2"#,
        r#"orchestr8_circuit_state{key="cb:@orchestr8/hello-world",state="closed"} 1"#,
        r#"orchestr8_circuit_state{key="cb:@orchestr8/hello-world",state="open"} 0"#,
        "orchestr8_approvals_waiting 0",
        "orchestr8_remarks_left_out_total 0",
        "orchestr8_events_dropped_total 0",
        "orchestr8_sse_streams 0",
        r#"orchestr8_http_requests_total{method="POST",route="/v1/workflows/execute",status="200"} 1"#,
        r#"orchestr8_http_requests_total{method="GET",route="/v1/executions/{id}",status="404"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }

    // Each sample stands below the type of its family, once, and buckets add up.
    let (mut family, mut seen, mut bucket) = (String::new(), std::collections::HashSet::new(), 0.0);
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            family = declared.split(' ').next().expect("a name").to_owned();
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            assert!(sample.starts_with(&family) && seen.insert(sample), "{line}");
            let is_first = sample.contains(r#"le="0.001""#);
            if sample.contains("_bucket{") {
                assert!(is_first || value >= bucket, "{line}");
                bucket = value;
            } else if sample.contains("_seconds_count") {
                assert_eq!(value, bucket, "{line}");
            }
        }
    }
}
