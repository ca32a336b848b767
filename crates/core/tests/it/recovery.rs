//! Executions whose process is gone: taken up from their journals, without running again what was committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use orchestr8_agent_base::Clock;
use orchestr8_core::{
    Engine, ExecutionHandle, MemoryStore, Snapshot, Store,
    engine::TakeUpError,
    execution::Cancellation,
    store::{Durability, SqliteStore},
};
use orchestr8_schema::{
    ErrorKind, Timestamp, ValidWorkflow,
    api::ExecutionStatus,
    event::{EventBody, Signal},
    source::{Limits, Options, load},
};
use orchestr8_testing::{FaultStore, Interference, Records, Scripted, StoreFault, TestClock, scripted};
use serde_json::{Value, json};

use crate::{step, why::assert_explained, workflow, workflow_with};

/// The end of a process: what it would write from then on is never stored, and its executions are free.
#[derive(Debug)]
struct Death {
    after_writes: u64,
}

impl Interference for Death {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        // The driver drops everything at once, as a process does that dies.
        (write > self.after_writes).then_some(StoreFault::Conflict)
    }
}

/// A store as a process sees it that dies after so many writes.
fn dying(store: &MemoryStore, after_writes: u64) -> FaultStore<MemoryStore> {
    FaultStore::new(store.clone(), Arc::new(Death { after_writes }))
}

/// The agents of the workflows below, all of which write down their calls.
fn agents() -> (Vec<Scripted>, Vec<Records>) {
    let agents = vec![
        scripted("echo"),
        scripted("slow").delays(Duration::from_secs(3)),
        scripted("flaky").fails_times(2, ErrorKind::Network),
        scripted("broken").fails(ErrorKind::Validation),
        scripted("count").returns(json!({ "n": 1 })),
    ];
    let records = agents.iter().map(Scripted::records).collect();
    (agents, records)
}

fn engine(store: impl Store, agents: &[Scripted], clock: &Arc<TestClock>) -> Engine {
    let builder = Engine::builder().store(store).clock(Arc::clone(clock) as Arc<dyn Clock>);
    agents.iter().cloned().fold(builder, orchestr8_core::EngineBuilder::agent).build().expect("built")
}

/// One of each kind of step, with retries, fallbacks, timers and failures.
fn workflows() -> Vec<(&'static str, ValidWorkflow)> {
    let input = |id: &str, agent: &str, dependencies: &[&str], input: Value| {
        let mut step = step(id, agent, dependencies);
        step["input"] = input;
        step
    };
    let mut with_fallback = step("tries", "broken", &[]);
    with_fallback["onError"] = json!("fallback");
    with_fallback["fallbackStepId"] = json!("instead");
    let retried = json!({ "retry": { "maxAttempts": 4, "jitter": false }, "onFailure": "stop" });
    let documents = [
        ("chain", workflow(json!([step("a", "echo", &[]), step("b", "slow", &["a"]), step("c", "echo", &["b"])]))),
        (
            "diamond",
            workflow_with(
                json!([
                    input("a", "echo", &[], json!({ "x": "${inputs.x}" })),
                    step("b", "slow", &["a"]),
                    step("c", "flaky", &["a"]),
                    input("d", "echo", &["b", "c"], json!({ "b": "${steps.b.output}", "a": "${steps.a.output.x}" })),
                ]),
                retried,
            ),
        ),
        ("fallback", workflow(json!([with_fallback, step("instead", "slow", &[]), step("after", "echo", &["tries"])]))),
        (
            "map",
            workflow(json!([
                { "id": "all", "map": { "items": "${inputs.items}", "as": "item", "concurrency": 2,
                  "steps": [input("one", "slow", &[], json!({ "item": "${item}" }))] } },
                input("sum", "echo", &["all"], json!({ "all": "${steps.all.output}" })),
            ])),
        ),
        (
            "loop",
            workflow(json!([
                { "id": "again", "loop": { "until": "loop.index == `2`", "maxIterations": 5, "steps": [step("turn", "slow", &[])] } },
            ])),
        ),
        (
            "wait",
            workflow(json!([
                step("a", "echo", &[]),
                { "id": "pause", "wait": { "duration": "10s" }, "dependencies": ["a"] },
                { "id": "told", "wait": { "signal": "go", "timeout": "1h" }, "dependencies": ["pause"] },
                step("b", "slow", &["told"]),
            ])),
        ),
        ("failing", workflow(json!([step("a", "slow", &[]), step("b", "broken", &["a"]), step("c", "echo", &["b"])]))),
    ];
    let valid = |(name, document): (&'static str, Value)| {
        let workflow = ValidWorkflow::from_value(&document).unwrap_or_else(|error| unreachable!("{name}: {error}"));
        (name, workflow)
    };
    documents.into_iter().map(valid).collect()
}

/// Drives an execution to its end by engines that each die after so many appends, the first one after `first`. Whatever each
/// finds committed is not run again.
async fn live_on(workflow: &ValidWorkflow, first: u64, each: u64) -> (Snapshot, u32) {
    let store = MemoryStore::new();
    let ((agents, records), clock) = (agents(), Arc::new(TestClock::new(7)));
    let begun = engine(dying(&store, first.saturating_add(1)), &agents, &clock);
    let mut handle = begun.start(workflow, json!({ "x": 1, "items": [1, 2, 3, 4] })).await.expect("started");
    let id = handle.id();
    let mut lives = 1;
    loop {
        tell(&handle).await;
        let _ = handle.outcome().await;
        let snapshot = begun.snapshot(id).await.expect("read");
        assert_explained(&snapshot);
        if snapshot.state().status().is_terminal() {
            check_keys(&records);
            return (snapshot, lives);
        }
        let before = calls(&records);
        let next = engine(dying(&store, each), &agents, &clock);
        let recovery = next.recover().await.expect("recovered");
        assert!(recovery.failed.is_empty(), "{recovery:?}");
        handle = recovery.taken_up.into_iter().next().expect("one is left");
        lives += 1;
        tell(&handle).await;
        let _ = handle.outcome().await;
        for (path, count) in &before {
            let done = snapshot.state().steps().iter().enumerate().any(|(index, step)| {
                let activation = orchestr8_schema::event::Activation(index as u32);
                let known = snapshot.state().step_path(snapshot.plan(), activation);
                step.phase.is_terminal() && known.is_some_and(|known| known.as_str() == path)
            });
            assert!(!done || calls(&records)[path] == *count, "`{path}` was committed and has run again");
        }
        assert!(lives < 100, "it does not come to its end");
    }
}

/// Sends the signal that one of the workflows waits for. It is ignored by who knows it, and lost with whoever dies before it is
/// stored.
async fn tell(handle: &ExecutionHandle) {
    let signal = Signal { name: "go".into(), payload: json!(1), signal_id: Some("one".into()), step_path: None };
    let _ = tokio::time::timeout(Duration::from_secs(1), handle.signal(signal)).await;
}

/// How often each step was called.
fn calls(records: &[Records]) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for record in records.iter().flat_map(Records::all) {
        *calls.entry(record.step_path).or_default() += 1;
    }
    calls
}

/// All calls of a step bear one key, and no two steps share one.
fn check_keys(records: &[Records]) {
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in records.iter().flat_map(Records::all) {
        keys.entry(record.step_path).or_default().insert(record.idempotency_key);
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
    let distinct: BTreeSet<_> = keys.values().flatten().collect();
    assert_eq!(distinct.len(), keys.len());
}

/// What an execution came to, times aside.
fn result(snapshot: &Snapshot) -> impl PartialEq + Debug + use<> {
    let steps = snapshot.state().steps().iter();
    let steps: Vec<_> = steps.map(|step| (step.phase, step.attempts, step.output.as_deref().cloned())).collect();
    (snapshot.status(), snapshot.outputs(), steps)
}

#[tokio::test(start_paused = true)]
async fn a_process_may_die_after_any_append_and_the_result_is_the_same() {
    for (name, workflow) in workflows() {
        let (undisturbed, lives) = live_on(&workflow, u64::MAX, 0).await;
        assert_eq!(lives, 1);
        let batches = undisturbed.events().len() as u64;
        for appends in 0..batches {
            let (survived, lives) = live_on(&workflow, appends, u64::MAX).await;
            assert_eq!(result(&survived), result(&undisturbed), "`{name}` after {appends} appends, in {lives} lives");
        }
        // More often, and a step that takes long would be begun again too often.
        for each in [4, 5, 7] {
            let (survived, lives) = live_on(&workflow, 0, each).await;
            assert_eq!(
                result(&survived),
                result(&undisturbed),
                "`{name}`, dying every {each} appends, in {lives} lives"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_kills_its_process_is_begun_again_three_times_and_no_more() {
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("deadly", "slow", &[])]))).expect("valid");
    let (survived, lives) = live_on(&workflow, 1, 1).await;
    assert_eq!((survived.status(), lives), (ExecutionStatus::Failed, 5));
    let step = &survived.state().steps()[0];
    assert_eq!((step.attempts, step.restarts), (1, 3));
    assert_eq!(step.error.as_ref().map(|error| error.code), Some(ErrorKind::Internal));
    let recovered = survived.events().iter().filter(|event| matches!(event.body, EventBody::ExecutionRecovered { .. }));
    assert_eq!(recovered.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn timers_keep_their_times_and_those_overdue_fire_at_once() {
    let (_, workflow) = workflows().into_iter().find(|(name, _)| *name == "wait").expect("one");
    let store = MemoryStore::new();
    let ((agents, _), clock) = (agents(), Arc::new(TestClock::new(7)));
    // Dies once the wait for 10 s has begun.
    let first = engine(dying(&store, 3), &agents, &clock);
    let began = tokio::time::Instant::now();
    let handle = first.start(&workflow, json!({})).await.expect("started");
    let ended = handle.outcome().await;
    assert!(ended.is_err());
    let next = engine(store.clone(), &agents, &clock);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let taken = next.recover().await.expect("recovered").taken_up;
    let signal = Signal { name: "go".into(), payload: json!(1), signal_id: None, step_path: None };
    taken[0].signal(signal).await.expect("told");
    assert!(taken[0].outcome().await.expect("driven").is_completed());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(13) && took < Duration::from_secs(18), "{took:?}");
}

/// A clock that somebody sets back.
#[derive(Debug)]
struct SetBack {
    clock: TestClock,
    by: AtomicI64,
}

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now().as_micros() - self.by.load(SeqCst))
    }

    fn random(&self) -> u64 {
        self.clock.random()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_an_hour_moves_no_time_of_an_execution_back_and_no_timer_by_an_hour() {
    const HOUR: i64 = 3_600_000_000;
    let (_, workflow) = workflows().into_iter().find(|(name, _)| *name == "wait").expect("one");
    let store = MemoryStore::new();
    let (agents, _) = agents();
    let clock = Arc::new(SetBack { clock: TestClock::new(7), by: AtomicI64::new(0) });
    let engine = |store: FaultStore<MemoryStore>| {
        let builder = Engine::builder().store(store).clock(Arc::clone(&clock) as Arc<dyn Clock>);
        agents.iter().cloned().fold(builder, orchestr8_core::EngineBuilder::agent).build().expect("built")
    };
    let began = tokio::time::Instant::now();
    let begun = engine(dying(&store, 3));
    let handle = begun.start(&workflow, json!({})).await.expect("started");
    assert!(handle.outcome().await.is_err(), "it dies when the wait for 10 s is over");
    // Once while nobody drives it, and once while it waits.
    clock.by.store(HOUR, SeqCst);
    let next = engine(dying(&store, u64::MAX));
    let taken = next.recover().await.expect("recovered").taken_up.into_iter().next().expect("it is free");
    tokio::time::sleep(Duration::from_secs(4)).await;
    clock.by.store(2 * HOUR, SeqCst);
    let signal = Signal { name: "go".into(), payload: json!(1), signal_id: None, step_path: None };
    taken.signal(signal).await.expect("told");
    let _ = taken.outcome().await;
    let took = began.elapsed();
    let snapshot = taken.snapshot().await.expect("read");
    assert_eq!(snapshot.status(), ExecutionStatus::Completed);
    assert!(snapshot.events().is_sorted_by_key(|event| event.at), "times rise");
    // By a clock that shows an earlier time than the journal no time has passed since then: the wait begins anew, and is no hour late.
    assert!(took >= Duration::from_secs(13) && took < Duration::from_secs(24), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_driven_here_is_not_taken_up_and_who_has_ended_neither() {
    let ((agents, _), clock) = (agents(), Arc::new(TestClock::new(7)));
    let engine = engine(MemoryStore::new(), &agents, &clock);
    let workflow = ValidWorkflow::from_value(&workflow(json!([step("a", "slow", &[])]))).expect("valid");
    let handle = engine.start(&workflow, json!({})).await.expect("started");
    assert!(engine.recover().await.expect("looked").taken_up.is_empty());
    handle.outcome().await.expect("driven");
    assert!(matches!(engine.take_up(handle.id()).await, Err(TakeUpError::Nothing)));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_was_valid_when_it_began_is_not_judged_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orchestr8.db");
    let ((agents, _), clock) = (agents(), Arc::new(TestClock::new(7)));
    let live = || engine(SqliteStore::open(&path, Durability::Process).expect("opened"), &agents, &clock);
    // More steps than a file may have, as an embedder may allow.
    let steps: Vec<_> =
        (0..10_001).map(|number| json!({ "id": format!("s{number}"), "wait": { "signal": "go" } })).collect();
    let mut limits = Limits::default();
    limits.steps = 20_000;
    let many = load(workflow(json!(steps)).to_string(), &Options::new().limits(limits)).expect("valid");
    let first = live();
    let id = first.start(&many, json!({})).await.expect("started").id();
    first.shutdown(Duration::ZERO).await;
    let next = live();
    assert_eq!(next.recover().await.expect("looked").taken_up.len(), 1);
    let handle = next.execution(id).await.expect("it is there");
    handle.cancel(Cancellation::new("enough")).await.expect("cancelled");
    assert_eq!(handle.outcome().await.expect("ended").status(), ExecutionStatus::Cancelled);
}
