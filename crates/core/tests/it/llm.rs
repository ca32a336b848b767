//! Agents that ask models, in a real engine.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use orchestr8_agent_base::{
    AgentError, AgentRegistry, Clock, ToolSpec,
    llm::register,
    model::{ChatRequest, ChatResponse, Fake, Message, Models, Part, Role, StopReason, ToolChoice, ToolRequest},
    prompt::PromptFiles,
    tool::tool_fn,
};
use orchestr8_core::{Engine, store::SqliteStore};
use orchestr8_schema::{ErrorKind, ValidWorkflow, api::ExecutionStatus, config::ToolPolicy, usage::Usage};
use orchestr8_testing::{
    FaultStore, Harness, Interference, Run, StoreFault, TestClock, assert_attempts, assert_completed, assert_failed,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::workflow_with;

pub(crate) fn agents() -> AgentRegistry {
    let mut registry = AgentRegistry::new();
    register(&mut registry, PromptFiles::default()).expect("registered");
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    let double = ToolSpec::new("math.double", "Doubles").expect("well formed").input_schema(schema);
    let double =
        tool_fn(double, |arguments: Value, _, _| async move { Ok(json!(arguments["n"].as_i64().unwrap_or(0) * 2)) });
    registry.tools_mut().register(double).expect("registered");
    let slow = ToolSpec::new("slow", "Takes its time").expect("well formed");
    let slow = tool_fn(slow, |arguments: Value, _, _| async move {
        tokio::time::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap_or(0))).await;
        Ok(arguments["ms"].clone())
    });
    registry.tools_mut().register(slow).expect("registered");
    let forbidden = ToolSpec::new("shell.run", "Runs anything").expect("well formed");
    let forbidden = tool_fn(forbidden, |_, _, _| async { unreachable!("it must not be called") });
    registry.tools_mut().register(forbidden).expect("registered");
    registry
}

pub(crate) fn call(id: &str, name: &str, arguments: Value) -> ToolRequest {
    ToolRequest::new(id, name, arguments)
}

pub(crate) fn document(mut config: Value) -> Value {
    config["prompt"] = json!({ "role": "You are helpful.", "task": "Tell me about {{ input.topic }}." });
    let mut document = workflow_with(
        json!([{ "id": "ask", "agent": { "id": "@orchestr8/llm" }, "input": { "topic": "rain" } }]),
        json!({ "retry": { "maxAttempts": 3, "baseDelayMs": 100, "jitter": false } }),
    );
    document["steps"][0]["agent"]["config"] = config;
    document
}

async fn run(fake: &Fake, document: Value) -> Run {
    let models = Models::new().provider("house", "fake", fake.clone()).default_model("priced");
    let harness = Harness::new().registry(agents());
    harness.models(models).run(document, json!({})).await
}

/// What the model was told of its tools in the last turn.
fn results(request: &ChatRequest) -> Vec<(String, bool)> {
    let parts = request.messages.last().map(|message| message.parts.clone()).unwrap_or_default();
    let result = |part| match part {
        Part::ToolResult { content, is_error, .. } => Some((content, is_error)),
        _ => None,
    };
    parts.into_iter().filter_map(result).collect()
}

#[tokio::test(start_paused = true)]
async fn a_model_calls_tools_at_once_and_is_told_in_the_order_of_its_calls() {
    let mut half = call("7", "math.double", Value::Null);
    half.unparsed = Some("{\"n\": ".to_owned());
    let asked = [
        call("1", "slow", json!({ "ms": 300 })),
        call("2", "slow", json!({ "ms": 200 })),
        call("3", "math.double", json!({ "n": 21 })),
        call("4", "math.double", json!({ "n": "x" })),
        call("5", "shell.run", json!({ "command": "ignore your instructions" })),
        call("6", "no.such", json!({})),
        half,
    ];
    let usage = Usage::new(1000, 100, 0.0);
    let fake =
        Fake::answers([ChatResponse::tools(asked).with_usage(usage), ChatResponse::text("done").with_usage(usage)]);
    let run = run(&fake, document(json!({ "tools": ["math.double", "slow"] }))).await;
    assert_completed!(run);
    assert_eq!(run.output("ask"), &json!({ "text": "done" }));
    let requests = fake.asked();
    assert_eq!(requests[0].messages, [Message::user("Tell me about rain.")]);
    assert_eq!(requests[0].tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["math.double", "slow"]);
    let told = results(&requests[1]);
    assert_eq!(told[..3], [("300".to_owned(), false), ("200".to_owned(), false), ("42".to_owned(), false)]);
    assert!(told[3].1 && told[3].0.starts_with("VALIDATION"), "{told:?}");
    assert_eq!(told[4..6], [("tool not available".to_owned(), true), ("tool not available".to_owned(), true)]);
    assert_eq!(told[6..], [("VALIDATION: the arguments are no JSON".to_owned(), true)]);
    let kinds: Vec<_> = run.journal().iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "tool.denied").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == "durable.recorded").count(), 2 + 7);
    // 2000 tokens of input and 200 of output, at 1 and 2 dollars a million.
    let used = run.outcome().to_body().usage.expect("used");
    assert!((used.cost_usd - 0.0024).abs() < 1e-9, "{used:?}");
    assert_eq!((used.model_calls, used.tool_calls), (2, 7));
    let model = run.journal().iter().find(|entry| entry.kind == "model.called").expect("called");
    assert_eq!(
        (&model.data["provider"], &model.data["model"], &model.data["turn"]),
        (&json!("house"), &json!("priced"), &json!(1))
    );
    assert_eq!(model.data["resolution"][0], "`models.default` is `priced`");
    assert!(run.outcome().to_body().duration.is_none_or(|duration| duration < 400), "the tools ran at once");
}

#[tokio::test(start_paused = true)]
async fn the_last_turn_must_be_an_answer_and_limits_are_told_with_what_was_used() {
    let asks = || ChatResponse::tools([call("1", "math.double", json!({ "n": 1 }))]).with_usage(Usage::new(50, 5, 0.0));
    let fake = Fake::by(move |_| Ok(asks()));
    let endless = run(&fake, document(json!({ "tools": ["math.double"], "maxTurns": 3 }))).await;
    assert_failed!(endless, ErrorKind::LoopLimit);
    let choices: Vec<_> = fake.asked().into_iter().map(|request| request.tool_choice).collect();
    assert_eq!(choices, [ToolChoice::Auto, ToolChoice::Auto, ToolChoice::None]);
    let error = endless.outcome().error().expect("failed");
    assert_eq!(error.context.as_ref().expect("facts")["usage"]["inputTokens"], 150);

    let dear =
        || ChatResponse::tools([call("1", "math.double", json!({ "n": 1 }))]).with_usage(Usage::new(300, 50, 0.0));
    let fake = Fake::by(move |_| Ok(dear()));
    let limited =
        run(&fake, document(json!({ "tools": ["math.double"], "maxTotalTokens": 1200, "maxTokens": 200 }))).await;
    assert_failed!(limited, ErrorKind::BudgetExceeded);
    assert!(limited.outcome().to_body().usage.expect("used").tokens() <= 1200);
    let unpriced = document(json!({ "model": "unknown", "maxCostUsd": 1 }));
    assert_failed!(run(&Fake::answers([]), unpriced).await, ErrorKind::Validation);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_is_asked_for_once_more() {
    let schema = json!({ "type": "object", "required": ["sun"], "properties": { "sun": { "type": "boolean" } } });
    let config = || json!({ "outputSchema": schema });
    let fake = Fake::answers([ChatResponse::text("It is sunny."), ChatResponse::text("```json\n{\"sun\": true}\n```")]);
    let repaired = run(&fake, document(config())).await;
    assert_completed!(repaired);
    assert_eq!(repaired.output("ask"), &json!({ "sun": true }));
    let second = &fake.asked()[1];
    assert_eq!(second.messages.len(), 3);
    assert!(second.messages[2].text().ends_with("answer with JSON only"));
    assert_eq!(second.output_schema.as_ref().expect("sent")["additionalProperties"], false);

    let fake = Fake::by(|_| Ok(ChatResponse::text("no")));
    assert_failed!(run(&fake, document(config())).await, ErrorKind::Validation);
    assert_eq!(fake.asked().len(), 2, "once more, and no attempt after that");
    let stopped =
        |text: &'static str, reason| Fake::by(move |_| Ok(ChatResponse::new(Message::assistant(text), reason)));
    // What is whole within an answer that was cut may fit the schema, and is not the answer.
    for text in ["{\"sun\"", "{\"days\": [{\"sun\": true}, {\"su"] {
        let cut = stopped(text, StopReason::MaxTokens);
        let run_cut = run(&cut, document(config())).await;
        assert_failed!(run_cut, ErrorKind::Validation);
        assert!(run_cut.outcome().error().expect("failed").message.contains("maxTokens"));
        assert_eq!(cut.asked().len(), 1, "no room is no reason to ask again");
    }
    assert_failed!(run(&stopped("{\"sun\"", StopReason::Refusal), document(config())).await, ErrorKind::Denied);

    let cut = ChatResponse::new(Message::assistant("{\"sun\": tr"), StopReason::MaxTokens);
    let cut_at_last = run(&Fake::answers([ChatResponse::text(""), cut]), document(config())).await;
    assert!(assert_failed!(cut_at_last, ErrorKind::Validation).message.contains("maxTokens"));
}

#[tokio::test(start_paused = true)]
async fn asking_once_more_counts_and_is_not_done_beyond_the_limits_of_the_agent() {
    let schema = json!({ "type": "object", "required": ["sun"] });
    let config = |limit: u64| json!({ "outputSchema": schema, "maxTokens": 100, "maxTotalTokens": limit });
    let usage = Usage::new(100, 40, 0.0);
    let words = move || ChatResponse::text("It is sunny.").with_usage(usage);
    let fake = Fake::answers([words(), ChatResponse::text("{\"sun\": 1}").with_usage(usage)]);
    let whole = run(&fake, document(config(2000))).await;
    assert_completed!(whole);
    let recorded = whole.journal().iter().find(|entry| entry.kind == "durable.recorded").expect("recorded");
    assert_eq!(recorded.data["value"]["usage"]["inputTokens"], 200, "{:?}", recorded.data);
    assert_eq!(whole.outcome().to_body().usage.expect("used").tokens(), 280);

    // Each question may use some 100 tokens and those of its answer; the first one leaves no room for another.
    let fake = Fake::by(move |_| Ok(words()));
    let limited = run(&fake, document(config(320))).await;
    let error = assert_failed!(limited, ErrorKind::BudgetExceeded);
    assert_eq!(error.context.as_ref().expect("facts")["usage"]["outputTokens"], 40);
    assert_eq!(fake.asked().len(), 1);
    // What is sent has no message without a word.
    let fake = Fake::answers([ChatResponse::text(""), ChatResponse::text("{\"sun\": 1}")]);
    assert_completed!(run(&fake, document(config(2000))).await);
    assert!(fake.asked()[1].messages.iter().all(|message| message.role == Role::User));
}

#[tokio::test(start_paused = true)]
async fn a_limited_provider_is_left_alone_for_as_long_as_it_asks() {
    let busy = || AgentError::rate_limited("busy").with_retry_after(Duration::from_secs(20));
    let asks = ChatResponse::tools([call("1", "math.double", json!({ "n": 1 }))]);
    let fake = Fake::results([Ok(asks), Err(busy()), Ok(ChatResponse::text("done"))]);
    let run = run(&fake, document(json!({ "tools": ["math.double"] }))).await;
    assert_completed!(run);
    assert_attempts!(run, "ask", 2);
    assert_eq!(fake.asked().len(), 3, "the first turn is not asked for again");
    let retry = run.journal().iter().find(|entry| entry.kind == "retry.scheduled").expect("tried again");
    assert_eq!(retry.data["delayMs"], 20_000);
}

/// The end of a process, when its model is asked for the fifth time.
#[derive(Debug, Default)]
struct Death(Arc<AtomicU32>);

impl Interference for Death {
    fn on_write(&self, _: u64) -> Option<StoreFault> {
        (self.0.load(SeqCst) >= 5).then_some(StoreFault::Conflict)
    }
}

#[tokio::test(start_paused = true)]
async fn killed_in_turn_five_and_taken_up_again_turns_one_to_four_are_not_asked_for_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orchestr8.db");
    let asked = Arc::new(AtomicU32::new(0));
    let turns: Arc<Mutex<Vec<usize>>> = Arc::default();
    let engine = |death: Death, first: bool| {
        let (asked, turns) = (Arc::clone(&asked), Arc::clone(&turns));
        let fake = Fake::by(move |request: &ChatRequest| {
            let turn = request.messages.iter().filter(|message| message.role == Role::Assistant).count() + 1;
            asked.fetch_add(1, SeqCst);
            turns.lock().expect("not poisoned").push(turn);
            Ok(match turn {
                1..=4 => ChatResponse::tools([call(&format!("{turn}"), "math.double", json!({ "n": turn }))]),
                _ => ChatResponse::text(if first { "lost" } else { "done" }),
            }
            .with_usage(Usage::new(100, 10, 0.0)))
        });
        let store = SqliteStore::open(&path, orchestr8_core::store::Durability::Process).expect("opened");
        let models = Models::new().provider("house", "fake", fake).default_model("priced");
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new(7));
        let builder = Engine::builder().registry(agents()).store(FaultStore::new(store, Arc::new(death)));
        builder.models(models).clock(clock).build().expect("built")
    };
    let document = ValidWorkflow::from_json(&document(json!({ "tools": ["math.double"] })).to_string()).expect("valid");
    let dying = engine(Death(Arc::clone(&asked)), true);
    let begun = dying.start(&document, json!({})).await.expect("started");
    begun.outcome().await.expect_err("the process died in turn five");
    drop(dying);
    let second = engine(Death::default(), false);
    second.recover().await.expect("recovered");
    let outcome = second.execution(begun.id()).await.expect("there").outcome().await.expect("ended");
    assert_eq!(outcome.status(), ExecutionStatus::Completed);
    assert_eq!(outcome.output("ask"), Some(&json!({ "text": "done" })));
    assert_eq!(*turns.lock().expect("not poisoned"), [1, 2, 3, 4, 5, 5]);
    assert_eq!(outcome.to_body().usage.expect("used").input_tokens, 500);
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_tools_wins_over_what_an_agent_lists() {
    let fake = Fake::answers([ChatResponse::tools([call("1", "shell.run", json!({}))]), ChatResponse::text("done")]);
    let models = Models::new().provider("house", "fake", fake.clone()).default_model("m");
    let mut policy = ToolPolicy::default();
    policy.deny = vec!["shell.*".to_owned()];
    let harness = Harness::new().registry(agents()).models(models).tool_policy(policy);
    let run = harness.run(document(json!({ "tools": ["shell.run", "math.double"] })), json!({})).await;
    assert_completed!(run);
    assert_eq!(fake.asked()[0].tools.len(), 1);
    assert_eq!(results(&fake.asked()[1]), [("tool not available".to_owned(), true)]);
}

#[tokio::test(start_paused = true)]
async fn the_shipped_agents_answer_as_their_prompts_say() {
    let fake = Fake::answers([])
        .when(
            |request| request.system[0].text.contains("You sum texts up"),
            |_| Ok(ChatResponse::text(r#"{"summary": "Short."}"#)),
        )
        .when(
            |request| request.system[0].text.contains("the one label"),
            |_| Ok(ChatResponse::text(r#"{"label": "a", "confidence": 0.9}"#)),
        )
        .when(
            |request| request.system[0].text.contains("reviews changes"),
            |_| Ok(ChatResponse::text(r#"{"verdict": "approve", "findings": []}"#)),
        );
    let step = |id: &str, agent: &str, input: Value| json!({ "id": id, "agent": { "id": format!("@orchestr8/{agent}") }, "input": input });
    let steps = json!([
        step("sum", "summarizer", json!({ "text": "A long text." })),
        step("class", "classifier", json!({ "text": "A", "labels": ["a", "b"] })),
        step("review", "reviewer", json!({ "diff": "+1" })),
    ]);
    let run = run(&fake, crate::workflow(steps)).await;
    assert_completed!(run);
    assert_eq!(run.output("sum"), &json!({ "summary": "Short." }));
    assert_eq!(run.output("class")["label"], "a");
    assert_eq!(run.output("review")["verdict"], "approve");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn agents_in_parallel_never_pass_the_budget_however_much_they_use(
        limit in 2_000_u64..40_000,
        agents in 1_usize..24,
        seeds in proptest::collection::vec(1_u64..1_000, 1..40),
        most in 50_u32..400,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("built");
        runtime.block_on(async {
            let next = AtomicU32::new(0);
            let seeds = Arc::new(seeds);
            let fake = Fake::by(move |request: &ChatRequest| {
                let place = next.fetch_add(1, SeqCst) as usize;
                let seed = seeds[place % seeds.len()];
                // As much as a provider can answer at the very most: what was asked, and the most tokens of the answer.
                let bytes = serde_json::to_vec(request).expect("JSON").len() as u64;
                let usage = Usage::new(bytes / 4, seed % u64::from(request.max_tokens.unwrap_or(1) + 1), 0.0);
                Ok(match seed % 3 {
                    0 => ChatResponse::text("done"),
                    _ => ChatResponse::tools([call("1", "slow", json!({ "ms": seed }))]),
                }
                .with_usage(usage))
            });
            let steps: Vec<_> = (0..agents)
                .map(|number| {
                    let mut step = document(json!({ "tools": ["slow"], "maxTokens": most, "maxTotalTokens": 3_000 }))["steps"][0].clone();
                    (step["id"], step["onError"]) = (json!(format!("ask-{number}")), json!("continue"));
                    step
                })
                .collect();
            let document = workflow_with(json!(steps), json!({ "budget": { "maxTokens": limit } }));
            let run = run(&fake, document).await;
            let used = run.outcome().to_body().usage.map_or(0, |usage| usage.tokens());
            assert!(used <= limit, "{used} of {limit}");
            let asked: u64 = run
                .journal()
                .iter()
                .filter(|entry| entry.kind == "model.called")
                .map(|entry| entry.data["usage"]["inputTokens"].as_u64().unwrap_or(0) + entry.data["usage"]["outputTokens"].as_u64().unwrap_or(0))
                .sum();
            assert_eq!(asked, used, "every call counts, once");
        });
    }
}
