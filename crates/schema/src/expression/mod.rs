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
pub(crate) mod of_input;
pub(crate) mod parse;

use std::{borrow::Cow, ops::Range};

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
    /// Where each operand stands in the text that the expression was written in, in bytes.
    pub(crate) ranges: Vec<Range<usize>>,
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
    /// The first of several paths that leads to a value: a variable that several steps may have set, or that is declared, too.
    First(Box<[Path]>),
    /// The whole root `variables`: what is declared, with what has been captured laid over it, in this order.
    Variables(Vec<(String, Path)>),
    /// The whole root `context`.
    Context,
    /// The whole root `loop`, of this loop.
    Loop(StepIndex),
    /// The whole root `self`, with the fields that it has here.
    Own(&'static [OwnField]),
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
/// Those that belong to a composite name it, since maps and loops can stand in each other. A capture needs no root: `variables.x`, captured from a dependency, is compiled to a path into that step's output.
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
    /// The item that the body of this map runs for.
    Item(StepIndex),
    /// The index of that item, from 0.
    ItemIndex(StepIndex),
    /// The running value of this map.
    Accumulator(StepIndex),
    /// A field of this loop.
    Loop {
        /// Which loop.
        step: StepIndex,
        /// Which of its fields.
        field: LoopField,
    },
    /// What a hook, a compensation or `output.value` is about.
    Own(OwnField),
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

/// What expressions inside a loop may read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoopField {
    /// The number of the iteration, from 0.
    Index,
    /// The value that the iteration began with; in `until`, the one that it ended with.
    Value,
}

impl LoopField {
    /// Every field.
    pub const ALL: [Self; 2] = [Self::Index, Self::Value];

    /// Returns the name as expressions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Value => "value",
        }
    }
}

/// What `self` shows: the step, or the execution, that a hook, a compensation or `output.value` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnField {
    /// The step's id.
    StepId,
    /// The step's path.
    StepPath,
    /// The resolved input.
    Input,
    /// The output; in `output.value`, the default output.
    Output,
    /// The failure.
    Error,
    /// The hook's point, such as `before`.
    Point,
    /// The status of the step or the execution.
    Status,
}

impl OwnField {
    /// Every field.
    pub const ALL: [Self; 7] =
        [Self::StepId, Self::StepPath, Self::Input, Self::Output, Self::Error, Self::Point, Self::Status];

    /// Returns the name as expressions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StepId => "stepId",
            Self::StepPath => "stepPath",
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
            Self::Point => "point",
            Self::Status => "status",
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
