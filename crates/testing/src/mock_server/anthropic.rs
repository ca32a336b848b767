//! What Anthropic answers, and what it takes.

use serde_json::{Value, json};

use super::{Answer, Request};

/// Answers one block of text: id `msg_test`, `stop_reason` `end_turn`, 10 tokens in and 20 out.
pub fn text(text: &str) -> Answer {
    message(&json!([{ "type": "text", "text": text }]), "end_turn")
}

/// Asks for a tool.
pub fn tool_use(id: &str, name: &str, input: &Value) -> Answer {
    message(&json!([{ "type": "tool_use", "id": id, "name": name, "input": input }]), "tool_use")
}

/// Refuses to answer.
pub fn refusal() -> Answer {
    message(&json!([]), "refusal")
}

/// Has an answer say how many tokens were read from the cache, and how many were written to it.
pub fn cached(answer: Answer, read: u64, written: u64) -> Answer {
    answer.changed(|body| {
        body["usage"]["cache_read_input_tokens"] = read.into();
        body["usage"]["cache_creation_input_tokens"] = written.into();
    })
}

/// Answers a text as a stream of events, in these pieces.
pub fn stream(pieces: &[&str]) -> Answer {
    let event = |name: &str, mut data: Value| {
        data["type"] = name.into();
        format!("event: {name}\ndata: {data}")
    };
    let mut head = body(&json!([]), "end_turn");
    head["stop_reason"] = Value::Null;
    head["usage"]["output_tokens"] = 1.into();
    let mut events = vec![
        event("message_start", json!({ "message": head })),
        event("content_block_start", json!({ "index": 0, "content_block": { "type": "text", "text": "" } })),
    ];
    events.extend(pieces.iter().map(|piece| {
        event("content_block_delta", json!({ "index": 0, "delta": { "type": "text_delta", "text": piece } }))
    }));
    events.push(event("content_block_stop", json!({ "index": 0 })));
    events.push(event(
        "message_delta",
        json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 20 } }),
    ));
    events.push(event("message_stop", json!({})));
    Answer::events(events)
}

/// Answers an error of this status: 400, 401, 404, 429, 500, 529. How long to wait is said by a header, `retry-after`.
pub fn error(status: u16) -> Answer {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    failure(status, kind, "told to fail")
}

fn failure(status: u16, kind: &str, message: &str) -> Answer {
    let body = json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_test" });
    Answer::json(status, &body).header("request-id", "req_test")
}

fn message(content: &Value, stop_reason: &str) -> Answer {
    Answer::json(200, &body(content, stop_reason)).header("request-id", "req_test")
}

fn body(content: &Value, stop_reason: &str) -> Value {
    json!({
        "id": "msg_test", "type": "message", "role": "assistant", "model": "mock", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": 20 }
    })
}

/// What is answered where nothing else is said: `Hello`, as a stream if that is asked for.
pub(super) fn usual(request: &Request) -> Answer {
    if request.body["stream"] == true {
        return stream(&["Hel", "lo"]);
    }
    let model = request.body["model"].clone();
    text("Hello").changed(|body| body["model"] = model)
}

/// Says why a request is none that the provider takes, with what it answers.
pub(super) fn refusal_of(request: &Request) -> Option<(String, Answer)> {
    if (request.method.as_str(), request.route()) != ("POST", "/v1/messages") {
        return Some(("there is only POST /v1/messages".to_owned(), error(404)));
    }
    if request.header("x-api-key").is_none_or(str::is_empty) {
        return Some(("`x-api-key` is missing".to_owned(), error(401)));
    }
    let body = &request.body;
    let why = if request.header("anthropic-version").is_none() {
        "`anthropic-version` is missing".to_owned()
    } else if body["model"].as_str().is_none_or(str::is_empty) {
        "`model` is missing".to_owned()
    } else if body["max_tokens"].as_u64().is_none_or(|most| most == 0) {
        "`max_tokens` is missing, and required".to_owned()
    } else {
        wrong_message(&body["messages"])?
    };
    let answer = failure(400, "invalid_request_error", &why);
    Some((why, answer))
}

fn wrong_message(messages: &Value) -> Option<String> {
    let Some(messages) = messages.as_array().filter(|messages| !messages.is_empty()) else {
        return Some("`messages` is no list with something in it".to_owned());
    };
    let is_wrong = |message: &&Value| {
        let blocks = |content: &Value| {
            content.as_array().is_some_and(|blocks| blocks.iter().all(|block| block["type"].is_string()))
        };
        !matches!(message["role"].as_str(), Some("user" | "assistant"))
            || !(message["content"].is_string() || blocks(&message["content"]))
    };
    let place = messages.iter().position(|message| is_wrong(&message))?;
    Some(format!("`messages[{place}]` has another role than `user` and `assistant`, or no content"))
}
