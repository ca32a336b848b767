//! Validation: from a [`Workflow`] that may be wrong to a [`ValidWorkflow`] that is not.
//!
//! All problems are reported at once. A step whose shape is wrong is left out of the later stages, which are: single values;
//! ids, dependencies and fallbacks; sub-workflows; expressions and conditions; the edges that follow from them, and cycles;
//! what can never happen; agents and tools, where a catalogue is given; policies.

mod captures;
mod catalog;
mod children;
mod compile;
mod condition;
mod graph;
mod input;
mod kind;
mod links;
mod outline;
mod policies;
mod reach;
mod references;
pub(crate) mod scope;
mod steps;
mod structure;
mod types;
mod valid;

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

pub use self::{
    catalog::{AgentCatalog, CallSchemas, Obstacle},
    children::{LoadError, WorkflowLoader},
    kind::{
        LoopTest, ValidApproval, ValidBranch, ValidCase, ValidCompensation, ValidHook, ValidKind, ValidLoop, ValidMap,
        ValidParallel, ValidWait,
    },
    outline::ScopeIndex,
    types::{Inferred, Unproven},
    valid::{ValidInput, ValidScope, ValidStep, ValidWorkflow},
};
pub(crate) use self::{
    children::Family,
    condition::{report_jmespath, step_chains},
    input::compile_schema,
};
use self::{
    graph::{Edges, Graph, Order},
    outline::Outline,
    scope::Names,
    valid::Inner,
};
use crate::{
    Code, Diagnostic, InvalidWorkflow, StepIndex, Workflow,
    expression::{
        Template,
        compile::{Reference, Seen},
    },
    json_schema::JsonValidator,
    problem::{At, Problems},
    source::{self, Broken, Options},
    workflow::{Join, StepKind},
};

/// Validates a workflow that was built in Rust. Diagnostics name places as the workflow's JSON has them.
///
/// # Errors
///
/// When there is at least one error; warnings come along.
pub fn validate(workflow: Workflow, options: &Options<'_>) -> Result<ValidWorkflow, InvalidWorkflow> {
    let mut problems = Problems::new(options.strict);
    if Outline::new(&workflow, &[]).is_none() {
        // Neither can it be written as JSON.
        too_deep(&mut problems);
        return Err(InvalidWorkflow::new(source::without_text(problems.into_found(), &[], &Value::Null)));
    }
    let document = serde_json::to_value(&workflow).unwrap_or(Value::Null);
    let mut family = Family::new(options);
    let valid = check(workflow, &Broken::default(), &mut family, &mut problems);
    let mut found = source::without_text(problems.into_found(), &[], &document);
    found.extend(family.into_diagnostics());
    match valid {
        Some(valid) => Ok(valid.with_warnings(found)),
        None => Err(InvalidWorkflow::new(found)),
    }
}

impl ValidWorkflow {
    /// Puts other warnings in the place of those that were found, for whoever knows better where they stand. Of a workflow that is shared
    /// already they stay.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<Diagnostic>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.warnings = warnings;
        }
        self
    }
}

/// The stages that see the workflow as a whole.
struct Checking<'a> {
    names: Names<'a>,
    graph: Graph,
    children: HashMap<StepIndex, ValidWorkflow>,
    problems: &'a mut Problems,
}

/// Runs every stage; `None` if there are errors.
pub(crate) fn check(
    workflow: Workflow,
    broken: &Broken,
    family: &mut Family<'_>,
    problems: &mut Problems,
) -> Option<ValidWorkflow> {
    let options = family.options;
    problems.judge(&options);
    structure::root(&workflow, &options, problems);
    if workflow.steps.is_empty() && !broken.all_steps {
        problems.report(Code::Empty, "/steps", "a workflow needs a step");
    }
    let Some(outline) = Outline::new(&workflow, &broken.steps) else {
        too_deep(problems);
        return None;
    };
    let count = outline.steps.len();
    if count > options.limits.steps && !options.stored {
        let message = format!("the workflow has {count} steps, {} are allowed", options.limits.steps);
        problems.report(Code::TooManyNodes, "/steps", message).help("use sub-workflows");
        return None;
    }
    let inputs = inputs(&workflow, problems);
    steps::check(&outline, problems);
    policies::check(&outline, problems);
    if let Some(agents) = options.agents {
        catalog::check(&outline, agents, problems);
    }
    let (ids, graph) = links::check(&outline, problems);
    let children = family.load(&outline, problems);
    let nesting = 1 + children.values().map(|child| child.0.nesting).max().unwrap_or(0);
    // What was inferred of a sub-workflow is not what is asked for.
    family.inferred = None;
    let captures = captures::captures(&outline, problems);
    let names = Names::new(&outline, ids, captures, &graph.hard);
    let mut checking = Checking { names, graph, children, problems };
    let (order, parts) = checking.run()?;
    let depth = checking.graph.depth(&order);
    let Checking { graph, children, .. } = checking;
    let checked = options.agents.map(|agents| types::check(&outline, agents, &children, problems, family.infer));
    let (outputs_type, unproven) = match checked {
        Some(checked) => {
            family.inferred = checked.inferred;
            (Some(checked.outputs), Some(checked.unproven))
        }
        None => (None, None),
    };
    if problems.has_errors() {
        return None;
    }
    let Graph { soft, fallback, serves, .. } = graph;
    let Parts { steps, outputs, hooks } = parts;
    let mut steps = steps.into_iter().collect::<Option<Vec<ValidStep>>>()?;
    for (((step, mut soft), fallback), serves) in steps.iter_mut().zip(soft).zip(fallback).zip(serves) {
        soft.sort_unstable();
        soft.dedup();
        step.soft = soft;
        step.fallback = fallback;
        step.serves = serves;
    }
    let scopes = outline.into_scopes();
    let index = steps.iter().enumerate().map(|(place, step)| (step.id.clone(), StepIndex(outline::index(place))));
    let index = index.collect();
    let warnings = Vec::new();
    Some(ValidWorkflow(Arc::new(Inner {
        workflow,
        steps,
        scopes,
        index,
        hooks,
        inputs,
        outputs,
        depth,
        nesting,
        warnings,
        outputs_type,
        unproven,
    })))
}

fn too_deep(problems: &mut Problems) {
    problems.report(Code::TooDeep, "/steps", "steps are nested too deeply").help("use sub-workflows");
}

/// What has been compiled.
struct Parts {
    /// Without those that could not be.
    steps: Vec<Option<ValidStep>>,
    outputs: Option<Vec<(String, Template)>>,
    hooks: Vec<ValidHook>,
}

impl Checking<'_> {
    /// Compiles everything and finds out who waits for whom; `None` if that cannot be.
    fn run(&mut self) -> Option<(Order, Parts)> {
        let (mut parts, references) = self.compile();
        self.step_references(&references);
        let mut order = self.order()?;
        if !self.names.captures.is_empty() {
            let decided = self.capture_references(&references, &order);
            order = self.order()?;
            self.concurrent_captures(&order);
            if !self.problems.has_errors() {
                self.compile_again(&decided, &mut parts);
            }
        }
        self.joins(&mut parts.steps);
        reach::check(self.names.outline, &self.graph, &order, &parts.steps, self.problems);
        Some((order, parts))
    }

    /// Orders all steps, or reports why that cannot be.
    fn order(&mut self) -> Option<Order> {
        let order = self.graph.order(Edges::All);
        if order.is_complete() {
            return Some(order);
        }
        self.report_cycles(&order);
        None
    }

    fn compile(&mut self) -> (Parts, Vec<Reference>) {
        let nothing = Seen::default();
        let mut steps = Vec::with_capacity(self.names.outline.steps.len());
        let mut references = Vec::new();
        for (index, placed) in self.names.outline.iter() {
            if placed.broken {
                steps.push(None);
                continue;
            }
            let child = self.children.get(&index);
            let hard = &self.graph.hard[index.get()];
            let compiled = compile::step(index, &self.names, child, hard, &nothing, self.problems);
            steps.push(compiled.value);
            references.extend(compiled.references);
        }
        let outputs = compile::outputs(&self.names, &nothing, self.problems);
        let hooks = compile::hooks(&self.names, &nothing, self.problems);
        references.extend(outputs.references);
        references.extend(hooks.references);
        (Parts { steps, outputs: outputs.value, hooks: hooks.value }, references)
    }

    /// Compiles once more what reads captures, now that it is known which ones.
    fn compile_again(&mut self, decided: &captures::Decided, parts: &mut Parts) {
        // The first time has reported everything.
        let mut silent = Problems::default();
        let names = &self.names;
        for reader in decided.readers() {
            let seen = decided.seen(Some(reader), names.outline, &names.captures);
            let hard = &self.graph.hard[reader.get()];
            let child = self.children.get(&reader);
            parts.steps[reader.get()] = compile::step(reader, names, child, hard, &seen, &mut silent).value;
        }
        if !decided.is_empty() {
            let seen = decided.seen(None, names.outline, &names.captures);
            parts.outputs = compile::outputs(names, &seen, &mut silent).value;
            parts.hooks = compile::hooks(names, &seen, &mut silent).value;
        }
    }

    /// Finds out which steps a parallel group joins, and whether there are enough of them.
    fn joins(&mut self, steps: &mut [Option<ValidStep>]) {
        let outline = self.names.outline;
        for (index, placed) in outline.iter() {
            let (StepKind::Parallel(written), Some(step)) = (&placed.step.kind, &mut steps[index.get()]) else {
                continue;
            };
            let ValidKind::Parallel(parallel) = &mut step.kind else { continue };
            let inner = &outline.scopes[parallel.scope.get()].steps;
            let needed: std::collections::HashSet<StepIndex> =
                inner.iter().flat_map(|step| &self.graph.hard[step.get()]).copied().collect();
            let ends = |step: &&StepIndex| !needed.contains(step) && self.graph.serves[step.get()].is_none();
            parallel.joined = inner.iter().filter(ends).copied().collect();
            let most = outline::index(parallel.joined.len());
            if let Join::AtLeast(count) = written.join
                && !(1..=most).contains(&count)
            {
                let path = format!("{}/parallel/join/atLeast", outline.pointer(index));
                let range = if most == 1 { "1".to_owned() } else { format!("1 to {most}") };
                self.problems
                    .report(Code::OutOfRange, path, format!("atLeast is {range}"))
                    .help("joined are the steps on which no other step of the group depends");
            }
        }
    }

    fn report_cycles(&mut self, order: &graph::Order) {
        let outline = self.names.outline;
        for cycle in self.graph.cycles(order) {
            let Some(first) = cycle.first().copied() else { continue };
            let names: Vec<_> = cycle.iter().chain([&first]).map(|step| outline.step(*step).id.as_str()).collect();
            let next = cycle.get(1).copied().unwrap_or(first);
            let id = &outline.step(next).id;
            let pointer = outline.pointer(first);
            let path = match outline.step(first).dependencies.iter().position(|dependency| dependency == id) {
                Some(place) => format!("{pointer}/dependencies/{place}"),
                None => format!("{pointer}/id"),
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
    let validator = input::compile_schema(schema, &at, problems)?;
    for violation in validator.violated_defaults() {
        problems.report(Code::ConstantViolatesSchema, format!("{at}{}", violation.path()), violation.message());
    }
    Some(validator)
}
