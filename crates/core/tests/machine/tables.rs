//! Events and commands side by side: what the machine makes of a fact, to be read as documentation.
//!
//! Each line is a fact from outside; behind the arrow stands what is decided from it, and in brackets what is to be done then.

use std::sync::Arc;

use orchestr8_core::machine::{Command, Commands, State};
use orchestr8_schema::{
    ErrorKind, Failure,
    event::{Activation, CallId, EventBody, EventSort, Timer},
    usage::Estimate,
};
use serde_json::{Value, json};

use crate::{
    plan,
    world::{Move, World},
};

const STEP: fn(u32) -> CallId = |number| CallId::Step(Activation(number));
const UNDO: fn(u32) -> CallId = |number| CallId::Compensation(Activation(number));
const HOOK: fn(u32) -> CallId = |number| CallId::Hook(Activation(number));

/// Tells these facts to an execution of the steps and shows what came of each.
fn table(steps: &Value, facts: impl FnOnce(&mut World<'_>)) -> Vec<String> {
    table_with(steps, &json!({ "timeout": { "global": "1h" } }), facts)
}

fn table_with(steps: &Value, policies: &Value, facts: impl FnOnce(&mut World<'_>)) -> Vec<String> {
    let document = json!({
        "version": "1.0.0", "metadata": { "id": "table", "name": "Table" }, "steps": steps, "policies": policies
    });
    let plan = plan(&document).expect("valid");
    let mut world = World::checked(&plan);
    world.start(json!({}));
    facts(&mut world);
    let mut lines: Vec<String> = Vec::new();
    for (event, asked) in world.journal.iter().zip(&world.asked) {
        let at = |activation| world.state.step_path(&plan, activation).expect("there is one");
        let about = event.body.activation().map_or_else(String::new, |activation| format!(" {}", at(activation)));
        let shown = format!("{}{about}{}", event.body.name(), brackets(&world, asked));
        match lines.last_mut() {
            Some(line) if event.body.sort() == EventSort::Derived => {
                line.push_str(if line.contains(" → ") { ", " } else { " → " });
                line.push_str(&shown);
            }
            _ => lines.push(shown),
        }
    }
    lines
}

fn brackets(world: &World<'_>, asked: &Commands) -> String {
    let call = |call: CallId| {
        let step = call.activation().and_then(|activation| world.state.step_path(world.plan, activation));
        let step = step.map_or_else(String::new, |path| path.to_string());
        match call {
            CallId::Step(_) => format!("call {step}"),
            CallId::Compensation(_) => format!("undo {step}"),
            CallId::Hook(_) => format!("ask about {step}"),
        }
    };
    let timer = |timer: Timer| match timer {
        Timer::ExecutionDeadline => "deadline",
        Timer::Compensation => "time of compensation",
        _ => "timer",
    };
    let told: Vec<_> = asked
        .iter()
        .map(|command| match command {
            Command::Call(asked) => call(asked.id),
            Command::AbortCall { call: aborted, force, .. } => {
                format!("{} {}", if *force { "drop" } else { "tell" }, call(*aborted))
            }
            Command::SetTimer { timer: set, .. } => format!("set {}", timer(*set)),
            Command::ClearTimer { timer: cleared } => format!("clear {}", timer(*cleared)),
            Command::Finish(status) => format!("{status:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    if told.is_empty() { String::new() } else { format!(" [{}]", told.join("; ")) }
}

fn agent(id: &str, dependencies: &[&str]) -> Value {
    json!({ "id": id, "agent": { "id": "@test/any" }, "dependencies": dependencies })
}

#[test]
fn a_pause_takes_calls_back_and_keeps_what_follows_for_later() {
    let lines = table(&json!([agent("a", &[]), agent("b", &[]), agent("c", &["a"])]), |world| {
        world.begin(STEP(0));
        world.event(EventBody::ExecutionPaused { reason: None });
        world.succeed(STEP(0));
        world.event(EventBody::ExecutionResumed { reason: None });
    });
    assert_eq!(
        lines,
        [
            "execution.queued",
            "execution.started [set deadline] → step.scheduled a [call a], step.scheduled b [call b]",
            "attempt.started a → step.started a",
            "execution.paused [clear deadline; drop call b]",
            "attempt.finished a → step.completed a",
            "execution.resumed [set deadline; call b] → step.scheduled c [call c]",
        ]
    );
}

#[test]
fn what_is_done_is_undone_one_after_another_the_newest_first() {
    let mut steps = json!([agent("a", &[]), agent("b", &["a"]), agent("c", &["b"])]);
    for undoable in &mut steps.as_array_mut().expect("a list")[..2] {
        undoable["compensate"] = json!({ "agent": { "id": "@test/any" } });
    }
    let lines = table(&steps, |world| {
        for done in [STEP(0), STEP(1)] {
            world.begin(done);
            world.succeed(done);
        }
        world.begin(STEP(2));
        let failure = || Err(Failure::new(ErrorKind::Network, "down").into());
        world.finish(STEP(2), failure());
        world.begin(UNDO(1));
        world.finish(UNDO(1), failure());
        world.begin(UNDO(0));
        world.succeed(UNDO(0));
    });
    assert_eq!(
        &lines[7..],
        [
            "attempt.finished c → step.failed c, execution.failing [clear deadline], \
         compensation.started [set time of compensation], compensation.step-started b [undo b]",
            "attempt.started b",
            "attempt.finished b → compensation.step-failed b, compensation.step-started a [undo a]",
            "attempt.started a",
            "attempt.finished a → compensation.step-completed a, compensation.finished [clear time of compensation], \
         execution.failed [Failed]",
        ]
    );
}

#[test]
fn a_failed_execution_that_is_reopened_keeps_what_completed() {
    let steps = json!([
        agent("a", &[]),
        { "id": "m", "dependencies": ["a"], "map": {
            "items": [0, 1, 2], "as": "item", "concurrency": 2, "steps": [agent("x", &[])]
        } },
        agent("z", &["m"]),
    ]);
    let lines = table(&steps, |world| {
        for done in [0, 3] {
            world.begin(STEP(done));
            world.succeed(STEP(done));
        }
        world.begin(STEP(4));
        world.finish(STEP(4), Err(Failure::new(ErrorKind::Network, "down").into()));
        assert!(world.reopen());
        for done in [4, 5] {
            world.begin(STEP(done));
            world.succeed(STEP(done));
        }
    });
    assert_eq!(
        &lines[7..],
        [
            "attempt.finished m[1].x → step.failed m[1].x, step.cancelled m[2].x [drop call m[2].x], step.failed m, \
         execution.failing [clear deadline], step.skipped z, execution.failed [Failed]",
            "execution.reopened [set deadline] → step.scheduled m[1].x [call m[1].x], \
         step.scheduled m[2].x [call m[2].x]",
            "attempt.started m[1].x → step.started m[1].x",
            "attempt.finished m[1].x → step.completed m[1].x, map.item-finished m",
            "attempt.started m[2].x → step.started m[2].x",
            "attempt.finished m[2].x → step.completed m[2].x, map.item-finished m, step.completed m, \
         step.scheduled z [call z]",
        ]
    );
}

#[test]
fn at_the_end_of_an_execution_no_further_item_of_a_map_opens() {
    let steps = json!([{ "id": "m", "map": {
        "items": [0, 1, 2], "as": "item", "concurrency": 1, "steps": [agent("x", &[])]
    } }]);
    let lines = table(&steps, |world| world.act(&Move::Cancel(true)));
    assert_eq!(
        lines.last().map(String::as_str),
        Some(
            "execution.cancelling [clear deadline] → step.cancelled m[0].x [drop call m[0].x], step.cancelled m, \
         execution.cancelled [Cancelled]"
        )
    );
}

#[test]
fn neither_does_one_when_something_further_out_ends() {
    let map = json!({ "id": "m", "map": { "items": [0, 1, 2], "concurrency": 1, "steps": [agent("x", &[])] } });
    let steps = json!([{ "id": "g", "parallel": { "join": "any", "steps": [agent("fast", &[]), map] } }]);
    let lines = table(&steps, |world| {
        world.begin(STEP(1));
        world.succeed(STEP(1));
    });
    assert_eq!(
        lines.last().map(String::as_str),
        Some(
            "attempt.finished g.fast → step.completed g.fast, parallel.joined g, \
         step.cancelled g.m[0].x [drop call g.m[0].x], step.cancelled g.m, step.completed g, \
         execution.completed [clear deadline; Completed]"
        )
    );
}

#[test]
fn an_attempt_waits_for_what_others_have_reserved_and_not_for_what_is_spent() {
    // Estimates of 10, 20 and 30 tokens; the first uses half of its own.
    let steps = json!([agent("a", &[]), agent("b", &[]), agent("c", &[])]);
    let lines = table_with(&steps, &json!({ "budget": { "maxTokens": 25 } }), |world| {
        world.begin(STEP(0));
        world.begin(STEP(1));
        world.succeed(STEP(0));
        world.begin(STEP(1));
        world.succeed(STEP(1));
        world.begin(STEP(2));
    });
    assert_eq!(
        &lines[2..],
        [
            "attempt.started a → step.started a",
            "attempt.deferred b",
            "attempt.finished a → step.completed a",
            "attempt.started b → step.started b",
            "attempt.finished b → step.completed b",
            "attempt.rejected c → budget.exceeded c, step.failed c, execution.failing [clear deadline], \
         execution.failed [Failed]",
        ]
    );
}

#[test]
fn what_an_attempt_had_reserved_is_used_when_it_was_interrupted_too_often() {
    let mut first = agent("a", &[]);
    first["onError"] = json!("continue");
    let steps = json!([first, agent("b", &[]), agent("c", &["b"])]);
    let lines = table_with(&steps, &json!({ "budget": { "maxTokens": 45 } }), |world| {
        world.begin(STEP(0));
        for restart in 1..=State::MAX_RESTARTS {
            world.recover(u64::from(restart));
            let (call, reserved) = (STEP(0), Some(Arc::new(Estimate::new(10, 0.0))));
            world.event(EventBody::AttemptStarted { call, attempt: 1, restart, timeout: None, reserved });
        }
        world.recover(9);
        for step in 1..3 {
            world.begin(STEP(step));
            if step == 1 {
                world.succeed(STEP(step));
            }
        }
    });
    assert_eq!(
        &lines[lines.len() - 4..],
        [
            "execution.recovered → step.failed a",
            "attempt.started b → step.started b",
            "attempt.finished b → step.completed b, step.scheduled c [call c]",
            "attempt.rejected c → budget.exceeded c, step.failed c, execution.failing [clear deadline], \
         execution.failed [Failed]",
        ]
    );
}

#[test]
fn a_guard_stands_before_a_step_and_an_observer_behind_it() {
    let mut steps = json!([agent("a", &[]), agent("b", &["a"]), agent("c", &["b"])]);
    let hook = json!({ "agent": { "id": "@test/any" } });
    let guard = json!({ "agent": { "id": "@test/any" }, "mode": "guard" });
    steps[0]["hooks"] = json!({ "before": [hook, guard], "after": [hook] });
    steps[1]["hooks"] = json!({ "before": [guard], "onError": [hook] });
    let lines = table(&steps, |world| {
        let allow = || Ok(Arc::new(json!({ "decision": "allow" })));
        // The observer, then the guard, then the step, then the observer behind it.
        for (call, answer) in [(HOOK(0), allow()), (HOOK(0), allow()), (STEP(0), allow()), (HOOK(0), allow())] {
            world.begin(call);
            world.finish(call, answer);
        }
        world.begin(HOOK(1));
        world.finish(HOOK(1), Ok(Arc::new(json!({ "decision": "deny", "reason": "not today" }))));
        world.begin(HOOK(1));
        world.finish(HOOK(1), allow());
    });
    assert_eq!(
        &lines[1..],
        [
            "execution.started [set deadline] → step.scheduled a, hook.started a [ask about a]",
            "attempt.started a",
            "attempt.finished a → hook.finished a, hook.started a [ask about a]",
            "attempt.started a",
            "attempt.finished a → hook.finished a [call a]",
            "attempt.started a → step.started a",
            "attempt.finished a → step.completed a, hook.started a [ask about a]",
            "attempt.started a",
            "attempt.finished a → hook.finished a, step.scheduled b, hook.started b [ask about b]",
            "attempt.started b",
            "attempt.finished b → hook.finished b, step.failed b, hook.started b [ask about b]",
            "attempt.started b",
            "attempt.finished b → hook.finished b, execution.failing [clear deadline], step.skipped c, \
         execution.failed [Failed]",
        ]
    );
}
