//! Reading all of YAML, with positions; JSON is read so too once there is something to point at.
//!
//! The tree is built from the parser's events with a stack of our own, so depth, nodes and aliases are counted before anything
//! grows, and no document can exhaust the thread's stack.

use std::{collections::HashMap, ops::Range};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Value};

use super::scalar::{NotFinite, resolve};
use crate::{
    Code, Diagnostic,
    problem::{escape, quote},
    source::{
        Document, Limits, MAX_DUPLICATES,
        position::{LineIndex, Parts, Tree},
    },
};

/// Parses YAML 1.2, core schema.
pub(super) fn parse<'t>(text: &'t str, limits: &Limits) -> Result<Document<'t>, Diagnostic> {
    let mut builder = Builder::new(limits);
    let options = granit_parser::options! {
        // JSON has no limit on the length of keys, so reading it again must not have one.
        simple_key_max_lookahead: usize::MAX,
        // One more, so that it is us who complain.
        flow_nesting_limit: limits.depth + 1,
        block_nesting_limit: limits.depth + 1,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let result = loop {
        match parser.next_event() {
            None => break Ok(()),
            Some(Err(error)) => break Err(builder.scan_error(&error, text)),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                if let Err(fault) = builder.event(event, range) {
                    break Err(fault);
                }
            }
        }
    };
    match (result, builder.root) {
        (Ok(()), Some((value, tree))) => Ok(Document { text, value, duplicates: builder.duplicates, tree: Some(tree) }),
        (Ok(()), None) => {
            let message = "the document is empty".to_owned();
            Err(Diagnostic::new(Code::Syntax, "", message).with_help("it has to hold an object"))
        }
        (Err(fault), _) => {
            let mut diagnostic = Diagnostic::new(fault.code, "", fault.message);
            diagnostic.help = fault.help.map(str::to_owned);
            diagnostic.span = LineIndex::new(text).span(fault.range);
            Err(diagnostic)
        }
    }
}

struct Fault {
    code: Code,
    message: String,
    help: Option<&'static str>,
    range: Range<usize>,
}

/// A value that has been read.
#[derive(Clone)]
struct Node {
    value: Value,
    /// How many values it holds, itself included.
    size: usize,
    /// How deep it is nested.
    depth: usize,
}

/// A collection that is still open.
struct Open {
    start: usize,
    anchor: usize,
    size: usize,
    depth: usize,
    items: Items,
}

enum Items {
    Array(Vec<Value>, Vec<Tree>),
    Object { map: Map<String, Value>, trees: Vec<(String, Range<usize>, Tree)>, key: Option<(String, Range<usize>)> },
}

struct Builder {
    limits: Limits,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<(Value, Tree)>,
    nodes: usize,
    documents: usize,
    duplicates: Vec<String>,
}

impl Builder {
    fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            nodes: 0,
            documents: 0,
            duplicates: Vec::new(),
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(syntax("the text holds more than one document", range, Some("one workflow to a file")));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_key() {
                    return self.key(text.into_owned(), range);
                }
                self.pay(1, &range)?;
                let value = scalar(&text, style, tag.as_deref(), &range)?;
                let tree = Tree { range, parts: Parts::Scalar };
                self.add(Node { value, size: 1, depth: 0 }, tree, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Items::Array(Vec::new(), Vec::new()), anchor, range),
            Event::MappingStart(_, anchor, _) => {
                self.open(Items::Object { map: Map::new(), trees: Vec::new(), key: None }, anchor, range)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            Event::Alias(anchor) => self.alias(anchor, range),
            _ => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { items: Items::Object { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, range: Range<usize>) -> Result<(), Fault> {
        if let Some(Open { items: Items::Object { map, .. }, .. }) = self.stack.last()
            && self.duplicates.len() < MAX_DUPLICATES
            && map.contains_key(&text)
        {
            let duplicate = format!("{}/{}", self.pointer(), escape(&text));
            self.duplicates.push(duplicate);
        }
        if let Some(Open { items: Items::Object { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some((text, range));
        }
        Ok(())
    }

    fn open(&mut self, items: Items, anchor: usize, range: Range<usize>) -> Result<(), Fault> {
        if self.wants_key() {
            return Err(syntax("a key must be text", range, None));
        }
        self.pay(1, &range)?;
        if self.stack.len() >= self.limits.depth {
            return Err(self.too_deep(range));
        }
        self.stack.push(Open { start: range.start, anchor, size: 1, depth: 0, items });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Fault> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let (value, parts) = match open.items {
            Items::Array(values, trees) => (Value::Array(values), Parts::Array(trees)),
            Items::Object { map, trees, .. } => (Value::Object(map), Parts::Object(trees)),
        };
        let tree = Tree { range: open.start..end.max(open.start), parts };
        self.add(Node { value, size: open.size, depth: open.depth }, tree, open.anchor)
    }

    fn alias(&mut self, anchor: usize, range: Range<usize>) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(syntax("an anchor holds itself", range, None));
        };
        if self.wants_key() {
            return match node.value.as_str().map(str::to_owned) {
                Some(text) => self.key(text, range),
                None => Err(syntax("a key must be text", range, None)),
            };
        }
        // Before anything is copied: a few nested aliases can stand for millions of values.
        let (size, depth) = (node.size, node.depth);
        self.pay(size, &range)?;
        if self.stack.len() + depth > self.limits.depth {
            return Err(self.too_deep(range));
        }
        let Some(node) = self.anchors.get(&anchor) else { return Ok(()) };
        let tree = Tree { range, parts: Parts::Scalar };
        self.add(Node { value: node.value.clone(), size, depth }, tree, 0)
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, node: Node, tree: Tree, anchor: usize) -> Result<(), Fault> {
        if anchor > 0 {
            // The copy that aliases are made from counts too: anchors can be nested.
            self.pay(node.size, &tree.range)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some((node.value, tree));
            return Ok(());
        };
        open.size += node.size;
        open.depth = open.depth.max(node.depth + 1);
        match &mut open.items {
            Items::Array(values, trees) => {
                values.push(node.value);
                trees.push(tree);
            }
            Items::Object { map, trees, key } => {
                if let Some((name, range)) = key.take() {
                    trees.push((name.clone(), range, tree));
                    map.insert(name, node.value);
                }
            }
        }
        Ok(())
    }

    fn pay(&mut self, nodes: usize, range: &Range<usize>) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.limits.nodes {
            return Ok(());
        }
        Err(Fault {
            code: Code::TooManyNodes,
            message: format!("the document has more than {} values", self.limits.nodes),
            help: Some("fewer aliases"),
            range: range.clone(),
        })
    }

    fn too_deep(&self, range: Range<usize>) -> Fault {
        let message = format!("the document is nested more than {} deep", self.limits.depth);
        Fault { code: Code::TooDeep, message, help: Some("flatten it"), range: range.start..range.start }
    }

    fn scan_error(&self, error: &ScanError, text: &str) -> Fault {
        let start = error.marker().byte_offset().unwrap_or(0);
        if let Some(tab) = indenting_tab(text, start) {
            return syntax("a tab cannot indent", tab..tab + 1, Some("use spaces"));
        }
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return self.too_deep(start..start);
        }
        syntax(&error.kind().to_string(), start..start, None)
    }

    /// The place of the innermost open collection.
    fn pointer(&self) -> String {
        let outer = self.stack.split_last().map(|(_, outer)| outer).unwrap_or_default();
        let tokens = outer.iter().map(|open| match &open.items {
            Items::Array(values, _) => format!("/{}", values.len()),
            Items::Object { key, .. } => {
                format!("/{}", key.as_ref().map_or(String::new(), |(key, _)| escape(key).into_owned()))
            }
        });
        tokens.collect()
    }
}

/// Finds the tab that indents the line where the parser stopped, or the one below, whose tab it may have met while it looked ahead.
fn indenting_tab(text: &str, stopped: usize) -> Option<usize> {
    let line = text.get(..stopped)?.rfind('\n').map_or(0, |end| end + 1);
    let below = text.get(stopped..)?.find('\n').map(|end| stopped + end + 1);
    [Some(line), below].into_iter().flatten().find_map(|start| {
        let offset = text[start..].find(|c| c != ' ')?;
        text[start + offset..].starts_with('\t').then_some(start + offset)
    })
}

fn syntax(message: &str, range: Range<usize>, help: Option<&'static str>) -> Fault {
    Fault { code: Code::Syntax, message: message.to_owned(), help, range }
}

/// Gives a scalar its type by the rules of the core schema.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, range: &Range<usize>) -> Result<Value, Fault> {
    let plain = style == ScalarStyle::Plain;
    match tag.map(|tag| tag.core_suffix().ok_or(tag)) {
        None if !plain => Ok(Value::String(text.to_owned())),
        None => resolve(text).map_err(|NotFinite| not_finite(text, range)),
        Some(Ok("str")) => Ok(Value::String(text.to_owned())),
        Some(Ok(_)) => resolve(text).map_err(|NotFinite| not_finite(text, range)),
        // `!` alone says that it is text.
        Some(Err(tag)) if tag.suffix().is_empty() => Ok(Value::String(text.to_owned())),
        Some(Err(tag)) => {
            let message = format!("the tag `{}` means nothing here", quote(&tag.original()));
            Err(syntax(&message, range.clone(), Some("quote the value, or remove the tag")))
        }
    }
}

fn not_finite(text: &str, range: &Range<usize>) -> Fault {
    let message = format!("`{}` is no number that JSON knows", quote(text));
    syntax(&message, range.clone(), Some("quote it to make it text"))
}
