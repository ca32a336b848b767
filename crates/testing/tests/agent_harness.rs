//! What the harness of one agent finds.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use orchestr8_schema::ErrorKind;
use orchestr8_testing::{AgentHarness, Scripted, scripted};
use serde_json::{Value, json};

async fn promises(agent: Scripted) -> Vec<&'static str> {
    AgentHarness::new(agent).contract().await.into_iter().map(|breach| breach.promise).collect()
}

fn number() -> Value {
    json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer", "minimum": 0, "maximum": 9 } } })
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_keeps_its_promises_is_told_nothing() {
    let agent = scripted("good").delays(Duration::from_secs(2));
    let agent = agent.manifest(|manifest| manifest.input_schema(number()).output_schema(number()).idempotent());
    assert_eq!(promises(agent).await, Vec::<&str>::new());
    assert_eq!(promises(scripted("failing").fails(ErrorKind::Network)).await, Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn each_promise_that_is_not_kept_is_named() {
    assert_eq!(promises(scripted("panics").panics()).await, ["it does not panic, and fails with a kind that says why"]);
    let stubborn = scripted("stubborn").delays(Duration::from_secs(2)).ignores_cancel();
    assert_eq!(promises(stubborn).await, ["it ends within 100 ms of its token"]);
    let wrong = scripted("wrong").returns(json!({ "n": "one" })).manifest(|manifest| manifest.output_schema(number()));
    assert_eq!(promises(wrong).await, ["its output fits its schema"]);
    let impossible = json!({ "type": "string", "minLength": 3, "maxLength": 2 });
    let nobody = scripted("nobody").manifest(|manifest| manifest.input_schema(impossible));
    assert_eq!(promises(nobody).await, ["there is an input that the schema allows"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_counts_is_not_idempotent() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let counting = orchestr8_agent_base::agent_fn(
        orchestr8_agent_base::AgentManifest::new("@test/counting", "1.0.0", "Counts").unwrap().idempotent(),
        |_, _, _| async { Ok(json!({ "n": CALLS.fetch_add(1, Ordering::Relaxed) })) },
    );
    let breaches = AgentHarness::new(counting).contract().await;
    assert_eq!(breaches.len(), 1, "{breaches:?}");
    assert_eq!(breaches[0].to_string(), "it gives the same twice: first {\"n\":0}, then {\"n\":1}, with {}");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_checked_like_an_engines() {
    let harness = AgentHarness::new(scripted("strict").manifest(|manifest| manifest.input_schema(number())));
    let run = harness.run(json!({ "n": "one" })).await;
    assert_eq!(run.result.unwrap_err().kind(), ErrorKind::Validation);
    let run = AgentHarness::new(scripted("slow").delays(Duration::from_secs(90))).run(json!({ "n": 1 })).await;
    assert_eq!((run.result.unwrap(), run.took), (json!({ "n": 1 }), Duration::from_secs(90)));
}
