//! `OpenAI`'s wire, field by field.

use std::sync::Arc;

use orchestr8_agent_base::{
    CancellationToken,
    model::{ChatResponse, OpenAi, Provider as _, StopReason, ToolRequest},
};
use orchestr8_schema::config::MaxTokensField;
use serde_json::{Value, json};

use crate::{
    anthropic::{key, request},
    mock::{Mock, Reply},
};

fn completion(message: &Value, finish: &str) -> Value {
    json!({
        "id": "c1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17, "prompt_tokens_details": { "cached_tokens": 4 } }
    })
}

fn call(id: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": "fs__read_all", "arguments": arguments } })
}

fn answer() -> Value {
    let calls = json!([call("t2", "{\"path\": \"b\"}"), call("t3", "{\"path\": ")]);
    completion(&json!({ "role": "assistant", "content": "Hello", "tool_calls": calls }), "tool_calls")
}

fn events() -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        let data = json!({ "model": "gpt-4o-2024-08-06", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }], "usage": null });
        format!("data: {data}")
    };
    let part = |index: u32, id: Value, name: Value, arguments: &str| json!({ "tool_calls": [{ "index": index, "id": id, "function": { "name": name, "arguments": arguments } }] });
    vec![
        ": a comment".to_owned(),
        chunk(json!({ "role": "assistant", "content": "Hel" }), Value::Null),
        chunk(json!({ "content": "lo" }), Value::Null),
        chunk(part(0, json!("t2"), json!("fs__read_all"), ""), Value::Null),
        chunk(part(0, Value::Null, Value::Null, "{\"path\": \"b\"}"), Value::Null),
        chunk(part(1, json!("t3"), json!("fs__read_all"), "{\"path\": "), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        format!("data: {}", json!({ "choices": [], "usage": answer()["usage"] })),
        "data: [DONE]".to_owned(),
    ]
}

fn assert_read(response: &ChatResponse) {
    assert_eq!(response.stop_reason, StopReason::ToolUse);
    assert_eq!((response.message.text().as_str(), response.model.as_str()), ("Hello", "gpt-4o-2024-08-06"));
    let usage = response.usage;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens),
        (8, 5, 4),
        "cached is not counted twice"
    );
    let calls: Vec<_> = response.message.tool_requests().cloned().collect();
    assert_eq!(calls[0], ToolRequest::new("t2", "fs:read.all", json!({ "path": "b" })));
    assert_eq!((calls[1].unparsed.as_deref(), &calls[1].arguments), (Some("{\"path\": "), &Value::Null));
}

#[tokio::test]
async fn a_request_and_its_answer_are_as_the_provider_publishes_them() {
    let headers = vec![("x-request-id", "req-1".to_owned())];
    let mock = Mock::start(vec![Reply::Whole(200, headers, answer().to_string())]).await;
    let model = OpenAi::new(&format!("{}/v1", mock.base), key()).expect("well formed").model("house", "gpt-4o");
    let response = model.chat(request(), None, CancellationToken::new()).await.expect("answered");
    assert_read(&response);
    assert_eq!(response.request_id.as_deref(), Some("req-1"));

    let asked = &mock.asked()[0];
    assert_eq!(asked.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(asked.header("authorization"), Some("Bearer key-of-a-test"));
    let expected = json!({
        "model": "gpt-4o",
        "messages": [
            { "role": "system", "content": "You answer.\n\nNot to be cached." },
            { "role": "user", "content": "What is in it?" },
            { "role": "assistant", "content": "I look.", "tool_calls": [
                { "id": "t1", "type": "function", "function": { "name": "fs__read_all", "arguments": "{\"path\":\"a\"}" } }
            ] },
            { "role": "tool", "tool_call_id": "t1", "content": "Error: nothing" }
        ],
        "tools": [{ "type": "function", "function": {
            "name": "fs__read_all", "description": "Reads", "parameters": { "type": "object" }
        } }],
        "tool_choice": "required",
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "answer", "schema": { "type": "object" }, "strict": true
        } },
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "stop": ["END"]
    });
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn a_streamed_answer_is_the_same() {
    let mock = Mock::start(vec![Reply::Events(events())]).await;
    let provider = OpenAi::new(&mock.base, key()).expect("well formed").max_tokens_field(MaxTokensField::MaxTokens);
    let sink = Arc::new(|_: &str| {});
    let response = provider.model("house", "gpt-4o").chat(request(), Some(sink), CancellationToken::new()).await;
    assert_read(&response.expect("answered"));
    let body = &mock.asked()[0].body;
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({ "include_usage": true })));
    assert_eq!((&body["max_tokens"], body.get("max_completion_tokens")), (&json!(100), None));
}

#[tokio::test]
async fn refusals_and_filters_are_told_as_such() {
    for (message, finish) in [
        (json!({ "content": null, "refusal": "I must not." }), "stop"),
        (json!({ "content": "half of it" }), "content_filter"),
    ] {
        let mock = Mock::start(vec![Reply::json(&completion(&message, finish))]).await;
        let model = OpenAi::new(&mock.base, key()).expect("well formed").model("house", "m");
        let response = model.chat(request(), None, CancellationToken::new()).await.expect("answered");
        assert_eq!(response.stop_reason, StopReason::Refusal);
    }
}
