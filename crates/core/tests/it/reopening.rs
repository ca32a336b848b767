//! Failed executions that go on: what they keep, what they run again, and who may ask for it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use orchestr8_agent_base::{AgentError, AgentManifest, agent_fn};
use orchestr8_core::{Engine, ExecutionHandle, MemoryStore, engine::ResumeError};
use orchestr8_schema::{
    ErrorKind, ValidWorkflow,
    api::ExecutionStatus,
    event::{Event, EventBody},
    policy::Budget,
};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

/// An engine with an agent that answers its input, but for one of its inputs as long as the world is broken.
struct World {
    engine: Engine,
    broken: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl World {
    fn new() -> Self {
        let (broken, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let (is_broken, noted) = (Arc::clone(&broken), Arc::clone(&calls));
        let manifest =
            AgentManifest::new("@test/work", "1.0.0", "Fails on 4 while the world is broken").expect("valid");
        let agent = agent_fn(manifest, move |input: Value, _, _| {
            noted.lock().expect("whole").push(input["of"].clone());
            let fails = input["of"] == 4 && is_broken.load(SeqCst);
            async move {
                if input["of"] == 4 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                if fails { Err(AgentError::new(ErrorKind::Denied, "not today")) } else { Ok(input) }
            }
        });
        let engine = Engine::builder().agent(agent).store(MemoryStore::new()).build().expect("built");
        Self { engine, broken, calls }
    }

    async fn fail(&self, document: Value) -> ExecutionHandle {
        let workflow = ValidWorkflow::from_value(&document).unwrap_or_else(|error| unreachable!("{error}"));
        let handle = self.engine.start(&workflow, json!({})).await.expect("started");
        assert_eq!(handle.outcome().await.expect("driven").status(), ExecutionStatus::Failed);
        handle
    }

    fn calls_since(&self, before: usize) -> Vec<Value> {
        self.calls.lock().expect("whole")[before..].to_vec()
    }

    fn called(&self) -> usize {
        self.calls.lock().expect("whole").len()
    }
}

fn on(id: &str, of: impl Into<Value>, dependencies: &[&str]) -> Value {
    let mut step = step(id, "work", dependencies);
    step["input"] = json!({ "of": of.into() });
    step
}

#[tokio::test(start_paused = true)]
async fn of_a_map_of_102_items_whose_item_4_failed_that_one_runs_again() {
    let world = World::new();
    let items: Vec<u32> = (0..102).collect();
    let steps = json!([
        on("first", "first", &[]),
        { "id": "all", "dependencies": ["first"], "map": {
            "items": items, "as": "item", "concurrency": 102, "steps": [on("one", "${item}", &[])]
        } },
        on("last", "last", &["all"]),
    ]);
    let failed = world.fail(workflow(steps)).await;
    let before = world.called();
    assert_eq!(before, 103);
    world.broken.store(false, SeqCst);
    let resumed = world.engine.resume(failed.id(), None, None).await.expect("it goes on");
    let (reused, rerun) = resumed.before.rerun();
    let rerun: Vec<_> = rerun.iter().map(|step| (step.step_path.as_str(), step.because.as_str())).collect();
    assert_eq!(reused, 102);
    assert_eq!(
        rerun,
        [("all[4].one", "failed with DENIED"), ("last", "its turn had not come when the workflow failed")]
    );
    let outcome = resumed.handle.outcome().await.expect("driven");
    assert!(outcome.is_completed());
    assert_eq!(world.calls_since(before), [json!(4), json!("last")]);
    let all = outcome.output("all").and_then(Value::as_array).expect("a list");
    assert_eq!(all.len(), 102);

    // The journal tells both lives, and a follower of it reads on behind the first end.
    let mut events = resumed.handle.events().expect("subscribed");
    let mut names = Vec::new();
    while let Some((_, Event { body, .. })) = events.next().await.expect("read") {
        names.push(body.name());
    }
    let ends: Vec<_> = names.iter().filter(|name| name.starts_with("execution.")).copied().collect();
    assert_eq!(
        ends,
        [
            "execution.queued",
            "execution.started",
            "execution.failing",
            "execution.failed",
            "execution.reopened",
            "execution.completed"
        ]
    );
    let again = world.engine.resume(failed.id(), None, None).await;
    assert!(matches!(again, Err(ResumeError::Refused(_))), "what has completed does not go on");
}

#[tokio::test(start_paused = true)]
async fn time_counts_anew_and_what_is_used_stays_used() {
    let world = World::new();
    let steps = json!([on("a", 1, &[]), on("b", 4, &["a"]), on("c", 2, &["b"])]);
    let limits = json!({ "timeout": { "global": "10s" }, "budget": { "maxSteps": 2 } });
    let failed = world.fail(workflow_with(steps, limits)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.broken.store(false, SeqCst);
    // `b` is not counted twice, so it runs; for `c` nothing is left.
    let resumed = world.engine.resume(failed.id(), None, None).await.expect("it goes on");
    let outcome = resumed.handle.outcome().await.expect("driven");
    assert_eq!(outcome.error().map(|error| error.code), Some(ErrorKind::BudgetExceeded));
    let budget = |steps| {
        let mut budget = Budget::default();
        budget.max_steps = Some(steps);
        Some(budget)
    };
    let lowered = world.engine.resume(failed.id(), None, budget(1)).await.expect_err("it is no more than is used");
    assert!(lowered.is_about_limits(), "{lowered}");
    let resumed = world.engine.resume(failed.id(), None, budget(3)).await.expect("it goes on");
    assert!(resumed.handle.outcome().await.expect("driven").is_completed());
    assert_eq!(world.calls_since(0), [1, 4, 4, 2].map(|of| json!(of)));
}

#[tokio::test(start_paused = true)]
async fn what_was_undone_does_not_go_on() {
    let world = World::new();
    let mut undoable = on("a", 1, &[]);
    undoable["compensate"] = json!({ "agent": { "id": "@test/work" } });
    let failed = world.fail(workflow(json!([undoable, on("b", 4, &["a"])]))).await;
    let events = failed.snapshot().await.expect("read").events().len();
    let refused = world.engine.resume(failed.id(), None, None).await.expect_err("it was undone");
    assert!(refused.to_string().contains("only be forked"), "{refused}");
    assert_eq!(failed.snapshot().await.expect("read").events().len(), events);
}

#[tokio::test(start_paused = true)]
async fn of_many_who_ask_at_once_one_is_heard() {
    let world = World::new();
    let failed = world.fail(workflow(json!([on("a", 4, &[])]))).await;
    world.broken.store(false, SeqCst);
    let (one, two, three) = tokio::join!(
        world.engine.resume(failed.id(), None, None),
        world.engine.resume(failed.id(), None, None),
        world.engine.resume(failed.id(), None, None)
    );
    let heard: Vec<_> = [one, two, three].into_iter().filter_map(Result::ok).collect();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].handle.outcome().await.expect("driven").is_completed());
    let snapshot = failed.snapshot().await.expect("read");
    let reopened = |event: &&Event| matches!(event.body, EventBody::ExecutionReopened(_));
    assert_eq!(snapshot.events().iter().filter(reopened).count(), 1);
    assert_eq!(world.called(), 2);
}
