//! The same scenario, cancelled at each of its events.

use orchestr8_core::Cancellation;
use serde_json::Value;

use crate::{Harness, IntoWorkflow, Run, Started};

/// Runs a scenario as often as it has events, and cancels it at another one each time: at the first, at the second, and so on. Returns
/// how each of them ended, for what else a test wants to know of it.
///
/// `drive` is what the test does meanwhile, such as answering approvals; it is dropped when the execution ends.
///
/// ```
/// use orchestr8_testing::{Harness, cancel_at_every_event, fixtures, scripted};
/// use serde_json::json;
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
/// async fn main() {
///     let harness = Harness::new().agent(scripted("echo").delays(std::time::Duration::from_secs(1)));
///     let runs = cancel_at_every_event(&harness, fixtures::approval(), json!({}), async |execution| {
///         execution.approve("gate", json!({})).await;
///     }).await;
///     // The last event but one is stored together with the last one: nothing was left to be cancelled.
///     assert!(runs.iter().all(|run| matches!(run.status().as_str(), "cancelled" | "completed")));
/// }
/// ```
///
/// # Panics
///
/// If the scenario does not end, or leaves a call in progress behind.
pub async fn cancel_at_every_event(
    harness: &Harness,
    workflow: impl IntoWorkflow,
    input: Value,
    drive: impl AsyncFn(&Started),
) -> Vec<Run> {
    let workflow = workflow.into_workflow();
    let whole = harness.clone().start(&workflow, input.clone()).await;
    accompany(&whole, &drive).await;
    let events = whole.finish().await.snapshot().events().len() as u64;
    let mut runs = Vec::new();
    // With the last one it has ended.
    for at in 1..events {
        // The store keeps the others.
        let started = harness.clone().life_of_its_own(at).start(&workflow, input.clone()).await;
        let driving = async {
            tokio::join!(cancel_at(&started, at), drive(&started));
        };
        tokio::select! {
            biased;
            _ = started.outcome() => {}
            () = driving => {}
        }
        let run = started.finish().await;
        assert_eq!(run.snapshot().state().in_flight(), 0, "cancelled at event {at}\n{}", run.journal_text());
        runs.push(run);
    }
    runs
}

async fn accompany(started: &Started, drive: &impl AsyncFn(&Started)) {
    tokio::select! {
        biased;
        _ = started.outcome() => {}
        () = drive(started) => {}
    }
}

async fn cancel_at(started: &Started, at: u64) {
    let mut events = started.events().unwrap_or_else(|error| panic!("{error}"));
    while let Some((sequence, _)) = events.next().await.unwrap_or_else(|error| panic!("{error}")) {
        if sequence >= at {
            let cancellation = Cancellation::new("the test cancels everywhere");
            // It may have ended just now.
            let _ = started.cancel(cancellation).await;
            return;
        }
    }
}
