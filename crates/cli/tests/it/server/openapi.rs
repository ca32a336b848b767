//! The description of the interface: that it is current, and that every answer is as it says.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
};
use futures_util::{StreamExt as _, stream};
use orchestr8_agent_base::{AgentRegistry, builtin, example_agents};
use orchestr8_cli::{
    catalogue::Catalogue,
    server::{Access, Service, Token},
};
use orchestr8_core::Engine;
use orchestr8_testing::Harness;
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::support::described::{Answered, check, check_examples, operations};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NOBODY: &str = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";

/// What cannot be had without a second process that drives an execution, or a defect.
const UNSEEN: [(&str, u16); 7] = [
    ("*", 500),
    ("cancelExecution", 409),
    ("cancelExecution", 503),
    ("pauseExecution", 503),
    ("resumeExecution", 503),
    ("signalExecution", 503),
    ("answerApproval", 503),
];

/// Asks the routes of a service in this process, and notes what was answered.
struct Asking {
    router: Router,
    seen: BTreeSet<(String, u16)>,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> String {
        self.headers[name].to_str().expect("ASCII").to_owned()
    }
}

impl Asking {
    fn new(service: &Service) -> Self {
        Self { router: service.router(), seen: BTreeSet::new() }
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        let request = request.body(body.into()).expect("a request");
        let response = self.router.call(request).await.expect("never fails");
        let (parts, body) = response.into_parts();
        let media_type = parts.headers.get("content-type").map(|kind| kind.to_str().expect("ASCII").to_owned());
        let mut chunks = body.into_data_stream();
        let mut bytes = Vec::new();
        // A stream of events has no end; its first words suffice.
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.expect("a body"));
            if media_type.as_deref() == Some("text/event-stream") {
                break;
            }
        }
        let body = String::from_utf8(bytes).expect("UTF-8");
        let answered = Answered {
            method,
            path,
            status: parts.status.as_u16(),
            media_type: media_type.as_deref(),
            headers: parts.headers.keys().map(axum::http::HeaderName::as_str).collect(),
            body: &body,
        };
        let status = parts.status.as_u16();
        self.seen.extend(check(&answered).map(|id| (id, status)));
        Answer { status, headers: parts.headers, body }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body).await
    }

    async fn post_with(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.ask("POST", path, &[headers, &[("content-type", "application/json")]].concat(), body.to_string()).await
    }

    /// Starts an execution, and waits until it ends or waits itself.
    async fn start(&mut self, workflow: &Value) -> String {
        let answer = self.post("/v1/workflows/execute", &json!({ "workflow": workflow })).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let id = answer.json()["executionId"].as_str().expect("an id").to_owned();
        for _ in 0..100 {
            let execution = self.get(&format!("/v1/executions/{id}")).await.json();
            let waits = execution["waitingFor"].as_array().is_some_and(|waiting| !waiting.is_empty());
            if waits || execution.get("completedAt").is_some() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        id
    }
}

fn engine() -> Engine {
    let mut registry = AgentRegistry::new();
    builtin::register(&mut registry).expect("registered");
    example_agents::register(&mut registry).expect("registered");
    Harness::new().registry(registry).engine()
}

fn of_steps(steps: &Value) -> Value {
    json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps })
}

fn greeting(delay: u64) -> Value {
    let agent = json!({ "id": "@orchestr8/hello-world", "config": { "delayMs": delay } });
    of_steps(&json!([{ "id": "greet", "agent": agent, "input": { "name": "Ada" } }]))
}

fn approval() -> Value {
    let schema = json!({ "type": "object", "required": ["note"] });
    of_steps(&json!([{ "id": "ask", "approval": { "prompt": "May it?", "schema": schema } }]))
}

/// Makes a path of a template.
fn path_of(template: &str, first: &str) -> String {
    let mut parts: Vec<_> = template.split('/').map(str::to_owned).collect();
    let mut is_first = true;
    for part in parts.iter_mut().filter(|part| part.starts_with('{')) {
        let other = if part == "{id}" { NOBODY } else { "x" };
        *part = if is_first && !first.is_empty() { first } else { other }.to_owned();
        is_first = false;
    }
    parts.join("/")
}

#[tokio::test(start_paused = true)]
async fn every_operation_answers_with_every_status_that_it_is_said_to_have() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("greet.json"), greeting(0).to_string()).expect("written");
    let engine = engine();
    let token = Token::new(TOKEN).expect("long enough");
    let catalogue = Catalogue::new(vec![folder.path().to_owned()], engine.agents().clone());
    let access = Access::local().token(token);
    let service = Service::new(engine.clone(), access.clone()).workflows(catalogue).mcp(true);
    let mut asking = Asking::new(&service);
    refusals(&mut asking).await;
    reading(&mut asking).await;
    starting(&mut asking).await;
    changing(&mut asking).await;
    streams(&mut asking, &service).await;
    messages(&mut asking, Service::new(engine, access)).await;
    service.drain();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "list_workflows" } });
    assert_eq!(asking.post("/mcp", &list).await.status, 503);
    assert_eq!(asking.get("/ready").await.status, 503);
    assert_eq!(asking.post("/execute", &greeting(0)).await.status, 503);
    let path = format!("/v1/executions/{NOBODY}/fork");
    assert_eq!(asking.post(&path, &json!({ "sequence": 1 })).await.status, 503);

    let mut missing = Vec::new();
    for (_, _, id, statuses) in operations() {
        let is_unseen =
            |status: u16| UNSEEN.iter().any(|(name, known)| (*name == "*" || *name == id) && *known == status);
        let unseen =
            statuses.iter().filter(|status| !asking.seen.contains(&(id.clone(), **status)) && !is_unseen(**status));
        missing.extend(unseen.map(|status| format!("{id} {status}")));
    }
    assert!(missing.is_empty(), "nobody has seen {missing:#?}");
}

/// What every operation of a kind refuses.
async fn refusals(asking: &mut Asking) {
    for (method, template, _, statuses) in operations() {
        let path = path_of(&template, "");
        let json = ("content-type", "application/json");
        let strangers = asking.ask(&method, &path, &[("host", "evil.example"), json], "{}").await;
        assert_eq!(strangers.status, 403, "{method} {path}");
        if statuses.contains(&401) {
            assert_eq!(asking.ask(&method, &path, &[("authorization", "Bearer no")], "").await.status, 401);
        }
        if statuses.contains(&400) && template.contains('{') {
            let unreadable = path_of(&template, "%ff");
            assert_eq!(asking.ask(&method, &unreadable, &[json], "{}").await.status, 400, "{unreadable}");
        }
        if method == "POST" {
            // What is no JSON at all is a finding where findings are asked for.
            let malformed = if path.ends_with("/validate") { "{}" } else { "[" };
            assert_eq!(asking.ask(&method, &path, &[json], malformed).await.status, 400, "{path}");
            assert_eq!(asking.ask(&method, &path, &[("content-type", "text/plain")], "x").await.status, 415, "{path}");
            let long = [json, ("content-length", "40000000")];
            assert_eq!(asking.ask(&method, &path, &long, "{}").await.status, 413, "{path}");
            let slow = stream::unfold((), async |()| {
                tokio::time::sleep(std::time::Duration::from_secs(7)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            assert_eq!(asking.ask(&method, &path, &[json], Body::from_stream(slow)).await.status, 408, "{path}");
        } else {
            asking.ask(&method, &format!("{path}?limit=-1&after=-1"), &[], "").await;
        }
        if statuses.contains(&404) {
            let answer = match method.as_str() {
                "POST" => asking.post(&path, &json!({ "workflowId": "x", "sequence": 1, "decision": "approve" })).await,
                _ => asking.get(&path).await,
            };
            let is_there = matches!(template.as_str(), "/v1/approvals" | "/mcp");
            assert!(answer.status == 404 || is_there, "{method} {path}: {}", answer.status);
        }
        assert_eq!(asking.ask("DELETE", &path, &[], "").await.status, 405, "{path}");
    }
    assert_eq!(asking.get("/nowhere").await.status, 404);
}

async fn reading(asking: &mut Asking) {
    let id = asking.start(&greeting(0)).await;
    let path = format!("/v1/executions/{id}");
    for part in ["", "/steps", "/steps/greet", "/steps/greet/why", "/workflow", "/journal", "/journal?format=ndjson"] {
        assert_eq!(asking.get(&format!("{path}{part}")).await.status, 200, "{part}");
    }
    for format in ["json", "svg", "mermaid", "dot"] {
        assert_eq!(asking.get(&format!("{path}/graph?format={format}")).await.status, 200, "{format}");
    }
    for part in [path.clone(), format!("{path}/journal"), "/".to_owned()] {
        let tag = asking.get(&part).await.header("etag");
        assert_eq!(asking.ask("GET", &part, &[("if-none-match", &tag)], "").await.status, 304, "{part}");
    }
    let page = asking.get("/").await.body;
    for ending in [".js\"", ".css\"", ".svg\""] {
        let end = page.find(ending).expect("the page names its assets") + ending.len() - 1;
        let start = page[..end].rfind('"').expect("in quotes") + 1;
        assert_eq!(asking.get(&format!("/{}", &page[start..end])).await.status, 200, "{ending}");
    }
    for path in [
        "/v1/executions",
        "/v1/workflows",
        "/v1/workflows/w",
        "/v1/approvals",
        "/v1/agents",
        "/v1/agents/orchestr8/hello-world",
        "/v1/stats",
        "/v1/openapi.json",
        "/health",
        "/ready",
        "/metrics",
    ] {
        assert_eq!(asking.get(path).await.status, 200, "{path}");
    }
    for name in ["workflow", "test", "config", "prompt", "event", "problem", "api"] {
        assert_eq!(asking.get(&format!("/v1/schemas/{name}.json")).await.status, 200, "{name}");
    }
    assert_eq!(asking.get(&format!("/v1/approvals?executionId={NOBODY}")).await.status, 404);
}

async fn starting(asking: &mut Asking) {
    let path = "/v1/workflows/execute";
    let sync = "/v1/workflows/execute?mode=sync";
    assert_eq!(asking.post(sync, &greeting(0)).await.status, 200);
    assert_eq!(asking.post(sync, &json!({ "workflowId": "w" })).await.status, 200);
    assert_eq!(asking.post(sync, &greeting(60_000)).await.status, 504);
    assert_eq!(asking.post(path, &of_steps(&json!([]))).await.status, 400);
    assert_eq!(asking.post_with(path, &[("idempotency-key", "a b")], &greeting(0)).await.status, 400);
    let key = [("idempotency-key", "once")];
    assert_eq!(asking.post_with(path, &key, &greeting(0)).await.status, 202);
    assert_eq!(asking.post_with(path, &key, &greeting(1)).await.status, 409);
    assert_eq!(asking.post("/v1/workflows/validate", &greeting(0)).await.status, 200);
    assert_eq!(asking.post("/v1/workflows/validate", &of_steps(&json!([]))).await.status, 200);

    let id = asking.start(&greeting(0)).await;
    let path = format!("/v1/executions/{id}/fork");
    let whole = json!({ "fromStep": "greet" });
    assert_eq!(asking.post_with(&path, &[("idempotency-key", "fork")], &whole).await.status, 202);
    assert_eq!(asking.post_with(&path, &[("idempotency-key", "fork")], &json!({ "sequence": 2 })).await.status, 409);
    assert_eq!(asking.post_with(&path, &[("if-match", "\"0\"")], &whole).await.status, 412);
    assert_eq!(asking.post(&path, &json!({})).await.status, 400);
}

async fn changing(asking: &mut Asking) {
    let ended = asking.start(&greeting(0)).await;
    let ended = format!("/v1/executions/{ended}");
    for part in ["/pause", "/resume", "/signals/x"] {
        assert_eq!(asking.post(&format!("{ended}{part}"), &json!({})).await.status, 409, "{part}");
    }
    assert_eq!(asking.post(&format!("{ended}/cancel"), &json!({})).await.status, 200);

    let waiting = asking.start(&approval()).await;
    let waiting = format!("/v1/executions/{waiting}");
    assert_eq!(asking.get("/v1/approvals").await.json()["approvals"].as_array().map(Vec::len), Some(1));
    let answer = format!("{waiting}/approvals/ask");
    let stale = [("if-match", "\"0\"")];
    for part in ["/cancel", "/pause", "/resume", "/signals/x"] {
        assert_eq!(asking.post_with(&format!("{waiting}{part}"), &stale, &json!({})).await.status, 412, "{part}");
    }
    let approve = json!({ "decision": "approve", "answer": { "note": "ok" } });
    assert_eq!(asking.post_with(&answer, &stale, &approve).await.status, 412);
    assert_eq!(asking.post(&format!("{waiting}/pause"), &json!({})).await.status, 202);
    assert_eq!(asking.post(&format!("{waiting}/resume"), &json!({})).await.status, 202);
    let signal = format!("{waiting}/signals/x");
    for number in 0..1000 {
        assert_eq!(asking.post(&signal, &json!({ "payload": number })).await.status, 202);
    }
    assert_eq!(asking.post(&signal, &json!({ "payload": "one more" })).await.status, 429);
    assert_eq!(asking.post(&signal, &json!({ "payload": "x".repeat(70_000) })).await.status, 413);
    assert_eq!(asking.post(&answer, &json!({ "decision": "approve", "answer": {} })).await.status, 400);
    assert_eq!(asking.post(&answer, &approve).await.status, 200);
    assert_eq!(asking.post(&answer, &json!({ "decision": "reject" })).await.status, 409);

    let slow = asking.post("/execute", &greeting(60_000)).await.json();
    let slow = format!("/v1/executions/{}/cancel", slow["executionId"].as_str().expect("an id"));
    assert_eq!(asking.post(&slow, &json!({})).await.status, 202);
    let spent = asking
        .start(&of_steps(
            &json!([{ "id": "fail", "agent": { "id": "@orchestr8/fail" }, "input": { "code": "INTERNAL" } }]),
        ))
        .await;
    let resume = format!("/v1/executions/{spent}/resume");
    assert_eq!(asking.post(&resume, &json!({})).await.status, 202);
}

/// What is said in the protocol for other programs, and where it is not spoken.
async fn messages(asking: &mut Asking, without: Service) {
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    assert_eq!(asking.post("/mcp", &list).await.status, 200);
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(asking.post("/mcp", &told).await.status, 202);
    let old = asking.post_with("/mcp", &[("mcp-protocol-version", "1999-01-01")], &list).await;
    assert_eq!((old.status, old.json()["code"].as_str()), (400, Some("BAD_REQUEST")));
    assert!(old.json()["detail"].as_str().is_some_and(|detail| detail.contains("1999-01-01")), "{}", old.body);
    let bare = asking.post_with("/mcp", &[("mcp-protocol-version", "2026-07-28")], &list).await;
    assert_eq!((bare.status, bare.json()["jsonrpc"].as_str()), (400, Some("2.0")), "{}", bare.body);
    let picky = asking.post_with("/mcp", &[("accept", "text/html")], &list).await;
    assert_eq!((picky.status, picky.json()["code"].as_str()), (400, Some("BAD_REQUEST")));
    let here = std::mem::replace(&mut asking.router, without.router());
    assert_eq!(asking.post("/mcp", &list).await.status, 404);
    asking.router = here;
}

async fn streams(asking: &mut Asking, service: &Service) {
    let id = asking.start(&greeting(0)).await;
    let path = format!("/v1/executions/{id}/events");
    assert_eq!(asking.get(&path).await.status, 200);
    assert_eq!(asking.ask("GET", &path, &[("last-event-id", "1000000")], "").await.status, 204);
    assert_eq!(asking.get("/v1/events").await.status, 200);
    let mut open = Vec::new();
    for _ in 0..100 {
        let request =
            Request::get("/v1/events").header("host", "localhost").header("authorization", format!("Bearer {TOKEN}"));
        open.push(service.router().call(request.body(Body::empty()).expect("a request")).await.expect("never fails"));
    }
    assert_eq!(asking.get("/v1/events").await.status, 503);
    assert_eq!(asking.get(&path).await.status, 503);
}

#[test]
fn every_example_is_as_it_is_described() {
    assert!(check_examples() > 0);
}

/// Renew it with `ORCHESTR8_RENEW=1 cargo test -p orchestr8-cli --test it openapi`.
#[test]
fn the_published_document_and_the_reference_are_current() {
    let document = orchestr8_cli::server::openapi();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, current) in [("schema/openapi.json", format!("{document:#}\n")), ("src/rest.md", reference(&document))] {
        let path = docs.join(name);
        if std::env::var_os("ORCHESTR8_RENEW").is_some() {
            fs::write(&path, &current).expect("written");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == current, "{} is not current: set ORCHESTR8_RENEW=1 and run this test", path.display());
    }
}

/// What stands above the operations.
const HEAD: &str = "\
# REST reference

This page is made of [`docs/schema/openapi.json`](https://github.com/orchestr8/orchestr8/blob/main/docs/schema/openapi.json), the description that a server
answers at `GET /v1/openapi.json` and that its routes are held to by tests. Everything under `/v1` is answered without that prefix, too. Every answer has
`X-Correlation-ID`. Every operation may also be answered 403 `FORBIDDEN` (a `Host` or an `Origin` that is not the server's own), 500 `INTERNAL`, and, if the
server has a token, 401 `UNAUTHORIZED`; these are not repeated below. The body of every status of 400 or more is a [problem](#problem).
";

/// Writes the operations down, and the bodies that they speak of.
fn reference(document: &Value) -> String {
    let mut text = HEAD.to_owned();
    for tag in ["workflows", "executions", "control", "catalogues", "service"] {
        let mut title = tag.to_owned();
        title[..1].make_ascii_uppercase();
        writeln!(text, "\n## {title}").expect("a string takes everything");
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                if operation["tags"][0] == tag {
                    text.push_str(&operation_text(&method.to_ascii_uppercase(), path, operation));
                }
            }
        }
    }
    text.push_str("\n## Bodies\n");
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        text.push_str(&body_text(name, schema));
    }
    text
}

fn operation_text(method: &str, path: &str, operation: &Value) -> String {
    let said = |value: &Value| value.as_str().unwrap_or_default().replace('|', "\\|");
    let mut text = format!("\n### `{method} {path}`\n\n{}.\n", said(&operation["summary"]));
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let rows: Vec<_> = parameters
        .map(|parameter| {
            let (name, place) = (said(&parameter["name"]), said(&parameter["in"]));
            format!("| `{name}` | {place} | {} | {} |\n", kind(&parameter["schema"]), said(&parameter["description"]))
        })
        .collect();
    if !rows.is_empty() {
        text.push_str("\n| parameter | in | type | |\n|---|---|---|---|\n");
        text.extend(rows);
    }
    let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
    let takes: Vec<_> = contents.map(|(media, content)| format!("`{media}`: {}", kind(&content["schema"]))).collect();
    if !takes.is_empty() {
        write!(text, "\nTakes {}.\n", takes.join("; ")).expect("a string takes everything");
    }
    text.push_str("\n| status | |\n|---|---|\n");
    for (status, response) in operation["responses"].as_object().expect("responses") {
        let everywhere =
            matches!(said(&response["description"]).as_str(), "`FORBIDDEN`" | "`INTERNAL`" | "`UNAUTHORIZED`");
        if everywhere {
            continue;
        }
        let contents = response["content"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(media, _)| *media != "application/problem+json");
        let bodies: Vec<_> =
            contents.map(|(media, content)| format!("`{media}`: {}", kind(&content["schema"]))).collect();
        writeln!(text, "| {status} | {} {} |", said(&response["description"]), bodies.join("; "))
            .expect("a string takes everything");
    }
    text
}

fn body_text(name: &str, schema: &Value) -> String {
    let said = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
    let mut text = format!("\n### {name}\n\n{}\n", said(&schema["description"]));
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let rows: Vec<_> = properties
        .map(|(name, property)| {
            let is_required = if required.contains(&&json!(name)) { "" } else { ", may be absent" };
            format!("| `{name}` | {}{is_required} | {} |\n", kind(property), said(&property["description"]))
        })
        .collect();
    if rows.is_empty() {
        writeln!(text, "\n{}", kind(schema)).expect("a string takes everything");
    } else {
        text.push_str("\n| field | type | |\n|---|---|---|\n");
        text.extend(rows);
    }
    text
}

/// Says in a few words what a schema accepts.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_ascii_lowercase());
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(several) = schema[key].as_array() {
            let several: BTreeSet<_> = several.iter().map(kind).collect();
            return several.into_iter().collect::<Vec<_>>().join(if key == "allOf" { " and " } else { " or " });
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{}`", value.as_str().unwrap_or_default());
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of_items(schema)),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

fn kind_of_items(schema: &Value) -> String {
    schema.get("items").map_or_else(|| "anything".to_owned(), kind)
}
