//! A workflow that has been checked and compiled: the only thing an engine takes.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{ScopeIndex, Unproven, ValidCompensation, ValidHook, ValidKind, outline::index};
use crate::{
    Diagnostic, Step, StepId, StepIndex, Workflow,
    condition::Condition,
    expression::{EvaluationError, Path, Scope, Template},
    jmespath::JmesPath,
    json_schema::{JsonValidator, Violation, fill_defaults},
    types::Type,
};

/// A workflow without errors: ids are unique, references are resolved, expressions, conditions and schemas are compiled.
///
/// It is made by [`load`](crate::load), [`validate`](crate::validate::validate) and the constructors here, and by nothing
/// else. It does not change, and cloning it is cheap. As JSON it is the workflow it was made from, without its sub-workflows;
/// [`to_bundle`](Self::to_bundle) has them too.
#[derive(Clone)]
pub struct ValidWorkflow(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) workflow: Workflow,
    pub(super) steps: Vec<ValidStep>,
    pub(super) scopes: Vec<ValidScope>,
    pub(super) index: HashMap<StepId, StepIndex>,
    pub(super) hooks: Vec<ValidHook>,
    pub(super) inputs: Option<JsonValidator>,
    pub(super) outputs: Option<Vec<(String, Template)>>,
    pub(super) depth: usize,
    /// How many workflows are nested, this one included.
    pub(super) nesting: usize,
    pub(super) warnings: Vec<Diagnostic>,
    /// What it answers, where types have been checked.
    pub(super) outputs_type: Option<Type>,
    pub(super) unproven: Option<Vec<Unproven>>,
}

impl ValidWorkflow {
    /// Whether this is the same value as another, as clones of one another are. Costs nothing, unlike comparing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the workflow as its author wrote it.
    #[must_use]
    pub fn workflow(&self) -> &Workflow {
        &self.0.workflow
    }

    /// Returns the workflow's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.workflow.metadata.id
    }

    /// Returns all compiled steps in the order of their declaration, inner steps behind the composite that holds them.
    ///
    /// Those of sub-workflows are not among them: a sub-workflow is a workflow of its own, in [`ValidKind::Workflow`].
    #[must_use]
    pub fn steps(&self) -> &[ValidStep] {
        &self.0.steps
    }

    /// Returns a step.
    ///
    /// # Panics
    ///
    /// When the index is none of this workflow's.
    #[must_use]
    pub fn step(&self, step: StepIndex) -> &ValidStep {
        &self.0.steps[step.get()]
    }

    /// Returns the lists of steps: the workflow's own first, then those of composites in the order of declaration.
    #[must_use]
    pub fn scopes(&self) -> &[ValidScope] {
        &self.0.scopes
    }

    /// Returns a list of steps.
    ///
    /// # Panics
    ///
    /// When the index is none of this workflow's.
    #[must_use]
    pub fn scope(&self, scope: ScopeIndex) -> &ValidScope {
        &self.0.scopes[scope.get()]
    }

    /// Returns the compiled hooks of the workflow, point after point.
    #[must_use]
    pub fn hooks(&self) -> &[ValidHook] {
        &self.0.hooks
    }

    /// Returns the sub-workflows, each with the step that includes it.
    pub fn sub_workflows(&self) -> impl Iterator<Item = (StepIndex, &Self)> {
        self.0.steps.iter().enumerate().filter_map(|(place, step)| match &step.kind {
            ValidKind::Workflow(child) => Some((StepIndex(index(place)), child)),
            _ => None,
        })
    }

    /// Returns the step that an id names.
    #[must_use]
    pub fn step_index(&self, id: &str) -> Option<StepIndex> {
        self.0.index.get(id).copied()
    }

    /// Returns a step as its author wrote it.
    ///
    /// # Panics
    ///
    /// When the index is none of this workflow's.
    #[must_use]
    pub fn declaration(&self, step: StepIndex) -> &Step {
        let valid = self.step(step);
        let scope = self.scope(valid.scope);
        let list = match scope.parent {
            None => Some(&*self.0.workflow.steps),
            Some(composite) => self.declaration(composite).kind.scopes().nth(scope.number as usize),
        };
        &list.unwrap_or_default()[valid.position as usize]
    }

    /// Returns the compiled schema of the execution's input, where there is one.
    #[must_use]
    pub fn inputs(&self) -> Option<&JsonValidator> {
        self.0.inputs.as_ref()
    }

    /// Fills in the defaults of an execution's input and checks it; without an `inputs` schema any object will do.
    ///
    /// # Errors
    ///
    /// When the input violates the schema: all violations.
    pub fn check_input(&self, mut input: Value) -> Result<Value, Vec<Violation>> {
        if let Some(inputs) = &self.0.inputs {
            fill_defaults(inputs.schema(), &mut input);
            inputs.validate(&input)?;
        }
        if !input.is_object() {
            return Err(vec![Violation::not_an_object()]);
        }
        Ok(input)
    }

    /// Returns the compiled `outputs`; `None` means every step's output by id.
    #[must_use]
    pub fn outputs(&self) -> Option<&[(String, Template)]> {
        self.0.outputs.as_deref()
    }

    /// Evaluates the compiled `outputs`; `None` where none are declared.
    ///
    /// # Errors
    ///
    /// When an expression has no value, or the result is over [`Template::MAX_OUTPUT_SIZE`].
    pub fn resolve_outputs(&self, scope: &dyn Scope) -> Result<Option<Map<String, Value>>, EvaluationError> {
        let Some(outputs) = self.outputs() else { return Ok(None) };
        let mut left = Template::MAX_OUTPUT_SIZE;
        let mut map = Map::with_capacity(outputs.len());
        for (name, template) in outputs {
            let value = template.resolve_counted(scope, &mut left, Template::MAX_OUTPUT_SIZE)?;
            map.insert(name.clone(), value);
        }
        Ok(Some(map))
    }

    /// Returns how many steps the longest chain of steps that wait for each other has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.depth
    }

    /// Returns what is probably not meant so, in the order of the document.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.0.warnings
    }

    /// Returns where types could not be checked to the end, and why: at most 1000 places, in the order in which they were
    /// looked at. `None` if they were not checked at all, because no agents were given.
    #[must_use]
    pub fn unproven(&self) -> Option<&[Unproven]> {
        self.0.unproven.as_deref()
    }
}

impl fmt::Debug for ValidWorkflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValidWorkflow").field(&self.0.workflow).finish()
    }
}

impl PartialEq for ValidWorkflow {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || (self.0.workflow == other.0.workflow && self.sub_workflows().eq(other.sub_workflows()))
    }
}

impl Serialize for ValidWorkflow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.workflow.serialize(serializer)
    }
}

/// A compiled step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidStep {
    /// The step's id.
    pub id: StepId,
    /// The list that it stands in.
    pub scope: ScopeIndex,
    /// Its place in that list.
    pub(super) position: u32,
    /// The steps that must be satisfied before, in the author's order.
    pub dependencies: Vec<StepIndex>,
    /// Further steps that must be settled before, however they ended; in ascending order, none of them a dependency.
    pub soft: Vec<StepIndex>,
    /// The step that stands in when this one fails.
    pub fallback: Option<StepIndex>,
    /// The step that this one stands in for.
    pub serves: Option<StepIndex>,
    /// Whether it runs; `None` means it does.
    pub condition: Option<Condition>,
    /// What it resolves when it is ready: an agent's input, a tool's arguments, a sub-workflow's input, the fields of a wait,
    /// the prompt of an approval; of other kinds the empty object.
    pub input: ValidInput,
    /// What it does.
    pub kind: ValidKind,
    /// The schema of its output.
    pub output_schema: Option<JsonValidator>,
    /// What replaces the output of a composite; for parallel and branch it sees the steps inside, for others `self.output`.
    pub output_value: Option<Box<Template>>,
    /// The variables that are set from its output, and the paths to read there. Readers need no such step: what they read is
    /// already compiled to the path.
    pub captures: Vec<(String, Path)>,
    /// The template of its idempotency key.
    pub idempotency_key: Option<Box<Template>>,
    /// Its hooks, point after point.
    pub hooks: Vec<ValidHook>,
    /// How its effect is undone.
    pub compensate: Option<Box<ValidCompensation>>,
}

/// A list of steps that run together: the workflow's own, the body of a composite, or a case of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidScope {
    /// The composite that opens it; none for the workflow itself.
    pub parent: Option<StepIndex>,
    /// The steps in the order of their declaration.
    pub steps: Vec<StepIndex>,
    /// Which one it is of those that the composite opens.
    pub(super) number: u32,
}

/// The compiled input of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidInput {
    pub(super) template: Template,
    pub(super) max_size: u64,
    pub(super) transform: Option<Box<JmesPath>>,
    pub(super) schema: Option<JsonValidator>,
    pub(super) declared: bool,
}

impl ValidInput {
    /// Makes an input without transformation and schema.
    pub(super) fn plain(template: Template, declared: bool) -> Self {
        Self { template, max_size: Template::MAX_INPUT_SIZE, transform: None, schema: None, declared }
    }

    /// Whether the author gave one; a fallback without takes that of the step it stands in for.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.declared
    }

    /// Evaluates the template, applies the transformation, and checks the result against the input's own schema.
    ///
    /// # Errors
    ///
    /// When an expression has no value, a limit is passed, the transformation fails, or the schema is violated.
    pub fn resolve(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        let mut input = self.template.resolve(scope, self.max_size)?;
        if let Some(transform) = &self.transform {
            input = transform.evaluate(&input)?;
        }
        if let Some(schema) = &self.schema {
            schema.validate(&input).map_err(|violations| {
                let list: Vec<_> = violations.iter().take(5).map(ToString::to_string).collect();
                EvaluationError::new(format!("checking the input against its schema: {}", list.join("; ")))
            })?;
        }
        // Of tools and sub-workflows the whole input can be one expression.
        if matches!(self.template, Template::Expression(_)) && !input.is_object() {
            return Err(EvaluationError::new("the input is not an object"));
        }
        Ok(input)
    }

    /// Returns the schema that the result is checked against.
    #[must_use]
    pub fn schema(&self) -> Option<&JsonValidator> {
        self.schema.as_ref()
    }

    /// Returns the template that is evaluated first.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.template
    }
}
