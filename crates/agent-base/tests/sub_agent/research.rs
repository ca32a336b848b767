//! The research agent, as a service and as a part of another program.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orchestr8_agent_base::{
    AgentError, AgentRegistry, CancellationToken, SecretString, Secrets,
    adapter::{Microservice, RequestContext},
    model::{
        Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, Fake, Message, ModelInfo, Models, Provider,
        Role, StopReason,
    },
    prompt::PromptFiles,
    research::Research,
};
use orchestr8_schema::ErrorKind;
use serde_json::{Map, Value, json};

use super::{Noon, agent, part_of, posted};

const ID: &str = "@orchestr8/research";

fn registry(files: PromptFiles, config: &Value, provider: impl Provider) -> AgentRegistry {
    let mut registry = AgentRegistry::new();
    let config = config.as_object().cloned().unwrap_or_default();
    let agent = Research::new(files).expect("the template has its checksum");
    registry.register_with_config(agent, config).expect("registered");
    registry.set_models(Some(Models::new().provider("house", "fake", provider).default_model("small")));
    registry
}

fn of(provider: impl Provider) -> AgentRegistry {
    registry(PromptFiles::default(), &Value::Null, provider)
}

async fn handled(registry: &AgentRegistry, input: Value) -> Result<Value, orchestr8_schema::Failure> {
    part_of(registry, ID).handle_request(input, RequestContext::default()).await
}

fn without_metadata(output: &Value) -> Map<String, Value> {
    let mut output = output.as_object().expect("an object").clone();
    let metadata = output.remove("metadata").expect("there is metadata");
    let keys: Vec<_> = metadata.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["executionId", "timestamp", "correlationId"]);
    assert_eq!(metadata["timestamp"], "2025-01-17T12:00:00.000Z");
    output
}

#[tokio::test]
async fn a_template_that_has_no_place_for_a_part_of_the_input_is_told_with_that_part() {
    let shipped = include_str!("../../src/research/template.xml");
    let without = |lines: &[&str]| {
        let kept = shipped.lines().filter(|line| !lines.iter().any(|part| line.contains(part)));
        kept.collect::<Vec<_>>().join("\n")
    };
    let most = without(&["{{max_sources}}", "name=\"max_sources\""]);
    let fake = Fake::answers([ChatResponse::text("scattered")]);
    let registry = registry(PromptFiles::default(), &json!({ "promptTemplate": most }), fake.clone());
    let input = json!({ "query": "Why is the sky blue?", "options": { "maxResults": 3 } });
    let failure = handled(&registry, input).await.expect_err("there is no place for it");
    assert_eq!(failure.code, ErrorKind::Validation);
    assert!(failure.message.contains("no variable `max_sources` for the input's `options.maxResults`"), "{failure:?}");
    assert!(fake.asked().is_empty());
    assert!(handled(&registry, json!({ "query": "Why is the sky blue?" })).await.is_ok());
}

#[tokio::test]
async fn both_ask_the_same_to_the_byte_and_give_the_same() {
    let inputs = [
        json!({ "query": "Why is the sky blue?" }),
        json!({ "query": "  A «quoted» <question> & more  ", "context": { "for": ["a", "b"] }, "options": { "maxResults": 20, "timeout": 30000 } }),
        json!({ "query": "x".repeat(1000), "context": {} }),
    ];
    let answers = || inputs.iter().enumerate().map(|(place, _)| ChatResponse::text(format!(" answer {place}\n")));
    let (outside, inside) = (Fake::answers(answers()), Fake::answers(answers()));
    let (far, near) = (of(outside.clone()), of(inside.clone()));
    for (place, input) in inputs.iter().enumerate() {
        let posted = posted(&far, ID, input).await;
        assert_eq!((&posted["success"], &posted["data"]), (&json!(true), &posted["output"]), "{posted}");
        let handled = handled(&near, input.clone()).await.expect("it answers");
        assert_eq!(without_metadata(&posted["data"]), without_metadata(&handled));
        assert_eq!(handled["result"], format!("answer {place}"));
    }
    let bytes =
        |fake: &Fake| fake.asked().iter().map(|request| serde_json::to_vec(request).expect("JSON")).collect::<Vec<_>>();
    assert_eq!(bytes(&outside), bytes(&inside));
    assert_eq!(outside.asked().len(), inputs.len(), "each is one call");

    let asked = &outside.asked()[1];
    let user = asked.messages[0].text();
    assert!(user.contains("<question>A «quoted» &lt;question&gt; &amp; more</question>"), "{user}");
    assert!(user.contains("<scope>{&quot;for&quot;:[&quot;a&quot;,&quot;b&quot;]}</scope>"), "{user}");
    assert!(user.contains("<max_sources>20</max_sources>"), "{user}");
    // What a model is told about its work does not depend on what it is asked.
    assert_eq!(asked.system, outside.asked()[0].system);
}

/// Each of both asks a model of its own.
type MakesModel = Box<dyn Fn() -> Fake>;

#[tokio::test(start_paused = true)]
async fn both_fail_with_the_same_kind_and_message() {
    let silent = || Fake::by(|_| Ok(ChatResponse::text(" \n")));
    let cut = || {
        let message = Message::of(Role::Assistant, Message::assistant("Half").parts);
        Fake::answers([ChatResponse::new(message, StopReason::MaxTokens)])
    };
    let fails = |kind| Fake::by(move |_| Err(AgentError::new(kind, "so it is")));
    let slow = || Fake::answers([ChatResponse::text("late")]).delays(Duration::from_secs(60));
    let asks = json!({ "query": "Why?" });
    let unasked = || Fake::answers([]);
    let cases: [(Value, MakesModel, ErrorKind, &str); 12] = [
        (asks.clone(), Box::new(move || fails(ErrorKind::RateLimited)), ErrorKind::RateLimited, "so it is"),
        (asks.clone(), Box::new(move || fails(ErrorKind::Denied)), ErrorKind::Denied, "so it is"),
        (asks.clone(), Box::new(slow), ErrorKind::Timeout, "no answer within 10s"),
        (asks.clone(), Box::new(silent), ErrorKind::Validation, "0 characters"),
        (asks, Box::new(cut), ErrorKind::Validation, "maxTokens"),
        (json!({ "query": " \n " }), Box::new(unasked), ErrorKind::Validation, "query"),
        (json!({ "query": "é".repeat(1001) }), Box::new(unasked), ErrorKind::Validation, "1001 characters"),
        (
            json!({ "query": "x", "options": { "maxResults": 21 } }),
            Box::new(unasked),
            ErrorKind::Validation,
            "maxResults",
        ),
        (json!({ "query": "x", "options": { "timeout": 999 } }), Box::new(unasked), ErrorKind::Validation, "timeout"),
        (json!({ "query": "x", "context": "y" }), Box::new(unasked), ErrorKind::Validation, "context"),
        (
            json!({ "query": "x", "context": { "constructor": 1 } }),
            Box::new(unasked),
            ErrorKind::Validation,
            "constructor",
        ),
        (json!({ "question": "x" }), Box::new(unasked), ErrorKind::Validation, "query"),
    ];
    for (input, fake, kind, part) in &cases {
        let posted = posted(&of(fake()), ID, input).await;
        let failure = handled(&of(fake()), input.clone()).await.expect_err("it fails");
        assert_eq!((&posted["code"], &posted["error"]), (&json!(kind.code()), &json!(failure.message)), "{input}");
        assert_eq!(failure.code, *kind, "{input}: {failure:?}");
        assert!(failure.message.contains(part), "{input}: {}", failure.message);
    }
}

#[test]
fn nothing_of_it_knows_how_it_is_deployed() {
    let agent = Research::new(PromptFiles::default()).expect("made");
    let manifest = serde_json::to_string(&orchestr8_agent_base::Agent::manifest(&agent)).expect("JSON");
    let template = include_str!("../../src/research/template.xml");
    for (name, text) in [
        ("config.rs", include_str!("../../src/research/config.rs")),
        ("template.xml", template),
        ("the manifest", manifest.as_str()),
        // Its documentation shows how it is called.
        ("mod.rs", include_str!("../../src/research/mod.rs").split_once("mod config;").expect("it has one").1),
    ] {
        let words = text.split(|character: char| !character.is_ascii_alphabetic()).map(str::to_ascii_lowercase);
        for word in words {
            let of_a_mode = ["microservice", "subagent", "subagents", "adapter", "deployment", "mode", "modes"];
            assert!(!of_a_mode.contains(&word.as_str()), "{name} speaks of {word}");
        }
        assert!(!text.to_ascii_lowercase().contains("sub-agent"), "{name}");
    }
}

/// A provider whose models take a key, and tell which one they were asked with.
#[derive(Clone)]
struct Keyed {
    info: ModelInfo,
    key: Option<SecretString>,
    asked_with: Arc<Mutex<Vec<String>>>,
}

impl Keyed {
    fn new() -> Self {
        let info = ModelInfo::new("", "", Capabilities::default());
        Self { info, key: None, asked_with: Arc::default() }
    }
}

impl Provider for Keyed {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        Arc::new(Self { info: ModelInfo::new(provider, id, Capabilities::default()), ..self.clone() })
    }
}

#[async_trait::async_trait]
impl ChatModel for Keyed {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn key(&self) -> Option<SecretString> {
        self.key.clone()
    }

    fn keyed(&self, key: SecretString) -> Option<Arc<dyn ChatModel>> {
        Some(Arc::new(Self { key: Some(key), ..self.clone() }))
    }

    async fn chat(
        &self,
        _: ChatRequest,
        _: Option<DeltaSink>,
        _: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let key = self.key.as_ref().map_or("none", |key| key.expose()).to_owned();
        self.asked_with.lock().expect("nobody panicked").push(format!("{} {key}", self.info.model));
        Ok(ChatResponse::text(format!("asked with {key}")))
    }
}

#[tokio::test]
async fn a_key_of_its_own_goes_to_the_provider_and_nowhere_else() {
    let provider = Keyed::new();
    let config = json!({ "llmProvider": { "type": "fake", "model": "large", "apiKey": "secret://research/key" } });
    let registry = registry(PromptFiles::default(), &config, provider.clone());
    let input = json!({ "query": "Why?" });
    let secrets = Secrets::none().with("research/key", "canary-key");
    let part = part_of(&registry, ID).secrets(secrets);
    let output = part.handle_request(input.clone(), RequestContext::default()).await.expect("it answers");
    assert_eq!(output["result"], "asked with [REDACTED]");
    assert_eq!(*provider.asked_with.lock().expect("nobody panicked"), ["large canary-key"]);

    let missing = handled(&registry, input.clone()).await.expect_err("there is no secret");
    assert_eq!(missing.code, ErrorKind::NotFound);
    // A key itself, or a variable, is no reference.
    for key in ["sk-123456", "env:HOME"] {
        let config = json!({ "llmProvider": { "apiKey": key } });
        let error = agent(&registry, ID).configure(config.as_object()).expect_err("no reference");
        assert_eq!(error.kind(), ErrorKind::Validation, "{key}");
    }
    // The script takes no key.
    let config = json!({ "llmProvider": { "apiKey": "secret://research/key" } });
    let scripted = super::research::registry(PromptFiles::default(), &config, Fake::answers([]));
    let part = part_of(&scripted, ID).secrets(Secrets::none().with("research/key", "canary-key"));
    let failure = part.handle_request(input, RequestContext::default()).await.expect_err("it takes none");
    assert_eq!(failure.code, ErrorKind::Validation);
    assert!(failure.message.contains("`house` takes no key"), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn configuration_bounds_question_answer_and_time() {
    let configured = |config: Value, provider: Fake| registry(PromptFiles::default(), &config, provider);
    let answers = |text: &str| Fake::answers([ChatResponse::text(text)]);
    let input = json!({ "query": "Why is it so?", "options": { "timeout": 30000 } });

    let short = json!({ "validation": { "maxInputLength": 5 } });
    let failure = handled(&configured(short, answers("x")), input.clone()).await.expect_err("too long");
    assert!(failure.message.contains("1 to 5 are allowed"), "{}", failure.message);

    let short = json!({ "validation": { "maxOutputLength": 5 } });
    let failure = handled(&configured(short.clone(), answers("123456")), input.clone()).await.expect_err("too long");
    assert!(failure.message.contains("the result has 6 characters"), "{}", failure.message);
    assert!(handled(&configured(short, answers("12345")), input.clone()).await.is_ok());

    let slow = answers("late").delays(Duration::from_secs(20));
    assert!(handled(&configured(Value::Null, slow.clone()), input.clone()).await.is_ok());
    let hasty = json!({ "llmProvider": { "timeout": 5000 } });
    let failure = handled(&configured(hasty, answers("late").delays(Duration::from_secs(20))), input).await;
    let failure = failure.expect_err("it took too long");
    assert_eq!((failure.code, failure.message.as_str()), (ErrorKind::Timeout, "there was no answer within 5s"));
}

#[tokio::test]
async fn a_template_of_ones_own_takes_the_place_of_the_shipped_one() {
    let own = include_str!("../../src/research/template.xml")
        .replace("You answer questions by research", "You answer riddles")
        .replace(r#"min_length="1" max_length="1000""#, r#"min_length="3" max_length="20""#);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("prompts")).expect("made");
    std::fs::write(folder.path().join("prompts/riddles.xml"), &own).expect("written");
    std::fs::write(folder.path().join("other.xml"), &own).expect("written");
    let files = PromptFiles::new([folder.path().to_owned()]).confined();
    let input = json!({ "query": "What has hands?" });
    for template in [own.as_str(), "prompts/riddles.xml"] {
        let fake = Fake::by(|_| Ok(ChatResponse::text("A clock.")));
        let registry = registry(files.clone(), &json!({ "promptTemplate": template }), fake.clone());
        assert_eq!(handled(&registry, input.clone()).await.expect("it answers")["result"], "A clock.");
        assert!(fake.asked()[0].system[0].text.starts_with("You answer riddles"));
        // Its own bounds count.
        let failure = handled(&registry, json!({ "query": "x".repeat(21) })).await.expect_err("too long");
        assert!(failure.message.contains("21 characters are more than 20"), "{}", failure.message);
    }
    for (template, kind) in [
        ("prompts/missing.xml", ErrorKind::NotFound),
        ("other.xml", ErrorKind::Denied),
        ("prompts/riddles", ErrorKind::Validation),
        ("You answer riddles", ErrorKind::Validation),
        ("<process_flow/>", ErrorKind::Validation),
    ] {
        let registry = registry(files.clone(), &json!({ "promptTemplate": template }), Fake::answers([]));
        assert_eq!(handled(&registry, input.clone()).await.expect_err("unusable").code, kind, "{template}");
    }
}

#[tokio::test]
async fn the_service_answers_as_it_is_specified() {
    use tower::ServiceExt as _;

    let registry = of(Fake::by(|_| Ok(ChatResponse::text("Because."))));
    let service = Microservice::new(agent(&registry, ID), Arc::new(Noon)).serve(&registry).into_router();
    let ask = |path: &str, input: Value| {
        let request = axum::http::Request::post(path)
            .header("host", "127.0.0.1:3001")
            .header("x-execution-id", "0198c0de-0000-7000-8000-000000000001")
            .header("x-correlation-id", "trip-7")
            .body(axum::body::Body::from(input.to_string()))
            .expect("a request");
        service.clone().oneshot(request)
    };
    let response = ask("/process", json!({ "query": "Why?" })).await.expect("it answers");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-correlation-id"]),
        (200, &"trip-7".parse().expect("text"))
    );
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("read");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let metadata = json!({
        "executionId": "0198c0de-0000-7000-8000-000000000001", "timestamp": "2025-01-17T12:00:00.000Z", "correlationId": "trip-7",
    });
    let output = json!({ "result": "Because.", "metadata": metadata });
    assert_eq!(body, json!({ "success": true, "data": output, "output": output }));
    assert_eq!(ask("/process", json!({ "query": "" })).await.expect("it answers").status().as_u16(), 400);
    assert_eq!(ask("/agent/process", json!({ "query": "Why?" })).await.expect("it answers").status().as_u16(), 404);
}
