//! Sub-workflows: found, read and validated together with their parent.

use std::collections::HashMap;

use super::{Inferred, ValidWorkflow, outline::Outline};
use crate::{
    Code, Diagnostic, StepIndex,
    problem::{Problems, quote},
    source::{self, Options},
    workflow::StepKind,
};

/// How many workflows may be nested below the outermost one.
const MAX_NESTING: usize = 16;

/// Finds the workflows that a workflow refers to.
///
/// A reference is a path that begins with `./` or `../`, relative to the file in which it stands, or the id of a workflow.
///
/// ```
/// use orchestr8_schema::{source::{Options, load}, validate::{LoadError, WorkflowLoader}};
///
/// struct OnlyGreeting;
///
/// impl WorkflowLoader for OnlyGreeting {
///     fn resolve(&self, reference: &str, _from: Option<&str>) -> Result<String, LoadError> {
///         if reference == "greeting" { Ok("greeting.json".into()) } else { Err(LoadError::new("there is only `greeting`")) }
///     }
///
///     fn read(&self, _name: &str) -> Result<Vec<u8>, LoadError> {
///         Ok(br#"{
///             "version": "1.0.0",
///             "metadata": { "id": "greeting", "name": "Greeting" },
///             "steps": [{ "id": "greet", "agent": { "id": "@orchestr8/hello-world" } }]
///         }"#.to_vec())
///     }
/// }
///
/// let text = r#"{
///     "version": "1.0.0",
///     "metadata": { "id": "w", "name": "W" },
///     "steps": [{ "id": "a", "workflow": { "ref": "greeting" } }]
/// }"#;
/// assert!(load(text, &Options::new().workflows(&OnlyGreeting)).is_ok());
/// ```
pub trait WorkflowLoader {
    /// Returns the one name of what a reference means. `from` is the name of the file in which it stands, if it has one.
    ///
    /// Two references to the same workflow must give the same name: by it recursion is found, and nothing is read twice.
    ///
    /// # Errors
    ///
    /// When there is no such workflow.
    fn resolve(&self, reference: &str, from: Option<&str>) -> Result<String, LoadError>;

    /// Returns the text of a workflow by its name, whose extension tells the format.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError>;
}

/// Why a sub-workflow cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    message: String,
}

impl LoadError {
    /// Makes an error; the message is lowercase, without a full stop.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// What is shared by a workflow and its sub-workflows while they are validated.
pub(crate) struct Family<'a> {
    pub(crate) options: Options<'a>,
    /// The names of the workflows that are being validated, the outermost first; those without a file have none.
    open: Vec<Option<String>>,
    /// Those that have been validated; `None` if they are wrong.
    done: HashMap<String, Option<ValidWorkflow>>,
    /// What is wrong in sub-workflows.
    diagnostics: Vec<Diagnostic>,
    /// The bytes of text that may still be read.
    left: usize,
    /// Whether types are asked for, and those of the outermost workflow, which is checked last.
    pub(crate) infer: bool,
    pub(crate) inferred: Option<Inferred>,
}

impl<'a> Family<'a> {
    pub(crate) fn new(options: &Options<'a>) -> Self {
        Self {
            options: *options,
            open: vec![options.origin.map(str::to_owned)],
            done: HashMap::new(),
            diagnostics: Vec::new(),
            left: options.limits.text,
            infer: false,
            inferred: None,
        }
    }

    /// Returns what was found in sub-workflows.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    fn from(&self) -> Option<&str> {
        self.open.last().and_then(Option::as_deref)
    }

    /// Loads every sub-workflow; what cannot be loaded is missing, and has been reported.
    pub(super) fn load(&mut self, outline: &Outline<'_>, problems: &mut Problems) -> HashMap<StepIndex, ValidWorkflow> {
        let mut children = HashMap::new();
        for (index, placed) in outline.iter() {
            let StepKind::Workflow(step) = &placed.step.kind else { continue };
            if placed.broken {
                continue;
            }
            let place = || format!("{}/workflow/ref", outline.pointer(index));
            let Some(loader) = self.options.workflows else {
                let message = format!("cannot load `{}`: no sub-workflows can be loaded here", quote(&step.reference));
                problems.report(Code::SubWorkflow, place(), message);
                continue;
            };
            let name = match loader.resolve(&step.reference, self.from()) {
                Ok(name) => name,
                Err(error) => {
                    let message = format!("cannot load `{}`: {error}", quote(&step.reference));
                    let help = if step.is_path() {
                        "the path is relative to this file"
                    } else {
                        "paths begin with `./` or `../`; anything else is the id of a workflow"
                    };
                    problems.report(Code::SubWorkflow, place(), message).help(help);
                    continue;
                }
            };
            if let Some(start) = self.open.iter().position(|open| open.as_deref() == Some(&*name)) {
                let names = self.open[start..].iter().flatten().chain([&name]).map(String::as_str);
                let message = format!("`{}` includes itself: {}", quote(&name), names.collect::<Vec<_>>().join(" → "));
                problems.report(Code::SubWorkflowNesting, place(), message).help("use a loop");
                continue;
            }
            if self.open.len() > MAX_NESTING {
                too_deep(&place(), problems);
                continue;
            }
            let child = match self.done.get(&name) {
                Some(child) => child.clone(),
                None => match self.read(&name) {
                    Ok(text) => {
                        self.open.push(Some(name.clone()));
                        let (child, diagnostics) = source::load_child(&text, &name, self);
                        self.open.pop();
                        self.diagnostics.extend(diagnostics);
                        self.done.insert(name, child.clone());
                        child
                    }
                    Err(error) => {
                        let message = format!("cannot read `{}`: {error}", quote(&step.reference));
                        problems.report(Code::SubWorkflow, place(), message);
                        continue;
                    }
                },
            };
            match child {
                Some(child) if self.open.len() + child.0.nesting > MAX_NESTING + 1 => too_deep(&place(), problems),
                Some(child) => {
                    children.insert(index, child);
                }
                None => problems.note_error_elsewhere(),
            }
        }
        children
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, LoadError> {
        let Some(loader) = self.options.workflows else { return Err(LoadError::new("there is no loader")) };
        let text = loader.read(name)?;
        self.left = self.left.checked_sub(text.len()).ok_or_else(|| {
            LoadError::new(format!("all sub-workflows together have over {} bytes", self.options.limits.text))
        })?;
        Ok(text)
    }
}

fn too_deep(place: &str, problems: &mut Problems) {
    let message = format!("sub-workflows are nested more than {MAX_NESTING} deep");
    problems.report(Code::SubWorkflowNesting, place, message).help("flatten them");
}
