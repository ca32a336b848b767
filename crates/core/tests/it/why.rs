//! Why steps are as they are, told from workflow and journal.

use std::time::Duration;

use orchestr8_core::{Cancellation, Snapshot, engine::Checkpoint, engine::ForkRequest};
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    api::Why,
    event::{ApprovalAnswer, ApprovalDecision},
};
use orchestr8_testing::{Harness, Run, scripted};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

/// Draws what is told of some steps: a line per cause, indented by its depth, with its events.
fn told(snapshot: &Snapshot, paths: &[&str]) -> String {
    let mut text = String::new();
    for path in paths {
        let why = snapshot.why(path).expect("there is such a step");
        text.push_str(&format!("{path}: {}\n", why.status));
        for cause in why.causes {
            let indent = "  ".repeat(cause.depth as usize + 1);
            let one: Vec<_> = cause.sequence.into_iter().collect();
            let all = if cause.sequences.is_empty() { one } else { cause.sequences };
            text.push_str(&format!("{indent}{} ({} {all:?})\n", cause.text, cause.kind));
        }
    }
    text
}

/// Checks that every step of an execution can be explained, wherever it has come to.
pub(crate) fn assert_explained(snapshot: &Snapshot) {
    for (step, _) in snapshot.steps() {
        let why = snapshot.why(&step.step_path).expect("every step is explained");
        assert_eq!((&why.status, why.visit), (&step.status, step.visit), "{}", step.step_path);
        assert!(why.causes.len() <= Why::MAX_CAUSES);
        // What has run depends on something that happened, unless it is the first of all.
        assert!(step.status != "skipped" || !why.causes.is_empty(), "{}", step.step_path);
        let latest = snapshot.events().len() as u64;
        for (index, cause) in why.causes.iter().enumerate() {
            assert!(cause.sequence.is_none_or(|sequence| (1..=latest).contains(&sequence)), "{cause:?}");
            assert!(index == 0 || cause.depth <= why.causes[index - 1].depth + 1, "{cause:?} has nothing above it");
            assert!(cause.reference.as_ref().is_none_or(|path| snapshot.step(path).is_some()), "{cause:?}");
            if let Some(sequence) = cause.sequence {
                assert_eq!(cause.kind, snapshot.events()[sequence as usize - 1].body.name());
            }
        }
    }
}

fn with(mut step: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().into_iter().flatten() {
        step[name] = value.clone();
    }
    step
}

fn harness() -> Harness {
    Harness::new()
        .agent(scripted("echo"))
        .agent(scripted("slow").delays(Duration::from_secs(3)))
        .agent(scripted("never").never_ends())
        .agent(scripted("denied").fails(ErrorKind::Denied))
        .agent(scripted("flaky").fails_times(2, ErrorKind::Network))
}

async fn run(document: Value) -> Run {
    let run = harness().run(document, json!({ "on": false })).await;
    assert_explained(run.snapshot());
    run
}

#[tokio::test(start_paused = true)]
async fn a_skipped_step_goes_back_to_the_limit_that_another_one_broke() {
    let continues = json!({ "onError": "continue", "policies": { "retry": { "jitter": false } } });
    let run = run(workflow_with(
        json!([with(step("publish", "never", &[]), &continues), step("notify", "echo", &["publish"])]),
        json!({ "onFailure": "continue" }),
    ))
    .await;
    assert_eq!(
        told(run.snapshot(), &["notify"]),
        "\
notify: skipped
  its dependency publish failed (step.failed [16])
    3 attempts, each TIMEOUT after 30s (attempt.finished [7, 11, 15])
      timeout 30s is the default; no policy sets it (policy [])
      3 attempts at most: that is the default; no policy sets more (policy [])
"
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_that_ran_goes_back_to_what_it_depended_on_and_the_way_that_led_to_it() {
    let run = run(workflow(json!([
        step("a", "echo", &[]),
        step("b", "flaky", &[]),
        with(step("c", "echo", &["a", "b"]), &json!({ "condition": { "unless": "${inputs.on}" } })),
        with(step("d", "echo", &["a"]), &json!({ "condition": { "if": "${inputs.on}" } })),
        { "id": "way", "dependencies": ["c"], "branch": {
            "cases": [{ "name": "off", "when": "inputs.on == `false`", "steps": [
                { "id": "each", "map": { "items": ["x"], "key": "${item}", "steps": [step("one", "echo", &[])] } }
            ] }],
            "default": { "steps": [step("other", "echo", &[])] }
        } },
        { "id": "again", "loop": { "until": "loop.index == `1`", "maxIterations": 3, "steps": [step("turn", "echo", &[])] } },
    ])))
    .await;
    let paths = ["b", "c", "d", "way", "way.each[\"x\"].one", "way.other", "again", "again#1.turn"];
    assert_eq!(
        told(run.snapshot(), &paths),
        "\
b: completed
  attempt 3 succeeded (attempt.finished [34])
    2 attempts, each NETWORK: attempt 2 was told to fail (attempt.finished [18, 31])
c: completed
  attempt 1 succeeded (attempt.finished [39])
  its dependencies a, b completed (step.completed [16, 35])
  its condition held: unless ${inputs.on} (step.scheduled [36])
d: skipped
  its condition did not hold: if ${inputs.on} (step.skipped [17])
    its dependency a completed (step.completed [16])
way: completed
  its case off was taken, and everything in there had come to its end (branch.decided [43])
  its dependency c completed (step.completed [40])
way.each[\"x\"].one: completed
  attempt 1 succeeded (attempt.finished [50])
  way.each runs it for item 0 of 1, counted from 0 (map.opened [46])
  way took the case off (branch.decided [43])
way.other: skipped
  way took the case off, and it stands in another (branch.decided [43])
    its dependency c completed (step.completed [40])
again: completed
  it ended after 2 iterations: its condition said so (loop.decided [28])
again#1.turn: completed
  attempt 1 succeeded (attempt.finished [26])
  again went into iteration 1, counted from 0 (loop.decided [22])
"
    );
    assert_eq!(run.snapshot().why("way.nobody"), None);
    assert_eq!(run.snapshot().why("nobody"), None);
}

#[tokio::test(start_paused = true)]
async fn failures_go_back_to_the_step_that_they_began_with() {
    let run = run(workflow_with(
        json!([
            { "id": "group", "parallel": { "steps": [step("bad", "denied", &[]), step("long", "slow", &[])] } },
            with(step("first", "denied", &[]), &json!({ "onError": "fallback", "fallbackStepId": "spare" })),
            step("spare", "echo", &[]),
            step("late", "echo", &["group"]),
            step("later", "slow", &["first"]),
        ]),
        json!({ "onFailure": "continue" }),
    ))
    .await;
    let paths = ["group", "group.bad", "group.long", "first", "spare", "late", "later"];
    assert_eq!(
        told(run.snapshot(), &paths),
        "\
group: failed
  group.bad failed (step.failed [15])
    its attempt failed with DENIED: attempt 1 was told to fail (attempt.finished [14])
      DENIED is not tried again (policy [])
group.bad: failed
  its attempt failed with DENIED: attempt 1 was told to fail (attempt.finished [14])
    DENIED is not tried again (policy [])
  group, which it stands in, was opened (step.started [4])
group.long: cancelled
  group.bad failed (step.failed [15])
    its attempt failed with DENIED: attempt 1 was told to fail (attempt.finished [14])
      DENIED is not tried again (policy [])
  group, which it stands in, was opened (step.started [4])
first: failed
  its fallback spare stood in for it, so that its failure is not fatal (step.recovered [27])
  its attempt failed with DENIED: attempt 1 was told to fail (attempt.finished [19])
    DENIED is not tried again (policy [])
spare: completed
  attempt 1 succeeded (attempt.finished [25])
  it stands in for first, which failed (step.fallback [21])
    its fallback spare stood in for it, so that its failure is not fatal (step.recovered [27])
    its attempt failed with DENIED: attempt 1 was told to fail (attempt.finished [19])
      DENIED is not tried again (policy [])
late: skipped
  its dependency group failed (step.failed [17])
    group.bad failed (step.failed [15])
      its attempt failed with DENIED: attempt 1 was told to fail (attempt.finished [14])
        DENIED is not tried again (policy [])
later: completed
  attempt 1 succeeded (attempt.finished [31])
  its dependency first failed and was recovered (step.failed [20])
"
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_not_ended_tells_what_it_waits_for() {
    let handle = harness()
        .start(
            workflow(json!([
                { "id": "ask", "approval": { "prompt": "Go on?" } },
                { "id": "told", "wait": { "signal": "go", "timeout": "1h" } },
                step("after", "echo", &["ask", "told"]),
                step("last", "echo", &["after"]),
                step("long", "never", &[]),
                { "id": "inside", "parallel": { "steps": [{ "id": "nap", "wait": { "duration": "10m" } }] } },
            ])),
            json!({}),
        )
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let snapshot = handle.snapshot().await.expect("read");
    assert_explained(&snapshot);
    let paths = ["ask", "told", "after", "last", "long", "inside"];
    assert_eq!(
        told(&snapshot, &paths),
        "\
ask: waiting
  nobody has answered it yet; it asks without a limit (approval.requested [5])
told: waiting
  no signal go has come for it yet; it waits until 2025-01-17T01:00:00.000Z (step.waiting [7])
after: pending
  it waits for ask, which waits (approval) (workflow [])
    nobody has answered it yet; it asks without a limit (approval.requested [5])
  it waits for told, which waits (signal) (workflow [])
    no signal go has come for it yet; it waits until 2025-01-17T01:00:00.000Z (step.waiting [7])
last: pending
  it waits for after, which has not had its turn (workflow [])
    it waits for ask, which waits (approval) (workflow [])
      nobody has answered it yet; it asks without a limit (approval.requested [5])
    it waits for told, which waits (signal) (workflow [])
      no signal go has come for it yet; it waits until 2025-01-17T01:00:00.000Z (step.waiting [7])
long: running
  attempt 1 is in progress (attempt.started [13])
inside: running
  inside.nap waits (timer) (workflow [])
    it waits until 2025-01-17T00:10:00.000Z (step.waiting [12])
"
    );

    let rejection = ApprovalAnswer {
        decision: ApprovalDecision::Reject,
        answer: Value::Null,
        comment: Some("not on a Friday".to_owned()),
        by: Some("ada".to_owned()),
    };
    handle.answer("ask", rejection).await.expect("answered");
    let _ = handle.outcome().await;
    let snapshot = handle.snapshot().await.expect("read");
    assert_explained(&snapshot);
    assert_eq!(
        told(&snapshot, &["ask", "after", "told"]),
        "\
ask: failed
  it was rejected by ada: not on a Friday (approval.answered [15])
after: skipped
  the workflow failed before its turn (execution.failing [17])
    ask failed (step.failed [16])
      it was rejected by ada: not on a Friday (approval.answered [15])
told: cancelled
  the workflow failed while it ran (execution.failing [17])
    ask failed (step.failed [16])
      it was rejected by ada: not on a Friday (approval.answered [15])
"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_told_with_its_reason_and_a_fork_with_its_verdicts() {
    let engine = harness().engine();
    let mut document = workflow(json!([
        with(step("same", "echo", &[]), &json!({ "input": { "of": 1 } })),
        with(step("other", "echo", &["same"]), &json!({ "input": { "of": "${inputs.on}" } })),
        step("long", "never", &["other"]),
    ]));
    let valid = |document: &Value| ValidWorkflow::from_value(document).unwrap_or_else(|error| unreachable!("{error}"));
    let handle = engine.start(&valid(&document), json!({ "on": false })).await.expect("started");
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel(Cancellation::new("wrong branch").requested_by("ada")).await.expect("asked");
    let _ = handle.outcome().await;
    let snapshot = handle.snapshot().await.expect("read");
    assert_explained(&snapshot);
    assert_eq!(
        told(&snapshot, &["long"]),
        "\
long: cancelled
  the execution was cancelled by ada: wrong branch (execution.cancelling [16])
  its dependency other completed (step.completed [12])
"
    );

    document["steps"][2]["agent"]["id"] = json!("@test/echo");
    let request = ForkRequest::at(Checkpoint::Latest).workflow(valid(&document)).input(json!({ "on": true }));
    let forked = engine.fork(handle.id(), request).await.expect("forked").submission.handle;
    let _ = forked.outcome().await;
    let snapshot = forked.snapshot().await.expect("read");
    assert_explained(&snapshot);
    let short = handle.id().short();
    assert_eq!(told(&snapshot, &["same", "other"]).replace(&short, "[id]"), "\
same: completed
  its result was taken over from [id] at 19: input, agent, version and config are unchanged (step.scheduled [3])
other: completed
  attempt 1 succeeded (attempt.finished [8])
  the result of the execution that it was forked from could not be taken over: its input is another than there (step.scheduled [5])
  its dependency same was reused (step.completed [4])
");
}
