//! What is drawn, without any notion of how.

use schemars::JsonSchema;
use serde::Serialize;

use orchestr8_schema::api::StepStatus;

use super::Tally;

/// A workflow, or an execution of one, as a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// What people call it.
    pub title: String,
    /// The workflow's own steps.
    pub steps: Scope,
}

/// A list of steps and the edges between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// The case of a branch that it is.
    pub name: Option<String>,
    /// The steps, in the order of declaration.
    pub nodes: Vec<Node>,
    /// The edges, by the upper step, then the lower one.
    pub edges: Vec<Edge>,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its place in the workflow: the ids of the composites around it and its own, joined by `.`.
    pub path: String,
    /// Its id.
    pub id: String,
    /// The key of its kind, such as `agent`.
    pub kind: &'static str,
    /// What it does, in a few words.
    pub detail: String,
    /// How far it has come, in the graph of an execution.
    pub status: Option<StepStatus>,
    /// Its visits, where there are several.
    pub visits: Tally,
    /// The steps inside; of a branch, one list per case.
    pub scopes: Vec<Scope>,
    /// Whether the steps inside are drawn.
    pub open: bool,
}

/// What one step has to do with another one that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The index of the step that comes first.
    pub from: usize,
    /// The index of the step that waits.
    pub to: usize,
    /// What for.
    pub kind: EdgeKind,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// For what a dependency gives.
    Data,
    /// For a dependency that it does not read.
    Order,
    /// For whatever becomes of a step that it reads without depending on it.
    Soft,
    /// For the failure of the step that it stands in for.
    Fallback,
}

impl EdgeKind {
    /// Returns the kind as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Order => "order",
            Self::Soft => "soft",
            Self::Fallback => "fallback",
        }
    }
}

impl Node {
    /// Whether steps inside are drawn.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.open && !self.scopes.is_empty()
    }

    /// Returns how many steps there are inside, at any depth.
    #[must_use]
    pub fn steps_inside(&self) -> usize {
        self.scopes.iter().map(Scope::count).sum()
    }

    /// Says all that is known of it in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = self.path.clone();
        for part in [self.kind_and_detail(), self.progress()].into_iter().filter(|part| !part.is_empty()) {
            text.push_str(" · ");
            text.push_str(&part);
        }
        text
    }

    /// Says what kind of step it is and what it does: `tool http.get`, `@acme/score`.
    #[must_use]
    pub fn kind_and_detail(&self) -> String {
        match (self.kind, self.detail.as_str()) {
            // The form of the id says that it is an agent.
            ("agent", detail) => detail.to_owned(),
            (kind, "") => kind.to_owned(),
            (kind, detail) => format!("{kind} {detail}"),
        }
    }

    /// Says how far it has come: `running`, or `101 completed, 1 failed`; empty where that is not known.
    #[must_use]
    pub fn progress(&self) -> String {
        if self.visits.total() > 1 {
            let counts = self.visits.iter().map(|(status, count)| format!("{count} {}", status.as_str()));
            return counts.collect::<Vec<_>>().join(", ");
        }
        self.status.map(StepStatus::as_str).unwrap_or_default().to_owned()
    }
}

impl Scope {
    /// Returns how many steps there are, at any depth.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.iter().map(|node| 1 + node.steps_inside()).sum()
    }

    fn count_drawn(&self) -> usize {
        let inside = |node: &Node| {
            if node.is_group() { node.scopes.iter().map(Self::count_drawn).sum() } else { 0 }
        };
        self.nodes.iter().map(|node| 1 + inside(node)).sum()
    }

    /// Gives a status to the steps that have none.
    pub(super) fn settle(&mut self, has_ended: bool) {
        for node in &mut self.nodes {
            let silent = if has_ended { StepStatus::Skipped } else { StepStatus::Pending };
            let has_ended = node.status.get_or_insert(silent).is_terminal();
            for scope in &mut node.scopes {
                scope.settle(has_ended);
            }
        }
    }

    pub(super) fn each(&mut self, visit: &mut impl FnMut(&mut Node)) {
        for node in &mut self.nodes {
            visit(node);
            for scope in &mut node.scopes {
                scope.each(visit);
            }
        }
    }
}

impl Graph {
    /// Opens or closes all composites.
    pub fn set_open(&mut self, open: bool) {
        self.steps.each(&mut |node| node.open = open);
    }

    /// Opens a composite and those around it. Says whether there is such a composite.
    pub fn open(&mut self, path: &str) -> bool {
        let mut found = false;
        self.steps.each(&mut |node| {
            let is_around = path.strip_prefix(node.path.as_str()).is_some_and(|rest| rest.starts_with('.'));
            let is_it = node.path == path && !node.scopes.is_empty();
            node.open |= is_around || is_it;
            found |= is_it;
        });
        found
    }

    /// Returns how many steps are drawn.
    #[must_use]
    pub fn drawn(&self) -> usize {
        self.steps.count_drawn()
    }

    /// Returns the graph as a document: the steps that are drawn, and the edges between them.
    #[must_use]
    pub fn to_body(&self) -> GraphBody<'_> {
        let mut body = GraphBody { nodes: Vec::new(), edges: Vec::new() };
        body.add(&self.steps, None);
        body
    }
}

/// A graph as JSON.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GraphBody<'a> {
    nodes: Vec<NodeBody<'a>>,
    edges: Vec<EdgeBody<'a>>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct NodeBody<'a> {
    id: &'a str,
    path: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<&'a str>,
    /// How many steps are inside and not drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StepStatus>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct EdgeBody<'a> {
    from: &'a str,
    to: &'a str,
    kind: EdgeKind,
}

impl<'a> GraphBody<'a> {
    fn add(&mut self, scope: &'a Scope, parent: Option<&'a str>) {
        for node in &scope.nodes {
            self.nodes.push(NodeBody {
                id: &node.id,
                path: &node.path,
                kind: node.kind,
                parent,
                case: scope.name.as_deref(),
                closed: (!node.scopes.is_empty() && !node.open).then(|| node.steps_inside()),
                status: node.status,
            });
            if node.is_group() {
                for inner in &node.scopes {
                    self.add(inner, Some(&node.path));
                }
            }
        }
        let path = |index: usize| scope.nodes[index].path.as_str();
        self.edges.extend(scope.edges.iter().map(|edge| EdgeBody {
            from: path(edge.from),
            to: path(edge.to),
            kind: edge.kind,
        }));
    }
}
