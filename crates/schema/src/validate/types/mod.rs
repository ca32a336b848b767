//! The stage of types: every value that is read exists, and every value that is given is what its taker asks for.
//!
//! It looks at the tree as the author wrote it. Scopes become [`Frame`]s, names are looked up in them from the inside out, and
//! each template is walked side by side with the type that is asked for at its place, so that a complaint stands at the very
//! key or expression it is about. What cannot be seen is noted, never reported.
//!
//! Nodes in which earlier stages found an error are left alone.

mod call;
mod composite;
mod frame;
mod inferred;
mod jmespath;
mod path;
mod step;
mod template;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Display,
    ops::Range,
    sync::Arc,
};

use serde_json::Value;

pub use self::inferred::Inferred;
use self::{
    call::Schemas,
    frame::{End, Frame},
};
use super::{AgentCatalog, ValidWorkflow, outline::Outline};
use crate::{
    Code, StepIndex, Workflow,
    problem::{At, Problems},
    types::Type,
};

/// The most notes that are kept.
const MAX_NOTES: usize = 1000;

/// A place of a workflow whose types could not be checked to the end.
///
/// A workflow without such places does not fail at run time because a value is missing or of another type than is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unproven {
    /// The place in the document, a JSON pointer.
    pub path: String,
    /// What could not be seen, and why.
    pub reason: String,
}

/// What is known of a workflow that has been checked.
pub(super) struct Checked {
    /// The type of what it answers.
    pub(super) outputs: Type,
    /// What could not be checked.
    pub(super) unproven: Vec<Unproven>,
    /// Nothing, unless it was asked for.
    pub(super) inferred: Option<Inferred>,
}

/// Checks a workflow.
pub(super) fn check<'w>(
    outline: &Outline<'w>,
    agents: &'w dyn AgentCatalog,
    children: &'w HashMap<StepIndex, ValidWorkflow>,
    problems: &'w mut Problems,
    infer: bool,
) -> Checked {
    let workflow = outline.workflow;
    let failed = problems.error_paths();
    let broken = outline.iter().filter(|(_, placed)| placed.broken).map(|(index, _)| outline.pointer(index)).collect();
    let children = children.iter().map(|(step, child)| (outline.step(*step).id.as_str(), child)).collect();
    let inputs = match &workflow.inputs {
        Some(schema) => Type::of_inputs(schema),
        None => Type::any_object(),
    };
    let variables = workflow.context.variables.iter().map(|(name, value)| (&**name, Type::like(value))).collect();
    let metadata = serde_json::to_value(&workflow.metadata).unwrap_or(Value::Null);
    let mut checker = Checker {
        workflow,
        agents,
        children,
        problems,
        failed,
        broken,
        silent: 0,
        notes: Vec::new(),
        frames: Vec::new(),
        schemas: HashMap::new(),
        inputs,
        variables,
        metadata: Type::of_value(&metadata),
        depth: 0,
        passes: 0,
    };
    let outputs = checker.workflow();
    let inferred = infer.then(|| checker.inferred());
    Checked { outputs, unproven: checker.notes, inferred }
}

struct Checker<'w> {
    workflow: &'w Workflow,
    agents: &'w dyn AgentCatalog,
    /// The sub-workflows, by the ids of their steps.
    children: HashMap<&'w str, &'w ValidWorkflow>,
    problems: &'w mut Problems,
    /// Where earlier stages found errors.
    failed: BTreeSet<String>,
    /// The steps that could not be read.
    broken: HashSet<String>,
    /// Above zero, nothing is reported: a body is only looked at for the type of its value.
    silent: usize,
    notes: Vec<Unproven>,
    frames: Vec<Frame<'w>>,
    schemas: HashMap<(String, String), Arc<Schemas>>,
    inputs: Type,
    variables: HashMap<&'w str, Type>,
    metadata: Type,
    /// How many steps are being looked at because others read them.
    depth: usize,
    /// How many bodies have been looked at more than once.
    passes: usize,
}

impl Checker<'_> {
    /// Checks everything and returns the type of what an execution answers.
    fn workflow(&mut self) -> Type {
        let root = At::ROOT;
        let frame = self.open(None, &self.workflow.steps, "/steps".to_owned(), End::AllSettled);
        self.steps(frame);
        let cx = Cx { frame, step: None };
        self.workflow_hooks(frame);
        let Some(outputs) = &self.workflow.outputs else { return self.by_id(frame) };
        let at = root.key("outputs");
        let fields: Vec<_> = outputs
            .iter()
            .map(|(name, value)| (name.clone(), self.template(value, &at.key(name), cx, None), true))
            .collect();
        Type::record(fields)
    }

    /// Looks at what is called around the whole workflow. What `self` shows there depends on the point and the step.
    fn workflow_hooks(&mut self, parent: usize) {
        let frame = self.open_around(parent);
        let root = At::ROOT;
        let hooks_at = root.key("hooks");
        for (point, hooks) in self.workflow.hooks.iter() {
            let at = hooks_at.key(point.key());
            for (index, hook) in hooks.iter().enumerate() {
                self.other_call(&hook.call, hook.input.as_ref(), &at.index(index), Cx { frame, step: None });
            }
        }
    }

    /// Reports an error, unless this is only a look.
    fn report(&mut self, report: Report<'_>) {
        if self.silent > 0 {
            return;
        }
        let problem = self.problems.report(report.code, report.path, report.message);
        if let Some(range) = report.range {
            problem.within(range);
        }
        if report.on_key {
            problem.on_key();
        }
        if let Some(help) = report.help {
            problem.help(help);
        }
    }

    /// Notes what cannot be seen.
    fn note(&mut self, path: impl Display, reason: impl Into<String>) {
        if self.silent == 0 && self.notes.len() < MAX_NOTES {
            self.notes.push(Unproven { path: path.to_string(), reason: reason.into() });
        }
    }

    /// Whether an earlier stage found an error at a place or below.
    fn is_broken(&self, path: &impl Display) -> bool {
        if self.failed.is_empty() {
            return false;
        }
        let mut path = path.to_string();
        if self.failed.contains(&path) {
            return true;
        }
        path.push('/');
        self.failed.range(path.clone()..).next().is_some_and(|failed| failed.starts_with(&path))
    }

    fn did_you_mean(&mut self, word: &str, candidates: &[String]) -> Option<String> {
        if self.silent > 0 {
            return None;
        }
        self.problems.did_you_mean(word, candidates.iter().map(String::as_str))
    }
}

/// Where something is read: in a step, or at the end of a scope, when all its steps are settled.
#[derive(Clone, Copy)]
struct Cx {
    frame: usize,
    step: Option<usize>,
}

/// An error to be reported.
struct Report<'a> {
    code: Code,
    path: &'a dyn Display,
    message: String,
    help: Option<String>,
    range: Option<Range<usize>>,
    on_key: bool,
}

impl<'a> Report<'a> {
    fn new(code: Code, path: &'a dyn Display, message: impl Into<String>) -> Self {
        Self { code, path, message: message.into(), help: None, range: None, on_key: false }
    }

    fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    fn within(mut self, range: impl Into<Option<Range<usize>>>) -> Self {
        self.range = range.into();
        self
    }

    fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }
}
