//! What may be written at a place.
//!
//! A word is put at the cursor and the text is read as if it stood there: what it then is, a key, a value, or a part of an
//! expression, is what may be written.

use std::ops::Range;

use serde_json::Value;

use super::{
    Analysis, Text,
    analysis::Reading,
    format::{self, is_out_of_place},
    outline::Outline,
    protocol::{CompletionItem, CompletionKind, Markup, Position, TextEdit},
    syntax::{Found, NodeId, Token, Tree},
    types::{Member, View},
};

/// The word that stands for what is being written.
const WORD: &str = "o8word";
/// How many items are offered at most.
const MAX_ITEMS: usize = 1_000;

impl Analysis<'_> {
    /// Returns what may be written at a place, in the order in which it is likely to be wanted.
    #[must_use]
    pub fn completion(&self, position: Position) -> Vec<CompletionItem> {
        let offset = self.text.offset(position);
        let mut marked = String::with_capacity(self.text.as_str().len() + WORD.len());
        marked.push_str(&self.text.as_str()[..offset]);
        marked.push_str(WORD);
        marked.push_str(&self.text.as_str()[offset..]);
        let tree = Tree::new(&marked);
        let outline = Outline::new(&tree);
        let Some(found) = tree.find(offset + 1) else { return Vec::new() };
        let node = match found {
            Found::Key(node, _) | Found::Scalar(node) => node,
        };
        let view = self.view(&marked, &tree, &outline, node);
        let mut items = Items { text: self.text, offset, items: Vec::new() };
        match found {
            Found::Key(object, place) => {
                let entry = &tree.entries(object)[place];
                // A key that has a value keeps it.
                let ending = if entry.colon { Ending::None } else { Ending::of(&tree, object) };
                let present = tree.entries(object).iter().enumerate().filter(|(other, _)| *other != place);
                let present: Vec<String> = present.map(|(_, entry)| tree.key(entry).into_owned()).collect();
                items.keys(&view, object, &present, &entry.key, &marked, ending);
            }
            Found::Scalar(node) => items.value(&view, node, &marked),
        }
        items.items.sort_by(|left, right| left.sort_text.cmp(&right.sort_text));
        items.items.truncate(MAX_ITEMS);
        items.items
    }
}

/// What is written behind a key.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    None,
    Json,
    Yaml { in_brackets: bool },
}

impl Ending {
    fn of(tree: &Tree<'_>, node: NodeId) -> Self {
        if tree.is_json() { Self::Json } else { Self::Yaml { in_brackets: is_in_brackets(tree, node) } }
    }
}

fn is_in_brackets(tree: &Tree<'_>, node: NodeId) -> bool {
    std::iter::successors(Some(node), |node| tree.parent(*node)).any(|node| tree.raw(node).starts_with(['{', '[']))
}

struct Items<'a> {
    text: &'a Text,
    offset: usize,
    items: Vec<CompletionItem>,
}

impl Items<'_> {
    /// Offers the keys that an object may have and does not have yet.
    fn keys(
        &mut self,
        view: &View<'_>,
        object: NodeId,
        present: &[String],
        range: &Range<usize>,
        marked: &str,
        ending: Ending,
    ) {
        let path = view.tree.path(object);
        let quote = marked[range.clone()].chars().next().filter(|first| matches!(first, '"' | '\''));
        let quote = quote.or((ending == Ending::Json || view.tree.is_json()).then_some('"'));
        let mut offered: Vec<(String, String, String, bool, u8)> = Vec::new();
        for member in known_of_agent(view, object, &path).into_iter().flat_map(|known| known.members()) {
            offered.push((member.name, member.type_name, member.documentation, false, 0));
        }
        let is_step = format::is_step(&path);
        for key in format::at(&path).keys() {
            if !(is_step && is_out_of_place(&key.name, present)) {
                let rank = if key.is_required { 1 } else { 2 };
                offered.push((key.name, key.type_name, key.documentation, key.is_collection, rank));
            }
        }
        for (name, type_name, documentation, is_collection, rank) in offered {
            if present.contains(&name) {
                continue;
            }
            let quoted = match quote {
                Some(quote) => format!("{quote}{name}{quote}"),
                None if is_plain(&name) => name.clone(),
                None => format!("\"{name}\""),
            };
            let new_text = match ending {
                Ending::None => quoted,
                Ending::Yaml { in_brackets: false } if is_collection => format!("{quoted}:"),
                Ending::Json | Ending::Yaml { .. } => format!("{quoted}: "),
            };
            self.offer(name, CompletionKind::Property, type_name, &documentation, rank, range, new_text);
        }
    }

    fn value(&mut self, view: &View<'_>, node: NodeId, marked: &str) {
        let tree = view.tree;
        if let Some(reading) = Reading::new(tree, node, self.offset)
            && (reading.is_condition || reading.decoded.text.contains("${"))
        {
            self.expression(view, &reading, marked);
            return;
        }
        let path = tree.path(node);
        let range = tree.range(node);
        let written = Written::of(tree, node);
        match &*path {
            [.., Token::Key(list), Token::Index(_)] if matches!(list.as_str(), "dependencies" | "dependsOn") => {
                let listed: Vec<_> = tree.parent(node).map_or(&[][..], |list| tree.items(list)).to_vec();
                let listed: Vec<_> = listed.into_iter().filter(|other| *other != node).collect();
                let listed: Vec<_> = listed.iter().filter_map(|node| tree.scalar(*node)).collect();
                self.step_ids(view, &range, written, |id| !listed.iter().any(|other| other == id));
            }
            [.., Token::Key(key)] if key == "fallbackStepId" => self.step_ids(view, &range, written, |_| true),
            [.., Token::Key(agent), Token::Key(id)] if agent == "agent" && id == "id" => {
                let mut known: Vec<_> = view.agents.list().map(|agent| agent.manifest()).collect();
                known.dedup_by_key(|manifest| manifest.id.clone());
                for manifest in known {
                    let id = manifest.id.to_string();
                    let text = written.quoted(&id);
                    let version = manifest.version.to_string();
                    self.offer(id, CompletionKind::Module, version, &manifest.description, 0, &range, text);
                }
            }
            [.., Token::Key(agent), Token::Key(version)] if agent == "agent" && version == "version" => {
                let id = tree.parent(node).and_then(|call| tree.scalar(tree.get(call, "id")?));
                let id = id.and_then(|id| id.parse().ok());
                for version in id.iter().flat_map(|id| view.agents.versions(id).rev()) {
                    for text in [format!("^{version}"), version.to_string()] {
                        let quoted = written.quoted(&text);
                        self.offer(text, CompletionKind::Value, String::new(), "", 0, &range, quoted);
                    }
                }
            }
            _ => self.choices(view, node, &path, &range, written, marked),
        }
    }

    /// Offers the values of a place that has only so many, or the keys of the object that should stand there.
    fn choices(
        &mut self,
        view: &View<'_>,
        node: NodeId,
        path: &[Token],
        range: &Range<usize>,
        written: Written,
        marked: &str,
    ) {
        let choices = format::at(path).choices().into_iter().map(|choice| (choice.value, choice.documentation));
        let of_agent = known_of_agent(view, node, path).into_iter().flat_map(|known| known.choices());
        for (value, documentation) in choices.chain(of_agent) {
            let (label, text) = match &value {
                Value::String(text) => (text.clone(), written.quoted(text)),
                // Text in quotes is no number.
                _ if written.quote.is_some() => continue,
                other => (other.to_string(), other.to_string()),
            };
            self.offer(label, CompletionKind::Value, String::new(), &documentation, 0, range, text);
        }
        let is_beginning = written.quote.is_none() && !view.tree.is_json() && !is_in_brackets(view.tree, node);
        if is_beginning && !marked[range.clone()].contains(' ') {
            self.keys(view, node, &[], range, marked, Ending::of(view.tree, node));
        }
    }

    fn step_ids(&mut self, view: &View<'_>, range: &Range<usize>, written: Written, is_wanted: impl Fn(&str) -> bool) {
        let Some(step) = view.step else { return };
        for sibling in view.outline.siblings(step) {
            let id = &view.outline.steps[sibling].id;
            if !id.is_empty() && is_wanted(id) {
                let text = written.quoted(id);
                self.offer(
                    id.clone(),
                    CompletionKind::Reference,
                    String::new(),
                    &view.summary(sibling),
                    0,
                    range,
                    text,
                );
            }
        }
    }

    fn expression(&mut self, view: &View<'_>, reading: &Reading, marked: &str) {
        let before = reading.path.before();
        let Some(known) = view.known(&before) else { return };
        let part = &reading.path.parts[reading.path.current];
        if part.in_brackets {
            return;
        }
        let range = reading.decoded.written(&part.range);
        // What is depended on already is what is most likely read.
        let dependencies = view.step.and_then(|step| view.tree.get(view.outline.steps[step].node, "dependencies"));
        let dependencies = dependencies.map_or(&[][..], |list| view.tree.items(list));
        let dependencies: Vec<_> = dependencies.iter().filter_map(|node| view.tree.scalar(*node)).collect();
        let kind = match &*before {
            [] => CompletionKind::Variable,
            ["steps"] => CompletionKind::Reference,
            _ => CompletionKind::Field,
        };
        let in_double_quotes = marked[..range.start].lines().next_back().is_some_and(|line| line.contains('"'));
        for Member { name, type_name, documentation } in known.members() {
            let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            let needs_quotes = reading.is_condition && name.contains('-') && kind == CompletionKind::Field;
            let new_text = match (is_word, needs_quotes) {
                (true, false) => name.clone(),
                (true, true) if !in_double_quotes => format!("\"{name}\""),
                _ => continue,
            };
            let rank = u8::from(kind == CompletionKind::Reference && !dependencies.iter().any(|id| *id == name));
            self.offer(name, kind, type_name, &documentation, rank, &range, new_text);
        }
    }

    /// Offers an item that replaces a range of the marked text.
    #[expect(clippy::too_many_arguments, reason = "the fields of an item")]
    fn offer(
        &mut self,
        label: String,
        kind: CompletionKind,
        detail: String,
        documentation: &str,
        rank: u8,
        range: &Range<usize>,
        new_text: String,
    ) {
        let unmarked =
            |place: usize| if place > self.offset { place.saturating_sub(WORD.len()).max(self.offset) } else { place };
        // An edit holds the cursor and stays on its line.
        let start = unmarked(range.start);
        let end = unmarked(range.end);
        let line = self.text.as_str()[self.offset..end.max(self.offset)].find(['\n', '\r']);
        let end = line.map_or(end.max(self.offset), |length| self.offset + length);
        let range = self.text.range(&(start.min(self.offset)..end));
        self.items.push(CompletionItem {
            label,
            kind,
            detail,
            documentation: (!documentation.is_empty()).then(|| Markup::new(documentation)),
            sort_text: format!("{rank}{:04}", self.items.len()),
            filter_text: new_text.clone(),
            text_edit: TextEdit { range, new_text },
        });
    }
}

/// How a scalar is written.
#[derive(Clone, Copy)]
struct Written {
    quote: Option<char>,
    is_json: bool,
}

impl Written {
    fn of(tree: &Tree<'_>, node: NodeId) -> Self {
        let quote = tree.raw(node).chars().next().filter(|first| matches!(first, '"' | '\''));
        Self { quote, is_json: tree.is_json() }
    }

    /// Writes a text as the scalar is written, in quotes where it must be.
    fn quoted(self, text: &str) -> String {
        match self.quote {
            Some(quote) => format!("{quote}{text}{quote}"),
            None if !self.is_json && is_plain(text) => text.to_owned(),
            None => format!("\"{text}\""),
        }
    }
}

/// Whether a text is itself in YAML without quotes.
pub(super) fn is_plain(text: &str) -> bool {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '^' | '$'));
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./^$".contains(c));
    let is_other = matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null");
    begins_well && is_word && !is_other
}

/// Finds what an agent's schemas say of a part of its call: of `input` beside `agent`, or of `config` in it.
pub(super) fn known_of_agent(view: &View<'_>, node: NodeId, path: &[Token]) -> Option<super::types::Known> {
    let mut holder = node;
    for (depth, token) in path.iter().enumerate().rev() {
        let parent = view.tree.parent(holder)?;
        if let Token::Key(key) = token {
            let below = &path[depth + 1..];
            if key == "config" {
                return view.call(parent, key, below);
            }
            if let (true, Some(call)) = (key == "input", view.tree.get(parent, "agent")) {
                let below = match below {
                    [Token::Key(mapping), rest @ ..] if mapping == "mapping" => rest,
                    below => below,
                };
                return view.call(call, key, below);
            }
        }
        holder = parent;
    }
    None
}
