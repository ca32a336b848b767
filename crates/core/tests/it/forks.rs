//! New executions that begin with what another one has come to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use orchestr8_agent_base::{AgentError, AgentManifest, agent_fn};
use orchestr8_core::{
    Engine, ExecutionHandle, MemoryStore, Outcome,
    engine::{Checkpoint, ForkError, ForkRequest, Forked},
};
use orchestr8_schema::{
    ErrorKind, StepPath, ValidWorkflow,
    api::ExecutionStatus,
    event::{EventBody, Reuse},
};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

/// An agent that answers its input and notes it, but for one input as long as the world is broken.
fn work(version: &str, broken: &Arc<AtomicBool>, calls: &Arc<Mutex<Vec<Value>>>) -> impl orchestr8_agent_base::Agent {
    let manifest = AgentManifest::new("@test/work", version, "Fails on 4 while the world is broken").expect("valid");
    let (broken, calls) = (Arc::clone(broken), Arc::clone(calls));
    agent_fn(manifest, move |input: Value, _, _| {
        calls.lock().expect("whole").push(input["of"].clone());
        let fails = input["of"] == 4 && broken.load(SeqCst);
        async move { if fails { Err(AgentError::new(ErrorKind::Denied, "not today")) } else { Ok(input) } }
    })
}

struct World {
    engine: Engine,
    store: MemoryStore,
    broken: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl World {
    fn new() -> Self {
        let (store, broken, calls) = (MemoryStore::new(), Arc::new(AtomicBool::new(true)), Arc::default());
        let agent = work("1.0.0", &broken, &calls);
        let engine = Engine::builder().agent(agent).store(store.clone()).build().expect("built");
        Self { engine, store, broken, calls }
    }

    async fn run(&self, document: &Value, input: Value) -> (ExecutionHandle, Outcome) {
        let handle = self.engine.start(&valid(document), input).await.expect("started");
        let outcome = handle.outcome().await.expect("driven");
        (handle, outcome)
    }

    /// Forks, and tells what was called from then on.
    async fn fork(&self, of: &ExecutionHandle, request: ForkRequest) -> (Forked, Outcome, Vec<Value>) {
        let before = self.calls.lock().expect("whole").len();
        let forked = self.engine.fork(of.id(), request).await.expect("forked");
        let outcome = forked.submission.handle.outcome().await.expect("driven");
        let calls = self.calls.lock().expect("whole")[before..].to_vec();
        (forked, outcome, calls)
    }
}

fn valid(document: &Value) -> ValidWorkflow {
    ValidWorkflow::from_value(document).unwrap_or_else(|error| unreachable!("{error}"))
}

fn on(id: &str, of: impl Into<Value>, dependencies: &[&str]) -> Value {
    let mut step = step(id, "work", dependencies);
    step["input"] = json!({ "of": of.into() });
    step
}

/// What each step of an execution was told about reuse.
async fn verdicts(handle: &ExecutionHandle) -> Vec<(String, Option<Reuse>)> {
    let snapshot = handle.snapshot().await.expect("read");
    let scheduled = snapshot.events().iter().filter_map(|event| match &event.body {
        EventBody::StepScheduled { activation, reuse, .. } => {
            let path = snapshot.state().step_path(snapshot.plan(), *activation).expect("there is one");
            Some((path.to_string(), *reuse))
        }
        _ => None,
    });
    scheduled.collect()
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_a_map_of_102_items_whose_item_4_failed_makes_one_call() {
    let world = World::new();
    let items: Vec<u32> = (0..102).collect();
    let mut document = workflow(json!([
        { "id": "all", "map": {
            "items": items, "as": "item", "onItemError": "continue", "steps": [on("one", "${item}", &[])]
        } },
        { "id": "check", "dependencies": ["all"], "agent": { "id": "@test/work" },
          "input": { "of": 4 }, "condition": { "if": "length(steps.all.output[?error]) > `0`" } },
    ]));
    let (failed, outcome) = world.run(&document, json!({})).await;
    assert_eq!(outcome.status(), ExecutionStatus::Failed);
    world.broken.store(false, SeqCst);
    // The repaired file asks for no check any more.
    document["steps"].as_array_mut().expect("a list").pop();
    let request = ForkRequest::at(Checkpoint::Latest).workflow(valid(&document));
    let (forked, outcome, calls) = world.fork(&failed, request).await;
    assert!(outcome.is_completed());
    assert_eq!(calls, [json!(4)]);
    assert_eq!(forked.retained, 101);
    let all = outcome.output("all").and_then(Value::as_array).expect("a list");
    assert!(all.len() == 102 && all.iter().all(|item| item.get("error").is_none()));
    let body = outcome.to_body();
    assert_eq!(body.forked_from, Some(forked.from));
    assert_eq!(body.steps.iter().filter(|step| step.reused).count(), 101);
    assert!(body.steps.iter().all(|step| !step.reused || step.attempts == 0));
}

#[tokio::test(start_paused = true)]
async fn what_gets_another_input_runs_and_what_does_not_is_taken_over() {
    let world = World::new();
    let document = workflow(json!([
        on("fixed", "fixed", &[]),
        on("given", "${inputs.x}", &[]),
        { "id": "group", "parallel": { "steps": [on("inner", "${inputs.y ?? 0}", &[])] } },
        on("after", "${steps.given.output.of}", &["given", "fixed", "group"]),
    ]));
    let (first, outcome) = world.run(&document, json!({ "x": 1 })).await;
    assert!(outcome.is_completed());
    let (forked, outcome, calls) =
        world.fork(&first, ForkRequest::at(Checkpoint::Latest).input(json!({ "x": 2 }))).await;
    assert!(outcome.is_completed());
    assert_eq!((forked.retained, calls), (4, vec![json!(2), json!(2)]));
    let told = verdicts(&forked.submission.handle).await;
    let of = |path: &str| told.iter().find(|(known, _)| known == path).and_then(|(_, reuse)| *reuse);
    assert_eq!(of("fixed"), Some(Reuse::Reused));
    assert_eq!(of("given"), Some(Reuse::InputChanged));
    assert_eq!(of("group"), None, "composites open again");
    assert_eq!(of("group.inner"), Some(Reuse::Reused));
    assert_eq!(of("after"), Some(Reuse::InputChanged));

    // A fork of a fork takes over what that had taken over.
    let (_, _, calls) = world.fork(&forked.submission.handle, ForkRequest::at(Checkpoint::Latest)).await;
    assert_eq!(calls, Vec::<Value>::new());

    let before = Checkpoint::Before(path(&told[1].0));
    let (forked, _, calls) = world.fork(&first, ForkRequest::at(before)).await;
    assert_eq!((forked.retained, calls.len()), (0, 4), "nothing had completed when it was scheduled");
    let journal = first.snapshot().await.expect("read");
    let (forked, _, _) = world.fork(&first, ForkRequest::at(Checkpoint::Before(path("after")))).await;
    assert_eq!(forked.retained, 3);
    assert_eq!(first.snapshot().await.expect("read").events(), journal.events(), "the original is as it was");

    let latest = journal.events().len() as u64;
    for wrong in [0, latest + 1] {
        let refused = world.engine.fork(first.id(), ForkRequest::at(Checkpoint::Sequence(wrong))).await;
        assert!(matches!(refused, Err(ForkError::NoSuchSequence { .. })));
    }
    let nobody = Checkpoint::Before(path("nobody"));
    assert!(matches!(world.engine.fork(first.id(), ForkRequest::at(nobody)).await, Err(ForkError::NeverScheduled(_))));
}

#[tokio::test(start_paused = true)]
async fn another_version_or_configuration_runs_again_and_what_has_no_place_is_named() {
    let world = World::new();
    let document = workflow(json!([on("a", 1, &[]), on("b", 2, &[]), on("c", 3, &[]), on("d", 5, &[])]));
    let (first, _) = world.run(&document, json!({})).await;
    let mut edited = workflow(json!([on("a", 1, &[]), on("b", 2, &[]), on("c", 3, &[]), on("e", 6, &[])]));
    edited["steps"][1]["agent"]["config"] = json!({ "loud": true });
    edited["steps"][2] = json!({ "id": "c", "wait": { "duration": "1s" } });
    let request = ForkRequest::at(Checkpoint::Latest).workflow(valid(&edited));
    let (forked, outcome, calls) = world.fork(&first, request).await;
    assert!(outcome.is_completed());
    assert_eq!(calls, [json!(2), json!(6)]);
    let dropped: Vec<_> = forked.dropped.iter().map(|gone| (gone.step_path.as_str(), gone.because)).collect();
    assert_eq!(dropped, [("c", "the step is of another kind"), ("d", "the workflow has no such step")]);
    let told = verdicts(&forked.submission.handle).await;
    assert_eq!(told[1], ("b".to_owned(), Some(Reuse::ConfigChanged)));

    let newer = work("1.1.0", &world.broken, &world.calls);
    let engine = Engine::builder().agent(newer).store(world.store.clone()).build().expect("built");
    let world = World { engine, ..world };
    let (forked, _, calls) = world.fork(&first, ForkRequest::at(Checkpoint::Latest)).await;
    assert_eq!(calls.len(), 4);
    assert_eq!(verdicts(&forked.submission.handle).await[0].1, Some(Reuse::VersionChanged));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_over_is_neither_undone_nor_counted_and_what_was_undone_is_not_taken_over() {
    let world = World::new();
    let mut undoable = on("a", 1, &[]);
    undoable["compensate"] = json!({ "agent": { "id": "@test/work" }, "input": { "of": "undo" } });
    let steps = json!([undoable, on("b", 4, &["a"])]);
    let kept = json!({ "compensation": { "onFailure": false }, "budget": { "maxSteps": 1 } });
    let (failed, _) = world.run(&workflow_with(steps.clone(), kept), json!({})).await;
    assert_eq!(world.calls.lock().expect("whole").len(), 1, "the budget allows one");
    world.broken.store(false, SeqCst);
    let (forked, outcome, calls) = world.fork(&failed, ForkRequest::at(Checkpoint::Latest)).await;
    assert!(outcome.is_completed(), "{:?}", outcome.error());
    assert_eq!((forked.retained, calls), (1, vec![json!(4)]));

    world.broken.store(true, SeqCst);
    let (forked, outcome, calls) =
        world.fork(&failed, ForkRequest::at(Checkpoint::Latest).workflow(valid(&workflow(steps.clone())))).await;
    assert_eq!((forked.retained, outcome.status()), (1, ExecutionStatus::Failed));
    assert_eq!(calls, [json!(4)], "what the other one has done is not undone here");

    let (undone, _) = world.run(&workflow(steps), json!({})).await;
    let refused = world.engine.fork(undone.id(), ForkRequest::at(Checkpoint::Latest)).await;
    assert!(matches!(refused, Err(ForkError::Undone(_))), "{refused:?}");
    let (forked, ..) = world.fork(&undone, ForkRequest::at(Checkpoint::Sequence(2))).await;
    assert_eq!(forked.retained, 0, "then nothing had been done");
}

fn path(text: &str) -> StepPath {
    serde_json::from_value(json!(text)).expect("a path")
}
