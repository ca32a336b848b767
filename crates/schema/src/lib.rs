//! Everything that is written down: workflow files, expressions, policies, events, failures, API bodies, diagnostics.
//!
//! A workflow is text in JSON or YAML, or is built in Rust:
//!
//! ```
//! use orchestr8_schema::builder::{AgentRef, ToolRef, WorkflowBuilder, map, own};
//! use schemars::JsonSchema;
//! use serde::Serialize;
//!
//! #[derive(Serialize, JsonSchema)] struct Query { text: String, limit: Option<u32> }
//! #[derive(Serialize, JsonSchema)] struct Found { files: Vec<File> }
//! #[derive(Serialize, JsonSchema)] struct File { path: String }
//! #[derive(Serialize, JsonSchema)] struct Report { to: String, scores: Vec<f64> }
//! #[derive(Serialize, JsonSchema)] struct Sent { id: String }
//!
//! let find = AgentRef::<Query, Found>::new("@acme/find");
//! let score = AgentRef::<File, f64>::new("@acme/score");
//! let mail = ToolRef::<Report, Sent>::new("mail.send");
//! let recall = ToolRef::<Sent, ()>::new("mail.recall");
//!
//! let mut flow = WorkflowBuilder::new("report", "Weekly report");
//! let topic = flow.input::<String>("topic");
//! let found = flow.add("find", find.call().with("text", &topic).retry(5));
//! let scores = flow.add("scores", map(found.path("files"), |body, file| {
//!     body.add("score", score.call().input(file.path("")))
//! }));
//! let sent = flow.add("mail", mail.call().with("to", "ada@example.org").with("scores", &scores)
//!     .compensate(recall.call().input(own("output"))));
//! flow.output("id", sent.path("id"));
//!
//! let workflow = flow.build()?; // what a step reads, it waits for
//! assert_eq!(workflow.step(workflow.step_index("mail").unwrap()).dependencies, [workflow.step_index("scores").unwrap()]);
//! # Ok::<(), orchestr8_schema::InvalidWorkflow>(())
//! ```
//!
//! Reading a file, or building, and validating gives a [`ValidWorkflow`], in which ids are unique, references are resolved, and
//! expressions, conditions and schemas are compiled; it is the only thing that an engine takes. What is wrong is reported all at
//! once, as [`Diagnostic`]s with stable codes:
//!
//! ```
//! use orchestr8_schema::ValidWorkflow;
//!
//! let text = r#"{
//!     "version": "1.0.0",
//!     "metadata": { "id": "greeting", "name": "Greeting" },
//!     "steps": [
//!         { "id": "greet", "agent": { "id": "@orchestr8/hello-world" }, "input": { "name": "Ada" } },
//!         {
//!             "id": "echo",
//!             "agent": { "id": "@orchestr8/hello-world" },
//!             "input": { "message": "${steps.greet.output.result}" }
//!         }
//!     ]
//! }"#;
//!
//! // `echo` reads `greet`, which may not have finished yet.
//! let invalid = ValidWorkflow::from_json(text).unwrap_err();
//! assert_eq!(invalid.diagnostics()[0].code.as_str(), "O8303");
//! ```
//!
//! | to | see |
//! |---|---|
//! | read and validate | [`source`], [`validate`](mod@validate), [`diagnostic`] |
//! | build a workflow in Rust | [`builder`] |
//! | know what values may come | [`types`] |
//! | know what may be written | [`workflow`], [`policy`], [`json_schema::workflow_schema`] |
//! | evaluate | [`expression`], [`condition`], [`jmespath`] |
//! | read test files, prompts, configuration | [`test_file`], [`prompt`], [`config`] |
//! | check and compare values | [`json_schema`], [`canonical`] |
//! | find the steps that a text names | [`reference`](mod@reference) |
//! | know what happened | [`event`], [`failure`] |
//! | talk to a server | [`api`] |
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `yaml` | off | Reads YAML, and gives diagnostics a position (line and column) in JSON and YAML alike. |

pub mod api;
pub mod builder;
pub mod canonical;
pub mod condition;
pub mod config;
pub mod diagnostic;
pub mod event;
pub mod expression;
pub mod failure;
pub mod id;
pub mod jmespath;
pub mod json_schema;
mod merge;
pub mod policy;
mod problem;
pub mod prompt;
pub mod reference;
pub mod source;
pub mod test_file;
pub mod time;
pub mod types;
pub mod usage;
pub mod validate;
pub mod workflow;

pub use self::{
    diagnostic::{Code, Diagnostic, InvalidDocument, InvalidWorkflow, Severity, Span},
    failure::{ErrorKind, Failure},
    id::{AgentId, CorrelationId, ExecutionId, IdempotencyKey, StepId, StepIndex, StepPath},
    source::load,
    time::{Millis, Timestamp},
    validate::{ValidStep, ValidWorkflow, validate},
    workflow::{Step, Workflow},
};
