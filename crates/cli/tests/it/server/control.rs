//! What is told to running executions, and what waits for people.

use std::{fs, io::Read as _};

use orchestr8_schema::api::PauseAnswer;
use serde_json::{Value, json};

use crate::support::{
    assert_steady, example, orchestr8,
    running_server::{RunningServer, transcript},
};

const NOBODY: &str = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";

fn start(server: &RunningServer, workflow: &Value, input: &Value) -> String {
    let request = server.post("/v1/workflows/execute").json(&json!({ "workflow": workflow, "input": input }));
    let answer: Value = request.send().expect("the server answers").json().expect("JSON");
    answer["executionId"].as_str().expect("an id").to_owned()
}

fn approval() -> Value {
    let text = fs::read(example("release-approval.yaml")).expect("the example is there");
    orchestr8_schema::source::parse(text, &orchestr8_schema::source::Options::new().file_name("a.yaml")).expect("YAML")
}

fn of_steps(steps: &Value) -> Value {
    json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps })
}

/// Follows an execution until it is as wanted.
fn waits_for(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |body| body["waitingFor"][0]["kind"] == kind
}

#[test]
fn approvals_wait_for_people_and_the_first_answer_wins() {
    let server = RunningServer::start(&mut orchestr8());
    let id = start(&server, &approval(), &json!({ "tag": "v1.2" }));
    server.until(&id, waits_for("approval"));
    let path = format!("/v1/executions/{id}/approvals/sign-off");
    let answer = |body: Value| server.post(&path).json(&body);
    let approve = json!({ "decision": "approve", "answer": { "note": "ok" }, "by": "ada" });
    let mut text = vec![
        transcript("the inbox", server.get("/v1/approvals")),
        transcript("of an execution", server.get(&format!("/v1/approvals?executionId={id}&limit=1"))),
        transcript("an answer that does not fit", answer(json!({ "decision": "approve", "answer": { "note": 1 } }))),
        transcript("no decision", answer(json!({ "answer": 1 }))),
        transcript("a remark that is too long", answer(json!({ "decision": "approve", "comment": "x".repeat(4001) }))),
        transcript("no such step", server.post(&path.replace("sign-off", "build")).json(&approve)),
        transcript("no such execution", server.post(&path.replace(&id, NOBODY)).json(&approve)),
        transcript("an answer", answer(approve.clone())),
    ];
    let ended = server.until(&id, |body| body["status"] == "completed");
    assert_eq!(ended["outputs"]["publish"]["text"], "Published v1.2: ok");
    text.push(transcript("the same again", answer(approve)));
    text.push(transcript("another", answer(json!({ "decision": "reject" }))));
    text.push(transcript("nothing waits any more", server.get("/v1/approvals")));
    assert_steady("server_approvals", &text.concat());
}

#[test]
fn the_inbox_has_pages_oldest_first() {
    let server = RunningServer::start(&mut orchestr8());
    let steps: Vec<_> =
        (0..5).map(|n| json!({ "id": format!("ask{n}"), "approval": { "prompt": format!("{n}?") } })).collect();
    let id = start(&server, &of_steps(&json!(steps)), &json!({}));
    server.until(&id, |body| body["waitingFor"].as_array().is_some_and(|waiting| waiting.len() == 5));
    let mut seen = Vec::new();
    let mut path = "/v1/approvals?limit=2".to_owned();
    loop {
        let page: Value = server.get(&path).send().expect("the server answers").json().expect("JSON");
        seen.extend(page["approvals"].as_array().expect("a list").iter().map(|one| one["prompt"].to_string()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        assert_eq!(page["hasMore"], true);
        path = format!("/v1/approvals?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, [r#""0?""#, r#""1?""#, r#""2?""#, r#""3?""#, r#""4?""#]);
    let broken = server.get("/v1/approvals?cursor=nonsense").send().expect("the server answers");
    assert_eq!(broken.status().as_u16(), 400);
}

#[test]
fn signals_are_taken_kept_and_refused() {
    let server = RunningServer::start(&mut orchestr8());
    let steps = json!([{ "id": "paid", "wait": { "signal": "payment" } }]);
    let id = start(&server, &of_steps(&steps), &json!({}));
    server.until(&id, waits_for("signal"));
    let signal = |name: &str, body: Value| server.post(&format!("/v1/executions/{id}/signals/{name}")).json(&body);
    let mut text = vec![
        transcript("one that nobody waits for is kept", signal("other", json!({ "signalId": "a" }))),
        transcript("told again it is the same", signal("other", json!({ "signalId": "a" }))),
        transcript("a name that is none", signal("no%20name", json!({}))),
        transcript("too much", signal("payment", json!({ "payload": "x".repeat(70_000) }))),
        transcript("one that is waited for", signal("payment", json!({ "payload": { "amount": 12 } }))),
    ];
    let ended = server.until(&id, |body| body["status"] == "completed");
    assert_eq!(ended["outputs"]["paid"]["payload"]["amount"], 12);
    text.push(transcript("too late", signal("payment", json!({}))));
    assert_steady("server_signals", &text.concat());
}

#[test]
fn executions_are_paused_and_go_on() {
    let server = RunningServer::start(&mut orchestr8());
    let steps = json!([
        { "id": "gate", "wait": { "signal": "go" } },
        { "id": "after", "agent": { "id": "@orchestr8/noop" }, "dependencies": ["gate"] }
    ]);
    let id = start(&server, &of_steps(&steps), &json!({}));
    server.until(&id, waits_for("signal"));
    let post = |what: &str| server.post(&format!("/v1/executions/{id}/{what}"));
    let status = |request: reqwest::blocking::RequestBuilder| {
        let answer = request.send().expect("the server answers");
        (answer.status().as_u16(), answer.json::<PauseAnswer>().map(|body| body.status.to_string()).unwrap_or_default())
    };
    assert_eq!(status(post("resume")), (409, String::new()), "it is not paused");
    assert_eq!(status(post("pause").header("if-match", "\"0000000000000000\"")), (412, String::new()));
    assert_eq!(status(post("pause").json(&json!({ "reason": "later" }))), (202, "paused".to_owned()));
    assert_eq!(status(post("pause")), (202, "paused".to_owned()), "again changes nothing");
    assert!(post("signals/go").send().expect("the server answers").status().is_success());
    let paused: Value =
        server.get(&format!("/v1/executions/{id}")).send().expect("the server answers").json().expect("JSON");
    assert_eq!(
        (&paused["status"], &paused["progress"]["completed"]),
        (&json!("paused"), &json!(0)),
        "the signal is kept"
    );
    assert_eq!(status(post("resume")).0, 202);
    server.until(&id, |body| body["status"] == "completed");
    assert_eq!(status(post("pause")).0, 409);
}

#[test]
fn failed_executions_go_on_and_say_what_runs_again() {
    let server = RunningServer::start(&mut orchestr8());
    let steps = json!([
        { "id": "before", "agent": { "id": "@orchestr8/noop" } },
        { "id": "gate", "wait": { "signal": "go", "timeout": "1s" }, "dependencies": ["before"] },
        { "id": "after", "agent": { "id": "@orchestr8/noop" }, "dependencies": ["gate"] }
    ]);
    let id = start(&server, &of_steps(&steps), &json!({}));
    let resume = || server.post(&format!("/v1/executions/{id}/resume"));
    server.until(&id, waits_for("signal"));
    let mut text = vec![transcript("of one that runs", resume())];
    server.until(&id, |body| body["status"] == "failed");
    let lowered = json!({ "budget": { "maxSteps": 1 } });
    text.push(transcript("a limit that is used up already", resume().json(&lowered)));
    text.push(transcript("of one that has failed", resume().json(&json!({ "budget": { "maxSteps": 9 } }))));
    let go = server.post(&format!("/v1/executions/{id}/signals/go")).send().expect("the server answers");
    assert!(go.status().is_success());
    let ended = server.until(&id, |body| body["status"] == "completed");
    assert_eq!(ended["budget"]["maxSteps"], json!({ "limit": 9.0, "reserved": 0.0, "spent": 2.0 }));
    text.push(transcript("of one that has completed", resume()));
    assert_steady("server_resume", &text.concat());
}

#[test]
fn forks_take_over_what_has_not_changed() {
    let server = RunningServer::start(&mut orchestr8());
    let echo = |id: &str, input: Value, dependencies: &[&str]| json!({ "id": id, "agent": { "id": "@orchestr8/echo" }, "input": input, "dependencies": dependencies });
    let mut workflow = of_steps(&json!([
        echo("fixed", json!({ "of": 1 }), &[]),
        echo("given", json!({ "of": "${inputs.x}" }), &["fixed"]),
    ]));
    let id = start(&server, &workflow, &json!({ "x": 1 }));
    server.until(&id, |body| body["status"] == "completed");
    let fork = |body: Value| server.post(&format!("/v1/executions/{id}/fork")).json(&body);
    let mut text = vec![
        transcript("without a place", fork(json!({ "input": {} }))),
        transcript("of a step that nobody knows", fork(json!({ "fromStep": "nobody" }))),
        transcript("behind the end", fork(json!({ "sequence": 1000 }))),
        transcript("before a step, with another input", fork(json!({ "fromStep": "given", "input": { "x": 2 } }))),
    ];
    workflow["steps"].as_array_mut().expect("a list").remove(0);
    workflow["steps"][0]["dependencies"] = json!([]);
    let repaired = json!({ "sequence": 12, "workflow": workflow });
    let answer = fork(repaired.clone()).header("idempotency-key", "again").send().expect("the server answers");
    let body: Value = answer.json().expect("JSON");
    assert_eq!(body["dropped"], json!([{ "stepPath": "fixed", "because": "the workflow has no such step" }]));
    let again = fork(repaired).header("idempotency-key", "again").send().expect("the server answers");
    assert_eq!(again.headers()["x-idempotent-replayed"], "true");
    let forked = body["executionId"].as_str().expect("an id");
    assert_eq!(again.json::<Value>().expect("JSON")["executionId"], forked);
    let ended = server.until(forked, |body| body["status"] == "completed");
    assert_eq!((&ended["forkedFrom"]["executionId"], &ended["steps"][0]["reused"]), (&json!(id), &json!(true)));
    text.push(transcript(
        "of a workflow that is not valid",
        fork(json!({ "sequence": 1, "workflow": { "steps": [] } })),
    ));
    assert_steady("server_fork", &text.concat());
}

#[test]
fn a_fork_brings_along_what_its_workflow_refers_to() {
    let server = RunningServer::start(&mut orchestr8());
    let echo = |id: &str| json!({ "id": id, "agent": { "id": "@orchestr8/echo" }, "input": { "of": 1 } });
    let id = start(&server, &of_steps(&json!([echo("first")])), &json!({}));
    server.until(&id, |body| body["status"] == "completed");
    let calls = |id: &str, of: &str| json!({ "id": id, "workflow": { "ref": of } });
    let mut request = json!({
        "sequence": 6,
        "workflow": of_steps(&json!([echo("first"), calls("outer", "./parts/outer.yaml")])),
        "bundle": {
            "./parts/outer.yaml": of_steps(&json!([calls("inner", "../inner.json")])),
            "./inner.json": of_steps(&json!([echo("last")])),
        },
    });
    let fork = |body: &Value| {
        let answer = server.post(&format!("/v1/executions/{id}/fork")).json(body).send().expect("the server answers");
        (answer.status().as_u16(), answer.json::<Value>().expect("JSON"))
    };
    let (status, answer) = fork(&request);
    assert_eq!(status, 202, "{answer}");
    let forked = answer["executionId"].as_str().expect("an id");
    let ended = server.until(forked, |body| body["status"] == "completed");
    let steps: Vec<_> = ended["steps"].as_array().into_iter().flatten().map(|step| &step["stepPath"]).collect();
    assert_eq!(steps, ["first", "outer", "outer.inner", "outer.inner.last"]);
    // The server reads no path that a request names.
    request["bundle"] = json!({ "./parts/outer.yaml": request["bundle"]["./parts/outer.yaml"] });
    let (status, refused) = fork(&request);
    assert_eq!((status, &refused["code"]), (400, &json!("VALIDATION")), "{refused}");
    assert!(refused.to_string().contains("it is not in `bundle`"), "{refused}");
    request["workflow"] = Value::Null;
    assert_eq!(fork(&request).0, 400, "nothing refers to it");
}

#[test]
fn executions_and_steps_are_listed_in_pages() {
    let server = RunningServer::start(&mut orchestr8());
    let greet = of_steps(&json!([{ "id": "a", "agent": { "id": "@orchestr8/noop" } }]));
    let fail = of_steps(&json!([{ "id": "a", "agent": { "id": "@orchestr8/fail" }, "input": { "code": "DENIED" } }]));
    let ids: Vec<_> = [&greet, &fail, &greet].map(|workflow| start(&server, workflow, &json!({}))).into();
    for id in &ids {
        server.until(id, |body| ["completed", "failed"].contains(&body["status"].as_str().unwrap_or_default()));
    }
    let list = |query: &str| -> Value {
        server.get(&format!("/v1/executions{query}")).send().expect("the server answers").json().expect("JSON")
    };
    let of = |list: &Value| -> Vec<String> {
        let all = list["executions"].as_array().expect("a list").iter();
        all.map(|one| one["executionId"].as_str().expect("an id").to_owned()).collect()
    };
    let mut newest_first = ids.clone();
    newest_first.reverse();
    assert_eq!(of(&list("")), newest_first);
    assert_eq!(of(&list("?status=failed,cancelled")), [ids[1].clone()]);
    assert_eq!(of(&list("?workflowId=other")), Vec::<String>::new());
    let first = list("?limit=2&status=completed,failed");
    assert_eq!((of(&first), &first["hasMore"]), (newest_first[..2].to_vec(), &json!(true)));
    let request = server.get("/v1/executions?limit=2").send().expect("the server answers");
    let link = request.headers()["link"].to_str().expect("ASCII").to_owned();
    let next = link.trim_start_matches('<').split('>').next().expect("an address").to_owned();
    let second: Value = server.get(&next).send().expect("the server answers").json().expect("JSON");
    assert_eq!((of(&second), &second["hasMore"]), (newest_first[2..].to_vec(), &json!(false)));
    for wrong in ["?status=finished", "?cursor=zz", "?limit=x"] {
        let answer = server.get(&format!("/v1/executions{wrong}")).send().expect("the server answers");
        assert_eq!(answer.status().as_u16(), 400, "{wrong}");
    }

    let nested = of_steps(&json!([{ "id": "m", "map": {
        "items": [1, 2], "steps": [{ "id": "s", "agent": { "id": "@orchestr8/flaky" },
            "input": { "failTimes": "${index}", "code": "NETWORK", "value": "${item}" },
            "policies": { "retry": { "baseDelayMs": 100 } } }]
    }}]));
    let id = start(&server, &nested, &json!({}));
    server.until(&id, |body| body["status"] == "completed");
    let path = format!("/v1/executions/{id}/steps");
    let paths = |query: &str| -> Vec<String> {
        let list: Value = server.get(&format!("{path}{query}")).send().expect("an answer").json().expect("JSON");
        let steps = list["steps"].as_array().expect("a list").iter();
        steps.map(|one| one["stepPath"].as_str().expect("a path").to_owned()).collect()
    };
    assert_eq!(paths(""), ["m", "m[0].s", "m[1].s"]);
    assert_eq!(paths("?parent=m"), ["m[0].s", "m[1].s"]);
    assert_eq!(paths("?status=failed"), Vec::<String>::new());
    let page: Value = server.get(&format!("{path}?limit=1")).send().expect("an answer").json().expect("JSON");
    let cursor = page["nextCursor"].as_str().expect("there is more");
    assert_eq!(paths(&format!("?cursor={cursor}")), ["m[0].s", "m[1].s"]);
    let step: Value = server.get(&format!("{path}/m%5B1%5D.s")).send().expect("an answer").json().expect("JSON");
    assert_eq!((&step["output"], &step["input"]["failTimes"]), (&json!(2), &json!(1)));
    let attempts: Vec<_> =
        step["resilience"].as_array().expect("attempts").iter().map(|one| &one["error"]["code"]).collect();
    assert_eq!(attempts, [&json!("NETWORK"), &Value::Null]);
    assert_eq!(server.get(&format!("{path}/m.s")).send().expect("an answer").status().as_u16(), 404);
}

#[test]
fn a_stream_tells_what_was_and_what_comes_and_then_ends() {
    let server = RunningServer::start(&mut orchestr8());
    let steps = json!([{ "id": "gate", "wait": { "signal": "go" } }]);
    let id = start(&server, &of_steps(&steps), &json!({}));
    let body = server.until(&id, waits_for("signal"));
    assert_eq!(body["waitingFor"], json!([{ "kind": "signal", "stepPath": "gate", "name": "go" }]));
    let path = format!("/v1/executions/{id}/events");
    let stream = server.get(&path).send().expect("the server answers");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(server.post(&format!("/v1/executions/{id}/signals/go")).send().expect("told").status().as_u16(), 202);
    let read = |mut stream: reqwest::blocking::Response| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it ends");
        text
    };
    let text = read(stream);
    assert!(text.starts_with("retry: 1000\n"), "{text}");
    let field = |text: &str, name: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned()).collect()
    };
    let ids: Vec<u64> = field(&text, "id:").iter().map(|id| id.parse().expect("a sequence")).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "no gap, no repetition");
    let names = field(&text, "event:");
    assert_eq!(names.last().map(String::as_str), Some("end"));
    assert!(names.contains(&"signal.delivered".to_owned()) && names.contains(&"execution.completed".to_owned()));
    assert_eq!(field(&text, "data:").last().map(String::as_str), Some(r#"{"status":"completed"}"#));

    let later = read(server.get(&path).header("last-event-id", "3").send().expect("the server answers"));
    assert_eq!(field(&later, "id:").first().map(String::as_str), Some("4"));
    let after = read(server.get(&format!("{path}?after=3")).send().expect("the server answers"));
    assert_eq!(field(&after, "id:"), field(&later, "id:"));
    let all = ids.len().to_string();
    let nothing = server.get(&path).header("last-event-id", all).send().expect("the server answers");
    assert_eq!(nothing.status().as_u16(), 204, "which stops an EventSource");
    let wrong = server.get(&path).header("last-event-id", "x").send().expect("the server answers");
    assert_eq!(wrong.status().as_u16(), 400);
}

#[test]
fn agents_and_schemas_are_shown() {
    let server = RunningServer::start(&mut orchestr8());
    let get = |path: &str| server.get(path).send().expect("the server answers");
    let all: Value = get("/v1/agents").json().expect("JSON");
    let ids: Vec<_> = all["agents"].as_array().expect("a list").iter().map(|agent| agent["id"].as_str()).collect();
    assert!(ids.is_sorted() && ids.contains(&Some("@orchestr8/echo")));
    let one: Value = get("/v1/agents/orchestr8/hello-world?version=^1.0.0").json().expect("JSON");
    assert_eq!((&one["version"], &one["description"]), (&json!("1.0.0"), &json!("Greets a person")));
    assert_eq!(get("/v1/agents/orchestr8/hello-world?version=^2.0.0").status().as_u16(), 404);
    assert_eq!(get("/v1/agents/orchestr8/nobody").status().as_u16(), 404);
    assert_eq!(get("/v1/agents/orchestr8/hello-world?version=x").status().as_u16(), 400);
    let schema: Value = get("/v1/schemas/workflow.json").json().expect("JSON");
    assert!(schema["properties"]["steps"].is_object());
    assert_eq!(get("/v1/schemas/nothing.json").status().as_u16(), 404);
}

#[test]
fn what_a_body_says_in_vain_is_told() {
    let server = RunningServer::start(&mut orchestr8());
    let steps = json!([
        { "id": "ask", "approval": { "prompt": "Well?" } },
        { "id": "long", "agent": { "id": "@orchestr8/delay" }, "input": { "duration": "1h" } },
    ]);
    let request = json!({
        "workflow": of_steps(&steps), "context": { "sorce": "a test" }, "budget": { "maxTokenz": 5 }, "colour": "red",
    });
    let told = |path: &str, body: &Value| {
        let answer: Value = server.post(path).json(body).send().expect("the server answers").json().expect("JSON");
        let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
        let mut told: Vec<_> = warnings.iter().filter_map(|warning| warning["message"].as_str()).collect();
        told.sort_unstable();
        let told = told.join("\n");
        (answer, told)
    };
    let vain = |names: &[&str]| {
        let lines: Vec<_> = names.iter().map(|name| format!("`{name}` is unknown and has no effect")).collect();
        lines.join("\n")
    };
    let (started, warnings) = told("/execute", &request);
    assert_eq!(warnings, vain(&["budget.maxTokenz", "colour", "context.sorce"]), "{started}");
    assert_eq!(told("/v1/workflows/validate", &request).1, vain(&["budget.maxTokenz", "colour", "context.sorce"]));
    let id = started["executionId"].as_str().expect("an id");
    server.until(id, |body| waits_for("approval")(body) && body["progress"]["running"] == 2);
    let at = |rest: &str| format!("/v1/executions/{id}/{rest}");
    assert_eq!(told(&at("signals/x"), &json!({ "signalID": "a" })).1, vain(&["signalID"]));
    assert_eq!(told(&at("pause"), &json!({ "raeson": "a" })).1, vain(&["raeson"]));
    let (resumed, warnings) = told(&at("resume"), &json!({ "buget": {} }));
    assert_eq!(warnings, vain(&["buget"]));
    // What is in progress has gone on all the while.
    assert_eq!(resumed["rerun"], json!([]), "{resumed}");
    assert_eq!(told(&at("approvals/ask"), &json!({ "decision": "approve", "who": "ada" })).1, vain(&["who"]));
    assert_eq!(told(&at("fork"), &json!({ "sequence": 2, "at": 1 })).1, vain(&["at"]));
    assert_eq!(told(&at("cancel"), &json!({ "force": true })).1, vain(&["force"]));
}
