//! Recorded executions are played again without calling anybody.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use orchestr8_agent_base::{AgentError, AgentManifest, AgentRegistry, agent_fn};
use orchestr8_core::{
    Engine, ExecutionHandle, Outcome,
    cassette::{Cassette, Miss},
};
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    api::{ExecutionStatus, JournalExport},
    event::{ApprovalAnswer, ApprovalDecision, EventBody, Signal},
    usage::Usage,
};
use serde_json::{Value, json};

use crate::{step, workflow};

fn valid(document: &Value) -> ValidWorkflow {
    ValidWorkflow::from_value(document).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Counts its calls, answers with their number, and fails the first time that it is asked for `shaky`.
fn work(calls: &Arc<AtomicU32>) -> impl orchestr8_agent_base::Agent {
    let manifest = AgentManifest::new("@test/work", "1.2.0", "Never answers the same twice").expect("valid");
    let calls = Arc::clone(calls);
    agent_fn(manifest, move |input: Value, cx, _| {
        let call = calls.fetch_add(1, SeqCst);
        cx.usage(Usage { output_tokens: u64::from(call), ..Usage::default() });
        async move {
            match (input["of"].as_str(), cx.attempt()) {
                (Some("shaky"), 1) => Err(AgentError::new(ErrorKind::Network, format!("no answer to call {call}"))),
                (Some("hopeless"), _) => Err(AgentError::new(ErrorKind::Denied, format!("never, {call}"))),
                _ => Ok(json!({ "call": call, "secret": "sk-abcdefghijklmnopqrstuvwxyz" })),
            }
        }
    })
}

fn on(id: &str, of: &str, dependencies: &[&str]) -> Value {
    let mut step = step(id, "work", dependencies);
    step["input"] = json!({ "of": of });
    step
}

fn document() -> Value {
    let mut undone = on("undone", "${inputs.n}", &[]);
    undone["compensate"] = json!({ "agent": { "id": "@test/work" } });
    let mut document = workflow(json!([
        undone,
        on("shaky", "shaky", &["undone"]),
        { "id": "each", "map": { "items": [1, 2, 3], "steps": [on("one", "${item}", &[])] }, "dependencies": ["shaky"] },
        { "id": "ask", "approval": { "prompt": "Shall it go on?" }, "dependencies": ["each"] },
        { "id": "told", "wait": { "signal": "go", "timeout": "1h" }, "dependencies": ["ask"] },
        { "id": "pause", "wait": { "duration": "48h" }, "dependencies": ["told"] },
        on("last", "${steps.told.output}${steps.ask.output.answer}", &["pause"]),
        on("hopeless", "hopeless", &["last"]),
    ]));
    document["policies"] = json!({ "onFailure": "continue" });
    document
}

async fn recorded() -> (ExecutionHandle, Outcome, u32) {
    let calls = Arc::new(AtomicU32::new(0));
    let engine = Engine::builder().agent(work(&calls)).build().expect("built");
    let handle = engine.start(&valid(&document()), json!({ "n": 7 })).await.expect("started");
    let mut events = handle.events().expect("few follow");
    while let Some((_, event)) = events.next().await.expect("read") {
        match &event.body {
            EventBody::ApprovalRequested { .. } => {
                let decision = ApprovalDecision::Approve;
                let answer = ApprovalAnswer { decision, answer: json!("yes"), comment: None, by: Some("Ada".into()) };
                handle.answer("ask", answer).await.expect("it asks");
            }
            EventBody::StepWaiting { .. } if events.step_path(&event).is_some_and(|path| path.as_str() == "told") => {
                let signal = Signal { name: "go".into(), payload: json!(42), signal_id: None, step_path: None };
                handle.signal(signal).await.expect("it waits");
            }
            _ => {}
        }
    }
    let outcome = handle.outcome().await.expect("driven");
    (handle, outcome, calls.load(SeqCst))
}

/// Plays a recording with nobody to call.
async fn play(cassette: &Cassette, document: &Value) -> (ExecutionHandle, Outcome, Vec<Miss>) {
    let nobody = AgentRegistry::new();
    let engine = Engine::builder().registry(cassette.registry(&nobody).expect("made")).build().expect("built");
    let handle = engine.submit(cassette.request(&valid(document))).await.expect("started").handle;
    cassette.attend(&handle).await.expect("followed");
    let outcome = handle.outcome().await.expect("driven");
    (handle, outcome, cassette.misses())
}

/// What an execution came to, but for ids and times.
async fn story(handle: &ExecutionHandle) -> Vec<(String, String)> {
    let snapshot = handle.snapshot().await.expect("read");
    let told = snapshot.events().iter().filter_map(|event| match &event.body {
        EventBody::AttemptFinished { attempt, result, is_final, usage, .. } => {
            let result = match result {
                Ok(output) => output.to_string(),
                Err(error) => format!("{:?}: {}", error.code, error.message),
            };
            Some(format!("{attempt} {is_final} {result} {usage:?}"))
        }
        EventBody::StepCompleted { .. }
        | EventBody::StepFailed { .. }
        | EventBody::CompensationStepCompleted { .. } => Some(event.body.name().to_owned()),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let steps = snapshot
        .steps()
        .into_iter()
        .map(|(step, _)| (step.step_path.clone(), format!("{:?} {:?} {}", step.status, step.output, step.attempts)));
    let mut story: Vec<_> = steps.collect();
    let mut told: Vec<_> = told.into_iter().map(|line| ("told".to_owned(), line)).collect();
    told.sort();
    story.append(&mut told);
    story
}

#[tokio::test(start_paused = true)]
async fn a_recording_gives_the_same_attempts_and_outputs_and_calls_nobody() {
    let (handle, outcome, calls) = recorded().await;
    assert_eq!(
        (outcome.status(), calls),
        (ExecutionStatus::Failed, 9),
        "the last step never succeeds, so the first is undone"
    );
    let cassette = Cassette::of(&handle.snapshot().await.expect("read"));
    let (replayed, again, misses) = play(&cassette, &document()).await;
    assert_eq!(misses, []);
    assert_eq!(story(&replayed).await, story(&handle).await);
    assert_eq!(again.error().map(|error| &error.message), outcome.error().map(|error| &error.message));
    // Two days of waiting; what is left is backoff, which is jittered.
    let took = again.state().ended_at().expect("ended").since(again.state().started_at().expect("begun"));
    assert_eq!(took.as_secs_f64().round() as u64 / 60, 2 * 24 * 60, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_was_not_recorded_or_with_another_input_is_named() {
    let (handle, ..) = recorded().await;
    let snapshot = handle.snapshot().await.expect("read");
    let mut edited = document();
    edited["steps"][1]["input"]["more"] = json!(1);
    edited["steps"].as_array_mut().expect("steps").push(on("new", "new", &[]));
    let (replayed, again, mut misses) = play(&Cassette::of(&snapshot), &edited).await;
    misses.sort_by(|one, other| one.step_path.cmp(&other.step_path));
    let told: Vec<_> = misses.iter().map(|miss| format!("{}: {}", miss.step_path, miss.because)).collect();
    assert_eq!(told, ["new: it was never recorded", "shaky: it was recorded with another input"]);
    assert_eq!(again.status(), ExecutionStatus::Failed);
    let failed = replayed.snapshot().await.expect("read").step("new").expect("it ran");
    let error = failed.step.error.expect("it failed");
    assert_eq!((error.code, error.attempts), (ErrorKind::NotFound, 1), "{error}");
    assert!(error.message.contains("there is no recording of new"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_exported_journal_is_a_recording_but_for_what_it_hides() {
    let (handle, ..) = recorded().await;
    let export = handle.snapshot().await.expect("read").journal().export().expect("it has events");
    let text = serde_json::to_string(&export).expect("written");
    assert!(!text.contains("sk-abcdefg"));
    let export: JournalExport = serde_json::from_str(&text).expect("read");
    let (.., misses) = play(&Cassette::of_export(&export), &document()).await;
    let because = "its result was hidden or cut when the journal was exported";
    assert!(misses.iter().all(|miss| miss.because == because) && !misses.is_empty(), "{misses:?}");

    let whole = serde_json::from_str(&text.replace("[REDACTED]", "shown")).expect("read");
    let (replayed, _, misses) = play(&Cassette::of_export(&whole), &document()).await;
    assert_eq!(misses, []);
    let hide = |story: Vec<(String, String)>| -> Vec<_> {
        story.into_iter().map(|(path, line)| (path, line.replace("sk-abcdefghijklmnopqrstuvwxyz", "shown"))).collect()
    };
    assert_eq!(hide(story(&replayed).await), hide(story(&handle).await));
}
