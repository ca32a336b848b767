//! What an execution has done is undone after a failure or a cancellation.

use std::time::Duration;

use orchestr8_agent_base::{ToolSpec, tool_fn};
use orchestr8_core::{Cancellation, RequestError};
use orchestr8_schema::{
    ErrorKind,
    api::{Compensation, ExecutionStatus},
    canonical,
};
use orchestr8_testing::{Harness, Run, assert_completed, assert_events, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

const SECOND: Duration = Duration::from_secs(1);

/// A step that `@test/undo` undoes.
fn undoable(id: &str, agent: &str, dependencies: &[&str]) -> Value {
    let mut step = step(id, agent, dependencies);
    step["input"] = json!({ "id": id });
    step["compensate"] =
        json!({ "agent": { "id": "@test/undo" }, "input": { "undo": "${self.stepPath}", "was": "${self.input.id}" } });
    step
}

/// The step paths that the agent was asked to undo, in order.
fn undone(records: &orchestr8_testing::Records) -> Vec<String> {
    records.all().iter().map(|record| record.input["undo"].as_str().expect("a path").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_completed_is_undone_newest_first_after_a_failure() {
    let undo = scripted("undo");
    let records = undo.records();
    let steps = json!([
        undoable("reserve", "echo", &[]),
        undoable("charge", "echo", &["reserve"]),
        undoable("ship", "down", &["charge"]),
        undoable("never", "echo", &["ship"])
    ]);
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("down").fails(ErrorKind::Validation))
        .agent(undo)
        .run(workflow(steps), json!({}))
        .await;
    let error = assert_failed!(run, ErrorKind::Validation);
    assert_eq!(error.step_path.as_ref().expect("known").as_str(), "ship", "the failure stays the reason");
    assert_eq!(run.outcome().compensation(), Compensation::Complete);
    assert_eq!(undone(&records), ["charge", "reserve"]);
    assert_events!(
        run,
        [
            "execution.failing",
            "step.skipped never",
            "compensation.started",
            "compensation.step-started charge",
            "compensation.step-completed charge",
            "compensation.step-started reserve",
            "compensation.step-completed reserve",
            "compensation.finished",
            "execution.failed"
        ]
    );
    assert_eq!(run.journal().last().expect("not empty").data["compensation"], "complete");
    let body = run.outcome().to_body();
    assert_eq!(body.compensation, Compensation::Complete);
    let of = |path: &str| body.steps.iter().find(|step| step.step_path == path).expect("shown").compensation.clone();
    assert_eq!(of("charge").expect("undone").status, "completed");
    assert_eq!(of("ship"), None);

    // The key names the execution and the step, and nothing that a second run of the same call would change.
    let key = format!("compensate\ntest\n{}\ncharge", body.execution_id);
    assert_eq!(records.all()[0].idempotency_key, canonical::sha256_hex(key.as_bytes()));
    let told = run.journal().iter().find(|entry| entry.kind == "compensation.step-started").expect("told");
    assert_eq!(told.data["idempotencyKey"], records.all()[0].idempotency_key);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_tried_again_and_does_not_stop_the_others() {
    let undo = scripted("undo");
    let stuck = scripted("stuck").fails(ErrorKind::Network);
    let (records, tried) = (undo.records(), stuck.records());
    let mut charge = undoable("charge", "echo", &["reserve"]);
    charge["compensate"]["agent"]["id"] = json!("@test/stuck");
    let steps = json!([undoable("reserve", "echo", &[]), charge, step("ship", "down", &["charge"])]);
    let policies = json!({ "resilience": { "retry": { "maxAttempts": 1 } } });
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("down").fails(ErrorKind::Network))
        .agent(undo)
        .agent(stuck)
        .run(workflow_with(steps, policies), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Network);
    assert_eq!(run.outcome().compensation(), Compensation::Incomplete);
    assert_eq!(tried.len(), 3, "by the default policy, whatever holds for steps");
    assert!(tried.all().iter().all(|record| record.idempotency_key == tried.all()[0].idempotency_key));
    assert_eq!(undone(&records), ["reserve"]);
    let failed = run.journal().iter().find(|entry| entry.kind == "compensation.step-failed").expect("told");
    assert_eq!((&failed.data["attempts"], &failed.data["error"]["code"]), (&json!(3), &json!("NETWORK")));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_execution_is_undone_unless_its_policy_says_no() {
    for (policies, expected) in [
        (json!({}), Compensation::Complete),
        (json!({ "compensation": { "onCancel": false } }), Compensation::None),
        (json!({ "compensation": { "onFailure": false } }), Compensation::Complete),
    ] {
        let steps = json!([undoable("a", "echo", &[]), step("b", "slow", &["a"])]);
        let handle = Harness::new()
            .agent(scripted("echo"))
            .agent(scripted("slow").delays(20 * SECOND))
            .agent(scripted("undo").delays(10 * SECOND))
            .start(workflow_with(steps, policies), json!({}))
            .await;
        tokio::time::sleep(SECOND).await;
        handle.cancel(Cancellation::new("enough")).await.expect("accepted");
        tokio::time::sleep(SECOND).await;
        // Neither a second request nor a pause stops what is being undone.
        assert!(handle.cancel(Cancellation::new("now").grace_period(Duration::ZERO)).await.is_err());
        assert!(matches!(handle.pause(None).await, Err(RequestError::Refused(_) | RequestError::Ended)));
        let run = Run::of(&handle).await;
        assert_eq!(run.status(), ExecutionStatus::Cancelled);
        assert_eq!(run.outcome().compensation(), expected);
        let duration = if expected == Compensation::None { 1000 } else { 11_000 };
        assert_eq!(run.outcome().to_body().duration, Some(duration));
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_it_has_a_time_limit_beyond_that_of_the_execution() {
    let undo = scripted("undo").delays(25 * SECOND).ignores_cancel();
    let records = undo.records();
    let steps: Vec<_> = (0..4).map(|index| undoable(&format!("s{index}"), "echo", &[])).collect();
    let mut steps = json!(steps);
    steps.as_array_mut().expect("a list").push(step("late", "slow", &[]));
    let policies = json!({ "timeout": { "global": "2s", "perStep": "1m" } });
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("slow").delays(20 * SECOND))
        .agent(undo)
        .run(workflow_with(steps, policies), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Timeout);
    assert_eq!(run.outcome().compensation(), Compensation::Incomplete);
    assert_eq!(run.outcome().to_body().duration, Some(62_000), "two seconds and a minute");
    assert_eq!(undone(&records), ["s3", "s2", "s1"]);
    assert_events!(
        run,
        [
            "compensation.step-completed s2",
            "timer.fired",
            "compensation.step-failed s1",
            "compensation.finished",
            "execution.failed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn inner_steps_are_undone_as_they_saw_the_world() {
    let undo = scripted("undo");
    let records = undo.records();
    let mut body = step("work", "echo", &[]);
    body["compensate"] = json!({
        "agent": { "id": "@test/undo" },
        "input": { "undo": "${self.stepPath}", "value": "${loop.value}", "index": "${loop.index}" }
    });
    let mut item = step("score", "echo", &[]);
    item["compensate"] = json!({
        "agent": { "id": "@test/undo" },
        "input": { "undo": "${self.stepPath}", "value": "${accumulator}", "index": "${index}" }
    });
    let steps = json!([
        { "id": "turn", "loop": {
            "while": "loop.index < `3`", "maxIterations": 5, "init": "x", "value": "${loop.value}+", "steps": [body]
        }},
        { "id": "each", "dependencies": ["turn"], "map": {
            "items": ["a", "b"], "accumulator": { "init": "", "value": "${accumulator}${item}" }, "steps": [item]
        }},
        step("fail", "down", &["each"])
    ]);
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("down").fails(ErrorKind::Validation))
        .agent(undo)
        .run(workflow(steps), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Validation);
    let seen: Vec<_> = records
        .all()
        .iter()
        .map(|record| json!([record.input["undo"], record.input["value"], record.input["index"]]))
        .collect();
    assert_eq!(
        seen,
        [
            json!(["each[1].score", "a", 1]),
            json!(["each[0].score", "", 0]),
            json!(["turn#2.work", "x++", 2]),
            json!(["turn#1.work", "x+", 1]),
            json!(["turn#0.work", "x", 0])
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_failed_is_undone_if_it_asks_for_that() {
    let undo = scripted("undo");
    let records = undo.records();
    let mut failed = undoable("failed", "down", &[]);
    failed["compensate"]["on"] = json!("attempt");
    failed["compensate"]["input"]["error"] = json!("${self.error.code}");
    let mut unfit = failed.clone();
    unfit["id"] = json!("unfit");
    unfit["input"] = json!({ "nothing": "${inputs.absent}" });
    unfit["onError"] = json!("continue");
    let run = Harness::new()
        .agent(scripted("down").fails(ErrorKind::Validation))
        .agent(undo)
        .run(workflow(json!([unfit, failed])), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Validation);
    assert_eq!(undone(&records), ["failed"], "without an attempt there is nothing to undo");
    assert_eq!(records.all()[0].input["error"], "VALIDATION");
}

#[tokio::test(start_paused = true)]
async fn an_input_that_cannot_be_evaluated_fails_that_one_only() {
    let undo = scripted("undo");
    let records = undo.records();
    let mut wrong = undoable("wrong", "echo", &["right"]);
    wrong["compensate"]["input"]["undo"] = json!("${self.output.absent.deep}");
    let steps = json!([undoable("right", "echo", &[]), wrong, step("fail", "down", &["wrong"])]);
    let run = Harness::new()
        .agent(scripted("echo").returns(json!({})))
        .agent(scripted("down").fails(ErrorKind::Validation))
        .agent(undo)
        .run(workflow(steps), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Validation);
    assert_eq!(run.outcome().compensation(), Compensation::Incomplete);
    assert_eq!(undone(&records), ["right"]);
}

#[tokio::test(start_paused = true)]
async fn what_succeeds_is_not_undone() {
    let undo = scripted("undo");
    let records = undo.records();
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(undo)
        .run(workflow(json!([undoable("a", "echo", &[])])), json!({}))
        .await;
    assert_completed!(run);
    assert_eq!(run.outcome().compensation(), Compensation::None);
    assert!(records.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tool_can_undo() {
    let spec = ToolSpec::new("refund", "For a test").expect("well formed");
    let tool = tool_fn(spec, |arguments, _, _| async move { Ok(arguments) });
    let mut charge = step("charge", "echo", &[]);
    charge["compensate"] = json!({ "tool": { "name": "refund" }, "input": { "of": "${self.stepPath}" } });
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("down").fails(ErrorKind::Validation))
        .tool(tool)
        .run(workflow(json!([charge, step("fail", "down", &["charge"])])), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Validation);
    assert_eq!(run.outcome().compensation(), Compensation::Complete);
    let answer = run.journal().iter().rfind(|entry| entry.kind == "attempt.finished").expect("called");
    assert_eq!(
        (&answer.data["callId"], &answer.data["output"]["of"]),
        (&json!("charge/compensation"), &json!("charge"))
    );
}
