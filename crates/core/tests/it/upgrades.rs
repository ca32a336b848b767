//! Whether executions could go on under another workflow, and that a fork then does what was said.

use std::time::Duration;

use orchestr8_core::{
    Engine, ExecutionHandle,
    engine::{Checkpoint, ForkRequest, Upgrade},
};
use orchestr8_schema::{ValidWorkflow, api::ExecutionStatus};
use orchestr8_testing::{Harness, Records, scripted};
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
