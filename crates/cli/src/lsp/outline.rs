//! The steps of a document that may be wrong: which there are, where they stand, and who sees whom.

use std::{collections::HashMap, ops::Range};

use orchestr8_schema::{reference, workflow::StepKind};

use super::syntax::{NodeId, Token, Tree};

/// The steps of a document.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) steps: Vec<Step>,
    scopes: Vec<Scope>,
    by_node: HashMap<NodeId, usize>,
}

/// A step, as far as it has been written.
#[derive(Debug)]
pub(super) struct Step {
    /// Its id; empty while there is none.
    pub(super) id: String,
    /// Where the id stands.
    pub(super) id_node: Option<NodeId>,
    pub(super) node: NodeId,
    /// The key of its kind.
    pub(super) kind: Option<&'static str>,
    scope: usize,
    /// The scopes that it opens, with their names.
    pub(super) inner: Vec<usize>,
}

#[derive(Debug)]
struct Scope {
    /// The step that opens it.
    owner: Option<usize>,
    steps: Vec<usize>,
}

/// A place where a step is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) id: String,
    /// Where the id stands, without quotes.
    pub(super) range: Range<usize>,
    /// Whether the place is where the step gets its id.
    pub(super) is_definition: bool,
}

impl Outline {
    pub(super) fn new(tree: &Tree<'_>) -> Self {
        let mut outline = Self { steps: Vec::new(), scopes: Vec::new(), by_node: HashMap::new() };
        let list = tree.root().and_then(|root| tree.get(root, "steps"));
        outline.scope(tree, list, None);
        outline
    }

    fn scope(&mut self, tree: &Tree<'_>, list: Option<NodeId>, owner: Option<usize>) {
        let scope = self.scopes.len();
        self.scopes.push(Scope { owner, steps: Vec::new() });
        if let Some(owner) = owner {
            self.steps[owner].inner.push(scope);
        }
        for &node in list.map_or(&[][..], |list| tree.items(list)) {
            let id_node = tree.get(node, "id");
            let id = id_node.and_then(|id| tree.scalar(id)).unwrap_or_default().into_owned();
            let kind = StepKind::KEYS.into_iter().find(|kind| tree.get(node, kind).is_some());
            let index = self.steps.len();
            self.steps.push(Step { id, id_node, node, kind, scope, inner: Vec::new() });
            self.scopes[scope].steps.push(index);
            self.by_node.insert(node, index);
            let Some(body) = kind.and_then(|kind| tree.get(node, kind)) else { continue };
            match kind {
                Some("parallel" | "map" | "loop") => self.scope(tree, tree.get(body, "steps"), Some(index)),
                Some("branch") => {
                    let cases = tree.get(body, "cases");
                    for &case in cases.map_or(&[][..], |cases| tree.items(cases)) {
                        self.scope(tree, tree.get(case, "steps"), Some(index));
                    }
                    let default = tree.get(body, "default");
                    self.scope(tree, default.and_then(|default| tree.get(default, "steps")), Some(index));
                }
                _ => {}
            }
        }
    }

    /// Returns the innermost step around a part, or the part itself.
    pub(super) fn around(&self, tree: &Tree<'_>, node: NodeId) -> Option<usize> {
        std::iter::successors(Some(node), |node| tree.parent(*node)).find_map(|node| self.by_node.get(&node).copied())
    }

    /// Returns the steps of the same list as one.
    pub(super) fn siblings(&self, step: usize) -> impl Iterator<Item = usize> {
        self.scopes[self.steps[step].scope].steps.iter().copied().filter(move |other| *other != step)
    }

    /// Returns the steps that the expressions of one may name: those of its own scope and of all around it. Without a step, those of
    /// the workflow's own list.
    pub(super) fn visible(&self, step: Option<usize>) -> Vec<usize> {
        let Some(step) = step else { return self.scopes.first().map_or_else(Vec::new, |scope| scope.steps.clone()) };
        let mut steps = self.scopes[self.steps[step].scope].steps.clone();
        for owner in self.owners(step) {
            steps.extend(&self.scopes[self.steps[owner].scope].steps);
        }
        let around: Vec<usize> = self.owners(step).chain([step]).collect();
        steps.retain(|other| !around.contains(other));
        steps
    }

    /// Returns the composites around a step, the innermost first.
    pub(super) fn owners(&self, step: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.scopes[self.steps[step].scope].owner, |owner| {
            self.scopes[self.steps[*owner].scope].owner
        })
    }

    /// Returns the steps inside a composite, those of inner composites excepted.
    pub(super) fn inside(&self, step: usize) -> impl Iterator<Item = usize> {
        self.steps[step].inner.iter().flat_map(|scope| self.scopes[*scope].steps.iter().copied())
    }

    /// Finds a step; ids are unique in a file.
    pub(super) fn find(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// Returns every place where a step is named, in the order of the document.
    pub(super) fn mentions(&self, tree: &Tree<'_>) -> Vec<Mention> {
        let mut mentions = Vec::new();
        for step in &self.steps {
            let named = step.id_node.into_iter().map(|node| (node, true));
            let dependencies = ["dependencies", "dependsOn"].into_iter().filter_map(|key| tree.get(step.node, key));
            let dependencies = dependencies.flat_map(|list| tree.items(list).iter().copied());
            let others = dependencies.chain(tree.get(step.node, "fallbackStepId")).map(|node| (node, false));
            for (node, is_definition) in named.chain(others) {
                if let Some(decoded) = tree.decode(node) {
                    let range = decoded.written(&(0..decoded.text.len()));
                    mentions.push(Mention { id: decoded.text, range, is_definition });
                }
            }
        }
        for node in tree.nodes() {
            if let Some(text) = named_in(tree, node) {
                mentions.extend(text.into_iter().map(|(id, range)| Mention { id, range, is_definition: false }));
            }
        }
        mentions.sort_by_key(|mention| mention.range.start);
        mentions
    }
}

/// Whether a scalar is a condition.
pub(super) fn is_condition(tree: &Tree<'_>, node: NodeId) -> bool {
    match &*tree.path(node) {
        // A wait's `until` is a time.
        [.., Token::Key(holder), Token::Key(key)] => {
            reference::is_condition(key) && matches!(holder.as_str(), "condition" | "loop")
        }
        [.., Token::Key(cases), Token::Index(_), Token::Key(key)] => cases == "cases" && key == "when",
        _ => false,
    }
}

/// Whether expressions at a place are more than text.
pub(super) fn is_evaluated(path: &[Token]) -> bool {
    let (Some(Token::Key(first)), Some(Token::Key(last))) = (path.first(), path.last()) else {
        return !matches!(path.first(), Some(Token::Key(first)) if first == "inputs" || first == "metadata");
    };
    let is_text = |token: &Token| matches!(token, Token::Key(key) if key == "config" || key.starts_with("x-"));
    let is_name =
        path.len() >= 2 && is_step_list(&path[..path.len() - 1]) && matches!(last.as_str(), "name" | "description");
    !matches!(first.as_str(), "inputs" | "metadata" | "context" | "version") && !is_name && !path.iter().any(is_text)
}

fn is_step_list(path: &[Token]) -> bool {
    matches!(path, [.., Token::Key(steps), Token::Index(_)] if steps == "steps")
}

/// Returns the steps that a scalar names, and where.
fn named_in(tree: &Tree<'_>, node: NodeId) -> Option<Vec<(String, Range<usize>)>> {
    // Most scalars name none.
    let raw = (!tree.is_object(node) && tree.items(node).is_empty()).then(|| tree.raw(node))?;
    // An escape may hide either of them.
    if !raw.contains("steps") && !raw.contains('\\') {
        return None;
    }
    if !is_evaluated(&tree.path(node)) {
        return None;
    }
    let decoded = tree.decode(node)?;
    let names = if is_condition(tree, node) {
        reference::in_condition(&decoded.text)
    } else {
        reference::in_template(&decoded.text)
    };
    Some(names.into_iter().map(|name| (name.id, decoded.written(&name.range))).collect())
}
