//! Fakes, a harness and assertions, for authors of agents and workflows.
//!
//! Nothing here leaves the process, needs a key, or waits in real time: a test runs on tokio's paused clock, which jumps to the
//! next timer whenever nothing else can proceed, and everything random comes from a seed.
//!
//! ```
//! use orchestr8_testing::{Harness, assert_completed, assert_events, scripted};
//! use serde_json::json;
//!
//! #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
//! async fn main() {
//!     let harness = Harness::new()
//!         .agent(scripted("search").fails_times(2, orchestr8_schema::ErrorKind::Network).returns(json!({ "hits": 3 })));
//!     let execution = harness
//!         .run(
//!             json!({
//!                 "version": "1.0.0",
//!                 "metadata": { "id": "review", "name": "Review" },
//!                 "steps": [{ "id": "search", "agent": { "id": "@test/search" } }]
//!             }),
//!             json!({}),
//!         )
//!         .await;
//!     assert_completed!(execution);
//!     assert_eq!(execution.output("search"), &json!({ "hits": 3 }));
//!     assert_events!(execution, ["attempt.finished search", "retry.scheduled search", "step.completed search"]);
//! }
//! ```
//!
//! | what | where |
//! |---|---|
//! | an engine on a paused clock | [`Harness`] |
//! | one agent alone, and what every agent promises | [`AgentHarness`] |
//! | agents that do as they are told | [`scripted`] |
//! | wall time and chance under control | [`TestClock`] |
//! | what every store promises | [`store_conformance!`] |
//! | test files of workflows, executed | [`workflow_test`] |
//! | many executions under chance and faults | [`simulate`] |
//! | a store that fails when told to | [`FaultStore`] |
//! | what to say about an execution | [`assert_completed!`], [`assert_failed!`], [`assert_events!`], [`assert_attempts!`] |

#![expect(clippy::panic, reason = "a test that goes wrong says so by a panic")]

mod agent_harness;
mod agent_host;
mod agents;
mod assert;
mod clock;
mod fault_store;
mod harness;
mod mocks;
pub mod simulate;
pub mod store_suite;
pub mod workflow_test;

pub use self::{
    agent_harness::{AgentHarness, AgentRun, Breach},
    agent_host::Told,
    agents::{Record, Records, Scripted, scripted},
    assert::find_gap,
    clock::TestClock,
    fault_store::{FaultStore, Interference, StoreFault},
    harness::{Harness, IntoWorkflow, Run},
};
