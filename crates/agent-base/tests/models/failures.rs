//! Providers that fail, each in its own way.

use std::{sync::Arc, time::Duration};

use orchestr8_agent_base::{
    AgentError, CancellationToken,
    model::{Anthropic, ApiKey, ChatModel, ChatRequest, ChatResponse, Message, OpenAi, Provider as _},
};
use orchestr8_schema::ErrorKind;
use serde_json::json;

use crate::{
    anthropic::key,
    mock::{Mock, Reply},
};

fn models(mock: &Mock) -> [Arc<dyn ChatModel>; 2] {
    let anthropic = Anthropic::new(&mock.base, key()).expect("well formed");
    let openai = OpenAi::new(&mock.base, key()).expect("well formed");
    [anthropic.model("a", "m"), openai.model("o", "m")]
}

async fn ask(model: &dyn ChatModel, streams: bool) -> Result<ChatResponse, AgentError> {
    let sink = streams.then(|| Arc::new(|_: &str| {}) as orchestr8_agent_base::model::DeltaSink);
    let request = ChatRequest::new(Message::user("a prompt that is nobody's business"));
    model.chat(request, sink, CancellationToken::new()).await
}

#[tokio::test]
async fn each_status_has_its_kind_and_retry_after_is_heard() {
    let error = |kind: &str| {
        json!({ "type": "error", "error": { "type": kind, "message": "key-of-a-test is wrong" } }).to_string()
    };
    let after = |value: &str| vec![("retry-after", value.to_owned())];
    for (status, headers, body, kind, delay) in [
        (400, vec![], error("invalid_request_error"), ErrorKind::Validation, None),
        (401, vec![], error("authentication_error"), ErrorKind::Denied, None),
        (403, vec![], error("permission_error"), ErrorKind::Denied, None),
        (404, vec![], error("not_found_error"), ErrorKind::NotFound, None),
        (408, vec![], String::new(), ErrorKind::Timeout, None),
        (422, vec![], "{".to_owned(), ErrorKind::Validation, None),
        (429, vec![], error("rate_limit_error"), ErrorKind::RateLimited, None),
        (429, after("7"), error("rate_limit_error"), ErrorKind::RateLimited, Some(7)),
        (429, after("Wed, 21 Oct 2015 07:28:00 GMT"), String::new(), ErrorKind::RateLimited, Some(0)),
        (500, vec![], "<html>oops</html>".to_owned(), ErrorKind::Retryable, None),
        (503, after("3"), String::new(), ErrorKind::Retryable, Some(3)),
        (529, vec![], error("overloaded_error"), ErrorKind::Retryable, None),
        (302, vec![("location", "http://127.0.0.1:1/".to_owned())], String::new(), ErrorKind::Internal, None),
    ] {
        let mock = Mock::start(vec![Reply::Whole(status, headers, body)]).await;
        for model in models(&mock) {
            for streams in [false, true] {
                let error = ask(&*model, streams).await.expect_err("no success");
                assert_eq!(error.kind(), kind, "{status}");
                assert_eq!(error.retry_after(), delay.map(Duration::from_secs), "{status}");
                assert_eq!(error.context().expect("facts")["status"], status);
                let told = format!("{error:?}");
                assert!(!told.contains("key-of-a-test") && !told.contains("nobody's business"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn answers_that_are_none_break_the_connection_and_nothing_else() {
    let half = r#"{"content": [{"type": "text", "text": "hal"#.to_owned();
    let started =
        r#"data: {"type": "message_start", "message": {"usage": {}}, "choices": [{"delta": {"content": "hal"}}]}"#
            .to_owned();
    for (reply, streams) in [
        (Reply::Whole(200, vec![], "<html>a page</html>".to_owned()), vec![false, true]),
        (Reply::Whole(200, vec![], half), vec![false, true]),
        (Reply::Whole(200, vec![], "{}".to_owned()), vec![false]),
        (Reply::Cut(vec![]), vec![true]),
        (Reply::Cut(vec![started.clone()]), vec![true]),
        (Reply::Events(vec![started]), vec![true]),
        (Reply::Events(vec!["data: {half".to_owned()]), vec![true]),
        (Reply::Flood(50), vec![false, true]),
    ] {
        let mock = Mock::start(vec![reply.clone()]).await;
        for model in models(&mock) {
            for streams in streams.clone() {
                let error = ask(&*model, streams).await.expect_err("no answer");
                assert_eq!(error.kind(), ErrorKind::Network, "{reply:?} {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_error_within_a_stream_has_its_kind() {
    let event = r#"data: {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}"#.to_owned();
    let mock = Mock::start(vec![Reply::Events(vec![event])]).await;
    let error = ask(&*models(&mock)[0], true).await.expect_err("no answer");
    assert_eq!((error.kind(), &error.context().expect("facts")["status"]), (ErrorKind::Retryable, &json!(529)));
}

#[tokio::test]
async fn cancelling_closes_the_connection_at_once() {
    let mock = Mock::start(vec![Reply::Hang]).await;
    for model in models(&mock) {
        for streams in [false, true] {
            let cancel = CancellationToken::new();
            let sink = streams.then(|| Arc::new(|_: &str| {}) as orchestr8_agent_base::model::DeltaSink);
            let before = mock.asked().len();
            let call = model.chat(ChatRequest::new(Message::user("?")), sink, cancel.clone());
            let fire = async {
                while mock.asked().len() == before {
                    tokio::task::yield_now().await;
                }
                cancel.cancel();
            };
            let (result, ()) = tokio::join!(call, fire);
            assert_eq!(result.expect_err("cancelled").kind(), ErrorKind::Cancelled);
            mock.left.notified().await;
        }
    }
}

#[tokio::test]
async fn a_slow_answer_is_given_up_and_nobody_there_is_an_error_of_the_network() {
    let mock = Mock::start(vec![Reply::Hang]).await;
    let hasty = OpenAi::new(&mock.base, key()).expect("well formed").timeout(Some(Duration::from_millis(50)));
    assert_eq!(ask(&*hasty.model("o", "m"), false).await.expect_err("late").kind(), ErrorKind::Timeout);
    let nobody = OpenAi::new("http://127.0.0.1:9", key()).expect("well formed");
    assert_eq!(ask(&*nobody.model("o", "m"), false).await.expect_err("refused").kind(), ErrorKind::Network);
    let keyless = OpenAi::new(&mock.base, ApiKey::variable("ORCHESTR8_TEST_NO_SUCH_KEY")).expect("well formed");
    assert_eq!(ask(&*keyless.model("o", "m"), false).await.expect_err("no key").kind(), ErrorKind::NotFound);
}

#[test]
fn keys_are_only_sent_over_tls_or_to_this_machine() {
    for (base, is_fine) in [
        ("https://api.example.com", true),
        ("http://127.0.0.1:8080/v1", true),
        ("http://[::1]:8080", true),
        ("http://localhost", true),
        ("http://api.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("ftp://127.0.0.1", false),
        ("nonsense", false),
    ] {
        assert_eq!(OpenAi::new(base, key()).is_ok(), is_fine, "{base}");
    }
}
