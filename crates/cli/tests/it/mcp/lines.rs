//! Lines that no client would write, on standard input of `orchestr8 mcp serve`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use super::{catalogue, path};
use crate::support::orchestr8;

struct Conversation {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Conversation {
    fn start() -> Self {
        let folder = catalogue();
        let mut child = orchestr8()
            .args(["mcp", "serve", "--workflows"])
            .arg(path(&folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the built program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, output, _folder: folder }
    }

    fn write(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(line).and_then(|()| input.write_all(b"\n")).and_then(|()| input.flush()).expect("it listens");
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.write(message.to_string().as_bytes());
        self.read().expect("it answers")
    }

    /// Reads a line, which is a message of the protocol and nothing else; absent at the end.
    fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("UTF-8");
        let message: Value = (!line.is_empty()).then(|| serde_json::from_str(&line).expect("JSON"))?;
        assert_eq!(message["jsonrpc"], "2.0");
        Some(message)
    }

    fn initialize(&mut self) {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "1" } });
        let answer = self.ask(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
        self.write(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }

    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        assert_eq!(self.read(), None, "nothing is said after the end");
        self.child.wait().expect("it is ours").code()
    }
}

#[test]
fn garbage_is_passed_over_and_the_conversation_goes_on() {
    let mut conversation = Conversation::start();
    conversation.write(b"hello?");
    conversation.initialize();
    conversation.write(b"\xff\xfe{");
    conversation.write(b"");
    conversation.write("[".repeat(100_000).as_bytes());
    let mut long = vec![b'x'; 11_000_000];
    long[0] = b'"';
    conversation.write(&long);
    let pong = conversation.ask(&json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }));
    assert_eq!((&pong["id"], &pong["result"]), (&json!(7), &json!({})));
    let unknown = conversation.ask(&json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/burn" }));
    assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(8), &json!(-32601)));
    let params = json!({ "name": "nothing" });
    let unknown = conversation.ask(&json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params }));
    assert_eq!(unknown["error"]["code"], -32602);
    let shapeless = conversation.ask(&json!({ "jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": [1] }));
    assert!(shapeless["error"]["code"].is_i64(), "{shapeless}");
    let odd = conversation.ask(&json!({ "hello": "world" }));
    assert_eq!(odd["error"]["code"], -32600);
    let params = json!({ "name": "get_status", "arguments": { "executionId": 7 } });
    let refused =
        conversation.ask(&json!({ "jsonrpc": "2.0", "id": "text", "method": "tools/call", "params": params }));
    assert_eq!(refused["result"]["structuredContent"]["error"]["code"], "INVALID_INPUT");
    assert_eq!(refused["result"]["structuredContent"]["meta"]["requestId"], "text");
    let cursor = json!({ "cursor": "nothing" });
    let lost = conversation.ask(&json!({ "jsonrpc": "2.0", "id": 11, "method": "tools/list", "params": cursor }));
    assert_eq!(lost["error"]["code"], -32602);
    assert_eq!(conversation.end(), Some(0));
}

#[test]
fn whoever_says_nothing_or_goes_away_ends_it_in_good_order() {
    assert_eq!(Conversation::start().end(), Some(0));
    let mut conversation = Conversation::start();
    conversation.write(br#"{"jsonrpc":"2.0","id":1,"method":"server/disc"#);
    assert_eq!(conversation.end(), Some(0), "half a line is nothing");

    // The reader of the answers goes away first.
    let mut conversation = Conversation::start();
    conversation.initialize();
    let Conversation { mut child, mut input, output, _folder } = conversation;
    drop(output);
    if let Some(input) = &mut input {
        // It may have noticed already.
        let _ = input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    }
    drop(input);
    assert!(child.wait().expect("it is ours").code().is_some(), "it ends by itself");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_in_good_order() {
    let mut conversation = Conversation::start();
    conversation.initialize();
    let pid = conversation.child.id();
    std::process::Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status().expect("a shell");
    assert_eq!(conversation.child.wait().expect("it is ours").code(), Some(0));
}
