//! A workflow with all its sub-workflows in one JSON value, for stores and requests.
//!
//! It is the workflow's own JSON with two annotations: `x-workflows`, the sub-workflows by name, and `x-references`, here and in
//! each of them, which of these a reference means. A workflow without sub-workflows has neither.

use serde_json::{Map, Value};

use super::{Options, load_value};
use crate::{
    InvalidWorkflow, ValidWorkflow,
    validate::{LoadError, WorkflowLoader},
    workflow::StepKind,
};

const WORKFLOWS: &str = "x-workflows";
const REFERENCES: &str = "x-references";

impl ValidWorkflow {
    /// Returns the workflow with all its sub-workflows as one JSON value, which [`from_bundle`](Self::from_bundle) reads.
    ///
    /// A sub-workflow that several steps include is in it once.
    #[must_use]
    pub fn to_bundle(&self) -> Value {
        let mut bundler = Bundler { names: Vec::new(), workflows: Map::new() };
        let mut bundle = bundler.document(self);
        if let (Value::Object(map), false) = (&mut bundle, bundler.workflows.is_empty()) {
            map.insert(WORKFLOWS.to_owned(), Value::Object(bundler.workflows));
        }
        bundle
    }

    /// Reads and validates a workflow with its sub-workflows. The options' own loader is not asked.
    ///
    /// # Errors
    ///
    /// When there is at least one error; warnings come along.
    pub fn from_bundle(bundle: &Value, options: &Options<'_>) -> Result<Self, InvalidWorkflow> {
        let loader = Bundle { bundle };
        load_value(bundle, &Options { origin: None, ..*options }.workflows(&loader))
    }
}

struct Bundler<'w> {
    /// What has been put in, each with its name.
    names: Vec<(&'w ValidWorkflow, String)>,
    workflows: Map<String, Value>,
}

impl<'w> Bundler<'w> {
    fn document(&mut self, workflow: &'w ValidWorkflow) -> Value {
        let mut document = serde_json::to_value(workflow).unwrap_or_default();
        let mut references = Map::new();
        for (step, child) in workflow.sub_workflows() {
            if let StepKind::Workflow(written) = &workflow.declaration(step).kind {
                references.insert(written.reference.clone(), Value::String(self.name(child)));
            }
        }
        if let (Value::Object(map), false) = (&mut document, references.is_empty()) {
            map.insert(REFERENCES.to_owned(), Value::Object(references));
        }
        document
    }

    fn name(&mut self, workflow: &'w ValidWorkflow) -> String {
        if let Some((_, name)) = self.names.iter().find(|(known, _)| known.is_same(workflow)) {
            return name.clone();
        }
        let name = format!("{}.json", self.names.len() + 1);
        self.names.push((workflow, name.clone()));
        let document = self.document(workflow);
        self.workflows.insert(name.clone(), document);
        name
    }
}

/// Finds sub-workflows in a bundle.
struct Bundle<'b> {
    bundle: &'b Value,
}

impl Bundle<'_> {
    fn workflow(&self, name: &str) -> Result<&Value, LoadError> {
        let found = self.bundle.get(WORKFLOWS).and_then(|workflows| workflows.get(name));
        found.ok_or_else(|| LoadError::new("it is not in the bundle"))
    }
}

impl WorkflowLoader for Bundle<'_> {
    fn resolve(&self, reference: &str, from: Option<&str>) -> Result<String, LoadError> {
        let holder = from.map_or(Ok(self.bundle), |from| self.workflow(from))?;
        let name = holder.get(REFERENCES).and_then(|references| references.get(reference)).and_then(Value::as_str);
        name.map(str::to_owned).ok_or_else(|| LoadError::new("the bundle does not say what it means"))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        self.workflow(name).map(|workflow| workflow.to_string().into_bytes())
    }
}
