//! What people are shown of an execution: nothing secret, and not too much.

use orchestr8_agent_base::{AgentError, AgentManifest, agent_fn};
use orchestr8_core::{
    Snapshot,
    bus::{Bus, Delivery},
};
use orchestr8_schema::{api::Entry, canonical, event::ApprovalAnswer, event::ApprovalDecision};
use orchestr8_testing::{Harness, Run, assert_completed, scripted};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use crate::{step, workflow};

/// Everything that is shown of an execution.
fn views(snapshot: &Snapshot) -> String {
    let steps: Vec<_> = snapshot.steps().into_iter().map(|(step, _)| step).collect();
    let details: Vec<_> = steps.iter().filter_map(|step| snapshot.step(&step.step_path)).collect();
    let (journal, export) = (snapshot.journal(), snapshot.journal().export());
    json!([snapshot.to_body(), steps, details, journal.entries, export, snapshot.approvals()]).to_string()
}

/// Where a secret is put, and what makes it one.
#[derive(Clone, Copy, Debug)]
enum Hiding {
    /// Under a key that names secrets.
    Name(&'static str),
    /// By its own form.
    Prefix(&'static str),
    /// By the schema of the workflow's input.
    Annotation,
}

fn hiding() -> impl Strategy<Value = Hiding> {
    prop_oneof![
        prop::sample::select(vec!["apiKey", "user_password", "Authorization-Bearer", "clientSecret", "private-key"])
            .prop_map(Hiding::Name),
        prop::sample::select(vec!["sk-", "ghp_", "glpat-", "SG."]).prop_map(Hiding::Prefix),
        Just(Hiding::Annotation),
    ]
}

/// Wraps a value in arrays and objects.
fn wrapped(value: Value, shape: &[bool]) -> Value {
    shape.iter().fold(value, |inner, is_list| if *is_list { json!([1, inner]) } else { json!({ "inner": inner }) })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Wherever a secret gets to, in whatever it is wrapped, however long its surroundings are: no view shows it.
    #[test]
    fn invariant_31_no_view_holds_a_secret(
        hiding in hiding(),
        canary in "[a-zA-Z0-9]{12,20}",
        shape in vec(any::<bool>(), 0..4),
        padding in 0_usize..9000,
        fails in any::<bool>(),
    ) {
        let secret = match hiding {
            Hiding::Prefix(prefix) => format!("{prefix}{canary}"),
            Hiding::Name(_) | Hiding::Annotation => canary.clone(),
        };
        let mut input = Map::new();
        match hiding {
            Hiding::Name(name) => input.insert("data".to_owned(), json!({ name: wrapped(json!(secret), &shape) })),
            Hiding::Prefix(_) => {
                let text = format!("{} {secret} {}", "x".repeat(padding), "y".repeat(padding));
                input.insert("data".to_owned(), wrapped(json!(text), &shape))
            }
            Hiding::Annotation => input.insert("marked".to_owned(), wrapped(json!(secret), &shape)),
        };
        let document = json!({
            "version": "1.0.0",
            "metadata": { "id": "w", "name": "W" },
            "inputs": { "properties": { "marked": { "$ref": "#/$defs/pin" } }, "$defs": { "pin": { "x-redact": true } } },
            "context": { "variables": { "seen": null, "none": "k" } },
            "steps": [
                { "id": "a", "agent": { "id": "@test/mix" }, "input": { "all": "${inputs}" },
                  "output": { "capture": { "seen": "all" } }, "onError": "continue", "policies": { "retry": { "maxAttempts": 1 } } },
                { "id": "each", "map": {
                    "items": [1], "key": "${variables.none}",
                    "steps": [{ "id": "b", "agent": { "id": "@test/mix" }, "input": { "all": "${inputs}", "n": "${item}" } }]
                }}
            ]
        });
        let mix = AgentManifest::new("@test/mix", "1.0.0", "Puts what it gets elsewhere").expect("well formed");
        let mix = agent_fn(mix, move |input, cx, _| async move {
            // A name hides what stands under it, and nothing else: only what is secret anywhere is carried elsewhere.
            let text = match hiding {
                Hiding::Name(_) => "nothing".to_owned(),
                Hiding::Prefix(_) | Hiding::Annotation => input["all"].to_string(),
            };
            if fails && cx.step_id().as_str() == "a" {
                return Err(AgentError::denied(format!("refused: {text}")).with_context(input["all"].clone()));
            }
            Ok(json!({ "all": input["all"], "text": text, "list": [text, 1] }))
        });
        let (shown, stored) = runtime().block_on(async move {
            let run = Harness::new().agent(mix).run(document, Value::Object(input)).await;
            assert_completed!(run);
            (views(run.snapshot()), format!("{:?}", run.snapshot().events()))
        });
        prop_assert!(!shown.contains(&canary), "{hiding:?}: {canary} in {shown}");
        prop_assert!(stored.contains(&canary), "what is stored is whole");
        prop_assert!(shown.contains("[REDACTED]"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_agents_and_answers_mark_is_hidden_where_it_stands_and_elsewhere() {
    let manifest = AgentManifest::new("@test/login", "1.0.0", "Logs in").expect("well formed").output_schema(json!({
        "properties": { "session": { "writeOnly": true }, "pin": { "type": "integer", "x-redact": true } }
    }));
    let login =
        agent_fn(manifest, |_, _, _| async { Ok(json!({ "session": "canary-session", "pin": 4711, "user": "ada" })) });
    let steps = json!([
        { "id": "login", "agent": { "id": "@test/login" } },
        { "id": "ask", "dependencies": ["login"], "approval": {
            "prompt": "Let canary-session in?",
            "schema": { "properties": { "code": { "type": "string", "format": "password" } } }
        }},
        { "id": "use", "dependencies": ["ask"], "agent": { "id": "@test/echo" },
          "input": { "said": "with ${steps.login.output.session} and ${steps.ask.output.answer.code}" } }
    ]);
    let handle = Harness::new().agent(login).agent(scripted("echo")).start(workflow(steps), json!({})).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let waiting = handle.snapshot().await.expect("readable").approvals();
    assert_eq!(waiting[0].prompt, "Let [REDACTED] in?");
    let answer = json!({ "code": "canary-code" });
    let answer = ApprovalAnswer { decision: ApprovalDecision::Approve, answer, comment: None, by: None };
    handle.answer("ask", answer).await.expect("it waits");
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_eq!(run.output("use")["said"], "with canary-session and canary-code", "the execution itself sees all");
    let shown = views(run.snapshot());
    assert!(!shown.contains("canary") && !shown.contains("4711"), "{shown}");
    assert!(shown.contains("with [REDACTED] and [REDACTED]") && shown.contains("ada"), "{shown}");
}

fn entry<'a>(entries: &'a [Entry], kind: &str) -> &'a Entry {
    entries.iter().find(|entry| entry.kind == kind).expect("an entry of this type")
}

#[tokio::test(start_paused = true)]
async fn long_fields_are_cut_and_the_cut_is_noted() {
    let text = "é".repeat(5000);
    let long = agent_fn(
        AgentManifest::new("@test/long", "1.0.0", "Says much").expect("well formed"),
        |input, _, _| async move {
            Ok(if input["plain"] == true { input["text"].clone() } else { json!({ "text": input["text"] }) })
        },
    );
    let steps = json!([
        { "id": "plain", "agent": { "id": "@test/long" }, "input": { "plain": true, "text": "${inputs.text}" } },
        { "id": "object", "agent": { "id": "@test/long" }, "input": { "text": "${inputs.text}" }, "dependencies": ["plain"] }
    ]);
    let run = Harness::new().agent(long).run(workflow(steps), json!({ "text": text })).await;
    assert_completed!(run);
    let of = |step: &str| -> Vec<Entry> {
        let about = run.journal().iter().filter(|entry| entry.step_path.as_deref() == Some(step));
        about.filter(|entry| entry.kind == "step.completed").cloned().collect()
    };
    let plain = of("plain");
    let plain = entry(&plain, "step.completed");
    let cut = plain.data["output"].as_str().expect("a text");
    assert!(cut.len() <= 8192 && cut.len() > 8180 && cut.ends_with("é[truncated]"), "{}", cut.len());
    let truncated = plain.truncated.as_ref().expect("noted");
    assert_eq!(truncated.truncated_fields, ["output"]);
    let mut original = plain.data.clone();
    original["output"] = json!(text);
    let original = json!({ "message": plain.message, "data": original });
    assert_eq!(truncated.checksum, canonical::digest(&original));
    assert_eq!(truncated.original_size, original.to_string().len() as u64);

    let object = of("object");
    let output = &entry(&object, "step.completed").data["output"];
    assert_eq!((&output["truncated"], &output["originalSize"]), (&json!(true), &json!(10_011)));
    let whole = run.snapshot().step("object").expect("there is one").step.output.expect("it completed");
    assert_eq!(whole["text"], text, "a step by itself is shown whole up to 512 KB");
}

#[tokio::test(start_paused = true)]
async fn a_document_drops_the_oldest_entries_and_says_so() {
    let items: Vec<_> = (0..2500).collect();
    let steps = json!([{ "id": "m", "map": {
        "items": items, "concurrency": 50, "steps": [{ "id": "s", "agent": { "id": "@test/echo" } }]
    }}]);
    let run = Harness::new().agent(scripted("echo")).run(workflow(steps), json!({})).await;
    assert_completed!(run);
    let total = run.journal().len();
    assert!(total > 10_000, "{total}");
    let export = run.snapshot().journal().export().expect("it is not empty");
    assert_eq!((export.entries.len(), export.summary.total_entries), (10_000, total as u64));
    assert_eq!(export.entries[0].kind, "execution.queued");
    assert_eq!(export.entries.last().map(|entry| entry.kind.as_str()), Some("execution.completed"));
    let note = entry(&export.entries, "journal.truncated");
    assert_eq!(note.data["count"], json!(total - 9999));
    let behind = export.entries.iter().find(|entry| entry.sequence > note.sequence && entry.kind.starts_with("step."));
    assert!(behind.is_some_and(|entry| entry.sequence > note.data["toSequence"].as_u64().unwrap_or(u64::MAX)));
}

#[tokio::test(start_paused = true)]
async fn the_bus_tells_how_it_does() {
    let engine = Harness::new().agent(scripted("echo")).engine();
    let mut slow = engine.bus().subscribe(None).expect("there is room");
    let items: Vec<_> = (0..1000).collect();
    let steps = json!([{ "id": "m", "map": { "items": items, "steps": [step("s", "echo", &[])] } }]);
    let handle = engine.start(&orchestr8_testing::IntoWorkflow::into_workflow(workflow(steps)), json!({})).await;
    let run = Run::of(&handle.expect("started")).await;
    let metrics = engine.bus().metrics(engine.clock().now());
    let lost = run.journal().len() - Bus::QUEUE;
    assert_eq!((metrics.subscribers, metrics.depth, metrics.high_water), (1, Bus::QUEUE, Bus::QUEUE));
    assert_eq!(metrics.dropped, lost as u64);
    assert!(metrics.recently_dropped > 0.5 && metrics.last_drop.is_some());
    assert!(matches!(slow.next().await, Delivery::Dropped { count, .. } if count == lost as u64));
}
