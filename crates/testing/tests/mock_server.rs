//! Mock servers, asked by the clients that the project itself asks providers with.
#![cfg(feature = "mock-servers")]

use std::{io::ErrorKind, sync::Arc, time::Duration};

use orchestr8_agent_base::{
    AgentError, CancellationToken, SecretString,
    model::{Anthropic, ApiKey, ChatModel, ChatRequest, ChatResponse, Message, OpenAi, Provider as _, StopReason},
};
use orchestr8_schema::ErrorKind as Kind;
use orchestr8_testing::mock_server::{Answer, MockServer, anthropic, github, openai};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

fn key() -> ApiKey {
    ApiKey::given(SecretString::new("key-of-a-test"))
}

/// Asks for a stream of events, and puts its text together.
async fn streamed_text(model: &Arc<dyn ChatModel>) -> String {
    let request = ChatRequest::new(Message::user("Say hello.")).max_tokens(100);
    let response = model.chat(request, Some(Arc::new(|_: &str| {})), CancellationToken::new()).await;
    response.expect("answered").message.text()
}

async fn ask(model: &Arc<dyn ChatModel>) -> Result<ChatResponse, AgentError> {
    let request = ChatRequest::new(Message::user("Say hello.")).max_tokens(100);
    model.chat(request, None, CancellationToken::new()).await
}

#[tokio::test]
async fn anthropic_answers_as_it_is_told_and_then_as_usual() {
    let server = MockServer::anthropic().await.unwrap();
    let client = Anthropic::new(server.url(), key()).unwrap().model("house", "a-model");
    server.answer(anthropic::tool_use("t1", "look", &json!({ "at": "it" })));
    server.answer(anthropic::error(429).header("retry-after", "7"));
    for status in [400, 401, 500, 529] {
        server.answer(anthropic::error(status));
    }
    assert_eq!(ask(&client).await.unwrap().stop_reason, StopReason::ToolUse);
    let limited = ask(&client).await.unwrap_err();
    assert_eq!((limited.kind(), limited.retry_after()), (Kind::RateLimited, Some(Duration::from_secs(7))));
    for kind in [Kind::Validation, Kind::Denied, Kind::Retryable, Kind::Retryable] {
        assert_eq!(ask(&client).await.unwrap_err().kind(), kind);
    }
    let usual = ask(&client).await.unwrap();
    assert_eq!(usual.message.text(), "Hello");
    assert_eq!((usual.usage.input_tokens, usual.usage.output_tokens), (10, 20));
    let streamed = streamed_text(&client).await;
    assert_eq!(streamed, "Hello");
    let asked = server.requests();
    assert_eq!(asked.len(), 8);
    assert_eq!(asked[0].body["messages"][0]["role"], "user");
    assert_eq!(server.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn openai_answers_too() {
    let server = MockServer::openai().await.unwrap();
    let client = OpenAi::new(&format!("{}/v1", server.url()), key()).unwrap().model("house", "a-model");
    server.answer(openai::tool_call("t1", "look", &json!({ "at": "it" })));
    server.answer(openai::error(429).header("retry-after", "7"));
    assert_eq!(ask(&client).await.unwrap().stop_reason, StopReason::ToolUse);
    assert_eq!(ask(&client).await.unwrap_err().kind(), Kind::RateLimited);
    let usual = ask(&client).await.unwrap();
    assert_eq!((usual.message.text().as_str(), usual.usage.output_tokens), ("Hello", 20));
    assert_eq!(streamed_text(&client).await, "Hello");
    assert_eq!(server.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_a_failure_of_the_network() {
    let server = MockServer::anthropic().await.unwrap();
    let client = Anthropic::new(server.url(), key()).unwrap().model("house", "a-model");
    for broken in [Answer::reset_connection(), Answer::garbage(), anthropic::text("Hello, all of you").half_body()] {
        server.answer(broken.clone());
        let error = ask(&client).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Network | Kind::Retryable), "{broken:?}: {error:?}");
    }
}

/// Sends bytes and reads what comes until the connection is closed or the answer is whole.
async fn send(server: &MockServer, request: &str) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).await?;
    stream.write_all(request.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn answers_break_as_they_are_told_to() {
    let server = MockServer::start(orchestr8_testing::mock_server::Provider::Anything).await.unwrap();
    let get = "GET /any?thing=1 HTTP/1.1\r\nhost: x\r\n\r\n";
    assert!(send(&server, get).await.unwrap().ends_with("\r\n\r\n{}"));
    server.answer(Answer::text(200, "twelve bytes").half_body());
    let half = send(&server, get).await.unwrap();
    assert!(half.contains("content-length: 12\r\n") && half.ends_with("\r\n\r\ntwelve"), "{half}");
    server.answer(Answer::reset_connection());
    assert_eq!(send(&server, get).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    server.answer(Answer::events(["data: 1", "data: 2", "data: 3", "data: 4"]).half_body());
    let events = send(&server, get).await.unwrap();
    assert!(events.contains("data: 2") && !events.contains("data: 3") && !events.ends_with("0\r\n\r\n"), "{events}");
    server.answer(Answer::json(200, &json!(1)).slow(Duration::from_millis(30)));
    let began = tokio::time::Instant::now();
    send(&server, get).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(server.requests()[0].path, "/any?thing=1");
    server.reset();
    assert_eq!((server.requests().len(), server.forget_answers()), (0, 0));
}

#[tokio::test]
async fn a_request_that_the_provider_would_not_take_is_unexpected() {
    let server = MockServer::anthropic().await.unwrap();
    let answer = send(&server, "POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_request_error"), "{answer}");
    send(&server, "GET /v1/models HTTP/1.1\r\n\r\n").await.unwrap();
    let unexpected = server.forgive();
    assert_eq!(
        unexpected,
        ["POST /v1/messages: `max_tokens` is missing, and required", "GET /v1/models: there is only POST /v1/messages"]
    );
    assert_eq!(server.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn github_has_a_release_and_takes_pull_requests() {
    let server = MockServer::github().await.unwrap();
    let releases = send(&server, "GET /repos/o/r/releases?per_page=1 HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(releases.contains("\"tag_name\":\"v1.0.0\""), "{releases}");
    let body = json!({ "title": "Fix", "head": "fix", "base": "main" }).to_string();
    let post = |body: &str| format!("POST /repos/o/r/pulls HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let pull = send(&server, &post(&body)).await.unwrap();
    assert!(pull.starts_with("HTTP/1.1 201 ") && pull.contains("\"number\":42") && pull.contains("\"open\""), "{pull}");
    assert_eq!(server.unexpected(), Vec::<String>::new());
    server.answer(github::releases(&["v2.0.0"]));
    let refused = send(&server, &post("{}")).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 422 "), "{refused}");
    assert_eq!(server.forgive(), ["POST /repos/o/r/pulls: `title` is missing"]);
    assert_eq!(server.forget_answers(), 1, "what is unexpected takes no answer away");
}

#[tokio::test]
async fn unexpected_requests_fail_a_test_where_ci_is_set() {
    const ASKED: &str = "ORCHESTR8_ASK_WRONGLY";
    if std::env::var_os(ASKED).is_some() {
        let server = MockServer::anthropic().await.unwrap();
        send(&server, "GET / HTTP/1.1\r\n\r\n").await.unwrap();
        return;
    }
    for (ci, is_well) in [("", true), ("true", false)] {
        let mut other = std::process::Command::new(std::env::current_exe().expect("this test"));
        other.args(["unexpected_requests_fail_a_test_where_ci_is_set", "--exact", "--nocapture"]);
        let ended = other.env(ASKED, "1").env("CI", ci).output().expect("it runs");
        let told = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.success(), is_well, "{told}");
        assert!(told.contains("GET /: there is only POST /v1/messages"), "{told}");
    }
}
