//! From a place in the tree to a place in the text.

use std::{borrow::Cow, cmp::Ordering, collections::HashMap, ops::Range};

use serde_json::Value;

use super::Document;
use crate::{
    Diagnostic, Span,
    problem::{Problem, Spot},
};

/// Where everything in a document stands, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The value; of a block collection only its start is known, and the range is empty.
    pub(super) range: Range<usize>,
    pub(super) parts: Parts,
}

#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "yaml"), expect(dead_code, reason = "made by the parser that knows positions"))]
pub(super) enum Parts {
    Scalar,
    Array(Vec<Tree>),
    Object(Vec<(String, Range<usize>, Tree)>),
}

/// Turns problems into diagnostics with positions, sorted by position, then code.
pub(super) fn to_diagnostics(
    found: Vec<Problem>,
    renames: &[(String, String)],
    document: &Document<'_>,
) -> Vec<Diagnostic> {
    if found.is_empty() {
        return Vec::new();
    }
    let Some(tree) = document.locate() else { return without_text(found, renames, &document.value) };
    let index = LineIndex::new(document.text);
    let renames = Renames::new(renames);
    let mut diagnostics: Vec<Diagnostic> = found
        .into_iter()
        .map(|problem| {
            let mut diagnostic = problem.diagnostic;
            renames.apply(&mut diagnostic.path);
            let range = tree.find(&diagnostic.path, &problem.spot, document);
            diagnostic.span = range.and_then(|range| index.span(range));
            diagnostic
        })
        .collect();
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.map(|span| (span.line, span.column)), diagnostic.code));
    diagnostics
}

/// Turns problems into diagnostics without positions, sorted by their order in the document, then code.
pub(crate) fn without_text(found: Vec<Problem>, renames: &[(String, String)], document: &Value) -> Vec<Diagnostic> {
    let renames = Renames::new(renames);
    let mut diagnostics: Vec<(Vec<usize>, Diagnostic)> = found
        .into_iter()
        .map(|problem| {
            let mut diagnostic = problem.diagnostic;
            renames.apply(&mut diagnostic.path);
            (order(&diagnostic.path, document), diagnostic)
        })
        .collect();
    diagnostics.sort_by(|(left, a), (right, b)| match left.cmp(right) {
        Ordering::Equal => a.code.cmp(&b.code),
        other => other,
    });
    diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

/// Validation names places as they are called today; the document may call them by an alias.
struct Renames<'r>(HashMap<&'r str, &'r str>);

impl<'r> Renames<'r> {
    fn new(renames: &'r [(String, String)]) -> Self {
        Self(renames.iter().map(|(name, written)| (name.as_str(), written.as_str())).collect())
    }

    fn apply(&self, path: &mut String) {
        if self.0.is_empty() {
            return;
        }
        // What stands under an alias can have aliases itself, so the search goes on behind what was replaced.
        let mut from = 0;
        while let Some(end) = path[from..]
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '/')
            .map_or_else(|| (from < path.len()).then_some(path.len()), |(offset, _)| Some(from + offset))
        {
            from = match self.0.get(&path[..end]) {
                Some(written) => {
                    path.replace_range(..end, written);
                    written.len()
                }
                None => end,
            };
        }
    }
}

fn order(path: &str, document: &Value) -> Vec<usize> {
    let mut order = Vec::new();
    let mut value = document;
    for token in tokens(path) {
        let next = match value {
            Value::Array(items) => token.parse().ok().and_then(|index: usize| Some((index, items.get(index)?))),
            Value::Object(map) => {
                map.iter().enumerate().find(|(_, (key, _))| **key == token).map(|(index, (_, next))| (index, next))
            }
            _ => None,
        };
        let Some((index, next)) = next else { break };
        order.push(index);
        value = next;
    }
    order
}

fn tokens(path: &str) -> impl Iterator<Item = String> {
    path.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
}

impl Tree {
    /// Returns the range of a place; of a place that is not there, that of what would hold it.
    fn find(&self, path: &str, spot: &Spot, document: &Document<'_>) -> Option<Range<usize>> {
        let (complete, key, tree) = self.walk(path);
        match (spot, &tree.parts) {
            (Spot::Key, _) if complete => Some(key.cloned().unwrap_or_else(|| tree.shown())),
            (Spot::Within(range), Parts::Scalar) if complete => {
                let value = document.value.pointer(path).and_then(Value::as_str);
                Some(
                    value
                        .and_then(|value| within(document.text, &tree.range, value, range))
                        .unwrap_or_else(|| tree.shown()),
                )
            }
            _ => Some(tree.pointed_at(key)),
        }
    }

    /// Returns what stands at a place, with its key.
    pub(super) fn get(&self, path: &str) -> Option<(Option<&Range<usize>>, &Self)> {
        let (complete, key, tree) = self.walk(path);
        complete.then_some((key, tree))
    }

    /// Goes down to a place as far as there is something; returns whether all the way, and the last part with its key.
    fn walk(&self, path: &str) -> (bool, Option<&Range<usize>>, &Self) {
        let mut tree = self;
        let mut key: Option<&Range<usize>> = None;
        for token in tokens(path) {
            let next = match &tree.parts {
                Parts::Array(items) => {
                    token.parse().ok().and_then(|index: usize| items.get(index)).map(|next| (None, next))
                }
                // Of a key that is given twice, the last one.
                Parts::Object(entries) => {
                    entries.iter().rev().find(|(name, _, _)| *name == token).map(|(_, range, next)| (Some(range), next))
                }
                Parts::Scalar => None,
            };
            let Some((range, next)) = next else { return (false, key, tree) };
            (key, tree) = (range, next);
        }
        (true, key, tree)
    }

    /// What can be pointed at. A whole block is too much: its key says enough.
    pub(super) fn pointed_at(&self, key: Option<&Range<usize>>) -> Range<usize> {
        match &self.parts {
            Parts::Array(_) | Parts::Object(_) => key.cloned().unwrap_or_else(|| self.shown()),
            Parts::Scalar => self.shown(),
        }
    }

    /// All that it takes up, without what stands around it. What a block ends with is its last part.
    pub(super) fn extent(&self, text: &str) -> Range<usize> {
        let is_flow = text.get(self.range.clone()).is_some_and(|text| text.starts_with(['{', '[']));
        if is_flow {
            return self.range.clone();
        }
        let last = match &self.parts {
            Parts::Array(items) => items.last(),
            Parts::Object(entries) => entries.last().map(|(_, _, last)| last),
            Parts::Scalar => None,
        };
        self.range.start..last.map_or(self.range.end, |last| last.extent(text).end)
    }

    /// What can be pointed at without a key: a scalar, or the first key of an object.
    fn shown(&self) -> Range<usize> {
        match &self.parts {
            Parts::Object(entries) => entries.first().map_or_else(|| self.range.clone(), |(_, key, _)| key.clone()),
            Parts::Array(_) => self.range.start..self.range.start,
            Parts::Scalar => self.range.clone(),
        }
    }
}

/// Finds a part of a string in the text it was written as, if it occurs there as it is and as often as in the value.
fn within(text: &str, scalar: &Range<usize>, value: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let needle = value.get(part.clone()).filter(|needle| !needle.is_empty())?;
    let written = text.get(scalar.clone())?;
    let before = value[..part.end].matches(needle).count();
    if value.matches(needle).count() != written.matches(needle).count() {
        return None;
    }
    let (start, _) = written.match_indices(needle).nth(before.checked_sub(1)?)?;
    Some(scalar.start + start..scalar.start + start + needle.len())
}

/// Where the lines of a text begin.
#[derive(Clone, Debug)]
pub(super) struct LineIndex<'t> {
    text: Cow<'t, str>,
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    pub(super) fn new(text: impl Into<Cow<'t, str>>) -> Self {
        let text = text.into();
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        Self { text, starts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Converts a range of bytes; an empty one becomes one column wide.
    pub(super) fn span(&self, range: Range<usize>) -> Option<Span> {
        let (line, column) = self.position(range.start)?;
        let (end_line, end_column) = if range.is_empty() { (line, column + 1) } else { self.position(range.end)? };
        Some(Span { line, column, end_line, end_column })
    }

    /// Converts a line and a column in bytes, both counted from 1.
    pub(super) fn at_byte_column(&self, line: usize, column: usize) -> Option<Span> {
        let start = *self.starts.get(line.checked_sub(1)?)?;
        let mut offset = (start + column.saturating_sub(1)).min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        self.span(offset..offset)
    }

    fn position(&self, offset: usize) -> Option<(u32, u32)> {
        let line = self.starts.partition_point(|start| *start <= offset).checked_sub(1)?;
        let column = self.text.get(self.starts[line]..offset)?.chars().count();
        Some((u32::try_from(line + 1).ok()?, u32::try_from(column + 1).ok()?))
    }
}
