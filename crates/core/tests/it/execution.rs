//! Order, data and results.

use orchestr8_agent_base::HelloWorld;
use orchestr8_core::{MemoryStore, StartRequest, store::Query};
use orchestr8_schema::{ErrorKind, ValidWorkflow, api::ExecutionStatus};
use orchestr8_testing::{Harness, Run, assert_completed, assert_events, assert_failed, scripted};
use serde_json::json;

use crate::{step, workflow};

#[tokio::test(start_paused = true)]
async fn the_vertical_slice_completes() {
    let document = include_str!("../../../../examples/workflows/vertical-slice.json");
    let workflow = ValidWorkflow::from_json(document).expect("valid");
    assert!(workflow.warnings().is_empty());
    let run = Harness::new().agent(HelloWorld).run(&workflow, json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("step1")["result"], "Hello, Friend! Hello from step 1");
    assert_eq!(run.output("step2")["result"], "Hello, Friend! Hello, Friend! Hello from step 1");
    assert_eq!(
        run.journal_lines(),
        [
            "execution.queued",
            "execution.started",
            "step.scheduled step1",
            "attempt.started step1 1",
            "step.started step1",
            "attempt.finished step1 1",
            "step.completed step1",
            "step.scheduled step2",
            "attempt.started step2 1",
            "step.started step2",
            "attempt.finished step2 1",
            "step.completed step2",
            "execution.completed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn independent_steps_overlap_and_a_step_waits_for_all_that_it_depends_on() {
    let slow = scripted("slow").delays(std::time::Duration::from_millis(100));
    let run = Harness::new()
        .agent(slow)
        .run(
            workflow(json!([
                step("last", "slow", &["a", "b", "c"]),
                step("a", "slow", &[]),
                step("b", "slow", &[]),
                step("c", "slow", &[]),
            ])),
            json!({}),
        )
        .await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(200));
    assert_events!(run, ["step.completed a", "step.completed b", "step.completed c", "step.scheduled last"]);
}

#[tokio::test(start_paused = true)]
async fn expressions_see_inputs_steps_variables_captures_env_and_context() {
    let first = json!({
        "id": "first", "agent": { "id": "@test/echo" },
        "input": { "name": "${inputs.name}", "greeting": "${variables.greeting}", "where": "${env.PLACE}", "hidden": "${env.HOME ?? 'nothing'}" },
        "output": { "capture": { "who": "name" } }
    });
    let second = json!({
        "id": "second", "agent": { "id": "@test/echo" }, "dependencies": ["first"],
        "input": { "text": "${variables.greeting}, ${variables.who}! (${steps.first.attempts})", "all": "${steps.first.output}", "by": "${context.stepId}" }
    });
    let mut document = workflow(json!([first, second]));
    document["context"] = json!({ "variables": { "greeting": "Hello" }, "environment": { "PLACE": "here" } });
    document["allowedEnvVars"] = json!(["HOME", "PLACE"]);
    document["outputs"] = json!({ "said": "${steps.second.output.text}" });
    let workflow = ValidWorkflow::from_value(&document).expect("valid");

    let engine = Harness::new().agent(scripted("echo")).engine();
    let request = StartRequest::new(&workflow, json!({ "name": "Ada" }))
        .variables([("greeting".to_owned(), json!("Good day"))].into_iter().collect())
        .env([("PLACE", "elsewhere"), ("SECRET", "not allowed")]);
    let submission = engine.submit(request).await.expect("started");
    let run = Run::of(&submission.handle).await;
    assert_completed!(run);
    assert_eq!(
        run.output("first"),
        &json!({ "name": "Ada", "greeting": "Good day", "where": "here", "hidden": "nothing" })
    );
    assert_eq!(run.output("second")["text"], "Good day, Ada! (1)");
    assert_eq!(run.output("second")["by"], "second");
    assert_eq!(run.outcome().outputs(), Some(json!({ "said": "Good day, Ada! (1)" })));
    let variables = run.outcome().to_body().variables.expect("completed");
    assert_eq!((&variables["greeting"], &variables["who"]), (&json!("Good day"), &json!("Ada")));
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_skips_the_step_and_what_depends_on_it() {
    let mut document = workflow(json!([
        step("a", "echo", &[]),
        step("b", "echo", &["a"]),
        step("c", "echo", &["b"]),
        step("reader", "echo", &[]),
    ]));
    document["steps"][1]["condition"] = json!({ "if": "inputs.wanted" });
    document["steps"][3]["input"] = json!({ "b": "${steps.b.output ?? 'none'}" });
    let run = Harness::new().agent(scripted("echo")).run(document, json!({ "wanted": false })).await;
    assert_completed!(run);
    assert_events!(run, ["step.skipped b", "step.skipped c", "execution.completed"]);
    let body = run.outcome().to_body();
    let reasons: Vec<_> = body.steps.iter().map(|step| step.skip_reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("condition-not-met"), Some("dependency-not-completed"), None]);
    assert_eq!(run.output("reader"), &json!({ "b": "none" }), "a soft edge waits, and is not skipped");
}

#[tokio::test(start_paused = true)]
async fn input_that_breaks_the_agents_schema_fails_the_step_without_a_call() {
    let picky = scripted("picky").manifest(|manifest| {
        manifest.input_schema(
            json!({ "type": "object", "required": ["text"], "properties": { "text": { "type": "string" } } }),
        )
    });
    let records = picky.records();
    let mut document = workflow(json!([step("a", "picky", &[])]));
    document["steps"][0]["input"] = json!({ "text": 7 });
    let run = Harness::new().agent(picky).run(document, json!({})).await;
    assert_failed!(run, ErrorKind::Validation);
    assert!(records.is_empty());
    assert_eq!(run.outcome().error().map(|error| error.attempts), Some(0));
}

#[tokio::test(start_paused = true)]
async fn input_of_the_execution_is_checked_and_defaults_are_filled_in() {
    let mut document = workflow(json!([step("a", "echo", &[])]));
    document["inputs"] = json!({
        "type": "object",
        "properties": { "name": { "type": "string" }, "language": { "type": "string", "default": "en" } },
        "required": ["name"]
    });
    document["steps"][0]["input"] = json!({ "text": "${inputs.name}/${inputs.language}" });
    let workflow = ValidWorkflow::from_value(&document).expect("valid");
    let engine = Harness::new().agent(scripted("echo")).engine();
    let refused = engine.start(&workflow, json!({})).await.expect_err("the name is missing");
    assert!(refused.to_string().contains("name"), "{refused}");
    assert!(
        engine.executions(&Query::newest(10)).await.expect("listed").executions.is_empty(),
        "no execution was made"
    );
    let run = Run::of(&engine.start(&workflow, json!({ "name": "Ada" })).await.expect("started")).await;
    assert_eq!(run.output("a"), &json!({ "text": "Ada/en" }));
}

#[tokio::test(start_paused = true)]
async fn all_attempts_of_a_step_share_a_key_and_steps_do_not() {
    let agent = scripted("any").fails_times(1, ErrorKind::Network);
    let records = agent.records();
    let run = Harness::new()
        .agent(agent)
        .run(workflow(json!([step("a", "any", &[]), step("b", "any", &[])])), json!({}))
        .await;
    assert_completed!(run);
    let key_of = |step: &str| {
        let keys: std::collections::BTreeSet<_> = records
            .all()
            .into_iter()
            .filter(|record| record.step_path == step)
            .map(|record| record.idempotency_key)
            .collect();
        assert_eq!(keys.len(), 1, "keys of {step}");
        keys.into_iter().next()
    };
    assert_ne!(key_of("a"), key_of("b"));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_journal() {
    let journal = || async {
        let agent = scripted("any").fails_times(2, ErrorKind::Network);
        let run = Harness::new().agent(agent).run(workflow(json!([step("a", "any", &[])])), json!({})).await;
        serde_json::to_string(run.journal()).expect("JSON")
    };
    assert_eq!(journal().await, journal().await);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_starts_nothing_and_another_with_its_key_is_refused() {
    let engine = Harness::new().agent(scripted("echo")).engine();
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("a", "echo", &[])]))).expect("valid");
    let ask = |digest: &str| {
        StartRequest::new(&workflow, json!({})).idempotency("order-1".parse().expect("well formed"), digest)
    };
    let first = engine.submit(ask("one")).await.expect("started");
    let again = engine.submit(ask("one")).await.expect("found");
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.handle.id(), again.handle.id());
    assert_eq!(again.handle.outcome().await.expect("ended").status(), ExecutionStatus::Completed);
    assert!(engine.submit(ask("two")).await.is_err());
    // The record counts for ten minutes.
    tokio::time::advance(std::time::Duration::from_secs(601)).await;
    assert!(!engine.submit(ask("two")).await.expect("started").replayed);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_free_again_when_its_execution_is_no_longer_kept() {
    let engine = Harness::new().agent(scripted("echo")).store(MemoryStore::with_max_finished(1)).engine();
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("a", "echo", &[])]))).expect("valid");
    let ask = || StartRequest::new(&workflow, json!({})).idempotency("order-1".parse().expect("well formed"), "one");
    engine.submit(ask()).await.expect("started").handle.outcome().await.expect("ended");
    for _ in 0..2 {
        engine.start(&workflow, json!({})).await.expect("started").outcome().await.expect("ended");
    }
    assert!(!engine.submit(ask()).await.expect("started").replayed);
}

#[tokio::test(start_paused = true)]
async fn an_execution_can_be_asked_about_after_its_handle_is_gone() {
    let engine = Harness::new().agent(scripted("echo")).engine();
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("a", "echo", &[])]))).expect("valid");
    let id = engine.start(&workflow, json!({})).await.expect("started").id();
    let handle = engine.execution(id).await.expect("known");
    assert!(handle.outcome().await.expect("ended").is_completed());
    let later = engine.execution(id).await.expect("stored");
    assert!(later.outcome().await.expect("ended").is_completed());
    assert_eq!(engine.snapshot(id).await.expect("stored").status(), ExecutionStatus::Completed);
}
