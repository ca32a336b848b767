//! From a workflow, or an execution of one, to its graph.

use std::collections::{HashMap, HashSet};

use orchestr8_schema::{
    Step, ValidWorkflow, Workflow,
    api::{StepResult, StepStatus},
    reference,
    validate::ValidKind,
    workflow::{Join, LoopStep, StepKind, WaitDuration, WaitStep, WaitUntil},
};
use serde_json::Value;

use super::{Edge, EdgeKind, Graph, Node, Scope, Tally, status::place_of};
use crate::wording::count;

/// A graph shows at most so many steps; above, composites are closed.
const MAX_DRAWN: usize = 500;
/// Sub-workflows are followed up to so many steps in all: each may refer to many, which do the same.
const MAX_FOLLOWED: usize = 10_000;

impl Graph {
    /// Makes the graph of a workflow. Composites are open, unless that would be more than 500 steps.
    #[must_use]
    pub fn new(workflow: &ValidWorkflow) -> Self {
        let Workflow { metadata, steps, .. } = workflow.workflow();
        let mut drawing = FromWorkflow { workflow, left: MAX_FOLLOWED };
        let mut graph = Self { title: metadata.name.clone(), steps: drawing.scope(steps, None, "") };
        if graph.drawn() > MAX_DRAWN {
            graph.set_open(false);
        }
        graph
    }

    /// Gives the steps the statuses that they have in an execution. Steps that it says nothing about are pending, or skipped if what
    /// they stand in has ended: `has_ended` tells it of the execution.
    pub fn set_statuses<'a>(&mut self, results: impl IntoIterator<Item = &'a StepResult>, has_ended: bool) {
        let mut tallies: HashMap<String, Tally> = HashMap::new();
        for result in results {
            if let Some(status) = StepStatus::parse(&result.status) {
                tallies.entry(place_of(result)).or_default().add(status);
            }
        }
        self.steps.each(&mut |node| {
            let tally = tallies.get(&node.path).copied().unwrap_or_default();
            node.status = tally.overall();
            node.visits = tally;
        });
        self.steps.settle(has_ended);
    }
}

/// Goes through a workflow and those inside it.
struct FromWorkflow<'w> {
    /// The one that is gone through at present.
    workflow: &'w ValidWorkflow,
    /// How many steps of sub-workflows are still followed.
    left: usize,
}

impl FromWorkflow<'_> {
    fn scope(&mut self, steps: &[Step], name: Option<String>, prefix: &str) -> Scope {
        let workflow = self.workflow;
        let place: HashMap<&str, usize> =
            steps.iter().enumerate().map(|(place, step)| (step.id.as_str(), place)).collect();
        let mut edges = Vec::new();
        for (to, step) in steps.iter().enumerate() {
            let named = named_in(step);
            for dependency in &step.dependencies {
                let kind = if named.contains(dependency.as_str()) { EdgeKind::Data } else { EdgeKind::Order };
                edges.extend(place.get(dependency.as_str()).map(|&from| Edge { from, to, kind }));
            }
            let soft = workflow.step_index(step.id.as_str()).map(|index| &*workflow.step(index).soft);
            edges.extend(soft.unwrap_or_default().iter().filter_map(|soft| {
                let from = *place.get(workflow.step(*soft).id.as_str())?;
                Some(Edge { from, to, kind: EdgeKind::Soft })
            }));
            if let Some(&fallback) = step.fallback_step_id.as_ref().and_then(|id| place.get(id.as_str())) {
                edges.push(Edge { from: to, to: fallback, kind: EdgeKind::Fallback });
            }
        }
        edges.sort_unstable();
        let nodes = steps.iter().map(|step| self.node(step, prefix)).collect();
        Scope { name, nodes, edges }
    }

    fn node(&mut self, step: &Step, prefix: &str) -> Node {
        let path = if prefix.is_empty() { step.id.to_string() } else { format!("{prefix}.{}", step.id) };
        let mut names = case_names(&step.kind).into_iter();
        let inner = step.kind.scopes();
        let mut scopes: Vec<Scope> = inner.map(|steps| self.scope(steps, names.next(), &path)).collect();
        scopes.extend(self.sub_workflow(step, &path));
        Node {
            id: step.id.to_string(),
            kind: step.kind.key(),
            detail: detail(&step.kind),
            status: None,
            visits: Tally::default(),
            scopes,
            open: true,
            path,
        }
    }

    /// Goes through the workflow that a step runs, as long as there is room.
    fn sub_workflow(&mut self, step: &Step, path: &str) -> Option<Scope> {
        let outer = self.workflow;
        let ValidKind::Workflow(inner) = &outer.step(outer.step_index(step.id.as_str())?).kind else { return None };
        self.left = self.left.checked_sub(inner.steps().len())?;
        let mut inside = FromWorkflow { workflow: inner, left: self.left };
        let scope = inside.scope(&inner.workflow().steps, None, path);
        self.left = inside.left;
        Some(scope)
    }
}

fn case_names(kind: &StepKind) -> Vec<String> {
    let StepKind::Branch(branch) = kind else { return Vec::new() };
    let cases = branch.cases.iter().enumerate();
    let named = cases.map(|(index, case)| case.name.clone().unwrap_or_else(|| format!("case-{index}")));
    named.chain(branch.default.is_some().then(|| "default".to_owned())).collect()
}

/// Returns the steps that a step names anywhere in its expressions and conditions, those of inner steps included.
fn named_in(step: &Step) -> HashSet<String> {
    let mut names = HashSet::new();
    let document = serde_json::to_value(step).unwrap_or_default();
    let mut todo = vec![&document];
    while let Some(value) = todo.pop() {
        match value {
            Value::String(text) => {
                names.extend(reference::in_template(text).into_iter().map(|name| name.id));
            }
            Value::Array(items) => todo.extend(items),
            Value::Object(map) => {
                for (key, value) in map {
                    if let (true, Some(text)) = (reference::is_condition(key), value.as_str()) {
                        names.extend(reference::in_condition(text).into_iter().map(|name| name.id));
                    } else {
                        todo.push(value);
                    }
                }
            }
            _ => {}
        }
    }
    names
}

/// Says in a few words what a step does.
fn detail(kind: &StepKind) -> String {
    match kind {
        StepKind::Agent(step) => step.agent.id.to_string(),
        StepKind::Tool(step) => step.name.to_string(),
        StepKind::Parallel(step) => match step.join {
            Join::All => String::new(),
            Join::Any => "any".to_owned(),
            Join::AtLeast(least) => format!("at least {least}"),
        },
        StepKind::Branch(step) => count(step.cases.len(), "case"),
        StepKind::Map(step) => step.items.as_str().map(bare).unwrap_or_default().to_owned(),
        StepKind::Loop(step) => looped(step),
        StepKind::Workflow(step) => step.reference.clone(),
        StepKind::Wait(step) => match step {
            WaitStep::Duration { duration: WaitDuration::Fixed(millis) } => crate::wording::duration(millis.0),
            WaitStep::Duration { duration: WaitDuration::Template(text) } => bare(text).to_owned(),
            WaitStep::Until { until: WaitUntil::At(time) } => format!("until {time}"),
            WaitStep::Until { until: WaitUntil::Template(text) } => format!("until {}", bare(text)),
            WaitStep::Signal { signal, .. } => signal.to_string(),
        },
        _ => String::new(),
    }
}

fn looped(step: &LoopStep) -> String {
    format!("at most {}", step.max_iterations)
}

/// Returns an expression without `${` and `}`.
fn bare(text: &str) -> &str {
    text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).map_or(text, str::trim)
}
