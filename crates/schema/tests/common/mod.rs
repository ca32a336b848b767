//! What the tests share.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod schemas;

use std::borrow::Cow;

use orchestr8_schema::{
    InvalidWorkflow, ValidWorkflow,
    expression::{Root, Scope},
};
use serde_json::{Value, json};

pub(crate) const VERTICAL_SLICE: &str = include_str!("../data/vertical-slice.json");

/// A workflow of agent steps; each is given without its agent.
pub(crate) fn workflow(steps: Value) -> Value {
    let Value::Array(mut steps) = steps else { panic!("steps are a list") };
    for step in &mut steps {
        step["agent"] = json!({ "id": "@acme/agent" });
    }
    json!({ "version": "1.0.0", "metadata": { "id": "w", "name": "W" }, "steps": steps })
}

pub(crate) fn load(steps: Value) -> Result<ValidWorkflow, InvalidWorkflow> {
    ValidWorkflow::from_value(&workflow(steps))
}

pub(crate) fn codes(result: Result<ValidWorkflow, InvalidWorkflow>) -> Vec<String> {
    match result {
        Ok(valid) => valid.warnings().iter().map(|diagnostic| diagnostic.code.to_string()).collect(),
        Err(invalid) => invalid.diagnostics().iter().map(|diagnostic| diagnostic.code.to_string()).collect(),
    }
}

/// Shows an object of roots, in which steps stand by id.
pub(crate) struct Shown<'a> {
    pub(crate) workflow: &'a ValidWorkflow,
    pub(crate) roots: Value,
}

impl Scope for Shown<'_> {
    fn root(&self, root: Root) -> Option<Cow<'_, Value>> {
        let value = match root {
            Root::Step { step, field } => {
                let id = self.workflow.steps()[step.get()].id.as_str();
                self.roots["steps"].get(id)?.get(field.as_str())
            }
            Root::Inputs => self.roots.get("inputs"),
            Root::Variables => self.roots.get("variables"),
            Root::Env => self.roots.get("env"),
            Root::Context(field) => self.roots.get("context")?.get(field.as_str()),
            Root::Metadata => self.roots.get("metadata"),
            _ => None,
        };
        value.map(Cow::Borrowed)
    }
}
