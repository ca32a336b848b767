//! An agent outside of workflows: as a service and as a part of another program, it asks its model the same.
#![cfg(all(feature = "adapter", feature = "llm"))]

#[cfg(feature = "research")]
mod research;
#[cfg(feature = "research")]
mod template;

use std::sync::Arc;

use orchestr8_agent_base::{
    AgentError, AgentRegistry, CancellationToken, Clock, SecretString,
    adapter::{Microservice, RequestContext, SubAgent},
    llm::{Llm, Summarizer},
    model::{Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, Fake, ModelInfo, Models, Provider},
    prompt::PromptFiles,
    registry::RegisteredAgent,
};
use orchestr8_schema::{ErrorKind, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Noon of one day.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2025-01-17T12:00:00Z".parse().expect("a time")
    }

    fn random(&self) -> u64 {
        7
    }
}

fn registry(provider: impl Provider) -> AgentRegistry {
    let mut registry = AgentRegistry::new();
    registry.register(Summarizer::default()).expect("registered");
    let prompt = json!({ "prompt": { "role": "You answer.", "task": "{{ input.question }}" } });
    let config = prompt.as_object().expect("an object").clone();
    registry.register_with_config(Llm::new(PromptFiles::default()), config).expect("registered");
    registry.set_models(Some(Models::new().provider("house", "fake", provider).default_model("priced")));
    registry
}

fn agent(registry: &AgentRegistry, id: &str) -> Arc<RegisteredAgent> {
    Arc::clone(registry.latest(&id.parse().expect("an id")).expect("it is registered"))
}

/// What the service answers.
async fn posted(registry: &AgentRegistry, id: &str, input: &Value) -> Value {
    let service = Microservice::new(agent(registry, id), Arc::new(Noon)).serve(registry).into_router();
    let request = axum::http::Request::post("/process")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(input.to_string()))
        .expect("a request");
    let response = service.oneshot(request).await.expect("it answers");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("read");
    serde_json::from_slice(&body).expect("JSON")
}

fn part_of(registry: &AgentRegistry, id: &str) -> SubAgent {
    SubAgent::new(agent(registry, id), Arc::new(Noon)).serve(registry)
}

#[tokio::test]
async fn both_ask_the_same_to_the_byte_and_give_the_same() {
    let answers = || [json!({ "summary": "Short." }).to_string(), "Ada is known.".to_owned()].map(ChatResponse::text);
    let cases = [
        ("@orchestr8/summarizer", json!({ "text": "A long text, «quoted».", "sentences": 2 })),
        ("@orchestr8/llm", json!({ "question": "Who is Ada?" })),
    ];
    let (outside, inside) = (Fake::answers(answers()), Fake::answers(answers()));
    let (far, near) = (registry(outside.clone()), registry(inside.clone()));
    for (id, input) in &cases {
        let posted = posted(&far, id, input).await;
        assert_eq!((&posted["success"], &posted["data"]), (&json!(true), &posted["output"]), "{posted}");
        let handled = part_of(&near, id).handle_request(input.clone(), RequestContext::default()).await;
        assert_eq!(handled.expect("it answers"), posted["data"]);
    }
    let bytes = |fake: &Fake| -> Vec<_> {
        fake.asked().iter().map(|request| serde_json::to_vec(request).expect("JSON")).collect()
    };
    assert_eq!(bytes(&outside), bytes(&inside));
    assert_eq!(outside.asked().len(), cases.len(), "each is one call");
}

#[tokio::test]
async fn both_fail_with_the_same_kind_and_message() {
    for kind in [ErrorKind::RateLimited, ErrorKind::Denied, ErrorKind::Timeout, ErrorKind::Validation] {
        let failing = || registry(Fake::by(move |_| Err(AgentError::new(kind, "so it is"))));
        let input = json!({ "text": "x" });
        let posted = posted(&failing(), "@orchestr8/summarizer", &input).await;
        let near = failing();
        let failure = part_of(&near, "@orchestr8/summarizer").handle_request(input, RequestContext::default()).await;
        let failure = failure.expect_err("it fails");
        assert_eq!((&posted["code"], &posted["error"]), (&json!(kind.code()), &json!("so it is")));
        assert_eq!((failure.code, failure.message), (kind, "so it is".to_owned()));
    }
    // What does not fit is told before anybody is asked.
    let fake = Fake::answers([]);
    let registry = registry(fake.clone());
    let input = json!({ "text": 7 });
    assert_eq!(posted(&registry, "@orchestr8/summarizer", &input).await["code"], "VALIDATION");
    let failure = part_of(&registry, "@orchestr8/summarizer").handle_request(input, RequestContext::default()).await;
    assert_eq!(failure.expect_err("it does not fit").code, ErrorKind::Validation);
    assert!(fake.asked().is_empty());
}

/// A provider that sends the key back.
#[derive(Clone)]
struct Indiscreet(ModelInfo);

impl Provider for Indiscreet {
    fn model(&self, _: &str, _: &str) -> Arc<dyn ChatModel> {
        Arc::new(self.clone())
    }
}

#[async_trait::async_trait]
impl ChatModel for Indiscreet {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn key(&self) -> Option<SecretString> {
        Some(SecretString::new("canary-key"))
    }

    async fn chat(
        &self,
        _: ChatRequest,
        _: Option<DeltaSink>,
        _: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        Ok(ChatResponse::text("the key is canary-key"))
    }
}

#[tokio::test]
async fn a_key_that_comes_back_is_hidden_and_a_token_of_the_caller_is_left_alone() {
    let registry = registry(Indiscreet(ModelInfo::new("house", "priced", Capabilities::default())));
    let input = json!({ "question": "What is the key?" });
    assert_eq!(posted(&registry, "@orchestr8/llm", &input).await["data"]["text"], "the key is [REDACTED]");
    let context = RequestContext::default();
    let handled = part_of(&registry, "@orchestr8/llm").handle_request(input.clone(), context.clone()).await;
    assert_eq!(handled.expect("it answers")["text"], "the key is [REDACTED]");
    assert!(!context.cancel.is_cancelled());
    context.cancel.cancel();
    let cancelled = part_of(&registry, "@orchestr8/llm").handle_request(input, context).await;
    assert_eq!(cancelled.expect_err("nobody wants it").code, ErrorKind::Cancelled);
}
