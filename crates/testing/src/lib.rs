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
//! | an engine on a paused clock | [`Harness`]; [`Started`] while it runs, [`Run`] when it has ended |
//! | one agent alone, and what every agent promises | [`AgentHarness`] |
//! | agents that do as they are told | [`scripted`]; models: [`ScriptedModel`] |
//! | workflows to try things on | [`fixtures`] |
//! | a scenario that is cancelled everywhere | [`cancel_at_every_event`] |
//! | what was logged, traced, published and counted | [`capture()`], [`Harness::captured`] |
//! | an execution that was recorded, played again | [`Run::record`], [`Harness::replay`] |
//! | wall time and chance under control | [`TestClock`] |
//! | what every store promises | [`store_conformance!`] |
//! | test files of workflows, executed | [`workflow_test`] |
//! | many executions under chance and faults | [`simulate`] |
//! | a store that fails when told to | [`FaultStore`] |
//! | servers that answer like a provider, or like a broken one (feature `mock-servers`) | `mock_server` |
//! | what to say about an execution | [`assert_completed!`], [`assert_failed!`], [`assert_events!`], [`assert_order!`], [`assert_attempts!`], [`assert_within!`], [`assert_circuit!`], [`assert_json!`], [`assert_no_secret!`] |

#![expect(clippy::panic, reason = "a test that goes wrong says so by a panic")]

mod agent_harness;
mod agent_host;
mod agents;
mod assert;
mod cancelling;
mod capture;
mod clock;
mod fault_store;
pub mod fixtures;
mod harness;
mod lasting_store;
#[cfg(feature = "mock-servers")]
pub mod mock_server;
mod mocks;
pub mod simulate;
mod started;
pub mod store_suite;
pub mod workflow_test;

pub use self::{
    agent_harness::{AgentHarness, AgentRun, Breach},
    agent_host::Told,
    agents::{Record, Records, Scripted, scripted},
    assert::{find_gap, find_text, first_starts, json_difference, last_circuit_state},
    cancelling::cancel_at_every_event,
    capture::{Captured, capture},
    clock::TestClock,
    fault_store::{FaultStore, Interference, StoreFault},
    harness::{Harness, IntoWorkflow, Run},
    started::Started,
};
/// A model that answers from a script, in order or by what it is asked; one question too many fails (INTERNAL), and is shown.
pub use orchestr8_agent_base::model::Fake as ScriptedModel;
