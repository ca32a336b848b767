//! A provider of models on a free port of loopback: real HTTP, both wires, answers by a function.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) path: String,
    /// What `x-api-key` or `authorization` said.
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

/// It lives as long as the tests.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Provider {
    /// Starts one that answers with a text, in the form of the wire on which it is asked.
    pub(crate) fn start(answer: impl Fn(&Question) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                    while let Some(question) = read(&mut reader) {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(question.clone());
                        if reply(&stream, &question, &answer(&question)).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Question> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let (mut length, mut key) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "x-api-key" | "authorization" => key = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Question { path, key, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn reply(mut stream: &TcpStream, question: &Question, text: &str) -> std::io::Result<()> {
    let is_anthropic = question.path.ends_with("/v1/messages");
    let body = match (is_anthropic, question.body["stream"] == true) {
        (true, false) => message(question, &json!([{ "type": "text", "text": text }]), &json!("end_turn")).to_string(),
        (true, true) => events(&[
            json!({ "type": "message_start", "message": message(question, &json!([]), &Value::Null) }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 12 } }),
            json!({ "type": "message_stop" }),
        ]),
        (false, false) => json!({
            "model": question.body["model"],
            "choices": [{ "finish_reason": "stop", "message": { "role": "assistant", "content": text } }],
            "usage": { "prompt_tokens": 30, "completion_tokens": 12 }
        })
        .to_string(),
        (false, true) => {
            let usage = json!({ "choices": [], "usage": { "prompt_tokens": 30, "completion_tokens": 12 } });
            let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": "stop" }] });
            events(&[chunk, usage]) + "data: [DONE]\n\n"
        }
    };
    let kind = if question.body["stream"] == true { "text/event-stream" } else { "application/json" };
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn message(question: &Question, content: &Value, stop: &Value) -> Value {
    json!({
        "model": question.body["model"], "stop_reason": stop, "content": content,
        "usage": { "input_tokens": 30, "output_tokens": 12 }
    })
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}
