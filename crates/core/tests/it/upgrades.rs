//! Whether executions could go on under another workflow, and that a fork then does what was said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use orchestr8_core::{
    Engine, EngineBuilder, ExecutionHandle, MemoryStore, Store,
    engine::{Checkpoint, ForkRequest, SupersedeError, TakeUpError, Upgrade},
    store::Query,
};
use orchestr8_schema::{
    ValidWorkflow,
    api::{Compensation, ExecutionStatus},
    event::EventBody,
};
use orchestr8_testing::{FaultStore, Harness, Interference, Records, StoreFault, scripted};
use serde_json::{Value, json};

use crate::{step, workflow};

fn valid(document: &Value) -> ValidWorkflow {
    ValidWorkflow::from_value(document).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Two steps and a map that complete, a step that takes for ever, and one behind it.
fn document() -> Value {
    let with_input = |id: &str, dependencies: &[&str], input: &Value| {
        let mut step = step(id, "echo", dependencies);
        step["input"] = input.clone();
        step
    };
    workflow(json!([
        with_input("fetch", &[], &json!({ "of": "${inputs.n}" })),
        with_input("summarize", &["fetch"], &json!({ "of": 1 })),
        { "id": "each", "map": { "items": [1, 2], "as": "item", "steps": [with_input("one", &[], &json!({ "of": "${item}" }))] } },
        step("long", "never", &["summarize"]),
        step("publish", "echo", &["long"]),
    ]))
}

/// An execution of it that has come as far as it can.
async fn begun() -> (Engine, ExecutionHandle, Records) {
    let echo = scripted("echo");
    let records = echo.records();
    let engine = Harness::new().agent(echo).agent(scripted("never").never_ends()).engine();
    let handle = engine.start(&valid(&document()), json!({ "n": 7 })).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    (engine, handle, records)
}

#[tokio::test(start_paused = true)]
async fn what_has_happened_decides_and_what_has_not_is_named() {
    let (engine, handle, _) = begun().await;
    let check = async |change: &dyn Fn(&mut Value)| {
        let mut edited = document();
        change(&mut edited);
        match engine.check_upgrade(handle.id(), &valid(&edited)).await.expect("it can be told") {
            Upgrade::Same => "same".to_owned(),
            Upgrade::Compatible { differences } => format!("compatible: {}", differences.join("; ")),
            Upgrade::Diverges { step_path, because } => format!("diverges: {step_path} {because}"),
            _ => String::new(),
        }
    };
    assert_eq!(check(&|_| {}).await, "same");
    assert_eq!(
        check(&|edited| edited["steps"][4]["policies"] = json!({ "timeout": "5s" })).await,
        "compatible: long begins anew; publish has another timeout"
    );
    assert_eq!(
        check(&|edited| {
            edited["steps"][4] = step("announce", "echo", &["long"]);
            edited["metadata"]["name"] = json!("Other");
        })
        .await,
        "compatible: long begins anew; publish is gone; announce is new; the workflow has another metadata"
    );
    assert_eq!(
        check(&|edited| edited["steps"][2]["map"]["onItemError"] = json!("continue")).await,
        "compatible: long begins anew; each has another map"
    );
    assert_eq!(
        check(&|edited| edited["steps"][1]["dependencies"] = json!([])).await,
        "diverges: summarize depends on fetch no longer"
    );
    assert_eq!(
        check(&|edited| edited["steps"][1]["input"] = json!({ "of": 2 })).await,
        "diverges: summarize has another input"
    );
    assert_eq!(
        check(&|edited| edited["steps"][2]["map"]["items"] = json!([1, 3])).await,
        "diverges: each[1].one has another input"
    );
    assert_eq!(
        check(&|edited| edited["steps"][1]["condition"] = json!({ "if": "inputs.n == `8`" })).await,
        "diverges: summarize would be skipped"
    );
    assert_eq!(
        check(&|edited| {
            edited["steps"][0]["id"] = json!("get");
            edited["steps"][1]["dependencies"] = json!(["get"]);
        })
        .await,
        "diverges: fetch the workflow has no such step"
    );
    assert_eq!(
        check(&|edited| edited["steps"][1]["agent"]["id"] = json!("@test/never")).await,
        "diverges: summarize calls something else"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_a_compatible_execution_takes_over_all_that_has_completed() {
    let (engine, handle, records) = begun().await;
    let mut edited = document();
    edited["steps"][3]["agent"]["id"] = json!("@test/echo");
    let verdict = engine.check_upgrade(handle.id(), &valid(&edited)).await.expect("it can be told");
    let differences = vec!["long begins anew".to_owned(), "long has another agent".to_owned()];
    assert_eq!(verdict, Upgrade::Compatible { differences });
    let before = records.len();
    let request = ForkRequest::at(Checkpoint::Latest).workflow(valid(&edited));
    let forked = engine.fork(handle.id(), request).await.expect("forked").submission.handle;
    assert_eq!(forked.outcome().await.expect("driven").status(), ExecutionStatus::Completed);
    assert_eq!(records.len() - before, 2, "only `long` and `publish` were called");
}

/// Says when a process is gone.
#[derive(Debug)]
struct Gone(Arc<AtomicBool>);

impl Interference for Gone {
    fn on_write(&self, _: u64) -> Option<StoreFault> {
        self.0.load(SeqCst).then_some(StoreFault::Conflict)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_fork_supersedes_is_neither_undone_nor_called_again() {
    let (echo, never) = (scripted("echo"), scripted("never").never_ends());
    let (undoing, stuck) = (scripted("undo"), never.records());
    let undone = undoing.records();
    let engine = |builder: EngineBuilder| {
        let agents = [echo.clone(), never.clone(), undoing.clone()];
        agents.into_iter().fold(builder, EngineBuilder::agent).build().expect("built")
    };
    let mut document = workflow(json!([step("fetch", "echo", &[]), step("long", "never", &["fetch"])]));
    document["steps"][0]["compensate"] = json!({ "agent": { "id": "@test/undo" } });
    let (store, gone) = (MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let mortal = FaultStore::new(store.clone(), Arc::new(Gone(Arc::clone(&gone))));
    let handle = engine(Engine::builder().store(mortal)).start(&valid(&document), json!({})).await;
    let handle = handle.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    gone.store(true, SeqCst);
    handle.pause(None).await.expect_err("its process is gone");

    document["steps"].as_array_mut().expect("steps").push(step("publish", "echo", &["long"]));
    let request = || ForkRequest::at(Checkpoint::Latest).workflow(valid(&document));
    let second = engine(Engine::builder().store(store.clone()));
    let forked = second.supersede(handle.id(), request()).await.expect("nobody drives it");
    let original = second.snapshot(handle.id()).await.expect("read");
    assert_eq!(original.status(), ExecutionStatus::Cancelled);
    assert_eq!(original.state().compensation(), Compensation::None);
    let fork = forked.submission.handle.id();
    let asked = original.events().iter().find_map(|event| match &event.body {
        EventBody::ExecutionCancelling(request) => Some(request),
        _ => None,
    });
    let asked = asked.expect("it was cancelled");
    assert_eq!((asked.superseded_by, &*asked.reason), (Some(fork), &*format!("superseded by {fork}")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(undone.len(), 0, "the fork builds on what was done");
    assert_eq!(stuck.len(), 2, "once in the original, and once in the fork");
    let retained = forked.submission.handle.snapshot().await.expect("read").to_body();
    assert!(retained.steps.iter().any(|step| step.step_path.as_str() == "fetch" && step.reused), "{retained:?}");
    let again = second.supersede(handle.id(), request()).await;
    assert!(matches!(again, Err(SupersedeError::TakeUp(TakeUpError::Nothing))), "{again:?}");
    assert_eq!(store.list(&Query::newest(9)).await.expect("listed").executions.len(), 2);
}
