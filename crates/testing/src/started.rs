//! An execution in progress, and what a test does to it.

use std::{ops::Deref, time::Duration};

use orchestr8_core::{Engine, ExecutionHandle, Snapshot, engine::TakeUpError, store::Holder};
use orchestr8_schema::{
    ExecutionId,
    event::{ApprovalAnswer, ApprovalDecision},
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{Harness, Run, lasting_store::LastingStore};

/// Shorter than anything that happens by the clock: it is over when nothing else can go on at this instant.
pub(crate) const AN_INSTANT: Duration = Duration::from_micros(1);

/// An execution that a [`Harness`] has started. It is an [`ExecutionHandle`], with what a test needs besides: people who answer, time
/// that passes, and a process that dies.
///
/// ```
/// use std::time::Duration;
///
/// use orchestr8_testing::{Harness, assert_completed, scripted};
/// use serde_json::json;
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
/// async fn main() {
///     let slow = scripted("slow").delays(Duration::from_secs(20)).returns(json!({ "ok": true }));
///     let calls = slow.records();
///     let mut execution = Harness::new().agent(slow).start(
///         json!({
///             "version": "1.0.0",
///             "metadata": { "id": "release", "name": "Release" },
///             "steps": [
///                 { "id": "gate", "approval": { "prompt": "Shall we?" } },
///                 { "id": "work", "agent": { "id": "@test/slow" }, "dependencies": ["gate"] }
///             ]
///         }),
///         json!({}),
///     ).await;
///     execution.approve("gate", json!({ "note": "fine" })).await;
///     execution.advance(Duration::from_secs(10)).await;
///     execution.crash_and_recover().await; // in the middle of `work`
///     let run = execution.finish().await;
///     assert_completed!(run);
///     assert_eq!(calls.len(), 2);
///     assert_eq!(calls.all()[0].idempotency_key, calls.all()[1].idempotency_key);
/// }
/// ```
///
/// Whatever goes wrong here panics with the reason, as suits a test.
#[derive(Debug)]
pub struct Started {
    harness: Harness,
    engine: Engine,
    store: LastingStore,
    handle: ExecutionHandle,
    began: Instant,
}

impl Started {
    pub(crate) fn new(harness: Harness, engine: Engine, store: LastingStore, handle: ExecutionHandle) -> Self {
        Self { harness, engine, store, handle, began: Instant::now() }
    }

    /// Returns the engine of this life of the process.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Approves the step of this path, as soon as it asks.
    ///
    /// # Panics
    ///
    /// If nothing goes on before it asks, or the answer is refused.
    pub async fn approve(&self, step_path: &str, answer: Value) {
        self.answer_when_asked(step_path, ApprovalDecision::Approve, answer).await;
    }

    /// Rejects the step of this path, as soon as it asks.
    ///
    /// # Panics
    ///
    /// If nothing goes on before it asks.
    pub async fn reject(&self, step_path: &str) {
        self.answer_when_asked(step_path, ApprovalDecision::Reject, Value::Null).await;
    }

    async fn answer_when_asked(&self, step_path: &str, decision: ApprovalDecision, answer: Value) {
        self.run_until_idle().await;
        let approval = ApprovalAnswer { decision, answer, comment: None, by: None };
        if let Err(error) = self.handle.answer(step_path, approval).await {
            panic!("`{step_path}` cannot be answered: {error}; waiting: {:?}", self.waiting().await);
        }
    }

    /// Returns what the execution waits for: kind and step path of each.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    pub async fn waiting(&self) -> Vec<String> {
        let waiting = self.read().await.to_body().waiting_for;
        waiting.iter().map(|waiting| format!("{} {}", waiting.kind, waiting.step_path)).collect()
    }

    async fn read(&self) -> Snapshot {
        self.handle.snapshot().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Lets this much virtual time pass, with all that happens meanwhile.
    pub async fn advance(&self, time: Duration) {
        sleep(time).await;
        self.run_until_idle().await;
    }

    /// Lets everything happen that can before time goes on.
    pub async fn run_until_idle(&self) {
        sleep(AN_INSTANT).await;
    }

    /// Waits, at most 5 s of virtual time, until the execution is as it should be; it is looked at every 100 ms.
    ///
    /// # Panics
    ///
    /// If it is not by then; the message has the journal.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Snapshot) -> bool) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let snapshot = self.read().await;
            if condition(&snapshot) {
                return;
            }
            if Instant::now() >= until {
                let messages: Vec<_> = snapshot.journal().entries.into_iter().map(|entry| entry.message).collect();
                panic!("it did not come to that within 5 s\n{}", messages.join("\n"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Has the process die here and now, and another one take the execution up as soon as the lease of the first has run out. What
    /// was not stored has not happened; calls in progress are dropped.
    ///
    /// # Panics
    ///
    /// If the execution cannot be taken up.
    pub async fn crash_and_recover(&mut self) {
        self.store.end();
        self.engine.shutdown(Duration::ZERO).await;
        (self.engine, self.store) = self.harness.another_life(self.began.elapsed());
        let taken_up = take_up(&self.engine, self.handle.id()).await;
        self.handle = taken_up.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits for the end of the execution.
    ///
    /// # Panics
    ///
    /// As [`Run::of`] does.
    pub async fn finish(self) -> Run {
        Run::of(&self.handle).await
    }
}

impl Deref for Started {
    type Target = ExecutionHandle;

    fn deref(&self) -> &ExecutionHandle {
        &self.handle
    }
}

/// Takes up what a process has left that is gone, once its lease has run out.
pub(crate) async fn take_up(engine: &Engine, id: ExecutionId) -> Result<ExecutionHandle, String> {
    loop {
        match engine.take_up(id).await {
            Ok(handle) => return Ok(handle),
            Err(TakeUpError::Nothing) => return engine.execution(id).await.map_err(|error| chain(&error)),
            Err(TakeUpError::Held(_)) => sleep(Holder::RENEWAL).await,
            Err(error) => return Err(format!("the execution cannot be taken up: {}", chain(&error))),
        }
    }
}

/// An error with its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
