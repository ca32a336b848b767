//! `orchestr8 lsp`: a recorded session, replayed against the program, and ends of sessions.
//!
//! A recording is a list of messages; each stands for one that the editor sends. Two keys are of the recording only: `say`, what
//! the message is about, and `await`, that problems of so many documents are waited for after it.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::support::{assert_steady, orchestr8, say};

struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start() -> Self {
        let mut command = orchestr8();
        command.arg("lsp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the built program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    fn send(&mut self, message: &Value) {
        self.send_raw(&message.to_string());
    }

    fn send_raw(&mut self, body: &str) {
        let input = self.input.as_mut().expect("it is open");
        write!(input, "Content-Length: {}\r\n\r\n{body}", body.len()).and_then(|()| input.flush()).expect("it listens");
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).expect("it speaks UTF-8");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).expect("a whole message");
        serde_json::from_slice(&body).expect("JSON")
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        self.receive()
    }

    /// Closes the input and returns how the program ended.
    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().expect("it ends").code()
    }
}

fn recording(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sessions").join(name);
    let text = std::fs::read_to_string(path).expect("the recording is there");
    serde_json::from_str(&text).expect("the recording is JSON")
}

#[test]
fn a_recorded_session_is_answered_as_before() {
    let mut session = Session::start();
    let mut transcript = String::new();
    for mut message in recording("author.json") {
        let fields = message.as_object_mut().expect("a message");
        let about = fields.remove("say").expect("it says what it is about");
        let awaited = fields.remove("await").and_then(|count| count.as_u64()).unwrap_or(0);
        let is_request = fields.contains_key("id");
        writeln!(transcript, "# {}", about.as_str().expect("it is text")).expect("a string takes everything");
        session.send(&message);
        for _ in 0..awaited + u64::from(is_request) {
            let mut answer = session.receive();
            // All items would hide what matters.
            if let Some(items) = answer.pointer_mut("/result/items").and_then(Value::as_array_mut) {
                items.truncate(4);
            }
            if let Some(version) = answer.pointer_mut("/result/serverInfo/version") {
                *version = "[version]".into();
            }
            writeln!(transcript, "{answer:#}").expect("a string takes everything");
        }
    }
    assert_steady("lsp_session", &transcript);
    assert_eq!(session.end(), Some(0));
}

#[test]
fn a_session_that_ends_without_a_word_ends_the_program() {
    assert_eq!(Session::start().end(), Some(1), "nobody asked for a shutdown");

    let mut session = Session::start();
    session.ask("initialize", &json!({}));
    session.send(&json!({ "jsonrpc": "2.0", "method": "exit" }));
    assert_eq!(session.end(), Some(1));

    let mut session = Session::start();
    session.ask("initialize", &json!({}));
    assert_eq!(session.ask("shutdown", &Value::Null)["result"], Value::Null);
    assert_eq!(session.ask("textDocument/hover", &json!({}))["error"]["code"], -32600);
    session.send(&json!({ "jsonrpc": "2.0", "method": "exit" }));
    assert_eq!(session.end(), Some(0));
}

#[test]
fn what_is_not_of_the_protocol_is_answered_and_survived() {
    let mut session = Session::start();
    assert_eq!(session.ask("textDocument/hover", &json!({}))["error"]["code"], -32002, "not before `initialize`");
    session.ask("initialize", &json!({}));
    assert_eq!(session.ask("textDocument/colour", &json!({}))["error"]["code"], -32601);
    assert_eq!(session.ask("textDocument/hover", &json!({ "position": 3 }))["error"]["code"], -32602);
    session.send_raw("{ no JSON");
    assert_eq!(session.receive()["error"]["code"], -32700);
    session.send(&json!({ "jsonrpc": "2.0", "method": "textDocument/didChange", "params": [] }));
    session.send(&json!({ "jsonrpc": "2.0", "id": 7, "result": null }));
    let elsewhere = json!({ "textDocument": { "uri": "file:///x.yaml" }, "position": { "line": 0, "character": 0 } });
    assert_eq!(session.ask("textDocument/hover", &elsewhere)["result"], Value::Null, "it is not open");

    // What has no length is no message: there is no way to find the next one.
    let input = session.input.as_mut().expect("it is open");
    input.write_all(b"Hello\r\n\r\n").and_then(|()| input.flush()).expect("it listens");
    assert_eq!(session.end(), Some(1));
}

#[test]
fn a_burst_of_changes_is_looked_at_once() {
    let mut session = Session::start();
    session.ask("initialize", &json!({}));
    let uri = "file:///burst.yaml";
    let mut burst = String::new();
    let mut add = |message: Value| {
        let body = message.to_string();
        write!(burst, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("a string takes everything");
    };
    add(json!({ "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {
        "textDocument": { "uri": uri, "languageId": "yaml", "version": 1, "text": "" } } }));
    for version in 2..=40 {
        add(json!({ "jsonrpc": "2.0", "method": "textDocument/didChange", "params": {
            "textDocument": { "uri": uri, "version": version },
            "contentChanges": [{ "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 0 } }, "text": "x" }]
        } }));
    }
    let input = session.input.as_mut().expect("it is open");
    input.write_all(burst.as_bytes()).and_then(|()| input.flush()).expect("it listens");
    let mut published = 0;
    loop {
        published += 1;
        if session.receive()["params"]["version"] == 40 {
            break;
        }
    }
    // A machine under load may take a burst for two.
    assert!(published <= 4, "{published} looks at 40 versions");
}

#[test]
fn the_standard_output_carries_the_protocol_only() {
    let said = say(orchestr8().args(["-vv", "lsp", "--stdio"]));
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""));
}
