//! What OpenAI answers, and what it takes.

use serde_json::{Value, json};

use super::{Answer, Request};

/// Answers one choice of text: id `chatcmpl-test`, `finish_reason` `stop`, 10 tokens in and 20 out.
pub fn text(text: &str) -> Answer {
    Answer::json(200, &body(&json!({ "role": "assistant", "content": text, "refusal": null }), "stop"))
        .header("x-request-id", "req_test")
}

/// Asks for a tool.
pub fn tool_call(id: &str, name: &str, arguments: &Value) -> Answer {
    let call =
        json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments.to_string() } });
    let message = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
    Answer::json(200, &body(&message, "tool_calls")).header("x-request-id", "req_test")
}

/// Refuses to answer.
pub fn refusal(why: &str) -> Answer {
    Answer::json(200, &body(&json!({ "role": "assistant", "content": null, "refusal": why }), "stop"))
}

/// Answers a text as a stream of events, in these pieces, with what was used up at the end.
pub fn stream(pieces: &[&str]) -> Answer {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1_737_072_000, "model": "mock",
            "choices": choices, "usage": usage
        });
        format!("data: {chunk}")
    };
    let delta = |delta: Value, finish: Value| json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
    let mut events = vec![chunk(delta(json!({ "role": "assistant", "content": "" }), Value::Null), Value::Null)];
    events.extend(pieces.iter().map(|piece| chunk(delta(json!({ "content": piece }), Value::Null), Value::Null)));
    events.push(chunk(delta(json!({}), json!("stop")), Value::Null));
    events.push(chunk(json!([]), usage()));
    events.push("data: [DONE]".to_owned());
    Answer::events(events)
}

/// Answers an error of this status: 400, 401, 404, 429, 500. How long to wait is said by a header, `retry-after`.
pub fn error(status: u16) -> Answer {
    failure(status, "told to fail")
}

fn failure(status: u16, message: &str) -> Answer {
    let (kind, code) = match status {
        401 => ("invalid_request_error", json!("invalid_api_key")),
        429 => ("requests", json!("rate_limit_exceeded")),
        500.. => ("server_error", Value::Null),
        _ => ("invalid_request_error", Value::Null),
    };
    Answer::json(status, &json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }))
        .header("x-request-id", "req_test")
}

fn usage() -> Value {
    json!({ "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30 })
}

fn body(message: &Value, finish_reason: &str) -> Value {
    json!({
        "id": "chatcmpl-test", "object": "chat.completion", "created": 1_737_072_000, "model": "mock",
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason }],
        "usage": usage()
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
    // Whoever is compatible may have another root.
    if request.method != "POST" || !request.route().ends_with("/chat/completions") {
        return Some(("there is only POST /v1/chat/completions".to_owned(), error(404)));
    }
    let key = request.header("authorization").and_then(|told| told.strip_prefix("Bearer "));
    if key.is_none_or(str::is_empty) {
        return Some(("`authorization: Bearer …` is missing".to_owned(), error(401)));
    }
    let body = &request.body;
    let why = match body["messages"].as_array().filter(|messages| !messages.is_empty()) {
        _ if body["model"].as_str().is_none_or(str::is_empty) => "`model` is missing".to_owned(),
        None => "`messages` is no list with something in it".to_owned(),
        Some(messages) => {
            let place = messages.iter().position(is_wrong)?;
            format!("`messages[{place}]` has a role that there is not, or lacks what that role needs")
        }
    };
    let answer = failure(400, &why);
    Some((why, answer))
}

fn is_wrong(message: &Value) -> bool {
    let has_content = message["content"].is_string() || message["content"].is_array();
    match message["role"].as_str() {
        Some("system" | "developer" | "user") => !has_content,
        Some("assistant") => !has_content && !message["tool_calls"].is_array(),
        Some("tool") => !has_content || !message["tool_call_id"].is_string(),
        _ => true,
    }
}
