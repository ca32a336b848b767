//! The table of errors: a row for each status and code that the server answers with, how it is brought about over a socket, and what such an
//! answer has beside. A code that the OpenAPI document promises and no row brings about fails, and so does the reverse.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use orchestr8_cli::server::{self, Access, Service};
use orchestr8_testing::Harness;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::socket::{self, Answer, End};
use crate::support::{example, orchestr8, running_server::RunningServer, say};

/// A row: status, code, what brings it about, and how.
type Row = (u16, &'static str, &'static str, fn(&World) -> Answer);

const ROWS: &[Row] = &[
    (400, "VALIDATION", "a workflow that is none", |world| world.post("/execute", "", r#"{"steps": []}"#)),
    (400, "VALIDATION", "an input that does not fit", |world| {
        let inputs = json!({ "type": "object", "required": ["name"] });
        let mut workflow = hello();
        workflow["inputs"] = inputs;
        world.post("/execute", "", &workflow.to_string())
    }),
    (400, "VALIDATION", "an answer that does not fit", |world| {
        let path = format!("/v1/executions/{}/approvals/sign-off", world.waiting);
        world.post(&path, "", r#"{"decision": "approve", "answer": {"note": 1}}"#)
    }),
    (400, "BAD_REQUEST", "malformed JSON", |world| world.post("/execute", "", r#"{"steps": ["#)),
    (400, "BAD_REQUEST", "no object", |world| world.post(&world.of_waiting("/pause"), "", "[]")),
    (400, "BAD_REQUEST", "a malformed query", |world| world.get("/v1/executions?limit=many", "")),
    (400, "BAD_REQUEST", "a NUL in a query", |world| world.get("/v1/executions?status=%00", "")),
    (400, "BAD_REQUEST", "a malformed path", |world| world.get("/v1/executions/%ff", "")),
    (400, "BAD_REQUEST", "a cursor of somebody else", |world| world.get("/v1/executions?cursor=nonsense", "")),
    (400, "BAD_REQUEST", "chunks that are none", |world| {
        let head =
            "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let request = format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n");
        socket::one_of(&world.server, &request, End::BrokenOff)
    }),
    (400, "BAD_REQUEST", "limits of an execution that has not failed", |world| {
        world.post(&world.of_waiting("/resume"), "", r#"{"budget": {"maxSteps": 9}}"#)
    }),
    (400, "INVALID_IDEMPOTENCY_KEY", "a key with a space", |world| {
        world.post("/execute", "Idempotency-Key: a b\r\n", &hello().to_string())
    }),
    (400, "INVALID_IDEMPOTENCY_KEY", "two keys", |world| {
        world.post("/execute", "Idempotency-Key: one\r\nIdempotency-Key: two\r\n", &hello().to_string())
    }),
    (401, "UNAUTHORIZED", "no token where one is set", |world| world.guarded("")),
    (401, "UNAUTHORIZED", "another token", |world| world.guarded("Authorization: Bearer no\r\n")),
    (403, "FORBIDDEN", "a foreign host", |world| {
        socket::one(&world.server, "GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    }),
    (403, "FORBIDDEN", "no host, as of HTTP/1.0", |world| socket::one(&world.server, "GET /health HTTP/1.0\r\n\r\n")),
    (403, "FORBIDDEN", "a foreign origin", |world| world.get("/health", "Origin: http://evil.example\r\n")),
    (404, "NOT_FOUND", "no such path", |world| world.get("/v2/executions", "")),
    (404, "NOT_FOUND", "no such execution", |world| world.get(&format!("/v1/executions/{NOBODY}"), "")),
    (404, "NOT_FOUND", "no such step", |world| world.get(&world.of_waiting("/steps/refine%232.critic"), "")),
    (405, "METHOD_NOT_ALLOWED", "another method", |world| world.ask("DELETE", "/v1/executions", "", "")),
    (405, "METHOD_NOT_ALLOWED", "a preflight", |world| world.ask("OPTIONS", "/execute", "", "")),
    (405, "METHOD_NOT_ALLOWED", "the head of a stream", |world| Answer {
        body: HEADLESS.to_owned(),
        ..world.ask("HEAD", "/v1/events", "", "")
    }),
    (408, "TIMEOUT", "a body that does not arrive", |_| slow_body()),
    (409, "IDEMPOTENCY_KEY_CONFLICT", "a key that stands for something else", |world| {
        let key = "Idempotency-Key: once\r\n";
        assert_eq!(world.post("/execute", key, &hello().to_string()).status, 202);
        world.post("/execute", key, &json!({ "workflow": hello(), "input": { "name": "Bob" } }).to_string())
    }),
    (409, "CONFLICT", "a state that does not allow it", |world| {
        world.post(&format!("/v1/executions/{}/pause", world.ended), "", "{}")
    }),
    (412, "PRECONDITION_FAILED", "a state that it is no longer in", |world| {
        world.post(&world.of_waiting("/pause"), "If-Match: \"0123456789abcdef\"\r\n", "{}")
    }),
    (413, "PAYLOAD_TOO_LARGE", "a body that is announced as too large", |world| {
        world.post("/execute", "", &format!("\"{}\"", "x".repeat(10_000_000)))
    }),
    (413, "PAYLOAD_TOO_LARGE", "a signal that says too much", |world| {
        let payload = json!({ "payload": "x".repeat(70_000) });
        world.post(&world.of_waiting("/signals/go"), "", &payload.to_string())
    }),
    (415, "UNSUPPORTED_MEDIA_TYPE", "a body of another type", |world| {
        world.ask("POST", "/execute", "Content-Type: text/plain\r\n", "steps: []")
    }),
    (415, "UNSUPPORTED_MEDIA_TYPE", "a body of no type", |world| world.ask("POST", "/execute", "", "steps: []")),
    (429, "RATE_LIMITED", "more signals than are kept", |world| {
        let last = request("POST", &world.of_waiting("/signals/later"), JSON, "{}");
        let pipelined = last.repeat(1000).replace("Connection: close\r\n", "") + &last;
        let mut answers = socket::send(&world.server, pipelined.as_bytes(), End::Open);
        let last = answers.pop().expect("it is refused");
        assert!(answers.len() == 1000 && answers.iter().all(|answer| answer.status == 202), "{}", answers.len());
        last
    }),
    (500, "INTERNAL", "a journal that cannot be read", |world| {
        socket::one(&world.broken, &request("GET", &format!("/v1/executions/{}", world.unreadable), "", ""))
    }),
    (503, "SHUTTING_DOWN", "a start while the server ends", |_| {
        let server = RunningServer::start(&mut orchestr8());
        let ask = |path: &str, body: &str| socket::one(&server, &request("POST", path, JSON, body));
        assert_eq!(ask("/execute", &forever().to_string()).status, 202);
        server.signal("TERM");
        loop {
            let answer = ask("/execute", &hello().to_string());
            if answer.status != 202 {
                return answer;
            }
        }
    }),
    (503, "RESOURCE_EXHAUSTED", "more streams than there may be", |world| {
        let open = |_| {
            let mut stream = TcpStream::connect(world.server.url.trim_start_matches("http://")).expect("it listens");
            stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
            // The head comes once the stream has its place.
            assert_ne!(stream.read(&mut [0; 64]).expect("it answers"), 0);
            stream
        };
        let _streams: Vec<_> = (0..100).map(open).collect();
        world.get("/v1/events", "")
    }),
    (503, "RESOURCE_EXHAUSTED", "a disk that is full", |_| {
        let program = orchestr8();
        let mut command = Command::new("sh");
        for (name, value) in program.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            command.env(name, value);
        }
        // Files may not grow beyond half a megabyte, or one as some shells count.
        let limited = "trap '' XFSZ; ulimit -S -f 1000; exec \"$0\" server --port 0";
        let server = RunningServer::of(command.args(["-c", limited]).arg(program.get_program()));
        let large = json!({ "workflow": hello(), "input": { "text": "x".repeat(2_000_000) } });
        socket::one(&server, &request("POST", "/execute", JSON, &large.to_string()))
    }),
    (504, "TIMEOUT", "an execution that takes longer than is waited", |world| {
        world.post("/execute", "Prefer: wait=1\r\n", &forever().to_string())
    }),
];

const NOBODY: &str = "01932c07-5a1e-7c44-8e0f-6c1d0f5b9a10";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const JSON: &str = "Content-Type: application/json\r\n";
/// Stands for the body of an answer to `HEAD`, which has none.
const HEADLESS: &str = "{}";

/// What there is to be asked.
struct World {
    server: RunningServer,
    /// Demands a token.
    with_token: RunningServer,
    /// Cannot read an execution that it has.
    broken: RunningServer,
    unreadable: String,
    /// An execution that waits for a person.
    waiting: String,
    /// One that has completed.
    ended: String,
    _folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("broken");
        let unreadable = unreadable(&data);
        let server = RunningServer::start(&mut orchestr8());
        let start = |path: &str, document: Vec<u8>| {
            let request = server.post_yaml(path, String::from_utf8(document).expect("UTF-8"));
            let answer: Value = request.send().expect("the server answers").json().expect("JSON");
            answer["executionId"].as_str().expect("an id").to_owned()
        };
        let approval = fs::read(example("release-approval.yaml")).expect("the example is there");
        let workflow =
            orchestr8_schema::source::parse(approval, &orchestr8_schema::source::Options::new().file_name("a.yaml"));
        let wrapped = json!({ "workflow": workflow.expect("YAML"), "input": { "tag": "v1.2" } });
        let answer: Value = server.post("/execute").json(&wrapped).send().expect("it answers").json().expect("JSON");
        let waiting = answer["executionId"].as_str().expect("an id").to_owned();
        let ended = start("/execute?mode=sync", hello().to_string().into_bytes());
        let world = Self {
            with_token: RunningServer::start(orchestr8().env("ORCHESTR8_TOKEN", TOKEN)),
            broken: RunningServer::start(orchestr8().env("ORCHESTR8_HOME", data)),
            server,
            unreadable,
            waiting,
            ended,
            _folder: folder,
        };
        // Until it asks.
        while !world.get(&format!("/v1/approvals?executionId={}", world.waiting), "").body.contains("sign-off") {}
        world
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        socket::one(&self.server, &request(method, path, headers, body))
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask("GET", path, headers, "")
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.ask("POST", path, &format!("{headers}{JSON}"), body)
    }

    fn guarded(&self, headers: &str) -> Answer {
        socket::one(&self.with_token, &request("GET", "/v1/executions", headers, ""))
    }

    /// A path below that of the execution that waits.
    fn of_waiting(&self, rest: &str) -> String {
        format!("/v1/executions/{}{rest}", self.waiting)
    }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}Connection: close\r\n\r\n{body}")
}

fn hello() -> Value {
    json!({
        "version": "1.0.0", "metadata": { "id": "hello", "name": "Hello" },
        "steps": [{ "id": "greet", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "Ada" } }],
    })
}

fn forever() -> Value {
    json!({
        "version": "1.0.0", "metadata": { "id": "forever", "name": "Forever" },
        "steps": [{ "id": "wait", "agent": { "id": "@orchestr8/delay" }, "input": { "duration": "1h" } }],
    })
}

/// Executes something in a data directory, and spoils what is stored of it.
fn unreadable(data: &Path) -> String {
    let run = say(orchestr8().env("ORCHESTR8_HOME", data).arg("run").arg(example("vertical-slice.json")).arg("--json"));
    let execution: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let store = Connection::open(data.join("orchestr8.db")).expect("opened");
    for (table, column) in [("batches", "body"), ("sheets", "bytes")] {
        store.execute(&format!("UPDATE {table} SET {column} = zeroblob(length({column}))"), []).expect("changed");
    }
    execution["executionId"].as_str().expect("an id").to_owned()
}

/// Sends a part of a body and waits, which takes no time here.
fn slow_body() -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service = Service::new(Harness::new().engine(), Access::local());
        let serving = tokio::spawn(server::serve(listener, service, std::future::pending(), Duration::ZERO));
        let mut client = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let head = format!("POST /execute HTTP/1.1\r\nHost: localhost\r\n{JSON}Connection: close\r\n");
        let begun = format!("{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n");
        client.write_all(begun.as_bytes()).await.expect("sent");
        // From now on the server waits for the body.
        let mut piece = [0; 64];
        let length = client.read(&mut piece).await.expect("it answers");
        assert_eq!(&piece[..length], b"HTTP/1.1 100 Continue\r\n\r\n");
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        client.write_all(b"{").await.expect("sent");
        let mut text = Vec::new();
        client.read_to_end(&mut text).await.expect("it answers and closes");
        assert_eq!(began.elapsed().as_secs(), 30);
        serving.abort();
        socket::read(begun.as_bytes(), text).pop().expect("it answers")
    })
}

/// The codes that the OpenAPI document promises, with their statuses, and that of a method that a path does not have, which no operation can name.
fn promised() -> BTreeSet<(u16, String)> {
    let document = server::openapi();
    let mut found = BTreeSet::from([(405, "METHOD_NOT_ALLOWED".to_owned())]);
    let operations = document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
    for operation in operations.flat_map(|path| path.as_object().into_iter().flat_map(|methods| methods.values())) {
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            let schema = &response["content"]["application/problem+json"]["schema"]["allOf"][1];
            let codes = schema["properties"]["code"]["enum"].as_array().into_iter().flatten();
            let code = |code: &Value| code.as_str().expect("a code").to_owned();
            found.extend(codes.map(|one| (status.parse().expect("a status"), code(one))));
        }
    }
    found
}

#[test]
fn every_error_is_answered_as_its_row_says() {
    let world = World::new();
    for (status, code, cause, provoke) in ROWS {
        let answer = provoke(&world);
        assert_eq!((answer.status, answer.code()), (*status, *code), "{cause}: {answer:?}");
        let is_there = |name: &str| answer.header(name).is_some();
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{cause}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{cause}");
        assert!(is_there("x-correlation-id") && is_there("content-security-policy"), "{cause}");
        assert_eq!(is_there("allow"), *status == 405, "{cause}");
        assert_eq!(answer.header("www-authenticate"), (*status == 401).then_some("Bearer"), "{cause}");
        assert_eq!(is_there("retry-after"), [429, 503, 504].contains(status), "{cause}");
        assert_eq!(is_there("location"), *status == 504, "{cause}");
        if answer.body == HEADLESS {
            continue;
        }
        let problem: Value = serde_json::from_str(&answer.body).expect("JSON");
        let kind = format!("urn:orchestr8:problem:{}", code.to_lowercase().replace('_', "-"));
        assert_eq!((&problem["type"], &problem["code"]), (&json!(kind), &json!(code)), "{cause}");
        assert_eq!(problem["status"], *status, "{cause}");
        assert_eq!(problem["correlationId"].as_str(), answer.header("x-correlation-id"), "{cause}");
        let is_retryable = matches!(status, 408 | 429 | 500..);
        assert_eq!(problem["isRetryable"], is_retryable, "{cause}");
        for field in ["title", "detail", "instance", "timestamp"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{cause}: {field}");
        }
        let issues = problem["issues"].as_array().map_or(0, Vec::len);
        assert_eq!(issues > 0, *code == "VALIDATION", "{cause}: {problem:#}");
    }
    let proven: BTreeSet<_> = ROWS.iter().map(|(status, code, ..)| (*status, (*code).to_owned())).collect();
    assert_eq!(proven, promised(), "codes without a row on the right, rows without a code on the left");
}
