//! Cassettes.

use std::sync::Arc;

use orchestr8_agent_base::{
    CancellationToken,
    model::{
        ChatModel, ChatRequest, ChatResponse, Fake, Message, Part, Provider as _, Recording, Replay, Role, ToolRequest,
    },
};
use orchestr8_schema::ErrorKind;
use serde_json::{Value, json};

fn request(text: &str, id: &str) -> ChatRequest {
    let mut request = ChatRequest::new(Message::user(text));
    let call = Part::ToolCall(ToolRequest::new(id, "search", json!({})));
    request.messages.push(Message::of(Role::Assistant, vec![call]));
    let result = Part::ToolResult { id: id.to_owned(), content: "found".to_owned(), is_error: false };
    request.messages.push(Message::of(Role::User, vec![result]));
    request
}

async fn ask(model: &dyn ChatModel, request: ChatRequest) -> Result<String, (ErrorKind, String)> {
    let answer = model.chat(request, None, CancellationToken::new()).await;
    answer.map(|answer| answer.message.text()).map_err(|error| (error.kind(), error.to_string()))
}

#[tokio::test]
async fn what_was_recorded_is_given_again_without_ids_secrets_or_anybody_to_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cassette.jsonl");
    let fake = Fake::answers(["one", "two", "three"].map(ChatResponse::text));
    let hide = |value: &mut Value| {
        *value = serde_json::from_str(&value.to_string().replace("opensesame", "[REDACTED]")).expect("JSON");
    };
    let recording = Recording::new(Arc::new(fake), &path, hide);
    let model = recording.model("house", "m");
    for (text, id, expected) in [("opensesame", "x1", "one"), ("opensesame", "x2", "two"), ("other", "x3", "three")] {
        assert_eq!(ask(&*model, request(text, id)).await.as_deref(), Ok(expected));
    }
    let text = std::fs::read_to_string(&path).expect("written");
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains("opensesame") && text.contains("[REDACTED]"), "{text}");

    let replay = Replay::open(&path).expect("read");
    assert_eq!(ask(&replay, request("opensesame", "another id")).await.as_deref(), Ok("one"));
    assert_eq!(ask(&replay, request("opensesame", "y")).await.as_deref(), Ok("two"));
    let (kind, told) = ask(&replay, request("opensesame", "y")).await.expect_err("played out");
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(told.contains("asked once more"), "{told}");
    let (kind, told) = ask(&replay, request("something else", "y")).await.expect_err("never recorded");
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(told.contains("/messages/0/parts/0/text"), "{told}");
    assert_eq!(replay.unused().len(), 1);
    assert!(Replay::open(&folder.path().join("none")).is_err());
}

#[tokio::test]
async fn a_script_that_is_played_out_says_at_which_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("script.json");
    let script = json!([{ "text": "first" }, { "when": "weather", "json": { "sun": true } }, { "error": { "code": "RATE_LIMITED" } }]);
    std::fs::write(&path, script.to_string()).expect("written");
    let fake = Fake::script(&path).expect("read");
    let plain = |text: &str| ChatRequest::new(Message::user(text));
    assert_eq!(ask(&fake, plain("a")).await.as_deref(), Ok("first"));
    assert_eq!(ask(&fake, plain("how is the weather?")).await.as_deref(), Ok("{\"sun\":true}"));
    assert_eq!(ask(&fake, plain("b")).await.expect_err("scripted").0, ErrorKind::RateLimited);
    let exhausted = ask(&fake, plain("c")).await.expect_err("played out");
    assert_eq!(exhausted, (ErrorKind::Internal, "script exhausted at call 4".to_owned()));
    assert_eq!(fake.asked().len(), 4);
}
