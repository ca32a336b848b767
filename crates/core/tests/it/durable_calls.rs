//! What agents record of their inner calls, and what else they tell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use orchestr8_agent_base::{
    Agent, AgentContext, AgentError, AgentManifest, CancellationToken, Clock, agent_fn,
    context::{LogLevel, Outcome},
};
use orchestr8_core::{Engine, MemoryStore, bus::Delivery, cassette::Cassette};
use orchestr8_schema::{ValidWorkflow, api::ExecutionStatus, usage::Usage};
use orchestr8_testing::{
    FaultStore, Harness, Interference, Run, StoreFault, TestClock, assert_attempts, assert_completed, assert_events,
    scripted,
};
use serde_json::{Value, json};

use crate::{step, workflow, workflow_with};

/// Counts the turns that were really made.
type Turns = Arc<AtomicU32>;

/// An agent of five turns, each a durable call, whose attempts below `good` fail after turn three.
fn turns(made: &Turns, good: u32, ask: fn(u32, u32) -> Value) -> impl Agent + use<> {
    let made = Arc::clone(made);
    let manifest = AgentManifest::new("@test/turns", "1.0.0", "Takes five turns").expect("well formed");
    agent_fn(manifest, move |_, cx: AgentContext, _| {
        let made = Arc::clone(&made);
        async move {
            let mut said = Vec::new();
            for turn in 1..=5 {
                let attempt = cx.attempt();
                let call = async {
                    made.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok(Outcome::new(json!({ "turn": turn, "attempt": attempt }), Usage::new(100, 10, 0.5)))
                };
                said.push(cx.durable(&format!("turn/{turn}"), &ask(turn, attempt), call).await?);
                if turn == 3 && attempt < good {
                    return Err(AgentError::network("cut off"));
                }
            }
            Ok(json!(said))
        }
    })
}

fn retried(steps: Value) -> Value {
    workflow_with(steps, json!({ "retry": { "maxAttempts": 4, "baseDelayMs": 100, "jitter": false } }))
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_pays_only_for_what_was_not_answered() {
    let made = Turns::default();
    let agent = turns(&made, 3, |turn, _| json!({ "ask": turn }));
    let run = Harness::new().agent(agent).run(retried(json!([step("a", "turns", &[])])), json!({})).await;
    assert_completed!(run);
    assert_attempts!(run, "a", 3);
    assert_eq!(made.load(SeqCst), 5);
    let attempts: Vec<_> = run.output("a").as_array().expect("a list").iter().map(|turn| &turn["attempt"]).collect();
    assert_eq!(attempts, [1, 1, 1, 3, 3]);
    assert_events!(
        run,
        ["attempt.started a", "durable.recorded a", "attempt.finished a", "attempt.started a", "durable.recorded a"]
    );
    // Usage counts once, where it was recorded.
    let usage = run.outcome().to_body().usage.expect("used");
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cost_usd), (500, 50, 2.5));
    let recorded = run.journal().iter().find(|entry| entry.kind == "durable.recorded").expect("recorded");
    assert_eq!(recorded.data["callId"], "a/step");
    assert_eq!(recorded.data["key"], "turn/1");
    assert_eq!(recorded.data["value"], json!({ "turn": 1, "attempt": 1 }));

    let cassette = Cassette::of(run.snapshot());
    let document = ValidWorkflow::from_json(&retried(json!([step("a", "turns", &[])])).to_string()).expect("valid");
    let offline =
        Engine::builder().registry(cassette.registry(&Default::default()).expect("stand-ins")).build().expect("built");
    let replayed = offline.submit(cassette.request(&document)).await.expect("started").handle;
    let outcome = replayed.outcome().await.expect("ended");
    assert_eq!(outcome.to_body().usage, Some(usage), "a replay uses what was recorded");
}

#[tokio::test(start_paused = true)]
async fn another_question_drops_its_answer_and_all_later_ones() {
    let made = Turns::default();
    // The second attempt asks something else in its second turn.
    let agent = turns(&made, 2, |turn, attempt| json!([turn, turn == 2 && attempt > 1]));
    let run = Harness::new().agent(agent).run(retried(json!([step("a", "turns", &[])])), json!({})).await;
    assert_completed!(run);
    let attempts: Vec<_> = run.output("a").as_array().expect("a list").iter().map(|turn| &turn["attempt"]).collect();
    assert_eq!(attempts, [1, 2, 2, 2, 2]);
    assert_eq!(made.load(SeqCst), 7);
}

/// The end of a process, after so many writes.
#[derive(Debug)]
struct Death(u64);

impl Interference for Death {
    fn on_write(&self, write: u64) -> Option<StoreFault> {
        (write > self.0).then_some(StoreFault::Conflict)
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_write_no_recorded_turn_is_made_again() {
    let document = retried(json!([step("a", "turns", &[])]));
    let document = ValidWorkflow::from_json(&document.to_string()).expect("valid");
    let mut seen = Vec::new();
    for writes in 1.. {
        let (store, made) = (MemoryStore::new(), Turns::default());
        let engine = |store: FaultStore<MemoryStore>| {
            let clock: Arc<dyn Clock> = Arc::new(TestClock::new(7));
            let agent = turns(&made, 1, |turn, _| json!({ "ask": turn }));
            Engine::builder().store(store).clock(clock).agent(agent).build().expect("built")
        };
        let dying = engine(FaultStore::new(store.clone(), Arc::new(Death(writes))));
        let begun = dying.start(&document, json!({})).await.expect("started");
        if begun.outcome().await.is_ok() {
            break;
        }
        drop(dying);
        let recorded = store_records(&store, begun.id()).await;
        let before = made.load(SeqCst);
        let second = engine(FaultStore::new(store, Arc::new(Death(u64::MAX))));
        second.recover().await.expect("recovered");
        let outcome = second.execution(begun.id()).await.expect("there").outcome().await.expect("ended");
        assert_eq!(outcome.status(), ExecutionStatus::Completed);
        assert_eq!(made.load(SeqCst) - before, 5 - recorded, "after {writes} writes");
        assert_eq!(outcome.to_body().usage.expect("used").input_tokens, 500);
        seen.push(recorded);
    }
    assert_eq!(seen.last(), Some(&5), "{seen:?}");
    assert!((1..=4).all(|count| seen.contains(&count)), "{seen:?}");
}

async fn store_records(store: &MemoryStore, id: orchestr8_schema::ExecutionId) -> u32 {
    use orchestr8_core::Store as _;

    let events = store.load(id, 0).await.expect("read");
    events.iter().filter(|event| event.body.name() == "durable.recorded").count() as u32
}

#[tokio::test(start_paused = true)]
async fn a_budget_counts_what_is_recorded_at_once_and_reserves_what_is_still_to_pay() {
    struct Careful(Turns);

    #[async_trait::async_trait]
    impl Agent for Careful {
        fn manifest(&self) -> AgentManifest {
            AgentManifest::new("@test/careful", "1.0.0", "Says what it will use").expect("well formed")
        }

        async fn execute(
            &self,
            input: &Value,
            cx: &AgentContext,
            cancel: CancellationToken,
        ) -> Result<Value, AgentError> {
            turns(&self.0, 2, |turn, _| json!(turn)).execute(input, cx, cancel).await
        }

        fn estimate(&self, _: &Value, _: &serde_json::Map<String, Value>) -> orchestr8_schema::usage::Estimate {
            orchestr8_schema::usage::Estimate::new(550, 0.0)
        }
    }

    let made = Turns::default();
    let mut document = retried(json!([step("a", "careful", &[])]));
    document["policies"]["budget"] = json!({ "maxTokens": 550 });
    let run = Harness::new().agent(Careful(Arc::clone(&made))).run(document, json!({})).await;
    // The second attempt would need another 550 if what is recorded had to be paid for again.
    assert_completed!(run);
    let reserved: Vec<_> = run
        .journal()
        .iter()
        .filter(|entry| entry.kind == "attempt.started")
        .map(|entry| entry.data["reserved"]["tokens"].clone())
        .collect();
    assert_eq!(reserved, [550, 220]);
    assert_eq!(run.outcome().to_body().budget["maxTokens"].spent, 550.0);
}

#[tokio::test(start_paused = true)]
async fn remarks_are_journaled_before_the_answer_and_no_more_than_a_thousand() {
    let manifest = AgentManifest::new("@test/chatty", "1.0.0", "Talks").expect("well formed");
    let chatty = agent_fn(manifest, |_, cx: AgentContext, _| async move {
        cx.log(LogLevel::Warn, "the cache is cold", json!({ "hits": 0 }));
        for number in 0..1005 {
            cx.log(LogLevel::Debug, format!("remark {number}"), Value::Null);
        }
        Ok(json!({}))
    });
    let run = Harness::new().agent(chatty).run(workflow(json!([step("a", "chatty", &[])])), json!({})).await;
    assert_completed!(run);
    let remarks: Vec<_> = run.journal().iter().filter(|entry| entry.kind == "log.entry").collect();
    assert_eq!(remarks.len(), 1000);
    assert_eq!(remarks[0].message, "a: the cache is cold");
    assert_eq!(remarks[0].data["data"], json!({ "hits": 0 }));
    assert_eq!(remarks[0].level, orchestr8_schema::api::Level::Warn);
    assert_events!(run, ["attempt.started a", "log.entry a", "attempt.finished a"]);
}

#[tokio::test(start_paused = true)]
async fn progress_is_shown_at_most_ten_times_a_second_and_kept_nowhere() {
    let manifest = AgentManifest::new("@test/walker", "1.0.0", "Goes step by step").expect("well formed");
    let walker = agent_fn(manifest, |_, cx: AgentContext, _| async move {
        for step in 0..100_u32 {
            cx.progress(Some(f64::from(step) / 100.0), format!("step {step}"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(json!({}))
    });
    let engine = Harness::new().agent(walker).engine();
    let mut heard = engine.bus().subscribe(None).expect("room").with_progress();
    let document = ValidWorkflow::from_json(&workflow(json!([step("a", "walker", &[])])).to_string()).expect("valid");
    let handle = engine.start(&document, json!({})).await.expect("started");
    let mut shown = Vec::new();
    loop {
        match heard.next().await {
            Delivery::Progress { progress, .. } => shown.push(progress.fraction),
            Delivery::Event(event) if event.event.body.is_terminal() => break,
            Delivery::Event(_) => {}
            Delivery::Dropped { .. } => panic!("dropped"),
        }
    }
    assert!((9..=11).contains(&shown.len()), "{shown:?}");
    assert!(shown.is_sorted());
    let run = Run::of(&handle).await;
    assert!(run.journal().iter().all(|entry| !entry.kind.contains("progress")));
}

#[tokio::test(start_paused = true)]
async fn cleanups_are_run_once_when_an_attempt_is_cancelled_late_or_dropped_and_not_when_it_ends() {
    let cleaned = Arc::new(AtomicU32::new(0));
    let manifest = AgentManifest::new("@test/tidy", "1.0.0", "Cleans up").expect("well formed");
    let counted = Arc::clone(&cleaned);
    let tidy = agent_fn(manifest, move |input: Value, cx: AgentContext, cancel: CancellationToken| {
        let cleaned = Arc::clone(&counted);
        async move {
            let again = Arc::clone(&cleaned);
            cx.on_cancel(move || _ = cleaned.fetch_add(1, SeqCst));
            cx.on_cancel(|| panic!("a cleanup that panics"));
            let sleep = tokio::time::sleep(Duration::from_millis(input["ms"].as_u64().unwrap_or(0)));
            if input["obeys"] != true {
                sleep.await;
            } else if cancel.run_until_cancelled(sleep).await.is_none() {
                cx.on_cancel(move || _ = again.fetch_add(10, SeqCst));
                return Err(AgentError::cancelled("told to"));
            }
            Ok(json!({}))
        }
    });
    let engine = Harness::new().agent(tidy).engine();
    let mut call = step("a", "tidy", &[]);
    let mut run = async |input: Value, timeout: u64, cancel: bool| {
        cleaned.store(0, SeqCst);
        (call["input"], call["policies"]) = (input, json!({ "timeout": timeout, "retry": { "maxAttempts": 1 } }));
        let document = ValidWorkflow::from_json(&workflow(json!([call.clone()])).to_string()).expect("valid");
        let handle = engine.start(&document, json!({})).await.expect("started");
        if cancel {
            tokio::time::sleep(Duration::from_millis(100)).await;
            handle.cancel(orchestr8_core::execution::Cancellation::new("enough")).await.expect("running");
        }
        handle.outcome().await.expect("ended");
        cleaned.load(SeqCst)
    };
    assert_eq!(run(json!({ "ms": 10 }), 5000, false).await, 0, "it ends by itself");
    assert_eq!(run(json!({ "ms": 9000 }), 1000, false).await, 1, "it takes too long");
    assert_eq!(run(json!({ "ms": 60_000 }), 120_000, true).await, 1, "it is dropped after its grace");
    assert_eq!(
        run(json!({ "ms": 60_000, "obeys": true }), 120_000, true).await,
        11,
        "one that is asked for too late is run at once"
    );
}

#[tokio::test(start_paused = true)]
async fn cleanups_that_take_their_time_have_as_long_as_the_workflow_says() {
    let cleaned = Arc::new(AtomicU32::new(0));
    let manifest = AgentManifest::new("@test/tidy", "1.0.0", "Cleans up").expect("well formed");
    let counted = Arc::clone(&cleaned);
    let tidy = agent_fn(manifest, move |_, cx: AgentContext, cancel: CancellationToken| {
        for ms in [1_500, 2_500, 9_000] {
            let cleaned = Arc::clone(&counted);
            cx.clean_up(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                cleaned.fetch_add(1, SeqCst);
            });
        }
        async move {
            cancel.cancelled().await;
            Err::<Value, _>(AgentError::cancelled("told to"))
        }
    });
    let engine = Harness::new().agent(tidy).agent(scripted("quick").delays(Duration::from_millis(200))).engine();
    let run = async |steps: Value, cancel: bool| {
        cleaned.store(0, SeqCst);
        let document = workflow_with(steps, json!({ "concurrency": { "cleanupTimeoutMs": 3_000 } }));
        let workflow = ValidWorkflow::from_value(&document).expect("valid");
        let handle = engine.start(&workflow, json!({})).await.expect("started");
        tokio::time::sleep(Duration::from_millis(100)).await;
        if cancel {
            handle.cancel(orchestr8_core::execution::Cancellation::new("enough")).await.expect("running");
        }
        handle.outcome().await.expect("ended");
        tokio::time::sleep(Duration::from_secs(10)).await;
        cleaned.load(SeqCst)
    };
    assert_eq!(run(json!([step("a", "tidy", &[])]), true).await, 2, "what took 9 s was dropped");
    let group = json!({ "join": "any", "steps": [step("a", "tidy", &[]), step("b", "quick", &[])] });
    assert_eq!(
        run(json!([{ "id": "g", "parallel": group }]), false).await,
        1,
        "after an attempt that was dropped 2 s are left"
    );
}
