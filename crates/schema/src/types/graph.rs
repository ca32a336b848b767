//! A JSON Schema as a graph: each subschema is a node, and `$ref` is an edge, so that a schema may refer to itself.

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::facts;
use crate::problem::escape;

/// The most subschemas of one schema; what lies beyond is unknown.
const MAX_NODES: usize = 20_000;

/// Keywords that are not modelled, and change which values are valid.
const OUTSIDE: [&str; 13] = [
    "not",
    "if",
    "patternProperties",
    "propertyNames",
    "dependentSchemas",
    "dependentRequired",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
    "dependencies",
    "additionalItems",
];

pub(super) const NULL: u8 = 1;
pub(super) const BOOLEAN: u8 = 2;
pub(super) const INTEGER: u8 = 4;
/// Numbers that are no integers.
pub(super) const FRACTION: u8 = 8;
pub(super) const TEXT: u8 = 16;
pub(super) const ARRAY: u8 = 32;
pub(super) const OBJECT: u8 = 64;
pub(super) const ALL: u8 = 127;

pub(super) type NodeId = u32;

#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
}

/// One subschema.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The kinds of values that `type` allows.
    pub(super) kinds: u8,
    /// Whether `type` is given.
    pub(super) typed: bool,
    pub(super) constants: Option<Vec<Value>>,
    pub(super) properties: IndexMap<String, Property>,
    pub(super) required: Vec<String>,
    pub(super) additional: Option<NodeId>,
    pub(super) prefix: Vec<NodeId>,
    pub(super) items: Option<NodeId>,
    pub(super) least: usize,
    pub(super) most: Option<usize>,
    pub(super) facts: Vec<(&'static str, Value)>,
    /// Schemas that must hold, too: the target of `$ref`, and the parts of `allOf`.
    pub(super) also: Vec<NodeId>,
    pub(super) choices: Vec<Choice>,
    /// A keyword that is not modelled.
    pub(super) outside: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Property {
    pub(super) node: NodeId,
    pub(super) has_default: bool,
}

/// `anyOf` or `oneOf`.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) of: Vec<NodeId>,
    pub(super) exactly_one: bool,
}

/// What a `default` means for the property that has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Defaults {
    /// Nothing.
    #[default]
    Ignored,
    /// It has been filled in, so the property is there.
    Filled,
    /// It will be filled in, so the property may be left out.
    Optional,
}

/// Some subschemas that hold together, and what their defaults mean.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) graph: Arc<Graph>,
    pub(super) nodes: Vec<(NodeId, Defaults)>,
}

impl Place {
    /// The place at which several schemas hold together.
    pub(super) fn root(schemas: &[&Value], defaults: Defaults) -> Self {
        let (graph, roots) = Graph::new(schemas);
        Self { graph: Arc::new(graph), nodes: roots.into_iter().map(|root| (root, defaults)).collect() }
    }

    /// Names the place, for comparisons that come back to it.
    pub(super) fn name(&self) -> (usize, Vec<(NodeId, Defaults)>) {
        (Arc::as_ptr(&self.graph).addr(), self.nodes.clone())
    }
}

impl Graph {
    fn new(schemas: &[&Value]) -> (Self, Vec<NodeId>) {
        let mut nodes = Vec::new();
        let mut roots = Vec::new();
        for schema in schemas {
            if let Some(keyword) = changes_meaning(schema) {
                roots.push(NodeId::try_from(nodes.len()).unwrap_or(NodeId::MAX));
                nodes.push(Node { kinds: ALL, outside: Some(keyword), ..Node::default() });
                continue;
            }
            let mut reading = Reading { root: schema, known: HashMap::new(), todo: Vec::new(), nodes };
            roots.push(reading.node(String::new(), schema));
            while let Some((id, pointer, value)) = reading.todo.pop() {
                let node = reading.read(&pointer, value);
                reading.nodes[id as usize] = node;
            }
            nodes = reading.nodes;
        }
        (Self { nodes }, roots)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }
}

impl Node {
    /// Whether no value is valid.
    pub(super) fn is_never(&self) -> bool {
        self.kinds == 0
    }

    /// Whether every value is valid.
    pub(super) fn is_anything(&self) -> bool {
        self.says_nothing() && self.also.is_empty() && self.choices.is_empty()
    }

    /// Whether the node itself, apart from its choices, allows every value.
    pub(super) fn says_nothing(&self) -> bool {
        self.kinds == ALL
            && !self.typed
            && self.constants.is_none()
            && self.properties.is_empty()
            && self.required.is_empty()
            && self.additional.is_none()
            && self.prefix.is_empty()
            && self.items.is_none()
            && self.least == 0
            && self.most.is_none()
            && self.facts.is_empty()
            && self.outside.is_none()
    }

    /// Whether it speaks of more than type and constants.
    pub(super) fn is_structured(&self) -> bool {
        let plain = Self { kinds: ALL, ..Self::default() };
        !(self.properties.is_empty()
            && self.required.is_empty()
            && self.additional.is_none()
            && self.prefix.is_empty()
            && self.items.is_none()
            && (self.least, self.most) == (plain.least, plain.most)
            && self.facts.is_empty())
    }
}

struct Reading<'s> {
    root: &'s Value,
    known: HashMap<String, NodeId>,
    todo: Vec<(NodeId, String, &'s Value)>,
    nodes: Vec<Node>,
}

impl<'s> Reading<'s> {
    /// Returns the node of a subschema, which is read later if it is new.
    fn node(&mut self, pointer: String, value: &'s Value) -> NodeId {
        if let Some(id) = self.known.get(&pointer) {
            return *id;
        }
        let id = NodeId::try_from(self.nodes.len()).unwrap_or(NodeId::MAX);
        if self.nodes.len() >= MAX_NODES {
            if self.nodes.len() == MAX_NODES {
                self.nodes.push(Node { kinds: ALL, outside: Some("a schema of this size"), ..Node::default() });
            }
            return NodeId::try_from(MAX_NODES).unwrap_or(NodeId::MAX);
        }
        self.nodes.push(Node::default());
        self.known.insert(pointer.clone(), id);
        self.todo.push((id, pointer, value));
        id
    }

    fn child(&mut self, pointer: &str, keyword: &str, value: &'s Value) -> NodeId {
        self.node(format!("{pointer}/{}", escape(keyword)), value)
    }

    fn children(&mut self, pointer: &str, keyword: &str, map: &'s Map<String, Value>) -> Vec<NodeId> {
        let list = map.get(keyword).and_then(Value::as_array).into_iter().flatten().enumerate();
        list.map(|(index, value)| self.node(format!("{pointer}/{keyword}/{index}"), value)).collect()
    }

    fn read(&mut self, pointer: &str, value: &'s Value) -> Node {
        let map = match value {
            Value::Object(map) => map,
            Value::Bool(false) => return Node::default(),
            _ => return Node { kinds: ALL, ..Node::default() },
        };
        let mut node = Node { kinds: ALL, ..Node::default() };
        if let Some(kind) = map.get("type") {
            node.typed = true;
            node.kinds = match kind {
                Value::Array(list) => list.iter().fold(0, |kinds, kind| kinds | kinds_of(kind)),
                kind => kinds_of(kind),
            };
        }
        node.constants = match (map.get("const"), map.get("enum").and_then(Value::as_array)) {
            (Some(value), None) => Some(vec![value.clone()]),
            (None, Some(values)) => Some(values.clone()),
            (Some(value), Some(values)) => {
                Some(values.iter().filter(|other| super::same(value, other)).cloned().collect())
            }
            (None, None) => None,
        };
        for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let has_default = property.get("default").is_some();
            let property = self.child(&format!("{pointer}/properties"), name, property);
            node.properties.insert(name.clone(), Property { node: property, has_default });
        }
        let required = map.get("required").and_then(Value::as_array).into_iter().flatten();
        node.required = required.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        // Beside `patternProperties` it speaks of fewer properties than can be seen here.
        let additional = map.get("additionalProperties").filter(|_| !map.contains_key("patternProperties"));
        node.additional = additional.map(|value| self.child(pointer, "additionalProperties", value));
        node.prefix = self.children(pointer, "prefixItems", map);
        node.items = map.get("items").map(|value| self.child(pointer, "items", value));
        node.least = map.get("minItems").and_then(count).unwrap_or(0);
        node.most = map.get("maxItems").and_then(count);
        for keyword in [&facts::NUMBER[..], &facts::TEXT, &facts::ARRAY, &facts::OBJECT].concat() {
            match map.get(keyword) {
                Some(Value::Bool(false)) | None => {}
                Some(value) => node.facts.push((keyword, value.clone())),
            }
        }
        node.also = self.children(pointer, "allOf", map);
        if let Some(target) = map.get("$ref").and_then(Value::as_str) {
            match self.target(target) {
                Some(target) => node.also.push(target),
                None => node.outside = Some("$ref"),
            }
        }
        for (keyword, exactly_one) in [("anyOf", false), ("oneOf", true)] {
            if map.contains_key(keyword) {
                node.choices.push(Choice { of: self.children(pointer, keyword, map), exactly_one });
            }
        }
        node.outside = node.outside.or_else(|| OUTSIDE.into_iter().find(|keyword| map.contains_key(*keyword)));
        node
    }

    /// Follows a reference within the schema.
    fn target(&mut self, target: &str) -> Option<NodeId> {
        let pointer = target.strip_prefix('#')?;
        if !(pointer.is_empty() || pointer.starts_with('/')) || pointer.contains('%') {
            return None;
        }
        let value = self.root.pointer(pointer)?;
        Some(self.node(pointer.to_owned(), value))
    }
}

/// Finds what gives the keywords or references of a whole schema another meaning: another dialect, or documents in the document.
fn changes_meaning(schema: &Value) -> Option<&'static str> {
    let dialect = schema.get("$schema").and_then(Value::as_str);
    if dialect.is_some_and(|dialect| !dialect.contains("json-schema.org/draft/2020-12")) {
        return Some("$schema");
    }
    let mut todo = vec![(schema, true)];
    while let Some((value, is_root)) = todo.pop() {
        match value {
            Value::Object(map) if !is_root && map.get("$id").is_some_and(Value::is_string) => return Some("$id"),
            Value::Object(map) => todo.extend(map.values().map(|value| (value, false))),
            Value::Array(items) => todo.extend(items.iter().map(|item| (item, false))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    None
}

fn kinds_of(name: &Value) -> u8 {
    match name.as_str() {
        Some("null") => NULL,
        Some("boolean") => BOOLEAN,
        Some("integer") => INTEGER,
        Some("number") => INTEGER | FRACTION,
        Some("string") => TEXT,
        Some("array") => ARRAY,
        Some("object") => OBJECT,
        _ => 0,
    }
}

fn count(value: &Value) -> Option<usize> {
    let float = || value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0 && *number < 4e9);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range and has no fraction")]
    value.as_u64().and_then(|number| usize::try_from(number).ok()).or_else(|| float().map(|number| number as usize))
}
