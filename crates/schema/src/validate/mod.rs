//! Validation: from a [`Workflow`] that may be wrong to a [`ValidWorkflow`] that is not.
//!
//! All problems are reported at once. A step whose shape is wrong is left out of the later stages, which are: single values;
//! ids, dependencies and fallbacks; expressions and conditions; the edges that follow from them, and cycles; agents, where a
//! catalogue is given; policies.

mod condition;
mod graph;
mod policies;
mod references;
mod structure;
mod valid;

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

pub use self::valid::{ValidInput, ValidStep, ValidWorkflow};
use self::{
    graph::{Edges, Graph},
    references::{Captured, Compiled},
    valid::Inner,
};
use crate::{
    AgentId, Code, Diagnostic, InvalidWorkflow, Workflow,
    expression::{
        Path, Template,
        compile::{Compiler, Reference, Visible},
    },
    json_schema::JsonValidator,
    problem::{At, Problems, quote},
    source::{self, Broken, Options},
    workflow::{AgentStep, ExpressionSecurity, StepKind, VersionRange},
};

/// Which agents there are, for whoever validates with a registry at hand.
///
/// ```
/// use orchestr8_schema::{AgentId, source::{Options, load}, validate::AgentCatalog};
///
/// struct OnlyHello;
///
/// impl AgentCatalog for OnlyHello {
///     fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>> {
///         (id.as_str() == "@orchestr8/hello-world").then(|| vec![[1, 0, 0]])
///     }
///
///     fn ids(&self) -> Vec<AgentId> {
///         vec!["@orchestr8/hello-world".parse().expect("well formed")]
///     }
/// }
///
/// let text = r#"{
///     "version": "1.0.0",
///     "metadata": { "id": "w", "name": "W" },
///     "steps": [{ "id": "a", "agent": { "id": "@orchestr8/hallo-world" } }]
/// }"#;
/// let invalid = load(text, &Options::new().agents(&OnlyHello)).unwrap_err();
/// assert_eq!(invalid.diagnostics()[0].help.as_deref(), Some("did you mean `@orchestr8/hello-world`?"));
/// ```
pub trait AgentCatalog {
    /// Returns the released versions of an agent, without pre-releases, or `None` if the agent is unknown.
    fn versions(&self, id: &AgentId) -> Option<Vec<[u64; 3]>>;

    /// Returns every agent's id, for suggestions.
    fn ids(&self) -> Vec<AgentId>;
}

/// Validates a workflow that was built in Rust. Diagnostics name places as the workflow's JSON has them.
///
/// # Errors
///
/// When there is at least one error; warnings come along.
pub fn validate(workflow: Workflow, options: &Options<'_>) -> Result<ValidWorkflow, InvalidWorkflow> {
    let mut problems = Problems::new(options.strict);
    let document = serde_json::to_value(&workflow).unwrap_or(Value::Null);
    let valid = check(workflow, &Broken::default(), options, &mut problems);
    let found = source::without_text(problems.into_found(), &[], &document);
    match valid {
        Some(valid) => Ok(valid.with_warnings(found)),
        None => Err(InvalidWorkflow::new(found)),
    }
}

impl ValidWorkflow {
    pub(crate) fn with_warnings(mut self, warnings: Vec<Diagnostic>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.warnings = warnings;
        }
        self
    }
}

/// The stages that see the workflow as a whole.
struct Checking<'a> {
    visible: Visible<'a>,
    graph: Graph,
    problems: &'a mut Problems,
}

/// Runs every stage; `None` if there are errors.
pub(crate) fn check(
    workflow: Workflow,
    broken: &Broken,
    options: &Options<'_>,
    problems: &mut Problems,
) -> Option<ValidWorkflow> {
    structure::root(&workflow, options, problems);
    let count = workflow.steps.len();
    if count == 0 && !broken.all_steps {
        problems.report(Code::Empty, "/steps", "a workflow needs a step");
    }
    if count > options.limits.steps {
        let message = format!("the workflow has {count} steps, {} are allowed", options.limits.steps);
        problems.report(Code::TooManyNodes, "/steps", message).help("use sub-workflows");
        return None;
    }
    let inputs = inputs(&workflow, problems);
    policies::check(&workflow, &broken.steps, problems);
    if let Some(agents) = options.agents {
        check_agents(&workflow, &broken.steps, agents, problems);
    }
    let (steps, graph) = structure::steps(&workflow, &broken.steps, problems);
    let captures = references::captures(&workflow.steps, &broken.steps, problems);
    let visible = Visible { workflow: &workflow, steps, captures };
    let mut checking = Checking { visible, graph, problems };
    let (mut steps, mut outputs, references) = checking.compile(&broken.steps);

    checking.step_references(&references);
    let mut order = checking.graph.order(Edges::All);
    if !order.is_complete() {
        checking.report_cycles(&order);
        return None;
    }
    if !checking.visible.captures.is_empty() {
        let captured = checking.capture_references(&references, &order);
        order = checking.graph.order(Edges::All);
        if !order.is_complete() {
            checking.report_cycles(&order);
            return None;
        }
        checking.concurrent_captures(&order);
        checking.compile_again(&captured, &mut steps, &mut outputs);
    }
    let depth = checking.graph.depth(&order);
    let graph = checking.graph;
    if problems.has_errors() {
        return None;
    }
    let Graph { soft, fallback, serves, .. } = graph;
    for (((step, mut soft), fallback), serves) in steps.iter_mut().zip(soft).zip(fallback).zip(serves) {
        soft.sort_unstable();
        soft.dedup();
        step.soft = soft;
        step.fallback = fallback;
        step.serves = serves;
    }
    let index = steps.iter().enumerate().map(|(place, step)| (step.id.clone(), references::index(place))).collect();
    Some(ValidWorkflow(Arc::new(Inner { workflow, steps, index, inputs, outputs, depth, warnings: Vec::new() })))
}

type Outputs = Option<Vec<(String, Template)>>;

/// What each reader reads of other steps.
type References = Vec<(usize, Vec<Reference>)>;

impl Checking<'_> {
    /// Compiles all steps and the outputs. The outputs stand behind the last step.
    fn compile(&mut self, broken: &[bool]) -> (Vec<ValidStep>, Outputs, References) {
        let none = HashMap::new();
        let workflow = self.visible.workflow;
        let mut steps = Vec::with_capacity(workflow.steps.len());
        let mut references = Vec::new();
        for (place, step) in workflow.steps.iter().enumerate() {
            if broken.get(place).copied().unwrap_or(false) {
                continue;
            }
            let hard = &self.graph.hard[place];
            let compiled = references::step(step, place, &self.visible, hard, &none, self.problems);
            steps.push(compiled.value);
            if !compiled.references.is_empty() {
                references.push((place, compiled.references));
            }
        }
        let outputs = self.outputs(&none);
        references.push((workflow.steps.len(), outputs.references));
        (steps, outputs.value, references)
    }

    fn outputs(&mut self, captured: &HashMap<&str, &Path>) -> Compiled<Outputs> {
        let root = At::ROOT;
        let at = root.key("outputs");
        let mut compiler = Compiler {
            visible: &self.visible,
            dependencies: None,
            captured,
            max_depth: ExpressionSecurity::default().max_expansion_depth as usize,
            problems: self.problems,
            references: Vec::new(),
        };
        let outputs = self.visible.workflow.outputs.as_ref();
        let value = outputs.map(|outputs| {
            let entries = outputs.iter().map(|(name, value)| (name.clone(), compiler.template(value, &at.key(name))));
            entries.collect()
        });
        Compiled { value, references: compiler.references }
    }

    /// Compiles once more what reads captures, now that it is known which ones.
    fn compile_again(&mut self, captured: &Captured, steps: &mut [ValidStep], outputs: &mut Outputs) {
        if self.problems.has_errors() {
            return;
        }
        for (reader, names) in captured {
            let paths: HashMap<&str, &Path> = names
                .iter()
                .filter_map(|(name, step)| {
                    let (_, path) =
                        self.visible.captures.get(name.as_str())?.iter().find(|(other, _)| other == step)?;
                    Some((name.as_str(), path))
                })
                .collect();
            // The first time has reported everything.
            let mut silent = Problems::default();
            match steps.get_mut(*reader) {
                Some(step) => {
                    let source = &self.visible.workflow.steps[*reader];
                    let hard = &self.graph.hard[*reader];
                    *step = references::step(source, *reader, &self.visible, hard, &paths, &mut silent).value;
                }
                None => {
                    let mut again = Checking {
                        visible: Visible {
                            workflow: self.visible.workflow,
                            steps: self.visible.steps.clone(),
                            captures: self.visible.captures.clone(),
                        },
                        graph: Graph::default(),
                        problems: &mut silent,
                    };
                    *outputs = again.outputs(&paths).value;
                }
            }
        }
    }

    fn report_cycles(&mut self, order: &graph::Order) {
        let steps = &self.visible.workflow.steps;
        for cycle in self.graph.cycles(order) {
            let Some(first) = cycle.first().copied() else { continue };
            let names: Vec<_> = cycle.iter().chain([&first]).map(|step| steps[step.get()].id.as_str()).collect();
            let next = cycle.get(1).copied().unwrap_or(first);
            let id = &steps[next.get()].id;
            let path = match steps[first.get()].dependencies.iter().position(|dependency| dependency == id) {
                Some(place) => format!("/steps/{}/dependencies/{place}", first.get()),
                None => format!("/steps/{}/id", first.get()),
            };
            let message = format!("Circular dependency detected: {}", names.join(" → "));
            let is_read = self.graph.soft[first.get()].contains(&next);
            let problem = self.problems.report(Code::Cycle, path, message).help("drop an edge");
            if is_read {
                problem.label(format!("it reads `{id}`, and waits for it"));
            }
        }
    }
}

/// Checks the schema of the execution's input, and its defaults.
fn inputs(workflow: &Workflow, problems: &mut Problems) -> Option<JsonValidator> {
    let schema = workflow.inputs.as_ref()?;
    let root = At::ROOT;
    let at = root.key("inputs");
    if schema.get("type").is_some_and(|kind| kind != "object") {
        problems
            .report(Code::BadSchema, at.key("type"), "an execution's input is always an object")
            .help("`type: object`");
    }
    let validator = references::compile_schema(schema, &at, problems)?;
    for violation in validator.violated_defaults() {
        problems.report(Code::ConstantViolatesSchema, format!("{at}{}", violation.path()), violation.message());
    }
    Some(validator)
}

fn check_agents(workflow: &Workflow, broken: &[bool], agents: &dyn AgentCatalog, problems: &mut Problems) {
    let root = At::ROOT;
    let list = root.key("steps");
    let mut known: HashMap<&AgentId, Option<Vec<[u64; 3]>>> = HashMap::new();
    let mut ids: Option<Vec<AgentId>> = None;
    for (place, step) in workflow.steps.iter().enumerate() {
        if broken.get(place).copied().unwrap_or(false) {
            continue;
        }
        let StepKind::Agent(AgentStep { agent, .. }) = &step.kind else { continue };
        let at = list.index(place);
        let at = at.key("agent");
        match known.entry(&agent.id).or_insert_with(|| agents.versions(&agent.id)) {
            None => {
                let ids = ids.get_or_insert_with(|| agents.ids());
                let help = problems.did_you_mean(agent.id.as_str(), ids.iter().map(AgentId::as_str));
                let message = format!("no agent `{}`", quote(agent.id.as_str()));
                let problem = problems.report(Code::UnknownAgent, at.key("id"), message);
                if let Some(help) = help {
                    problem.help(help);
                }
            }
            // An agent of which there are only pre-releases is found by nothing but its exact version.
            Some(versions) if !versions.iter().any(|version| agent.version.matches(*version)) => {
                let have: Vec<_> =
                    versions.iter().map(|[major, minor, patch]| format!("{major}.{minor}.{patch}")).collect();
                let place = if agent.version == VersionRange::Latest { at.key("id") } else { at.key("version") };
                problems.report(Code::AgentVersion, place, format!("no version matches {}", agent.version)).help(
                    if have.is_empty() { "none is released".to_owned() } else { format!("have {}", have.join(", ")) },
                );
            }
            Some(_) => {}
        }
    }
}
