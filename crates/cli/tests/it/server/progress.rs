//! What is told while a step runs, and stands in no journal.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestr8_agent_base::{
    AgentContext, AgentError, AgentManifest, AgentRegistry, CancellationToken, agent_fn, llm,
    model::{Capabilities, ChatModel, ChatRequest, ChatResponse, DeltaSink, ModelInfo, Provider},
    prompt::PromptFiles,
};
use orchestr8_core::schema::ValidWorkflow;
use orchestr8_testing::{Harness, Interference, StoreFault};
use serde_json::{Value, json};

use super::all_events::{InProcess, Message, Messages};

/// A model that writes a piece at a time.
#[derive(Debug)]
struct Typist(ModelInfo);

const PIECES: [&str; 5] = ["Once upon a time. The key is sk-abc", "defgh12345", "67 and must ", "be hidden", "."];

#[async_trait]
impl ChatModel for Typist {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn chat(
        &self,
        _: ChatRequest,
        on_delta: Option<DeltaSink>,
        _: CancellationToken,
    ) -> Result<ChatResponse, AgentError> {
        let sink = on_delta.ok_or_else(|| AgentError::internal("nobody looks on"))?;
        for piece in PIECES {
            sink(piece);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(ChatResponse::text(PIECES.concat()))
    }
}

#[derive(Debug)]
struct Typists;

impl Provider for Typists {
    fn model(&self, provider: &str, id: &str) -> Arc<dyn ChatModel> {
        let mut capabilities = Capabilities::default();
        capabilities.streaming = true;
        Arc::new(Typist(ModelInfo::new(provider, id, capabilities)))
    }
}

fn server() -> InProcess {
    let manifest = AgentManifest::new("@test/walker", "1.0.0", "Goes step by step").expect("well formed");
    let walker = agent_fn(manifest, |_, cx: AgentContext, _| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for half in 1..=2_u32 {
            cx.progress(Some(f64::from(half) / 2.0), format!("{half} of 2, with pin 4711-0815"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(json!({}))
    });
    let mut registry = AgentRegistry::new();
    llm::register(&mut registry, PromptFiles::default()).expect("registered");
    registry.register(walker).expect("registered");
    InProcess::of(Harness::new().registry(registry).model(Typists).engine())
}

fn workflow() -> ValidWorkflow {
    let prompt = json!({ "role": "You tell stories.", "task": "Tell one." });
    let document = json!({
        "version": "1.0.0",
        "metadata": { "id": "w", "name": "W" },
        "inputs": { "type": "object", "properties": { "pin": { "type": "string", "x-redact": true } } },
        "steps": [
            { "id": "walk", "agent": { "id": "@test/walker" } },
            { "id": "tell", "agent": { "id": "@orchestr8/llm", "config": { "prompt": prompt } }, "dependencies": ["walk"] },
        ],
    });
    ValidWorkflow::from_value(&document).expect("valid")
}

/// All that a stream tells up to the end of the execution.
async fn until_ended(stream: &mut Messages) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|last: &Message| last.event != "execution.completed") {
        let message = stream.next().await.expect("the stream goes on");
        if message.event != "metrics.update" {
            messages.push(message);
        }
    }
    messages
}

fn of<'a>(messages: &'a [Message], event: &str) -> Vec<&'a Message> {
    messages.iter().filter(|message| message.event == event).collect()
}

#[tokio::test(start_paused = true)]
async fn who_follows_one_or_all_executions_hears_of_progress_and_of_what_models_write() {
    let mut server = server();
    let mut all = server.listen("/v1/events").await;
    let mut others = server.listen("/v1/events?workflowId=other&types=step.progress,model.delta").await;
    let mut deltas = server.listen("/v1/events?types=model.delta,execution.completed").await;
    let handle = server.engine.start(&workflow(), json!({ "pin": "4711-0815" })).await.expect("started");
    let mut one = server.listen(&format!("/v1/executions/{}/events", handle.id())).await;
    let (all, one) = tokio::join!(until_ended(&mut all), until_ended(&mut one));
    for told in [&all, &one] {
        let progress = of(told, "step.progress");
        let shown: Vec<_> = progress.iter().map(|message| &message.data["data"]).collect();
        let half = |half: u32| json!({ "fraction": f64::from(half) / 2.0, "message": format!("{half} of 2, with pin [REDACTED]") });
        assert_eq!(shown, [&half(1), &half(2)]);
        let first = &progress[0].data;
        assert_eq!((&first["stepPath"], &first["attempt"]), (&json!("walk"), &json!(1)));
        assert_eq!(first["executionId"], handle.id().to_string());
        assert!(first["timestamp"].is_string() && first["sequence"].is_null(), "{first}");

        let deltas = of(told, "model.delta");
        let texts: Vec<_> = deltas.iter().filter_map(|message| message.data["data"]["text"].as_str()).collect();
        assert!(texts.len() > 1, "it is told piece by piece: {texts:?}");
        assert_eq!(texts.concat(), "Once upon a time. The key is [REDACTED] and must be hidden.");
        assert_eq!(deltas[0].data["stepPath"], "tell");
        // Who reconnects asks for what comes behind an id; these have none.
        assert!(progress.iter().chain(&deltas).all(|message| message.id.is_none()));
        // They come while the step runs.
        let place = |event: &str, step: &str| {
            told.iter().position(|message| message.event == event && message.data["stepPath"] == step).expect("told")
        };
        assert!(place("step.started", "walk") < place("step.progress", "walk"));
        assert!(place("step.progress", "walk") < place("step.completed", "walk"));
    }
    let told = until_ended(&mut deltas).await;
    assert!(of(&told, "step.progress").is_empty() && !of(&told, "model.delta").is_empty());
    server.engine.start(&workflow(), json!({})).await.expect("started").outcome().await.expect("ended");
    let stored = handle.snapshot().await.expect("read");
    assert!(
        stored.journal().entries.iter().all(|entry| !entry.kind.contains("progress") && !entry.kind.contains("delta"))
    );
    let first = tokio::time::timeout(Duration::from_secs(4), others.next()).await;
    assert!(first.is_err(), "nothing of another workflow: {first:?}");
}

/// A disk that is full for a while.
#[derive(Debug)]
struct Full;

impl Interference for Full {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        (3..6).contains(&write).then_some(StoreFault::Refuse)
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_write_says_so_until_it_can() {
    let mut server =
        InProcess::of(Harness::new().agent(orchestr8_testing::scripted("echo")).faults(Arc::new(Full)).engine());
    let document = json!({
        "version": "1.0.0", "metadata": { "id": "w", "name": "W" },
        "steps": [{ "id": "a", "agent": { "id": "@test/echo" } }],
    });
    let workflow = ValidWorkflow::from_value(&document).expect("valid");
    let handle = server.engine.start(&workflow, json!({})).await.expect("started");
    // It has tried twice by then.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(server.read("/health").await["status"], "critical");
    let problem: Value = server.read("/ready").await;
    assert_eq!((&problem["status"], &problem["code"]), (&json!(503), &json!("RESOURCE_EXHAUSTED")));
    assert!(handle.outcome().await.expect("ended").is_completed());
    assert_eq!(server.read("/health").await["status"], "healthy");
    assert_eq!(server.read("/ready").await, json!({ "ready": true }));
}
