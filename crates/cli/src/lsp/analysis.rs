//! A text, and everything that can be asked about it.

use std::cell::OnceCell;

use orchestr8_agent_base::AgentRegistry;

use super::{
    Text,
    outline::{Mention, Outline, is_condition},
    path::PathAt,
    protocol::{Position, Range},
    syntax::{Decoded, NodeId, Tree},
    types::View,
};

/// What can be asked about the text of a workflow, however unfinished it is.
pub struct Analysis<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a Text,
    pub(super) agents: &'a AgentRegistry,
}

impl std::fmt::Debug for Analysis<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analysis").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Analysis<'a> {
    /// Looks at a text. The name is that of its file: its extension tells the format, and what it refers to is found beside it.
    #[must_use]
    pub fn new(name: &'a str, text: &'a Text, agents: &'a AgentRegistry) -> Self {
        Self { name, text, agents }
    }

    /// Returns where the step is defined that is named at a place.
    #[must_use]
    pub fn definition(&self, position: Position) -> Option<Range> {
        let tree = Tree::new(self.text.as_str());
        let outline = Outline::new(&tree);
        let mention = mention_at(&tree, &outline, self.text.offset(position))?;
        let node = outline.find(&mention.id)?.id_node?;
        Some(self.text.range(&tree.range(node)))
    }
}

/// Finds the step that is named at a place.
pub(super) fn mention_at(tree: &Tree<'_>, outline: &Outline, offset: usize) -> Option<Mention> {
    let mut mentions = outline.mentions(tree).into_iter();
    mentions.find(|mention| mention.range.start <= offset && offset <= mention.range.end)
}

/// A scalar that expressions can stand in, with the path at a place in it.
pub(super) struct Reading {
    pub(super) decoded: Decoded,
    pub(super) path: PathAt,
    pub(super) is_condition: bool,
}

impl Reading {
    /// Reads a scalar around a place; `None` where no path can stand.
    pub(super) fn new(tree: &Tree<'_>, node: NodeId, offset: usize) -> Option<Self> {
        if !super::outline::is_evaluated(&tree.path(node)) {
            return None;
        }
        let decoded = tree.decode(node)?;
        let is_condition = is_condition(tree, node);
        let path = PathAt::find(&decoded.text, decoded.read(offset), is_condition)?;
        Some(Self { decoded, path, is_condition })
    }
}

impl<'a> Analysis<'a> {
    /// Looks around from a part of a document, which may be this one with a word more.
    pub(super) fn view<'v>(&self, text: &'v str, tree: &'v Tree<'v>, outline: &'v Outline, node: NodeId) -> View<'v>
    where
        'a: 'v,
    {
        let step = outline.around(tree, node);
        View { tree, outline, agents: self.agents, step, node, name: self.name, text, inferred: OnceCell::new() }
    }
}
