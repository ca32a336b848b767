//! Everything that **happens** in orchestr8: executions advance, agents are called, events are journaled and published.
//!
//! An [`Engine`] takes a workflow that was verified before (a [`ValidWorkflow`](orchestr8_schema::ValidWorkflow)) and an input,
//! and gives an [`ExecutionHandle`]. The rest of this crate is how:
//!
//! ```text
//! ValidWorkflow ── plan ──▶ Plan (dense, shared)
//!                            │
//!            events ──▶ machine (pure) ──▶ commands ──▶ driver: store, bus, resilience stack, agents, timers
//!               ▲                                          │
//!               └──────────────────────────────────────────┘
//! ```
//!
//! - [`plan`] compiles a workflow once: names become numbers, policies are merged, agents are looked up.
//! - [`machine`] decides what happens next, as a pure function of plan, state and event.
//! - [`engine`] does what the machine asks for, one task per execution.
//! - [`hook`] is where programs look on, and decide, around every execution and step.
//! - [`cassette`] plays an execution again, without calling anybody.
//! - [`store`] keeps journals; [`journal`] renders them; [`bus`] tells whoever listens; [`chronicle`] tells of all executions in one
//!   order; [`metrics`] counts.
//!
//! # Example
//!
//! The whole of a program that embeds the engine:
//!
//! ```
//! use orchestr8_core::{Engine, agent_base::HelloWorld, schema::ValidWorkflow};
//! use serde_json::json;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let engine = Engine::builder().agent(HelloWorld).build()?;
//!     let workflow = ValidWorkflow::from_json(
//!         r#"{
//!             "version": "1.0.0",
//!             "metadata": { "id": "greet", "name": "Greet" },
//!             "steps": [
//!                 { "id": "hello", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "${inputs.name}" } }
//!             ]
//!         }"#,
//!     )?;
//!     let execution = engine.start(&workflow, json!({ "name": "Ada" })).await?;
//!     println!("{}", execution.outcome().await?.output("hello").unwrap()["result"]);
//!     Ok(())
//! }
//! ```
//!
//! # Cost
//!
//! With default features no HTTP, SQL, command line, YAML or exporter is compiled. What a step costs beyond its agent stands in
//! `docs/src/performance.md`, with the command that measures it.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `yaml` | workflows in YAML, and diagnostics with line and column |
//! | `sqlite` | [`SqliteStore`](store::SqliteStore): executions that outlive their process |

pub mod bus;
pub mod cassette;
pub mod chronicle;
pub mod clock;
pub mod engine;
pub mod execution;
pub mod hook;
pub mod journal;
pub mod machine;
pub mod metrics;
pub mod plan;
#[cfg(planted)]
pub mod planted;
pub mod redact;
mod rerun;
pub mod store;
pub mod telemetry;
mod truncate;
mod view;
mod why;

pub use orchestr8_agent_base as agent_base;
pub use orchestr8_resilience as resilience;
pub use orchestr8_schema as schema;

#[doc(inline)]
pub use self::{
    engine::{Engine, EngineBuilder, StartError, StartRequest},
    execution::{Cancellation, ExecutionHandle, Outcome, RequestError, Snapshot},
    journal::Journal,
    plan::Plan,
    store::{MemoryStore, Store},
};
