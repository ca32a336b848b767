//! Everything that is written down: workflow files, expressions, policies, events, failures, API bodies, diagnostics.
//!
//! A workflow is text in JSON or YAML, or a [`Workflow`] built in Rust. Reading and validating it gives a [`ValidWorkflow`],
//! in which ids are unique, references are resolved, and expressions, conditions and schemas are compiled; it is the only
//! thing that an engine takes. What is wrong is reported all at once, as [`Diagnostic`]s with stable codes.
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
//!
//! let text = text.replace(r#""id": "echo","#, r#""id": "echo", "dependencies": ["greet"],"#);
//! let workflow = ValidWorkflow::from_json(&text)?;
//! assert_eq!(workflow.steps()[1].dependencies, [workflow.step_index("greet").unwrap()]);
//! # Ok::<(), orchestr8_schema::InvalidWorkflow>(())
//! ```
//!
//! | to | see |
//! |---|---|
//! | read and validate | [`source`], [`validate`](mod@validate), [`diagnostic`] |
//! | build a workflow in Rust | [`builder`] |
//! | know what values may come | [`types`] |
//! | know what may be written | [`workflow`], [`policy`], [`json_schema::workflow_schema`] |
//! | evaluate | [`expression`], [`condition`], [`jmespath`] |
//! | read test files | [`test_file`] |
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
pub mod diagnostic;
pub mod event;
pub mod expression;
pub mod failure;
pub mod id;
pub mod jmespath;
pub mod json_schema;
pub mod policy;
mod problem;
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
