//! Anthropic's wire, field by field.

use std::sync::{Arc, Mutex};

use orchestr8_agent_base::{
    CancellationToken, SecretString,
    model::{
        Anthropic, ApiKey, ChatRequest, ChatResponse, ChatTool, Message, Part, Provider as _, Role, StopReason,
        SystemBlock, ToolChoice, ToolRequest,
    },
};
use serde_json::{Value, json};

use crate::mock::{Mock, Reply};

pub(crate) fn key() -> ApiKey {
    ApiKey::given(SecretString::new("key-of-a-test"))
}

/// A request in which everything occurs.
pub(crate) fn request() -> ChatRequest {
    let tool: ChatTool = serde_json::from_value(json!({
        "name": "fs:read.all", "description": "Reads", "inputSchema": { "type": "object" }
    }))
    .expect("a tool");
    let mut request = ChatRequest::new(Message::user("What is in it?"))
        .system("You answer.")
        .tool(tool)
        .output_schema(json!({ "type": "object" }))
        .max_tokens(100)
        .temperature(0.5);
    request.system.push(SystemBlock::new("Not to be cached.", false));
    request.stop = vec!["END".to_owned()];
    request.tool_choice = ToolChoice::Required;
    let thinking = json!({ "type": "thinking", "thinking": "hm", "signature": "s1" });
    request.messages.push(Message::of(
        Role::Assistant,
        vec![
            Part::Opaque { provider: "anthropic".to_owned(), value: thinking },
            Part::Opaque { provider: "another".to_owned(), value: json!({}) },
            Part::Text { text: "I look.".to_owned() },
            Part::ToolCall(ToolRequest::new("t1", "fs:read.all", json!({ "path": "a" }))),
        ],
    ));
    let result = Part::ToolResult { id: "t1".to_owned(), content: "nothing".to_owned(), is_error: true };
    request.messages.push(Message::of(Role::User, vec![result]));
    request
}

fn answer() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
        "content": [
            { "type": "thinking", "thinking": "so", "signature": "s2" },
            { "type": "text", "text": "Hello" },
            { "type": "tool_use", "id": "t2", "name": "fs__read_all", "input": { "path": "b" } }
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3
        }
    })
}

/// The same answer, as it is streamed.
fn events() -> Vec<String> {
    let event = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        format!("event: {kind}\ndata: {data}")
    };
    let start =
        |index: u32, block: Value| event("content_block_start", json!({ "index": index, "content_block": block }));
    let delta = |index: u32, delta: Value| event("content_block_delta", json!({ "index": index, "delta": delta }));
    let stop = |index: u32| event("content_block_stop", json!({ "index": index }));
    let usage = json!({ "input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3 });
    vec![
        event(
            "message_start",
            json!({ "message": { "model": "claude-sonnet-4-5-20250929", "content": [], "stop_reason": null, "usage": usage } }),
        ),
        start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "so" })),
        delta(0, json!({ "type": "signature_delta", "signature": "s2" })),
        stop(0),
        event("ping", json!({})),
        start(1, json!({ "type": "text", "text": "" })),
        delta(1, json!({ "type": "text_delta", "text": "Hel" })),
        delta(1, json!({ "type": "text_delta", "text": "lo" })),
        stop(1),
        start(2, json!({ "type": "tool_use", "id": "t2", "name": "fs__read_all", "input": {} })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"path\":" })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": " \"b\"}" })),
        stop(2),
        event("message_delta", json!({ "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 5 } })),
        event("message_stop", json!({})),
    ]
}

fn assert_read(response: &ChatResponse, request_id: &str) {
    assert_eq!(response.stop_reason, StopReason::ToolUse);
    assert_eq!(response.model, "claude-sonnet-4-5-20250929");
    assert_eq!(response.request_id.as_deref(), Some(request_id));
    assert_eq!(response.message.text(), "Hello");
    let usage = response.usage;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_creation_tokens),
        (10, 5, 7, 3)
    );
    let calls: Vec<_> = response.message.tool_requests().collect();
    assert_eq!(calls, [&ToolRequest::new("t2", "fs:read.all", json!({ "path": "b" }))]);
    let thinking = json!({ "type": "thinking", "thinking": "so", "signature": "s2" });
    assert_eq!(response.message.parts[0], Part::Opaque { provider: "anthropic".to_owned(), value: thinking });
}

#[tokio::test]
async fn a_request_and_its_answer_are_as_the_provider_publishes_them() {
    let headers = vec![("request-id", "req-1".to_owned())];
    let mock = Mock::start(vec![Reply::Whole(200, headers, answer().to_string())]).await;
    let model = Anthropic::new(&mock.base, key()).expect("well formed").model("house", "claude-sonnet-4-5");
    let response = model.chat(request(), None, CancellationToken::new()).await.expect("answered");
    assert_read(&response, "req-1");

    let asked = &mock.asked()[0];
    assert_eq!(asked.line, "POST /v1/messages HTTP/1.1");
    assert_eq!(asked.header("x-api-key"), Some("key-of-a-test"));
    assert_eq!(asked.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let expected = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "system": [
            { "type": "text", "text": "You answer.", "cache_control": { "type": "ephemeral" } },
            { "type": "text", "text": "Not to be cached." }
        ],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "What is in it?" }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s1" },
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "t1", "name": "fs__read_all", "input": { "path": "a" } }
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t1", "content": "nothing", "is_error": true }
            ] }
        ],
        "tools": [{ "name": "fs__read_all", "description": "Reads", "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "any" },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "temperature": 0.5,
        "stop_sequences": ["END"]
    });
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn a_streamed_answer_is_the_same_and_its_text_is_shown_as_it_comes() {
    let mock = Mock::start(vec![Reply::Events(events())]).await;
    let model = Anthropic::new(&mock.base, key()).expect("well formed").model("house", "claude-sonnet-4-5");
    let shown: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&shown);
    let sink = Arc::new(move |text: &str| sink.lock().expect("not poisoned").push(text.to_owned()));
    let response = model.chat(request(), Some(sink), CancellationToken::new()).await.expect("answered");
    assert_read(&response, "req-s");
    assert_eq!(*shown.lock().expect("not poisoned"), ["Hel", "lo"]);
    assert_eq!(mock.asked()[0].body["stream"], true);
}

#[tokio::test]
async fn no_more_than_four_blocks_are_marked_and_what_is_not_set_is_not_sent() {
    let mock = Mock::start(vec![Reply::json(&answer())]).await;
    let model = Anthropic::new(&mock.base, key()).expect("well formed").model("house", "m");
    let request =
        (1..=6).fold(ChatRequest::new(Message::user("?")), |request, number| request.system(format!("part {number}")));
    model.chat(request, None, CancellationToken::new()).await.expect("answered");
    let body = &mock.asked()[0].body;
    let marks = body["system"].as_array().expect("blocks").iter().filter(|block| block.get("cache_control").is_some());
    assert_eq!(marks.count(), 4);
    let mut keys: Vec<_> = body.as_object().expect("an object").keys().collect();
    keys.sort();
    assert_eq!(keys, ["max_tokens", "messages", "model", "system"]);
    assert_eq!(body["max_tokens"], 4096);
}
