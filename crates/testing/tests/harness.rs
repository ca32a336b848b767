//! The harness itself: what happens to an execution from outside, and what is said about it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use orchestr8_schema::{ErrorKind, ValidWorkflow};
use orchestr8_testing::{
    Harness, Interference, StoreFault, assert_attempts, assert_circuit, assert_completed, assert_failed, assert_json,
    assert_no_secret, assert_order, assert_within, cancel_at_every_event, capture, fixtures, scripted,
};
use serde_json::{Value, json};

fn harness() -> Harness {
    Harness::new().agent(scripted("echo"))
}

#[tokio::test(start_paused = true)]
async fn a_process_dies_and_another_one_goes_on() {
    let slow = scripted("slow").delays(Duration::from_secs(20));
    let (slow_calls, echo) = (slow.records(), scripted("echo"));
    let echo_calls = echo.records();
    let steps = json!([
        { "id": "before", "agent": { "id": "@test/echo" } },
        { "id": "slow", "agent": { "id": "@test/slow" }, "dependencies": ["before"] },
        { "id": "later", "wait": { "duration": "1h" }, "dependencies": ["slow"] }
    ]);
    let document = json!({ "version": "1.0.0", "metadata": { "id": "lives", "name": "Lives" }, "steps": steps });
    let mut execution = Harness::new().agent(slow).agent(echo).start(document, json!({})).await;
    execution.advance(Duration::from_secs(10)).await;
    execution.crash_and_recover().await;
    execution.advance(Duration::from_secs(150)).await;
    // Once more, while it waits.
    execution.crash_and_recover().await;
    let run = execution.finish().await;
    assert_completed!(run);
    assert_order!(run, ["before", "slow", "later"]);
    assert_eq!((echo_calls.len(), slow_calls.len()), (1, 2));
    assert_eq!(slow_calls.all()[0].idempotency_key, slow_calls.all()[1].idempotency_key);
    // The wait keeps its due time, whatever happened meanwhile.
    assert_within!(run, Duration::from_secs(3600 + 200));
}

#[tokio::test(start_paused = true)]
async fn people_answer_and_time_passes() {
    let execution = harness().start(fixtures::approval(), json!({})).await;
    execution.run_until_idle().await;
    assert_eq!(execution.waiting().await, ["approval gate"]);
    execution.reject("gate").await;
    let run = execution.finish().await;
    assert_failed!(run, ErrorKind::Denied);

    let execution = harness().start(fixtures::approval(), json!({})).await;
    execution.approve("gate", json!({ "note": "fine" })).await;
    execution.wait_for(|snapshot| snapshot.status().is_terminal()).await;
    assert_completed!(execution.finish().await);
}

#[tokio::test(start_paused = true)]
async fn a_scenario_is_cancelled_at_each_of_its_events() {
    let slow = Harness::new().agent(scripted("echo").delays(Duration::from_secs(1)));
    let runs = cancel_at_every_event(&slow, fixtures::approval(), json!({}), async |execution| {
        execution.approve("gate", Value::Null).await;
    })
    .await;
    let cancelled = runs.iter().filter(|run| run.status().as_str() == "cancelled").count();
    assert!(cancelled > 5, "{cancelled}");
    // With the end of the last step the execution has ended.
    assert!(runs[cancelled..].iter().all(|run| run.outcome().is_completed()));
}

#[tokio::test(start_paused = true)]
async fn scripted_agents_answer_in_order_or_by_their_input() {
    let order = scripted("echo").sequence([json!({ "n": 1 }), json!({ "n": 2 })]);
    let run = Harness::new().agent(order).run(fixtures::chain(3), json!({})).await;
    let error = assert_failed!(run, ErrorKind::Internal);
    assert!(error.message.contains(r#"unexpected call 3 of @test/echo, with {"of":"s2"}"#), "{}", error.message);

    let by = scripted("echo").by(|input| (input["of"] == "top").then(|| json!({ "seen": true })));
    let run = Harness::new().agent(by).run(fixtures::diamond(), json!({})).await;
    assert_json!(run.output("top"), { "seen": "<any>" });
    assert_failed!(run, ErrorKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn the_fixtures_are_what_they_say() {
    let valid = [
        fixtures::minimal(),
        fixtures::vertical_slice(),
        fixtures::fan_out(10),
        fixtures::chain(1000),
        fixtures::condition(),
        fixtures::map(),
        fixtures::looping(),
        fixtures::branch(),
        fixtures::nested(),
    ];
    for document in valid {
        let id = document["metadata"]["id"].clone();
        let input = json!({ "items": [1, 2], "size": 20, "wanted": true });
        let run = harness().run(document, input).await;
        assert!(run.outcome().is_completed(), "{id}: {}", run.journal_text());
    }
    assert!(ValidWorkflow::from_value(&fixtures::cyclic()).is_err());

    let main = scripted("main").fails(ErrorKind::Validation);
    let run = harness().agent(main).run(fixtures::fallback(), json!({})).await;
    assert_completed!(run);
    assert_order!(run, ["main", "spare", "after"]);
    let shaky = scripted("shaky").fails(ErrorKind::Validation);
    assert_completed!(harness().agent(shaky).run(fixtures::continues(), json!({})).await);
    let undo = scripted("cancel-booking");
    let undone = undo.records();
    let pay = scripted("pay").fails(ErrorKind::Validation);
    let run = harness().agent(undo).agent(pay).run(fixtures::compensation(), json!({})).await;
    assert_failed!(run, ErrorKind::Validation);
    assert_json!(undone.all()[0].input, { "booked": "book" });
}

/// The second write takes long.
#[derive(Debug)]
struct SecondIsSlow;

impl Interference for SecondIsSlow {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        (write == 2).then_some(StoreFault::Delay(Duration::from_secs(7)))
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_does_as_it_is_told() {
    let run = harness().faults(Arc::new(SecondIsSlow)).run(fixtures::minimal(), json!({})).await;
    assert_completed!(run);
    assert_attempts!(run, "only", 1);
    assert!(run.took() >= Duration::from_secs(7), "{}", run.journal_text());
}

#[tokio::test(start_paused = true)]
async fn a_failed_assertion_says_what_was_expected_and_what_came() {
    let shaky = scripted("shaky").fails(ErrorKind::Network);
    let mut document = fixtures::continues();
    document["steps"][0]["policies"] = json!({
        "retry": { "maxAttempts": 2, "baseDelayMs": 100, "jitter": false }, "circuitBreaker": { "failureThreshold": 2 }
    });
    let run = harness().agent(shaky).run(document, json!({})).await;
    assert_completed!(run);
    assert_circuit!(run, "cb:@test/shaky", "open");
    let said = |assertion: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("it does not hold");
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned())
    };
    let order = said(&|| assert_order!(run, ["after", "shaky"]));
    assert_eq!(order, "`shaky` did not start, or not in that order; steps started so: shaky, after");
    let within = said(&|| assert_within!(run, Duration::from_millis(50)));
    assert!(within.starts_with("it took 100ms, more than 50ms\n"), "{within}");
    let different = said(&|| assert_json!(run.output("after"), { "of": "elsewhere" }));
    assert!(different.starts_with(r#"expected "elsewhere" at /of, got "nobody""#), "{different}");
    let circuit = said(&|| assert_circuit!(run, "cb:@test/shaky", "closed"));
    assert!(circuit.contains("the circuit cb:@test/shaky"), "{circuit}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_found_wherever_it_stands() {
    let captured = capture();
    let run = harness().run(fixtures::minimal(), json!({})).await;
    assert_no_secret!(run, "canary-\"42\"", captured);
    tracing::warn!(key = "canary-42", "careless");
    let found = catch_unwind(AssertUnwindSafe(|| assert_no_secret!(run, "canary-42", captured)));
    assert!(found.is_err());
    let careless = scripted("echo").returns(json!({ "key": "canary \"42\"" }));
    let run = Harness::new().agent(careless).run(fixtures::minimal(), json!({})).await;
    let found = catch_unwind(AssertUnwindSafe(|| assert_no_secret!(run, "canary \"42\"")));
    assert!(found.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_published_and_counted_is_captured_over_all_lives_of_the_process() {
    let captured = capture();
    let mut execution = harness().captured(&captured).start(fixtures::approval(), json!({})).await;
    execution.run_until_idle().await;
    assert_eq!(captured.events().last().map(String::as_str), Some("approval.requested gate"));
    execution.crash_and_recover().await;
    execution.approve("gate", json!({})).await;
    assert_completed!(execution.finish().await);
    let events = captured.events();
    let told = ["execution.queued", "approval.requested gate", "execution.recovered", "step.completed after"];
    assert_eq!(orchestr8_testing::find_gap(&events, &told), None, "{events:?}");
    let calls = captured.metrics().expect("the engine counts").callees;
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recorded_execution_is_played_without_anybody_and_what_does_not_fit_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recording, workflow) = (folder.path().join("recorded.json"), fixtures::approval());
    let execution = harness().start(&ValidWorkflow::from_value(&workflow).expect("it is valid"), json!({})).await;
    execution.approve("gate", json!({ "note": "fine" })).await;
    execution.finish().await.record(&recording);
    let played = Harness::new().replay(workflow.clone(), &recording).await;
    assert_completed!(played);
    assert_json!(played.output("gate"), { "answer": { "note": "fine" } });

    let told = |workflow: Value| {
        let recording = recording.clone();
        let played = tokio::task::spawn_local(async move { Harness::new().replay(workflow, &recording).await });
        async move {
            let panicked = played.await.expect_err("it does not fit").into_panic();
            panicked.downcast_ref::<String>().cloned().unwrap_or_default()
        }
    };
    let all = tokio::task::LocalSet::new();
    all.run_until(async {
        let mut other = workflow.clone();
        other["steps"][1]["input"] = json!({ "of": "somebody else" });
        let message = told(other).await;
        assert!(message.contains("after: it was recorded with another input"), "{message}");
        let mut shorter = workflow.clone();
        shorter["steps"].as_array_mut().expect("a list").pop();
        let message = told(shorter).await;
        assert!(message.contains("after: it was recorded, and is not called for"), "{message}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_workflow_is_run_from_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("echo.yaml");
    let text = "version: 1.0.0\nmetadata: { id: echo, name: Echo }\nsteps: [{ id: only, agent: { id: '@test/echo' }, input: { of: file } }]\n";
    std::fs::write(&file, text).expect("the folder is ours");
    let run = harness().run(file.to_str().expect("UTF-8"), json!({})).await;
    assert_eq!(run.output("only"), &json!({ "of": "file" }));
}
