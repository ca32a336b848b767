//! Steps that hold steps: groups, branches, maps, loops and sub-workflows.

use std::time::Duration;

use orchestr8_core::Engine;
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    api::ExecutionStatus,
    source::{Options, load},
    validate::{LoadError, WorkflowLoader},
};
use orchestr8_testing::{Harness, Run, assert_completed, assert_events, assert_failed, scripted};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

fn echo(id: &str, input: Value) -> Value {
    let mut step = step(id, "echo", &[]);
    step["input"] = input;
    step
}

async fn run(document: Value, input: Value) -> Run {
    let slow = scripted("slow").delays(Duration::from_secs(10));
    let broken = scripted("broken").fails(ErrorKind::Internal);
    Harness::new().agent(scripted("echo")).agent(slow).agent(broken).run(document, input).await
}

#[tokio::test(start_paused = true)]
async fn a_group_gives_its_outputs_by_id_and_is_a_step_like_any_other() {
    let group = json!({ "id": "group", "parallel": { "steps": [
        echo("a", json!({ "n": 1 })),
        { "id": "b", "agent": { "id": "@test/echo" }, "dependencies": ["a"], "input": { "n": "${steps.a.output.n}" } }
    ]}});
    let mut last = step("last", "echo", &["group"]);
    last["input"] = json!({ "all": "${steps.group.output}" });
    let run = run(workflow(json!([group, last])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("last")["all"], json!({ "a": { "n": 1 }, "b": { "n": 1 } }));
    assert_events!(
        run,
        [
            "step.scheduled group",
            "step.started group",
            "step.scheduled group.a",
            "step.completed group.a",
            "step.completed group.b",
            "step.completed group",
            "step.scheduled last",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_takes_any_cancels_the_rest_and_survives_failures() {
    let group = json!({ "id": "mirrors", "parallel": { "join": "any", "steps": [
        step("down", "broken", &[]), step("late", "slow", &[]), echo("quick", json!({ "from": "quick" }))
    ]}});
    let run = run(workflow(json!([group])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("mirrors"), &json!({ "quick": { "from": "quick" } }));
    assert_eq!(run.outcome().to_body().duration, Some(0), "nobody waits for the late one");
    assert_events!(run, ["parallel.joined mirrors", "step.cancelled mirrors.late", "step.completed mirrors"]);
    let cancelled = run.journal().iter().find(|entry| entry.kind == "step.cancelled").expect("the late one");
    assert_eq!(cancelled.data["reason"], "enough steps of `mirrors` have completed");
}

#[tokio::test(start_paused = true)]
async fn enough_have_completed_though_others_failed_before_and_the_last_one_counts() {
    let rescued =
        json!({ "id": "rescued", "agent": { "id": "@test/broken" }, "onError": "fallback", "fallbackStepId": "spare" });
    for (last, cancel) in [(vec![echo("last", json!({}))], true), (vec![rescued, step("spare", "echo", &[])], false)] {
        let steps: Vec<_> = [step("down", "broken", &[])].into_iter().chain(last).collect();
        let group =
            json!({ "id": "mirrors", "parallel": { "join": "any", "cancelRemaining": cancel, "steps": steps } });
        let run = run(workflow(json!([group])), json!({})).await;
        assert_completed!(run);
        assert_events!(run, ["step.failed mirrors.down", "parallel.joined mirrors", "step.completed mirrors"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_fails_when_too_few_can_still_complete() {
    let group = json!({ "id": "mirrors", "parallel": { "join": { "atLeast": 2 }, "steps": [
        step("down", "broken", &[]), step("late", "slow", &[]), step("worse", "broken", &[])
    ]}});
    let run = run(workflow(json!([group])), json!({})).await;
    let error = assert_failed!(run, ErrorKind::Internal);
    assert_eq!(error.step_path.as_ref().map(ToString::to_string).as_deref(), Some("mirrors"));
    let cause = error.cause.as_ref().expect("an inner failure");
    assert_eq!(cause.step_path.as_ref().map(ToString::to_string).as_deref(), Some("mirrors.down"));
    assert_events!(run, ["step.failed mirrors.worse", "step.cancelled mirrors.late", "step.failed mirrors"]);
    let cancelled = run.journal().iter().find(|entry| entry.kind == "step.cancelled").expect("the late one");
    assert_eq!(cancelled.data["reason"], "`mirrors` fails: attempt 1 was told to fail");
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_inside_aborts_all_that_is_below_and_then_its_composite() {
    let group = json!({ "id": "outer", "onError": "continue", "parallel": { "steps": [
        { "id": "inner", "parallel": { "steps": [step("late", "slow", &[]), step("later", "echo", &["late"])] } },
        step("down", "broken", &[])
    ]}});
    let run = run(workflow(json!([group, step("beside", "slow", &[])])), json!({})).await;
    assert_completed!(run);
    assert_events!(
        run,
        [
            "step.failed outer.down",
            "step.cancelled outer.inner.late",
            "step.cancelled outer.inner.later",
            "step.cancelled outer.inner",
            "step.failed outer",
            "step.completed beside",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_branch_runs_the_first_case_that_holds() {
    let branch = json!({ "id": "route", "branch": {
        "cases": [
            { "name": "large", "when": "inputs.amount > `1000`", "steps": [echo("audit", json!({ "of": "${inputs.amount}" }))] },
            { "when": "inputs.amount > `100`", "steps": [echo("check", json!({}))] }
        ],
        "default": { "steps": [] }
    }});
    let mut after = step("after", "echo", &["route"]);
    after["input"] = json!({ "case": "${steps.route.case}", "output": "${steps.route.output}" });
    for (amount, case, output) in [
        (5000, "large", json!({ "audit": { "of": 5000 } })),
        (500, "case-1", json!({ "check": {} })),
        (5, "default", json!({})),
    ] {
        let run = run(workflow(json!([branch, after])), json!({ "amount": amount })).await;
        assert_completed!(run);
        assert_eq!(run.output("after"), &json!({ "case": case, "output": output }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_without_a_way_fails() {
    let branch =
        json!({ "id": "route", "branch": { "cases": [{ "when": "inputs.yes", "steps": [step("a", "echo", &[])] }] } });
    let run = run(workflow(json!([branch])), json!({})).await;
    assert_failed!(run, ErrorKind::NoBranchMatched);
}

#[tokio::test(start_paused = true)]
async fn a_map_keeps_the_order_of_its_items_and_opens_as_many_as_it_may() {
    let map = json!({ "id": "reviews", "map": {
        "items": "${inputs.files}",
        "as": "file",
        "key": "${file.path}",
        "concurrency": 2,
        "steps": [{ "id": "score", "agent": { "id": "@test/slow" }, "input": { "file": "${file.path}", "at": "${index}" } }],
        "output": { "path": "${file.path}", "at": "${steps.score.output.at}" }
    }});
    let files = json!([{ "path": "a" }, { "path": "b" }, { "path": "c" }]);
    let run = run(workflow(json!([map])), json!({ "files": files })).await;
    assert_completed!(run);
    let expected = json!([{ "path": "a", "at": 0 }, { "path": "b", "at": 1 }, { "path": "c", "at": 2 }]);
    assert_eq!(run.output("reviews"), &expected);
    assert_eq!(run.outcome().to_body().duration, Some(20_000), "two at a time");
    assert_events!(
        run,
        ["map.opened reviews", r#"step.scheduled reviews["a"].score"#, r#"step.scheduled reviews["b"].score"#]
    );
}

#[tokio::test(start_paused = true)]
async fn failed_items_fail_a_map_or_stand_in_it_or_are_left_out() {
    let map = |on_item_error: &str| {
        let fragile = json!({ "id": "try", "agent": { "id": "@test/broken" }, "condition": { "if": "item == `2`" } });
        workflow(json!([{ "id": "map", "map": {
            "items": [1, 2, 3], "onItemError": on_item_error, "steps": [fragile], "output": "${item}"
        }}]))
    };
    let failed = run(map("fail"), json!({})).await;
    assert_failed!(failed, ErrorKind::Internal);
    let kept = run(map("continue"), json!({})).await;
    assert_completed!(kept);
    assert_eq!(kept.output("map")[0], 1);
    assert_eq!(kept.output("map")[1]["error"]["code"], "INTERNAL");
    assert_eq!(kept.output("map")[2], 3);
    let skipped = run(map("skip"), json!({})).await;
    assert_eq!(skipped.output("map"), &json!([1, 3]));
}

#[tokio::test(start_paused = true)]
async fn an_accumulator_takes_items_in_their_order_whatever_order_they_end_in() {
    let late = json!({ "id": "wait", "wait": { "duration": "${item}" } });
    let map = json!({ "id": "map", "map": {
        "items": [3000, 1000, 2000], "concurrency": 3, "steps": [late],
        "accumulator": { "init": "", "value": "${accumulator}${index}" }
    }});
    let run = run(workflow(json!([map])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("map"), "012");
}

#[tokio::test(start_paused = true)]
async fn what_a_map_cannot_run_for_fails_it() {
    for (items, expected) in [
        (json!({ "a": 1 }), "an object, not an array"),
        (json!([1, 2, 3, 4]), "there are 4 items, and `maxItems` is 3"),
        (json!([1, 1]), "the key `1` of item 1 is taken"),
    ] {
        let map = json!({ "id": "map", "map": {
            "items": "${inputs.items}", "key": "${item}", "maxItems": 3, "steps": [step("a", "echo", &[])]
        }});
        let run = run(workflow(json!([map])), json!({ "items": items })).await;
        let error = assert_failed!(run, ErrorKind::Validation);
        assert!(error.message.contains(expected), "{}", error.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_goes_on_until_its_condition_holds() {
    let looped = json!({ "id": "refine", "loop": {
        "until": "length(loop.value) >= `4`",
        "maxIterations": 10,
        "init": "x",
        "steps": [echo("critic", json!({ "text": "${loop.value}${loop.index}" }))],
        "value": "${steps.critic.output.text}",
        "delay": "2s"
    }});
    let run = run(workflow(json!([looped])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("refine"), &json!({ "value": "x012", "iterations": 3, "reason": "condition" }));
    assert_eq!(run.outcome().to_body().duration, Some(4000), "a delay between iterations, none before the first");
    assert_events!(
        run,
        ["step.completed refine#0.critic", "step.completed refine#1.critic", "step.completed refine#2.critic"]
    );
    let visits: Vec<_> =
        run.journal().iter().filter(|entry| entry.kind == "step.started").map(|entry| entry.visit).collect();
    assert_eq!(visits, [Some(0), Some(0), Some(1), Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_loop_without_iterations_left_fails_or_ends_as_it_is_told() {
    let looped = |on_limit: &str| {
        workflow(json!([{ "id": "loop", "loop": {
            "while": "inputs.more", "maxIterations": 2, "onLimit": on_limit, "steps": [echo("a", json!({}))]
        }}]))
    };
    let failed = run(looped("fail"), json!({ "more": true })).await;
    assert_failed!(failed, ErrorKind::LoopLimit);
    let accepted = run(looped("accept"), json!({ "more": true })).await;
    assert_eq!(accepted.output("loop"), &json!({ "value": { "a": {} }, "iterations": 2, "reason": "limit" }));
    let never = run(looped("fail"), json!({})).await;
    assert_eq!(never.output("loop"), &json!({ "value": null, "iterations": 0, "reason": "condition" }));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_iterations_are_no_deeper_than_one() {
    let looped = json!({ "id": "loop", "loop": {
        "until": "loop.index == `999`", "maxIterations": 1000, "steps": [echo("a", json!({}))]
    }});
    let run = run(workflow(json!([looped])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("loop")["iterations"], 1000);
}

struct Children;

impl WorkflowLoader for Children {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(format!("{reference}.json"))
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, LoadError> {
        let mut child = workflow(json!([
            echo("greet", json!({ "text": "${variables.greeting}, ${inputs.name}!", "env": "${env.PLACE ?? 'nowhere'}" })),
            { "id": "more", "agent": { "id": "@test/broken" }, "condition": { "if": "inputs.fail" }, "dependencies": ["greet"] }
        ]));
        child["metadata"]["id"] = json!("child");
        child["inputs"] = json!({
            "type": "object", "required": ["name"],
            "properties": { "name": { "type": "string" }, "fail": { "type": "boolean", "default": false } }
        });
        child["context"] = json!({ "variables": { "greeting": "Hello" }, "environment": { "PLACE": "child" } });
        child["outputs"] = json!({ "said": "${steps.greet.output.text}", "from": "${steps.greet.output.env}" });
        Ok(serde_json::to_vec(&child).expect("JSON"))
    }
}

async fn run_with_children(steps: Value, input: Value) -> Run {
    let document = workflow(steps).to_string();
    let workflow: ValidWorkflow = load(&document, &Options::new().workflows(&Children)).expect("valid");
    let broken = scripted("broken").fails(ErrorKind::Internal);
    let engine: Engine = Harness::new().agent(scripted("echo")).agent(broken).engine();
    Run::of(&engine.start(&workflow, input).await.expect("started")).await
}

#[tokio::test(start_paused = true)]
async fn a_sub_workflow_has_surroundings_of_its_own_in_the_same_journal() {
    let run = run_with_children(
        json!([
            { "id": "first", "workflow": { "ref": "child", "input": { "name": "${inputs.user}" } } },
            { "id": "second", "workflow": { "ref": "child", "input": { "name": "Grace" } }, "dependencies": ["first"] }
        ]),
        json!({ "user": "Ada" }),
    )
    .await;
    assert_completed!(run);
    assert_eq!(run.output("first"), &json!({ "said": "Hello, Ada!", "from": "child" }));
    assert_eq!(run.output("second"), &json!({ "said": "Hello, Grace!", "from": "child" }));
    assert_events!(
        run,
        [
            "step.completed first.greet",
            "step.skipped first.more",
            "step.completed first",
            "step.completed second.greet"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_sub_workflow_fails_with_what_failed_inside_and_with_input_that_does_not_fit() {
    let failed = run_with_children(
        json!([{ "id": "child", "workflow": { "ref": "child", "input": { "name": "Ada", "fail": true } } }]),
        json!({}),
    )
    .await;
    let error = assert_failed!(failed, ErrorKind::Internal);
    let cause = error.cause.as_ref().and_then(|cause| cause.step_path.as_ref());
    assert_eq!(cause.map(ToString::to_string).as_deref(), Some("child.more"));
    let unfit = run_with_children(
        json!([{ "id": "child", "workflow": { "ref": "child", "input": { "name": "${inputs.user}" } } }]),
        json!({ "user": 7 }),
    )
    .await;
    let error = assert_failed!(unfit, ErrorKind::Validation);
    assert!(error.message.contains("does not fit `inputs` of child"), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn an_output_template_replaces_what_a_composite_gives() {
    let group = json!({ "id": "group", "output": "${steps.a.output.n}", "parallel": { "steps": [echo("a", json!({ "n": 1 }))] } });
    let map = json!({ "id": "map", "output": { "value": { "all": "${self.output}" } }, "map": {
        "items": [1, 2], "steps": [echo("b", json!({}))], "output": "${item}"
    }});
    let run = run(workflow(json!([group, map])), json!({})).await;
    assert_completed!(run);
    assert_eq!(run.output("group"), 1);
    assert_eq!(run.output("map"), &json!({ "all": [1, 2] }));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_composite_ends_all_that_is_inside() {
    let map = json!({ "id": "map", "policies": { "deadline": "15s" }, "map": {
        "items": [1, 2, 3], "steps": [step("late", "slow", &[])]
    }});
    let run = run(workflow(json!([map])), json!({})).await;
    let error = assert_failed!(run, ErrorKind::Timeout);
    assert!(error.message.contains("deadline"), "{}", error.message);
    assert_eq!(run.outcome().to_body().duration, Some(15_000));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_execution_ends_its_composites_from_the_inside_out() {
    let looped = json!({ "id": "loop", "loop": { "until": "loop.index == `5`", "maxIterations": 9, "steps": [
        { "id": "group", "parallel": { "steps": [step("late", "slow", &[])] } }
    ]}});
    let slow = scripted("slow").delays(Duration::from_secs(10));
    let handle = Harness::new().agent(slow).start(workflow(json!([looped])), json!({})).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    handle.cancel(orchestr8_core::Cancellation::new("enough")).await.expect("accepted");
    let run = Run::of(&handle).await;
    assert_eq!(run.status(), ExecutionStatus::Cancelled);
    assert_events!(
        run,
        [
            "step.cancelled loop#1.group.late",
            "step.cancelled loop#1.group",
            "step.cancelled loop",
            "execution.cancelled"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_goes_on_fails_in_the_end_all_the_same() {
    let group = json!({ "id": "group", "parallel": { "steps": [step("down", "broken", &[])] } });
    let run =
        run(workflow_with(json!([group, step("late", "slow", &[])]), json!({ "onFailure": "continue" })), json!({}))
            .await;
    assert_failed!(run, ErrorKind::Internal);
    assert_events!(run, ["step.failed group", "step.completed late", "execution.failed"]);
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_output_has_no_value_fails_alone() {
    let document = |on_item_error: &str| {
        let items = json!([{ "v": 1 }, {}, { "v": 3 }]);
        let item = json!({ "id": "b", "agent": { "id": "@test/slow" }, "condition": { "if": "item.v == `3`" } });
        let map = json!({ "items": items, "concurrency": 3, "onItemError": on_item_error, "output": "${item.v}",
            "steps": [item] });
        workflow(json!([{ "id": "map", "map": map }]))
    };
    let failed = run(document("fail"), json!({})).await;
    let error = assert_failed!(failed, ErrorKind::Validation);
    assert!(error.message.starts_with("item 1: `output` cannot be evaluated"), "{}", error.message);
    assert_events!(failed, ["step.cancelled map[2].b", "step.failed map"]);

    let skipped = run(document("skip"), json!({})).await;
    assert_completed!(skipped);
    assert_eq!(skipped.output("map"), &json!([1, 3]));
}

struct Narrow;

impl WorkflowLoader for Narrow {
    fn resolve(&self, reference: &str, _: Option<&str>) -> Result<String, LoadError> {
        Ok(reference.to_owned())
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, LoadError> {
        let steps: Vec<_> = (0..3).map(|number| step(&format!("s{number}"), "slow", &[])).collect();
        Ok(workflow_with(json!(steps), json!({ "concurrency": { "maxConcurrentSteps": 1 } })).to_string().into_bytes())
    }
}

#[tokio::test(start_paused = true)]
async fn a_sub_workflow_may_lower_its_share_and_holds_up_nobody_else() {
    let child = |id: &str| json!({ "id": id, "workflow": { "ref": "narrow" } });
    let document = workflow(json!([child("one"), child("two"), step("beside", "slow", &[])])).to_string();
    let workflow = load(&document, &Options::new().workflows(&Narrow)).expect("valid");
    let slow = scripted("slow").delays(Duration::from_secs(10));
    let run = Harness::new().agent(slow).run(workflow, json!({})).await;
    assert_completed!(run);
    assert_eq!(run.outcome().to_body().duration, Some(30_000), "one after the other in each, side by side otherwise");
}
