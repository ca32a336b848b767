//! Agents that break the contract harm themselves and nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use orchestr8_agent_base::{Agent, AgentContext, AgentError, AgentManifest, CancellationToken, agent_fn};
use orchestr8_schema::ErrorKind;
use orchestr8_testing::{Harness, assert_completed, assert_failed};
use serde_json::{Value, json};

use crate::{step, workflow};

fn manifest(name: &str) -> AgentManifest {
    AgentManifest::new(&format!("@test/{name}"), "1.0.0", "For a test").expect("well formed")
}

struct PanicsInTarget;

#[async_trait]
impl Agent for PanicsInTarget {
    fn manifest(&self) -> AgentManifest {
        manifest("target")
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        Ok(input.clone())
    }

    fn target(&self, _: &Value) -> Option<String> {
        unreachable!("on purpose")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_naming_the_target_means_no_target() {
    let run = Harness::new().agent(PanicsInTarget).run(workflow(json!([step("a", "target", &[])])), json!({})).await;
    assert_completed!(run);
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        unreachable!("on purpose")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_future_that_is_dropped_is_the_agents_own_affair() {
    let agent = agent_fn(manifest("bomb"), |_, _, _| async {
        let _bomb = PanicsWhenDropped;
        std::future::pending().await
    });
    let run = Harness::new().agent(agent).run(workflow(json!([step("a", "bomb", &[])])), json!({})).await;
    assert_failed!(run, ErrorKind::Timeout);
}

/// Its check fails once in a way that may pass, and then for good.
struct Unsure(Arc<AtomicU32>);

#[async_trait]
impl Agent for Unsure {
    fn manifest(&self) -> AgentManifest {
        manifest("unsure")
    }

    async fn validate(&self, _: &Value, cx: &AgentContext) -> Result<(), AgentError> {
        Err(if cx.attempt() == 1 {
            AgentError::network("the dictionary cannot be reached")
        } else {
            AgentError::validation("no such word")
        })
    }

    async fn execute(&self, input: &Value, _: &AgentContext, _: CancellationToken) -> Result<Value, AgentError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(input.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn input_that_was_never_found_valid_is_not_worked_on() {
    let calls = Arc::new(AtomicU32::new(0));
    let agent = Unsure(Arc::clone(&calls));
    let run = Harness::new().agent(agent).run(workflow(json!([step("a", "unsure", &[])])), json!({})).await;
    assert_failed!(run, ErrorKind::Validation);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_announced_in_the_batch_that_ends_the_execution_hears_of_the_end() {
    // It wakes itself twice, so that it fails in the turn in which the other step begins.
    let failing = agent_fn(manifest("failing"), |_, _, _| {
        let mut polls = 0;
        std::future::poll_fn(move |cx| {
            polls += 1;
            if polls < 3 {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(Err(AgentError::denied("no")))
        })
    });
    let listening = agent_fn(manifest("listening"), |_, _, cancel: CancellationToken| async move {
        cancel.cancelled().await;
        Err(AgentError::cancelled("heard"))
    });
    let steps = json!([step("a", "failing", &[]), step("b", "echo", &[]), step("c", "listening", &["b"])]);
    let run = Harness::new()
        .agent(failing)
        .agent(listening)
        .agent(orchestr8_testing::scripted("echo"))
        .run(workflow(steps), json!({}))
        .await;
    assert_failed!(run, ErrorKind::Denied);
    assert!(run.outcome().to_body().duration.is_some_and(|took| took < Duration::from_secs(5).as_millis() as u64));
}
