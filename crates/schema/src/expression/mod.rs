//! Expressions: `${steps.fetch.output.body ?? 'nothing'}`, compiled once and evaluated without parsing.
//!
//! A [`Template`] is a JSON value whose strings may hold expressions. Validation compiles it: names of steps become
//! [`StepIndex`], parts without expressions become one [`Template::Literal`]. Whoever runs a workflow implements [`Scope`],
//! which shows the value of a [`Root`], and calls [`Template::resolve`].
//!
//! ```
//! use std::borrow::Cow;
//!
//! use orchestr8_schema::{ValidWorkflow, expression::{Root, Scope}};
//! use serde_json::{Value, json};
//!
//! struct Inputs(Value);
//!
//! impl Scope for Inputs {
//!     fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
//!         (root == Root::Inputs).then(|| Cow::Borrowed(&self.0))
//!     }
//! }
//!
//! let workflow = ValidWorkflow::from_json(
//!     r#"{
//!         "version": "1.0.0",
//!         "metadata": { "id": "greet", "name": "Greet" },
//!         "steps": [{
//!             "id": "hello",
//!             "agent": { "id": "@orchestr8/hello-world" },
//!             "input": { "name": "${inputs.user ?? 'Ada'}" }
//!         }]
//!     }"#,
//! )?;
//! let input = &workflow.steps()[0].input;
//! assert_eq!(input.resolve(&Inputs(json!({})))?, json!({ "name": "Ada" }));
//! assert_eq!(input.resolve(&Inputs(json!({ "user": "Grace" })))?, json!({ "name": "Grace" }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod compile;
mod eval;
pub(crate) mod parse;

use std::borrow::Cow;

use serde_json::Value;

use crate::StepIndex;

/// The deepest value that an expression or condition may give.
///
/// Readers of JSON stop at 128 levels; a value that grows by one level with each step must fail before nobody can read it.
pub(crate) const MAX_VALUE_DEPTH: usize = 100;

/// A compiled JSON value whose strings may hold expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// A value without any expression.
    Literal(Value),
    /// A string that is exactly one expression: the value with its type.
    Expression(Expression),
    /// A string with expressions in it: text.
    Text(Vec<TextPart>),
    /// An array with an expression somewhere below.
    Array(Vec<Template>),
    /// An object with an expression somewhere below; keys are never expanded.
    Object(Vec<(String, Template)>),
}

/// A part of a text with expressions in it.
#[derive(Clone, Debug, PartialEq)]
pub enum TextPart {
    /// Text as it stands.
    Text(String),
    /// The text of a value: strings as they are, everything else as compact JSON.
    Expression(Expression),
}

/// A chain of operands: the first one that is neither missing nor null is the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// The expression as its author wrote it, for messages.
    pub(crate) text: Box<str>,
    /// The operands, at least one.
    pub(crate) operands: Vec<Operand>,
}

impl Expression {
    /// Returns the expression as its author wrote it, with `${` and `}`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the operands, at least one; a literal is always the last.
    #[must_use]
    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }
}

/// One operand of an expression.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operand {
    /// A path.
    Path(Path),
    /// The whole root `variables`: what is declared, with what dependencies capture laid over it.
    Variables(Vec<(String, Path)>),
    /// The whole root `context`.
    Context,
    /// A literal.
    Literal(Value),
}

/// A path: a root, and the way down from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// The way down.
    pub segments: Vec<Segment>,
}

/// One step down a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A key of an object.
    Name(Box<str>),
    /// An element of an array, counted from 0.
    Index(usize),
}

/// Where a path begins. Steps are named by index.
///
/// A capture needs no root: `variables.x`, captured from a dependency, is compiled to a path into that step's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Root {
    /// A field of a settled step.
    Step {
        /// Which step.
        step: StepIndex,
        /// Which field.
        field: StepField,
    },
    /// The execution's input, defaults filled in.
    Inputs,
    /// An object of the declared variables, with what the caller overrides; captures are *not* in it.
    Variables,
    /// An object of `context.environment` and the allowed process variables.
    Env,
    /// A fact about the execution.
    Context(ContextField),
    /// The workflow's metadata, an object.
    Metadata,
}

/// What expressions may read of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepField {
    /// Its output; missing for a step that was skipped, cancelled, or failed without being recovered.
    Output,
    /// `completed`, `failed`, `skipped` or `cancelled`.
    Status,
    /// Its failure.
    Error,
    /// How many calls reached the agent.
    Attempts,
    /// The case of a branch that was taken.
    Case,
    /// The id of the fallback that recovered it.
    RecoveredBy,
}

impl StepField {
    /// Every field.
    pub const ALL: [Self; 6] = [Self::Output, Self::Status, Self::Error, Self::Attempts, Self::Case, Self::RecoveredBy];

    /// Returns the name as expressions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Status => "status",
            Self::Error => "error",
            Self::Attempts => "attempts",
            Self::Case => "case",
            Self::RecoveredBy => "recoveredBy",
        }
    }
}

/// What expressions may read of the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContextField {
    /// The execution's id.
    ExecutionId,
    /// The correlation id.
    CorrelationId,
    /// The workflow's id.
    WorkflowId,
    /// The id of the step that reads; missing in the workflow's `outputs`.
    StepId,
}

impl ContextField {
    /// Every field.
    pub const ALL: [Self; 4] = [Self::ExecutionId, Self::CorrelationId, Self::WorkflowId, Self::StepId];

    /// Returns the name as expressions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExecutionId => "executionId",
            Self::CorrelationId => "correlationId",
            Self::WorkflowId => "workflowId",
            Self::StepId => "stepId",
        }
    }
}

/// What expressions can see at one place of an execution.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot show values to expressions",
    note = "implement `orchestr8_schema::expression::Scope`"
)]
pub trait Scope {
    /// Returns the value of a root, or `None` where it is missing.
    ///
    /// Borrowed values cost nothing; only the part that an expression picks is copied.
    fn root(&self, root: Root) -> Option<Cow<'_, Value>>;
}

/// Why an expression or condition has no value; always a failure of kind [`Validation`](crate::ErrorKind::Validation).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    message: String,
}

impl EvaluationError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
