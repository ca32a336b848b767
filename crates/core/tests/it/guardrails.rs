//! Checks of what prompts forbid.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use orchestr8_agent_base::{
    AgentRegistry, ToolSpec,
    llm::{Guardrails, Subject, register_guarded},
    model::{ChatResponse, Fake, Models, ToolRequest},
    prompt::PromptFiles,
    tool::tool_fn,
};
use orchestr8_schema::{ErrorKind, api::ExecutionStatus};
use orchestr8_testing::{Harness, Run, assert_attempts, assert_failed};
use serde_json::{Value, json};

use crate::workflow_with;

/// Three rules that are checked, whatever is told; the fourth is only told.
const RULES: [&str; 4] = ["Never speak of whales", "Never halve zero", "Answer in few words", "Be kind"];

fn guardrails() -> Guardrails {
    let speaks = |text: &Value| text.to_string().contains("whale").then(|| "there is a whale".to_owned());
    Guardrails::new()
        .check(RULES[0], move |subject| match subject {
            Subject::Input(value) | Subject::Output(value) => speaks(value),
            _ => unreachable!("content is what is said"),
        })
        .check(RULES[1], |subject| match subject {
            Subject::ToolCall { name: "halve", arguments } if arguments["n"] == 0 => Some("n is 0".to_owned()),
            Subject::ToolCall { .. } => None,
            _ => unreachable!("behavior is what is done"),
        })
        .check(RULES[2], |subject| match subject {
            Subject::Output(output) => {
                let length = output["text"].as_str().unwrap_or_default().split_whitespace().count();
                (length > 3).then(|| format!("{length} words"))
            }
            _ => unreachable!("output is what comes out"),
        })
}

/// Runs an agent whose prompt has these enforcements of the rules. Tells, too, how often the tool was called.
async fn run(enforcements: [&str; 3], about: &str, answers: &Fake) -> (Run, u32) {
    let mut registry = AgentRegistry::new();
    register_guarded(&mut registry, PromptFiles::default(), &guardrails()).expect("registered");
    let halved = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&halved);
    let halve = tool_fn(ToolSpec::new("halve", "Halves").expect("well formed"), move |arguments: Value, _, _| {
        counted.fetch_add(1, SeqCst);
        async move { Ok(json!(arguments["n"].as_i64().unwrap_or(0) / 2)) }
    });
    registry.tools_mut().register(halve).expect("registered");
    let [content, behavior, output] = enforcements;
    let prompt = json!({
        "schemaVersion": "1.0.0", "version": "1.0.0", "role": "You answer", "goals": ["Answer"],
        "steps": [{ "number": 1, "description": "Answer", "action": "Answer" }],
        "guardrails": [
            { "type": "content", "rule": RULES[0], "enforcement": content },
            { "type": "behavior", "rule": RULES[1], "enforcement": behavior },
            { "type": "output", "rule": format!(" {} ", RULES[2]), "enforcement": output },
            { "type": "output", "rule": RULES[3] }
        ]
    });
    let config = json!({ "prompt": prompt, "tools": ["halve"] });
    let steps =
        json!([{ "id": "ask", "agent": { "id": "@orchestr8/llm", "config": config }, "input": { "about": about } }]);
    let document = workflow_with(steps, json!({ "retry": { "maxAttempts": 3, "baseDelayMs": 100, "jitter": false } }));
    let models = Models::new().provider("house", "fake", answers.clone()).default_model("small");
    let run = Harness::new().registry(registry).models(models).run(document, json!({})).await;
    (run, halved.load(SeqCst))
}

fn halves(n: u32) -> ChatResponse {
    ChatResponse::tools([ToolRequest::new("call", "halve", json!({ "n": n }))])
}

/// What the journal has of rules that were broken: level, message, and what was found.
fn remarks(run: &Run) -> Vec<(String, String, Value)> {
    let entries = run.journal().iter().filter(|entry| entry.data.get("level").is_some());
    let of = |key: &str, data: &serde_json::Map<String, Value>| data.get(key).cloned().unwrap_or_default();
    entries
        .map(|entry| {
            let level = of("level", &entry.data);
            (
                level.as_str().unwrap_or_default().to_owned(),
                entry.message.clone(),
                of("data", &entry.data)["found"].clone(),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_only_warns_is_recorded_and_changes_nothing() {
    let answers = Fake::answers([halves(0), ChatResponse::text("A whale is no fish")]);
    let (run, halved) = run(["warn", "log", "log"], "fish", &answers).await;
    assert_eq!((run.status(), halved), (ExecutionStatus::Completed, 1));
    assert_eq!(run.output("ask")["text"], "A whale is no fish");
    let told = |level: &str, message: &str, found: &str| (level.to_owned(), format!("ask: {message}"), json!(found));
    assert_eq!(
        remarks(&run),
        [
            told("info", "guardrail 2 of the prompt is broken by a call of `halve`", "n is 0"),
            told("warn", "guardrail 1 of the prompt is broken by the output", "there is a whale"),
            told("info", "guardrail 3 of the prompt is broken by the output", "5 words"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_blocks_fails_the_attempt_for_good_and_before_it_is_done() {
    let fine = || Fake::answers([halves(4), ChatResponse::text("Two")]);
    let (kept, halved) = run(["block"; 3], "fish", &fine()).await;
    assert_eq!((kept.status(), halved), (ExecutionStatus::Completed, 1));
    assert!(remarks(&kept).is_empty());
    for (about, answers, asked, part) in [
        ("a whale", Fake::answers([]), 0, "guardrail 1 of the prompt blocks the input: there is a whale"),
        ("fish", Fake::answers([halves(0)]), 1, "guardrail 2 of the prompt blocks a call of `halve`: n is 0"),
        ("fish", Fake::answers([ChatResponse::text("one two three four")]), 1, "blocks the output: 4 words"),
        ("fish", Fake::answers([ChatResponse::text("whale")]), 1, "blocks the output: there is a whale"),
    ] {
        let (run, halved) = run(["block"; 3], about, &answers).await;
        assert_failed!(run, ErrorKind::Denied);
        assert_attempts!(run, "ask", 1);
        assert_eq!((answers.asked().len(), halved), (asked, 0), "{part}");
        assert!(run.journal_text().contains(part), "{part}");
    }
}
