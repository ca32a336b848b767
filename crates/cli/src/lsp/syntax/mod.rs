//! Reading what is being typed.
//!
//! The reader of `orchestr8_schema` refuses a document with any error, and an author's document has one at every second key
//! stroke. This reader refuses nothing: it makes of any text a [`Tree`] in which every part knows its place, and of a text
//! without errors the tree that the strict reader makes. It is for finding the way in a document only. What is wrong with it,
//! and what it means, is said by the strict one.

mod block;
mod cursor;
mod flow;
mod scalar;

use std::{borrow::Cow, ops::Range};

use serde_json::Value;

pub use self::scalar::Decoded;

/// How deep collections are followed; the format allows 64.
const MAX_DEPTH: usize = 100;

/// The parts of a document.
#[derive(Clone, Debug)]
pub struct Tree<'t> {
    text: &'t str,
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

/// A part of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

#[derive(Clone, Debug)]
struct Node {
    parent: Option<NodeId>,
    /// Its place among the elements or keys of the part around it.
    place: u32,
    range: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Scalar,
    /// A text behind `|` or `>`; the indentation of its lines is known once they are read.
    Block {
        folded: bool,
    },
    Array(Vec<NodeId>),
    Object(Vec<Entry>),
}

/// A key and what stands behind it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the key stands, quotes included.
    pub key: Range<usize>,
    /// What stands behind it.
    pub value: Option<NodeId>,
    /// Whether there is a colon.
    pub colon: bool,
}

/// What a part is to the one around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The value of a key.
    Key(String),
    /// An element.
    Index(usize),
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A key of an object, by its place among the keys.
    Key(NodeId, usize),
    /// A value that is neither array nor object.
    Scalar(NodeId),
}

impl<'t> Tree<'t> {
    /// Reads a text.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        block::read(text)
    }

    /// Returns the outermost part, if there is any.
    #[must_use]
    pub fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// Whether the document is written as JSON is: what is outermost has brackets.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '['])
    }

    /// Returns where a part stands.
    #[must_use]
    pub fn range(&self, node: NodeId) -> Range<usize> {
        self.node(node).range.clone()
    }

    /// Returns the part around.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.node(node).parent
    }

    /// Returns the keys of an object; of anything else there are none.
    #[must_use]
    pub fn entries(&self, node: NodeId) -> &[Entry] {
        match &self.node(node).kind {
            Kind::Object(entries) => entries,
            Kind::Array(_) | Kind::Scalar | Kind::Block { .. } => &[],
        }
    }

    /// Returns the elements of an array; of anything else there are none.
    #[must_use]
    pub fn items(&self, node: NodeId) -> &[NodeId] {
        match &self.node(node).kind {
            Kind::Array(items) => items,
            Kind::Object(_) | Kind::Scalar | Kind::Block { .. } => &[],
        }
    }

    /// Whether a part is an object.
    #[must_use]
    pub fn is_object(&self, node: NodeId) -> bool {
        matches!(self.node(node).kind, Kind::Object(_))
    }

    /// Returns the text of a key.
    #[must_use]
    pub fn key(&self, entry: &Entry) -> Cow<'t, str> {
        scalar::text(&self.text[entry.key.clone()])
    }

    /// Returns what stands behind a key.
    #[must_use]
    pub fn get(&self, node: NodeId, key: &str) -> Option<NodeId> {
        // Of a key that is given twice, the last one, as the strict reader has it.
        self.entries(node).iter().rev().find(|entry| self.key(entry) == key)?.value
    }

    /// Returns the text of a scalar.
    #[must_use]
    pub fn scalar(&self, node: NodeId) -> Option<Cow<'t, str>> {
        match self.node(node).kind {
            Kind::Scalar => Some(scalar::text(self.raw(node))),
            Kind::Block { .. } => self.decode(node).map(|decoded| Cow::Owned(decoded.text)),
            Kind::Array(_) | Kind::Object(_) => None,
        }
    }

    /// Returns the text of a scalar, with the place of each of its bytes in the document.
    #[must_use]
    pub fn decode(&self, node: NodeId) -> Option<Decoded> {
        let range = self.range(node);
        match self.node(node).kind {
            Kind::Scalar => Some(Decoded::of_scalar(&self.text[range.clone()], range.start)),
            Kind::Block { folded } => Some(Decoded::of_block(&self.text[range.clone()], range.start, folded)),
            Kind::Array(_) | Kind::Object(_) => None,
        }
    }

    /// Returns a scalar as it is written, or what an array or object spans.
    #[must_use]
    pub fn raw(&self, node: NodeId) -> &'t str {
        &self.text[self.node(node).range.clone()]
    }

    /// Returns a part as a value. Numbers, booleans and null are those of JSON; more than the innermost 100 levels is null.
    #[must_use]
    pub fn value(&self, node: NodeId) -> Value {
        match &self.node(node).kind {
            Kind::Array(items) => items.iter().map(|item| self.value(*item)).collect(),
            Kind::Object(entries) => {
                let pairs = entries.iter().map(|entry| {
                    let value = entry.value.map_or(Value::Null, |value| self.value(value));
                    (self.key(entry).into_owned(), value)
                });
                Value::Object(pairs.collect())
            }
            Kind::Block { .. } => self.scalar(node).map_or(Value::Null, |text| Value::String(text.into_owned())),
            Kind::Scalar => scalar::value(self.raw(node)),
        }
    }

    /// Returns the way from the outermost part to one.
    #[must_use]
    pub fn path(&self, node: NodeId) -> Vec<Token> {
        let mut path = Vec::new();
        let mut node = node;
        while let Some(parent) = self.parent(node) {
            let token = match &self.node(parent).kind {
                Kind::Array(_) => Token::Index(self.node(node).place as usize),
                Kind::Object(entries) => {
                    let entry = entries.get(self.node(node).place as usize);
                    Token::Key(entry.map(|entry| self.key(entry).into_owned()).unwrap_or_default())
                }
                Kind::Scalar | Kind::Block { .. } => break,
            };
            path.push(token);
            node = parent;
        }
        path.reverse();
        path
    }

    /// Returns the key or scalar at a place, its end included.
    #[must_use]
    pub fn find(&self, offset: usize) -> Option<Found> {
        let mut node = self.root?;
        loop {
            let within = |range: &Range<usize>| range.start <= offset && offset <= range.end;
            let next = match &self.node(node).kind {
                Kind::Scalar | Kind::Block { .. } => {
                    return within(&self.node(node).range).then_some(Found::Scalar(node));
                }
                Kind::Array(items) => {
                    let after = items.partition_point(|item| self.node(*item).range.start <= offset);
                    after.checked_sub(1).map(|place| items[place])
                }
                Kind::Object(entries) => {
                    let after = entries.partition_point(|entry| entry.key.start <= offset);
                    let place = after.checked_sub(1)?;
                    let entry = &entries[place];
                    if within(&entry.key) {
                        return Some(Found::Key(node, place));
                    }
                    entry.value.filter(|value| self.node(*value).range.start <= offset)
                }
            };
            node = next?;
        }
    }

    /// Returns every part, from the outside inward.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        (0..).take(self.nodes.len()).map(NodeId)
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }
}
