//! Steps that stand in for others.

use orchestr8_schema::ErrorKind;
use orchestr8_testing::{Harness, Run, assert_completed, assert_events, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{step, workflow};

fn guarded(id: &str, agent: &str, fallback: &str) -> Value {
    let mut step = step(id, agent, &[]);
    step["onError"] = json!("fallback");
    step["fallbackStepId"] = json!(fallback);
    step
}

async fn run(steps: Value) -> Run {
    let broken = scripted("broken").fails(ErrorKind::Internal);
    Harness::new().agent(scripted("echo")).agent(broken).run(workflow(steps), json!({ "no": false })).await
}

#[tokio::test(start_paused = true)]
async fn a_fallback_recovers_what_failed_with_the_same_input() {
    let mut first = guarded("first", "broken", "spare");
    first["input"] = json!({ "n": 7 });
    let mut last = step("last", "echo", &["first"]);
    last["input"] = json!({
        "output": "${steps.first.output}", "status": "${steps.first.status}", "by": "${steps.first.recoveredBy}"
    });
    let run = run(json!([first, step("spare", "echo", &[]), last])).await;
    assert_completed!(run);
    assert_eq!(run.output("last"), &json!({ "output": { "n": 7 }, "status": "failed", "by": "spare" }));
    assert_events!(
        run,
        [
            "step.failed first",
            "step.fallback first",
            "step.completed spare",
            "step.recovered first",
            "step.scheduled last"
        ]
    );
    let body = run.outcome().to_body();
    let of = |id: &str| body.steps.iter().find(|step| step.step_id == id).expect("there is one").clone();
    assert_eq!((of("first").recovered_by.as_deref(), of("spare").alias_for.as_deref()), (Some("spare"), Some("first")));
    assert!(body.errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_is_not_needed_is_skipped_and_holds_nobody_up() {
    let run =
        run(json!([guarded("first", "echo", "spare"), step("spare", "echo", &[]), step("last", "echo", &["spare"])]))
            .await;
    assert_completed!(run);
    let skipped = run.journal().iter().find(|entry| entry.kind == "step.skipped").expect("skipped");
    assert_eq!(
        (skipped.step_path.as_deref(), &skipped.data["skipReason"]),
        (Some("spare"), &json!("fallback-not-needed"))
    );
    assert_events!(run, ["step.skipped spare", "step.completed last"]);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_can_have_one_of_its_own() {
    let run = run(json!([
        guarded("first", "broken", "second"),
        guarded("second", "broken", "third"),
        step("third", "echo", &[])
    ]))
    .await;
    assert_completed!(run);
    assert_events!(
        run,
        ["step.fallback first", "step.fallback second", "step.recovered second", "step.recovered first"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_whose_fallback_fails_or_does_not_run_stands() {
    let failed = run(json!([guarded("first", "broken", "spare"), step("spare", "broken", &[])])).await;
    let error = assert_failed!(failed, ErrorKind::Internal);
    assert_eq!(error.step_path.as_ref().map(ToString::to_string).as_deref(), Some("first"));
    assert_events!(failed, ["step.failed spare", "step.fallback-failed first", "execution.failing"]);

    let mut unwilling = step("spare", "echo", &[]);
    unwilling["condition"] = json!({ "if": "inputs.no" });
    let skipped = run(json!([guarded("first", "broken", "spare"), unwilling])).await;
    assert_failed!(skipped, ErrorKind::Internal);
    assert_events!(skipped, ["step.skipped spare", "step.fallback-failed first"]);
}
