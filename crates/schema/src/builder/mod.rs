//! Workflows written in Rust: steps are typed handles, and what a step reads is what it waits for.
//!
//! ```
//! use orchestr8_schema::builder::{AgentRef, WorkflowBuilder, map, own};
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
//! let mail = AgentRef::<Report, Sent>::new("@acme/mail");
//! let recall = AgentRef::<Sent, ()>::new("@acme/recall");
//!
//! let mut flow = WorkflowBuilder::new("report", "Weekly report");
//! let topic = flow.input::<String>("topic");
//! let found = flow.add("find", find.call().with("text", &topic).with("limit", 10).retry(3));
//! let scores = flow.add("scores", map(found.path("files"), |body, file| {
//!     body.add("score", score.call().input(file.path("")))
//! }).concurrency(4));
//! let sent = flow.add("mail", mail.call().with("to", "ada@example.org").with("scores", &scores)
//!     .compensate(recall.call().input(own("output"))));
//! flow.output("id", sent.path("id"));
//!
//! let workflow = flow.build()?;
//! assert_eq!(workflow.steps()[3].dependencies.len(), 1); // `mail` waits for `scores`
//! # Ok::<(), orchestr8_schema::InvalidWorkflow>(())
//! ```
//!
//! A [`Step`] exists only once its step has been added, so steps cannot wait for each other in a circle. What is given as a
//! whole, a value or a handle, is checked by the compiler; what is given field by field, and what a [`Path`] leads to, is
//! checked by [`WorkflowBuilder::build`] against the JSON Schemas of the Rust types. What comes out is the same
//! [`Workflow`] that a file is read as.
//!
//! Values are values: a text with `${` in it is given as it is. Expressions come from handles, or from [`raw`].

mod call;
mod draft;
mod group;
mod pause;
mod state;
mod value;

use indexmap::IndexMap;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::{
    call::{AgentRef, Call, ToolRef, own},
    draft::{Draft, Kind},
    group::{Branch, List, Loop, LoopOutput, MapBody, Parallel, branch, loop_until, map, parallel},
    pause::{Approval, SubWorkflow, Wait, approval, signal, sub_workflow, wait_for, wait_until},
    value::{Expr, Fields, IntoTemplate, Path, Provides, Step, Text, fields, raw, text},
};
use self::{
    state::State,
    value::{Given, Read},
};
use crate::{
    AgentId, Code, InvalidWorkflow, StepId, ValidWorkflow, Workflow,
    id::{InvalidId, ToolName},
    policy::WorkflowPolicies,
    source::Options,
    validate::{AgentCatalog, CallSchemas, validate},
    workflow::{self, Context, Metadata, VersionRange, WorkflowHooks},
};

/// Builds a workflow, step after step. See the [module](self) for an example.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct WorkflowBuilder {
    workflow: Workflow,
    steps: Steps,
    generator: SchemaGenerator,
    inputs: Map<String, Value>,
    required: Vec<String>,
}

impl WorkflowBuilder {
    /// Begins a workflow of version 1.0.0 with an id and a name.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        let metadata = Metadata {
            id: id.into(),
            name: name.into(),
            description: None,
            tags: Vec::new(),
            created_at: None,
            updated_at: None,
        };
        let workflow = Workflow {
            version: "1.0.0".to_owned(),
            schema_version: None,
            schema_hash: None,
            metadata,
            inputs: None,
            outputs: None,
            context: Context::default(),
            allowed_env_vars: Vec::new(),
            steps: Vec::new(),
            hooks: WorkflowHooks::default(),
            policies: WorkflowPolicies::default(),
        };
        Self {
            workflow,
            steps: Steps::default(),
            generator: SchemaGenerator::default(),
            inputs: Map::new(),
            required: Vec::new(),
        }
    }

    /// Sets the author's version, `x.y.z`; default `1.0.0`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.workflow.version = version.into();
        self
    }

    /// Sets what the workflow is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.workflow.metadata.description = Some(description.into());
        self
    }

    /// Changes what the whole workflow asks for.
    pub fn policies(mut self, change: impl FnOnce(&mut WorkflowPolicies)) -> Self {
        change(&mut self.workflow.policies);
        self
    }

    /// Declares an input that every execution must be given.
    pub fn input<T: JsonSchema>(&mut self, name: &str) -> Expr<T> {
        self.required.push(name.to_owned());
        self.declare::<T>(name, None)
    }

    /// Declares an input that has this value unless an execution is given another.
    pub fn input_or<T: JsonSchema + Serialize>(&mut self, name: &str, default: T) -> Expr<T> {
        match serde_json::to_value(default) {
            Ok(default) => self.declare::<T>(name, Some(default)),
            Err(error) => {
                self.steps.state.report(Code::WrongType, format!("the default of `{name}` is no JSON: {error}"));
                self.declare::<T>(name, None)
            }
        }
    }

    fn declare<T: JsonSchema>(&mut self, name: &str, default: Option<Value>) -> Expr<T> {
        let mut schema = self.generator.subschema_for::<T>().to_value();
        if let (Some(default), Some(schema)) = (default, schema.as_object_mut()) {
            schema.insert("default".to_owned(), default);
        }
        self.inputs.insert(name.to_owned(), schema);
        Expr::root(format!("inputs.{name}"))
    }

    /// Declares a variable, which callers may override.
    pub fn variable<T: Serialize>(&mut self, name: &str, value: T) -> Expr<T> {
        match serde_json::to_value(value) {
            Ok(value) => drop(self.workflow.context.variables.insert(name.to_owned(), value)),
            Err(error) => self.steps.state.report(Code::WrongType, format!("variable `{name}` is no JSON: {error}")),
        }
        Expr::root(format!("variables.{name}"))
    }

    /// Adds a step that runs as soon as the steps it reads have completed.
    pub fn add<K: Kind, O>(&mut self, id: &str, step: Draft<K, O>) -> Step<O> {
        self.steps.add(id, step)
    }

    /// Adds to what an execution answers; without any it answers every step's output by id.
    pub fn output(&mut self, name: &str, value: impl IntoTemplate) {
        let Given { value, errors, .. } = value.into_template();
        self.steps.state.report_all(errors);
        self.workflow.outputs.get_or_insert_default().insert(name.to_owned(), value);
    }

    /// Validates the workflow. The agents and tools that it calls are known by what their references say.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, at places of the workflow as JSON.
    pub fn build(self) -> Result<ValidWorkflow, InvalidWorkflow> {
        self.build_with(&Options::new())
    }

    /// Validates the workflow with options: a registry in the place of what references say, a loader of sub-workflows.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_with(self, options: &Options<'_>) -> Result<ValidWorkflow, InvalidWorkflow> {
        let Self { mut workflow, steps, mut generator, inputs, required } = self;
        let Steps { steps, state, .. } = steps;
        if !inputs.is_empty() {
            let mut schema = json!({ "type": "object", "properties": inputs, "required": required });
            let definitions = generator.take_definitions(true);
            if !definitions.is_empty() {
                schema["$defs"] = Value::Object(definitions);
            }
            workflow.inputs = Some(schema);
        }
        workflow.steps = steps;
        let referred = Referred { agents: state.agents, tools: state.tools };
        let known = options.agents.is_none().then_some(&referred as &dyn AgentCatalog);
        let result = validate(workflow, &known.map_or(*options, |agents| options.agents(agents)));
        if state.errors.is_empty() {
            return result;
        }
        let mut errors = state.errors;
        errors.extend(result.err().map(InvalidWorkflow::into_diagnostics).unwrap_or_default());
        Err(InvalidWorkflow::new(errors))
    }
}

/// A list of steps that is being written: the workflow's own, or what stands inside a composite.
#[derive(Debug, Default)]
pub struct Steps {
    scope: u32,
    steps: Vec<workflow::Step>,
    /// What is read of steps further out.
    outer: Vec<Read>,
    state: State,
}

impl Steps {
    /// Adds a step that runs as soon as the steps it reads have completed.
    pub fn add<K: Kind, O>(&mut self, id: &str, step: Draft<K, O>) -> Step<O> {
        let id = self.id(id);
        let (mut step, reads, errors) = step.into_step(id.clone(), &mut self.state);
        for message in errors {
            self.state.report(Code::WrongType, format!("step `{id}`: {message}"));
        }
        for read in reads {
            match read {
                Read::Step { scope, id: other } if scope == self.scope => {
                    if other != id && !step.dependencies.contains(&other) {
                        step.dependencies.push(other);
                    }
                }
                Read::Loop(scope) if self.state.loops.last() != Some(&scope) => {
                    let message = format!("step `{id}` reads an outer loop, which the inner one hides");
                    self.state.report(Code::RootOutOfScope, message);
                }
                Read::Loop(_) => {}
                read @ Read::Step { .. } => self.outer.push(read),
            }
        }
        self.steps.push(step);
        Step::new(id, self.scope)
    }

    fn id(&mut self, id: &str) -> StepId {
        id.parse().unwrap_or_else(|error: InvalidId| {
            self.state.report(Code::WrongForm, error.to_string());
            let stand_in = format!("invalid-{}-{}", self.scope, self.steps.len());
            stand_in.parse().expect("letters, digits and hyphens are well formed")
        })
    }
}

/// The agents and tools that references name.
struct Referred {
    agents: IndexMap<AgentId, Vec<(VersionRange, CallSchemas)>>,
    tools: IndexMap<ToolName, CallSchemas>,
}

impl AgentCatalog for Referred {
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
        let ranges = self.agents.get(id)?;
        let version = |range: &VersionRange| match *range {
            VersionRange::Latest => [1, 0, 0],
            VersionRange::Exact(version) | VersionRange::Caret(version) | VersionRange::Tilde(version) => version,
        };
        Some(ranges.iter().map(|(range, _)| version(range)).collect())
    }

    fn ids(&self) -> Vec<AgentId> {
        self.agents.keys().cloned().collect()
    }

    fn schemas(&self, id: &AgentId, version: &VersionRange) -> Option<CallSchemas> {
        self.agents.get(id)?.iter().find(|(range, _)| range == version).map(|(_, schemas)| schemas.clone())
    }
    fn tools(&self) -> Option<Vec<ToolName>> {
        Some(self.tools.keys().cloned().collect())
    }

    fn tool_schemas(&self, name: &ToolName) -> Option<CallSchemas> {
        self.tools.get(name).cloned()
    }
}
