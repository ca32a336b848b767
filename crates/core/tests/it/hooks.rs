//! Hooks around steps, sub-workflows and executions, of the file and of the engine.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orchestr8_agent_base::{AgentError, AgentManifest, agent_fn};
use orchestr8_core::{
    Cancellation, Engine,
    hook::{Decision, HookEvent, HookSpec, hook_fn},
};
use orchestr8_schema::{ErrorKind, ValidWorkflow, api::ExecutionStatus, source::Options, workflow::HookPoint};
use orchestr8_testing::{Harness, Run, assert_completed, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{step, workflow};

fn hook(agent: &str) -> Value {
    json!({ "agent": { "id": format!("@test/{agent}") } })
}

fn guard(agent: &str) -> Value {
    json!({ "agent": { "id": format!("@test/{agent}") }, "mode": "guard" })
}

fn with_hooks(mut workflow: Value, hooks: Value) -> Value {
    workflow["hooks"] = hooks;
    workflow
}

/// The hooks that were called, in their order: what each was about, and where.
fn called(run: &Run) -> Vec<String> {
    let started = run.journal().iter().filter(|entry| entry.kind == "hook.started");
    started
        .map(|entry| {
            let about = entry.step_path.as_deref().unwrap_or("execution");
            let name = entry.data.get("hook").and_then(Value::as_str).map(|name| format!(" {name}"));
            format!("{about} {}{}", entry.data["point"].as_str().expect("text"), name.unwrap_or_default())
        })
        .collect()
}

/// Notes what it is told.
fn observer(name: &str, points: &[HookPoint], heard: &Arc<Mutex<Vec<HookEvent>>>) -> impl orchestr8_core::hook::Hook {
    let heard = Arc::clone(heard);
    hook_fn(HookSpec::observer(name, points), move |event, _, _| {
        heard.lock().expect("whole").push(event);
        async { Ok(Decision::Allow) }
    })
}

#[tokio::test(start_paused = true)]
async fn hooks_of_engine_workflow_and_step_surround_each_other() {
    let mut document = with_hooks(
        workflow(json!([step("a", "echo", &[])])),
        json!({
            "beforeExecution": [hook("echo")], "afterExecution": [hook("echo")],
            "beforeStep": [hook("echo")], "afterStep": [hook("echo")],
            "onError": [hook("echo")], "onCancel": [hook("echo")], "onStepError": [hook("echo")]
        }),
    );
    document["steps"][0]["hooks"] = json!({ "before": [hook("echo")], "after": [hook("echo"), hook("echo")] });
    let heard = Arc::default();
    let told = Arc::clone(&heard);
    let points = [HookPoint::BeforeExecution, HookPoint::AfterExecution, HookPoint::BeforeStep, HookPoint::AfterStep];
    let run = Harness::new()
        .agent(scripted("echo"))
        .engine_with(move |engine| engine.hook(observer("audit", &points, &told)))
        .run(document, json!({ "n": 1 }))
        .await;
    assert_completed!(run);
    assert_eq!(
        called(&run),
        [
            "execution beforeExecution audit",
            "execution beforeExecution",
            "a beforeStep audit",
            "a beforeStep",
            "a before",
            "a after",
            "a after",
            "a afterStep",
            "a afterStep audit",
            "execution afterExecution",
            "execution afterExecution audit",
        ]
    );
    let heard = heard.lock().expect("whole");
    assert_eq!(heard[1].step_path(), Some("a"));
    assert_eq!((heard[2].output(), heard[2].status()), (Some(&json!({})), Some("completed")));
    assert_eq!((heard[3].output(), heard[3].input()), (Some(&json!({ "a": {} })), &json!({ "n": 1 })));
    assert_eq!(run.journal_lines().last().map(String::as_str), Some("execution.completed"));
}

#[tokio::test(start_paused = true)]
async fn a_step_is_settled_only_after_its_hooks() {
    let mut document = workflow(json!([step("a", "echo", &[]), step("b", "echo", &["a"])]));
    document["steps"][0]["hooks"] = json!({ "before": [hook("slow")], "after": [hook("slow")] });
    let slow = scripted("slow").delays(Duration::from_secs(2));
    let run = Harness::new().agent(scripted("echo")).agent(slow).run(document, json!({})).await;
    assert_completed!(run);
    let at = |kind: &str, path: &str| {
        let is = |entry: &&orchestr8_schema::api::Entry| entry.kind == kind && entry.step_path.as_deref() == Some(path);
        run.journal().iter().find(is).expect("it happened").elapsed_ms
    };
    assert_eq!((at("step.started", "a"), at("step.completed", "a")), (2000, 2000));
    assert_eq!(at("step.scheduled", "b"), 4000);
}

#[tokio::test(start_paused = true)]
async fn a_guard_denies_or_gives_another_input_that_is_checked_again() {
    let picky = || {
        scripted("picky").manifest(|manifest| {
            manifest.input_schema(json!({ "type": "object", "properties": { "n": { "type": "integer" } } }))
        })
    };
    let answers = [
        (json!({ "decision": "allow" }), Ok(json!({ "n": 1 }))),
        (json!({ "decision": "allow", "input": { "n": 2 } }), Ok(json!({ "n": 2 }))),
        (json!({ "decision": "allow", "input": { "n": "two" } }), Err("a guard has denied it, since it failed itself")),
        (json!({ "decision": "deny", "reason": "not today" }), Err("a guard has denied it: not today")),
        (json!({ "decision": "perhaps" }), Err("a guard has denied it, since it failed itself")),
    ];
    for (answer, expected) in answers {
        let mut document = workflow(json!([step("a", "picky", &[])]));
        document["steps"][0]["input"] = json!({ "n": 1 });
        document["steps"][0]["hooks"] = json!({ "before": [guard("says")] });
        let agent = picky();
        let records = agent.records();
        let run = Harness::new().agent(agent).agent(scripted("says").returns(answer)).run(document, json!({})).await;
        match expected {
            Ok(output) => {
                assert_completed!(run);
                assert_eq!(run.output("a"), &output);
            }
            Err(message) => {
                assert_failed!(run, ErrorKind::Denied);
                assert_eq!(run.outcome().error().expect("failed").message, message);
                assert!(records.is_empty(), "the agent is not called");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_the_execution_denies_it_or_changes_its_input() {
    let document = |answer: Value| {
        let mut document = with_hooks(
            workflow(json!([step("a", "echo", &[])])),
            json!({ "beforeExecution": [guard("says")], "afterExecution": [hook("echo")] }),
        );
        document["steps"][0]["input"] = json!({ "n": "${inputs.n}" });
        (document, Harness::new().agent(scripted("echo")).agent(scripted("says").returns(answer)))
    };
    let (changed, harness) = document(json!({ "decision": "allow", "input": { "n": 2 } }));
    let run = harness.run(changed, json!({ "n": 1 })).await;
    assert_completed!(run);
    assert_eq!(run.output("a"), &json!({ "n": 2 }));

    let (denied, harness) = document(json!({ "decision": "deny" }));
    let run = harness.run(denied, json!({ "n": 1 })).await;
    assert_failed!(run, ErrorKind::Denied);
    assert_eq!(called(&run), ["execution beforeExecution", "execution afterExecution"]);
    assert!(!run.journal_lines().iter().any(|line| line.starts_with("step.scheduled")));
}

#[tokio::test(start_paused = true)]
async fn hooks_that_hang_panic_or_fail_harm_nobody_unless_they_are_guards() {
    for bad in [
        scripted("bad").never_ends().ignores_cancel(),
        scripted("bad").panics(),
        scripted("bad").fails(ErrorKind::Network),
    ] {
        for is_guard in [false, true] {
            let mut document = workflow(json!([step("a", "echo", &[])]));
            let first = if is_guard { guard("bad") } else { hook("bad") };
            document["steps"][0]["hooks"] = json!({ "before": [first], "after": [hook("bad")] });
            let records = bad.records();
            let before = records.len();
            let run = Harness::new().agent(scripted("echo")).agent(bad.clone()).run(document, json!({})).await;
            let finished = run.journal().iter().find(|entry| entry.kind == "hook.finished").expect("it has an end");
            assert!(finished.data.contains_key("error"));
            if is_guard {
                assert_failed!(run, ErrorKind::Denied);
                assert_eq!(finished.data["decision"], "deny");
                assert_eq!(records.len() - before, 1, "hooks are called once");
            } else {
                assert_completed!(run);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_to_step_workflow_and_engine_before_they_are_fatal() {
    let mut document = with_hooks(
        workflow(json!([step("a", "fails", &[])])),
        json!({ "onStepError": [hook("echo")], "onError": [hook("echo")], "afterExecution": [hook("echo")], "onCancel": [hook("echo")] }),
    );
    document["steps"][0]["hooks"] = json!({
        "onError": [{ "agent": { "id": "@test/echo" }, "input": { "code": "${self.error.code}", "of": "${self.stepPath}" } }]
    });
    let heard = Arc::default();
    let told = Arc::clone(&heard);
    let points = [HookPoint::OnStepError, HookPoint::OnError, HookPoint::AfterExecution];
    let run = Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("fails").fails(ErrorKind::Validation))
        .engine_with(move |engine| engine.hook(observer("audit", &points, &told)))
        .run(document, json!({}))
        .await;
    assert_failed!(run, ErrorKind::Validation);
    let expected = [
        "a onError",
        "a onStepError",
        "a onStepError audit",
        "execution onError",
        "execution onError audit",
        "execution afterExecution",
        "execution afterExecution audit",
    ];
    assert_eq!(called(&run), expected);
    let first = run.journal().iter().find(|entry| entry.kind == "hook.started").expect("called");
    assert_eq!(first.data["input"], json!({ "code": "VALIDATION", "of": "a" }));
    let lines = run.journal_lines();
    let place = |wanted: &str| lines.iter().position(|line| line == wanted);
    assert!(place("execution.failing") > lines.iter().rposition(|line| line == "hook.finished a"));
    assert_eq!(heard.lock().expect("whole")[1].error().expect("there is one")["code"], "VALIDATION");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_execution_tells_on_cancel_and_steps_that_never_ran_tell_nothing() {
    let document = with_hooks(
        workflow(json!([step("a", "never", &[]), step("b", "echo", &["a"])])),
        json!({ "onCancel": [hook("echo")], "afterExecution": [hook("echo")], "afterStep": [hook("echo")], "onStepError": [hook("echo")] }),
    );
    let handle =
        Harness::new().agent(scripted("echo")).agent(scripted("never").never_ends()).start(document, json!({})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel(Cancellation::new("enough")).await.expect("cancelled");
    let run = Run::of(&handle).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(called(&run), ["execution onCancel", "execution afterExecution"]);
    let told = run.journal().iter().find(|entry| entry.kind == "hook.started").expect("called");
    assert_eq!(told.data["input"]["error"]["message"], "enough");
}

#[tokio::test(start_paused = true)]
async fn cancelling_in_the_middle_of_a_hook_drops_it() {
    let mut document = workflow(json!([step("a", "echo", &[]), step("b", "echo", &["a"])]));
    document["steps"][0]["hooks"] = json!({ "after": [hook("never")] });
    let handle =
        Harness::new().agent(scripted("echo")).agent(scripted("never").never_ends()).start(document, json!({})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel(Cancellation::new("enough")).await.expect("cancelled");
    let run = Run::of(&handle).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_eq!(run.journal().last().expect("not empty").elapsed_ms, 1000, "nobody waits for the hook");
    assert_eq!(run.outcome().to_body().steps[0].status, "completed");
}

#[tokio::test(start_paused = true)]
async fn sub_workflows_have_hooks_of_their_own_inside_of_those_around_them() {
    let child = json!({
        "version": "1.0.0", "metadata": { "id": "child", "name": "Child" },
        "steps": [{ "id": "inner", "agent": { "id": "@test/echo" }, "input": { "n": "${inputs.n}" } }],
        "outputs": { "n": "${steps.inner.output.n}" },
        "hooks": { "beforeExecution": [guard("twice")], "beforeStep": [hook("echo")], "afterExecution": [hook("echo")], "afterStep": [hook("echo")] }
    });
    let mut document = with_hooks(
        workflow(json!([{ "id": "sub", "workflow": { "ref": "child", "input": { "n": 1 } } }])),
        json!({ "beforeStep": [hook("echo")], "afterStep": [hook("echo")] }),
    );
    document["x-workflows"] = json!({ "child": child });
    document["x-references"] = json!({ "child": "child" });
    let twice =
        agent_fn(AgentManifest::new("@test/twice", "1.0.0", "Doubles").expect("well formed"), |own, _, _| async move {
            let n = own["input"]["n"].as_i64().ok_or_else(|| AgentError::validation("no number"))?;
            Ok(json!({ "decision": "allow", "input": { "n": n * 2 } }))
        });
    let workflow = sub_workflow(&document);
    let run = Harness::new().agent(scripted("echo")).agent(twice).run(workflow, json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("sub"), &json!({ "n": 2 }), "the guard's input is the one that the workflow sees");
    assert_eq!(
        called(&run),
        [
            "sub beforeStep",
            "sub beforeExecution",
            "sub.inner beforeStep",
            "sub.inner beforeStep",
            "sub.inner afterStep",
            "sub.inner afterStep",
            "sub afterExecution",
            "sub afterStep",
        ]
    );
    let after =
        run.journal().iter().find(|entry| entry.kind == "hook.started" && entry.data["point"] == "afterExecution");
    assert_eq!(after.expect("called").data["input"]["output"], json!({ "n": 2 }));
}

#[tokio::test(start_paused = true)]
async fn each_hook_has_a_key_of_its_own() {
    let mut document = with_hooks(
        workflow(json!([step("a", "echo", &[]), step("b", "echo", &[])])),
        json!({ "beforeStep": [hook("key")], "beforeExecution": [hook("key")] }),
    );
    document["steps"][0]["hooks"] = json!({ "before": [hook("key"), hook("key")] });
    let key = scripted("key");
    let records = key.records();
    let run = Harness::new().agent(scripted("echo")).agent(key).run(document, json!({})).await;
    assert_completed!(run);
    let keys: std::collections::BTreeSet<_> = records.all().into_iter().map(|record| record.idempotency_key).collect();
    assert_eq!(keys.len(), 5);
}

#[test]
fn hooks_that_cannot_be_called_are_refused() {
    let observer = |name: &str, points: &[HookPoint]| {
        hook_fn(HookSpec::observer(name, points), |_, _, _| async { Ok(Decision::Allow) })
    };
    let guard = hook_fn(HookSpec::guard("late", [HookPoint::AfterStep]), |_, _, _| async { Ok(Decision::Allow) });
    let twice = Engine::builder().hook(observer("audit", &[])).hook(observer("audit", &[])).build();
    assert_eq!(twice.expect_err("refused").to_string(), "registering a tool");
    let late = Engine::builder().hook(guard).build();
    assert_eq!(late.expect_err("refused").to_string(), "hook `late` cannot stand at `afterStep`");
    let nameless = Engine::builder().hook(observer("", &[])).build();
    assert_eq!(nameless.expect_err("refused").to_string(), "registering a hook");
}

fn sub_workflow(document: &Value) -> ValidWorkflow {
    ValidWorkflow::from_bundle(document, &Options::new()).unwrap_or_else(|error| unreachable!("{error}"))
}
