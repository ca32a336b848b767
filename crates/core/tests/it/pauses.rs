//! Steps that wait: for a time, a signal or a person.

use std::time::Duration;

use orchestr8_core::RequestError;
use orchestr8_schema::{
    ErrorKind,
    api::ExecutionStatus,
    event::{ApprovalAnswer, ApprovalDecision, Signal},
};
use orchestr8_testing::{Harness, Run, Started, assert_completed, assert_events, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{step, workflow};

async fn start(steps: Value) -> Started {
    Harness::new().agent(scripted("echo")).start(workflow(steps), json!({})).await
}

fn signal(name: &str, payload: Value) -> Signal {
    Signal { name: name.into(), payload, signal_id: None, step_path: None }
}

fn answer(decision: ApprovalDecision, answer: Value) -> ApprovalAnswer {
    ApprovalAnswer { decision, answer, comment: None, by: Some("ada".to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn a_wait_takes_its_time_and_no_slot() {
    let waits: Vec<_> =
        (0..50).map(|index| json!({ "id": format!("w{index}"), "wait": { "duration": "1h" } })).collect();
    let run = start(json!(waits)).await.finish().await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(3_600_000), "beyond the default limit of an execution");
    assert_eq!(run.output("w7"), &json!({ "reason": "elapsed" }));
}

#[tokio::test(start_paused = true)]
async fn a_wait_until_a_past_time_is_over_at_once_and_nonsense_fails() {
    let past = start(json!([{ "id": "w", "wait": { "until": "2001-01-01T00:00:00Z" } }])).await.finish().await;
    assert_completed!(past);
    assert_eq!(past.outcome().to_body().duration, Some(0));
    let nonsense = start(json!([{ "id": "w", "wait": { "duration": "${inputs.time ?? 'soon'}" } }])).await;
    let error = assert_failed!(Run::of(&nonsense).await, ErrorKind::Validation);
    assert!(error.message.contains(r#"`duration` is "soon""#), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn signals_are_kept_and_taken_once_each_in_the_order_of_receipt() {
    let handle = start(json!([
        { "id": "pause", "wait": { "duration": "1s" } },
        { "id": "one", "wait": { "signal": "go" }, "dependencies": ["pause"] },
        { "id": "two", "wait": { "signal": "go" }, "dependencies": ["one"] }
    ]))
    .await;
    // Nobody waits yet, so both are kept.
    handle.signal(signal("go", json!(1))).await.expect("taken");
    let mut again = signal("go", json!(2));
    again.signal_id = Some("second".into());
    handle.signal(again.clone()).await.expect("taken");
    handle.signal(again).await.expect("a repeat is taken for told");
    handle.signal(signal("other", json!(3))).await.expect("kept for nobody");
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_eq!(run.output("one"), &json!({ "reason": "signal", "payload": 1 }));
    assert_eq!(run.output("two"), &json!({ "reason": "signal", "payload": 2 }));
    assert!(matches!(handle.signal(signal("go", json!(4))).await, Err(RequestError::Ended)));
}

#[tokio::test(start_paused = true)]
async fn a_signal_for_one_step_is_taken_by_no_other() {
    let handle = start(json!([
        { "id": "one", "wait": { "signal": "go", "timeout": "5s" }, "onError": "continue" },
        { "id": "two", "wait": { "signal": "go" } }
    ]))
    .await;
    let mut addressed = signal("go", json!("for two"));
    addressed.step_path = Some(orchestr8_schema::StepPath::from(&"two".parse().expect("an id")));
    handle.signal(addressed).await.expect("taken");
    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_eq!(run.output("two")["payload"], "for two");
    let one = run.journal().iter().find(|entry| entry.kind == "step.failed").expect("it timed out");
    assert_eq!(one.data["error"]["code"], "TIMEOUT");
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_comes_in_time_during_a_pause_is_no_timeout() {
    let wait = |id: &str| json!({ "id": id, "wait": { "signal": "go", "timeout": "5s" }, "onError": "continue" });
    let handle = start(json!([wait("one"), wait("two"), wait("three")])).await;
    handle.pause(None).await.expect("paused");
    for number in [1, 2] {
        handle.signal(signal("go", json!(number))).await.expect("taken");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    handle.resume(None).await.expect("resumed");
    let run = Run::of(&handle).await;
    assert_eq!((&run.output("one")["payload"], &run.output("two")["payload"]), (&json!(1), &json!(2)));
    assert_events!(run, ["step.failed three", "execution.resumed", "step.completed one", "step.completed two"]);
}

#[tokio::test(start_paused = true)]
async fn too_many_and_too_large_signals_are_refused() {
    let handle = start(json!([{ "id": "w", "wait": { "signal": "never" } }])).await;
    for index in 0..Signal::MAX_UNDELIVERED {
        handle.signal(signal("other", json!(index))).await.expect("kept");
    }
    let refused = handle.signal(signal("other", json!(null))).await;
    assert!(matches!(refused, Err(RequestError::Refused(_))), "{refused:?}");
    let refused = handle.signal(signal("never", json!("x".repeat(70_000)))).await;
    assert!(matches!(refused, Err(RequestError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_answered_by_a_person() {
    let steps = json!([
        { "id": "sign", "approval": {
            "prompt": "Release ${inputs.tag ?? 'it'}?",
            "schema": { "type": "object", "required": ["note"], "properties": { "note": { "type": "string" } } }
        }},
        step("after", "echo", &["sign"])
    ]);
    let handle = start(steps).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let waiting = handle.snapshot().await.expect("readable").to_body();
    assert_eq!((waiting.waiting_for[0].kind.as_str(), waiting.waiting_for[0].step_path.as_str()), ("approval", "sign"));

    let unfit = handle.answer("sign", answer(ApprovalDecision::Approve, json!({}))).await;
    assert!(matches!(&unfit, Err(RequestError::Refused(refusal)) if refusal.message.contains("note")), "{unfit:?}");
    assert!(handle.answer("nobody", answer(ApprovalDecision::Approve, json!({}))).await.is_err());

    handle.answer("sign", answer(ApprovalDecision::Approve, json!({ "note": "fine" }))).await.expect("taken");
    let run = Run::of(&handle).await;
    assert_completed!(run);
    let expected = json!({ "approved": true, "answer": { "note": "fine" }, "comment": null, "by": "ada" });
    assert_eq!(run.output("sign"), &expected);
    assert_events!(
        run,
        ["step.waiting sign", "approval.requested sign", "approval.answered sign", "step.completed sign"]
    );
    let asked = run.journal().iter().find(|entry| entry.kind == "approval.requested").expect("asked");
    assert_eq!(asked.data["prompt"], "Release it?");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_fails_the_step_and_the_same_answer_again_changes_nothing() {
    let handle = start(json!([
        { "id": "sign", "onError": "continue", "approval": { "prompt": "Shall it?" } },
        { "id": "w", "wait": { "duration": "1m" } }
    ]))
    .await;
    let no = answer(ApprovalDecision::Reject, json!(null));
    handle.answer("sign", no.clone()).await.expect("taken");
    handle.answer("sign", no).await.expect("the same again");
    let other = handle.answer("sign", answer(ApprovalDecision::Approve, json!(null))).await;
    assert!(matches!(other, Err(RequestError::Refused(_))), "{other:?}");
    let run = Run::of(&handle).await;
    let failed = run.journal().iter().find(|entry| entry.kind == "step.failed").expect("it failed");
    assert_eq!(
        (&failed.data["error"]["code"], &failed.data["error"]["message"]),
        (&json!("DENIED"), &json!("rejected by ada"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_nobody_answers_ends_as_it_is_told() {
    let approval = |on_timeout: Value| json!([{ "id": "sign", "approval": { "prompt": "Shall it?", "timeout": "24h", "onTimeout": on_timeout } }]);
    assert_failed!(start(approval(json!("fail"))).await.finish().await, ErrorKind::Timeout);
    assert_failed!(start(approval(json!("reject"))).await.finish().await, ErrorKind::Denied);
    let answered = start(approval(json!({ "answer": { "go": true } }))).await.finish().await;
    assert_completed!(answered);
    assert_eq!(answered.output("sign")["answer"], json!({ "go": true }));
}

#[tokio::test(start_paused = true)]
async fn sixty_four_approvals_are_answered_late_or_withdrawn_and_none_is_lost() {
    let approvals: Vec<_> = (0..64)
        .map(|index| json!({ "id": format!("a{index}"), "onError": "continue", "approval": { "prompt": "?", "timeout": "1h" } }))
        .collect();
    let handle = start(json!([{ "id": "group", "parallel": { "steps": approvals } }])).await;
    for index in (0..64).rev().step_by(2) {
        let decision = if index % 3 == 0 { ApprovalDecision::Reject } else { ApprovalDecision::Approve };
        handle.answer(&format!("group.a{index}"), answer(decision, json!(index))).await.expect("taken");
    }
    let run = Run::of(&handle).await;
    assert_completed!(run);
    let count = |kind: &str| run.journal().iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count("approval.requested"), count("approval.answered")), (64, 32));
    let rejected = (0..64).rev().step_by(2).filter(|index| index % 3 == 0).count();
    assert_eq!(run.output("group").as_object().map(serde_json::Map::len), Some(32 - rejected));
    assert_eq!(count("step.failed"), rejected + 32, "rejected, or not answered in time");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_cancelled_at_once() {
    let handle = start(json!([
        { "id": "sign", "approval": { "prompt": "Shall it?" } },
        { "id": "sleep", "wait": { "duration": "1h" } },
        { "id": "signal", "wait": { "signal": "go" } }
    ]))
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel(orchestr8_core::Cancellation::new("enough")).await.expect("accepted");
    let run = Run::of(&handle).await;
    assert_eq!((run.status(), run.outcome().to_body().duration), (ExecutionStatus::Cancelled, Some(1000)));
}

#[tokio::test(start_paused = true)]
async fn of_64_approvals_at_once_none_is_lost_told_twice_or_taken_back() {
    let on_timeout = [json!("fail"), json!("reject"), json!({ "answer": "late" })];
    let ask = |index: usize| {
        let approval = json!({ "prompt": "Shall it?", "timeout": "10s", "onTimeout": on_timeout[index % 3] });
        json!({ "id": format!("a{index}"), "approval": approval, "onError": "continue" })
    };
    let steps: Vec<_> = (0..64).map(ask).collect();
    let handle = start(json!(steps)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    // A quarter each is approved, rejected, approved by two people at once, and left alone; in an order of its own.
    let mut people = tokio::task::JoinSet::new();
    for index in (0..64).map(|place| place * 37 % 64) {
        let decision = if index % 4 == 1 { ApprovalDecision::Reject } else { ApprovalDecision::Approve };
        for _ in 0..[1, 1, 2, 0][index % 4] {
            let handle = handle.clone();
            people.spawn(async move { handle.answer(&format!("a{index}"), answer(decision, json!(index))).await });
        }
    }
    while let Some(answered) = people.join_next().await {
        answered.expect("no panic").expect("the same answer twice is taken for one");
    }
    let other = handle.answer("a0", answer(ApprovalDecision::Approve, json!("another"))).await;
    assert!(matches!(other, Err(RequestError::Refused(_))), "{other:?}");

    let run = Run::of(&handle).await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(10_000), "those left alone take their time");
    let answered = run.journal().iter().filter(|entry| entry.kind == "approval.answered").count();
    assert_eq!(answered, 48);
    let body = run.outcome().to_body();
    for index in 0..64 {
        let path = format!("a{index}");
        let step = body.steps.iter().find(|step| step.step_path == path).expect("shown");
        let code = step.error.as_ref().map(|error| error.code);
        match (index % 4, index % 3) {
            (0 | 2, _) => assert_eq!(run.output(&path)["answer"], json!(index)),
            (1, _) | (3, 1) => assert_eq!(code, Some(ErrorKind::Denied), "{path}"),
            (_, 0) => assert_eq!(code, Some(ErrorKind::Timeout), "{path}"),
            _ => assert_eq!(run.output(&path)["answer"], "late"),
        }
        let asked = run.journal().iter().filter(|entry| entry.step_path.as_deref() == Some(&path));
        let ends = asked.filter(|entry| matches!(entry.kind.as_str(), "step.completed" | "step.failed")).count();
        assert_eq!(ends, 1, "{path}");
    }
}
